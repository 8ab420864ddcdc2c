import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { HostelryError } from "#base/errors.ts";
import { fromWire, toWire } from "./errors.ts";

suite("errors on the wire", () => {
  test("keep code and line", () => {
    const { status, body } = toWire(new HostelryError("no-vm", "there is no VM a"));
    assert.equal(status, 404);
    const back = fromWire(status, JSON.parse(JSON.stringify(body)));
    assert.deepEqual([back.code, back.message], ["no-vm", "there is no VM a"]);
  });

  test("of files and such are 422", () => assert.equal(toWire(new HostelryError("no-file", "x")).status, 422));

  test("a bug of ours says nothing of itself", () => {
    const { status, body } = toWire(new TypeError("secret"));
    assert.equal(status, 500);
    assert.doesNotMatch(JSON.stringify(body), /secret/);
  });

  test("an answer of somebody else's is said to be that", () => assert.equal(fromWire(502, "<html>").code, "bad-answer"));
});
