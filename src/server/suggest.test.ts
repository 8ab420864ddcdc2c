import assert from "node:assert/strict";
import { test } from "node:test";
import { didYouMean } from "./suggest.ts";

test("a slip or two, and it is known what was meant", () => {
  const known = ["web", "database", "mail-1"];
  for (const [name, meant] of [["wbe", "web"], ["we", "web"], ["databse", "database"], ["datbaes", "database"], ["mail-2", "mail-1"]] as const) {
    assert.equal(didYouMean(name, known), `: did you mean ${meant}?`, name);
  }
  for (const name of ["w", "printer", "bew", "xyz"]) assert.equal(didYouMean(name, known), "", name);
  assert.equal(didYouMean("web", []), "");
});
