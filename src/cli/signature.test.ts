import assert from "node:assert/strict";
import { test } from "node:test";
import { formatSignature } from "./signature.ts";

test("lines are little-endian numbers, the last filled up with zeros", () => {
  const bytes = Uint8Array.of(1, 2, 3, 4, 0xab, 0xcd);
  assert.equal(formatSignature(bytes, 4), "04030201\n0000cdab\n");
  assert.equal(formatSignature(bytes, 16), "00000000000000000000cdab04030201\n");
  assert.equal(formatSignature(bytes, 1), "01\n02\n03\n04\nab\ncd\n");
  assert.equal(formatSignature(new Uint8Array(0), 4), "");
});
