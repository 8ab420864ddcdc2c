import assert from "node:assert/strict";
import { test } from "node:test";
import { replaceMeasured } from "./measured.ts";

test("what was measured takes the place of what was, and the rest of the page stays", () => {
  const page = "# Memory\n<!-- measured: from here on written by the benchmark -->\nold\n<!-- measured: to here -->\n## More\n";
  const next = replaceMeasured(page, "new\n");
  assert.equal(next, page.replace("old", "new"));
  assert.equal(replaceMeasured(next, "new\n"), next);
  assert.throws(() => replaceMeasured("# Memory\n", "new\n"), /no place/);
});
