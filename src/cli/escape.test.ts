import assert from "node:assert/strict";
import { test } from "node:test";
import { EscapeFilter } from "./escape.ts";

const keys = (...chunks: string[]): string[] => {
  const filter = new EscapeFilter();
  return chunks.flatMap((chunk) => [...filter.filter(Buffer.from(chunk, "latin1"))])
    .map((item) => (typeof item === "string" ? item : JSON.stringify(Buffer.from(item).toString("latin1"))));
};

test("keys go to the guest, Ctrl-C among them", () => {
  assert.deepEqual(keys("ls\r\x03\x04"), ['"ls\\r\\u0003\\u0004"']);
});

test("Ctrl-A and a key are for us, in order with the rest", () => {
  assert.deepEqual(keys("ab\x01hcd\x01X"), ['"ab"', "help", '"cd"', "leave"]);
});

test("Ctrl-A may come alone, its key later", () => {
  assert.deepEqual(keys("a\x01", "x"), ['"a"', "leave"]);
});

test("Ctrl-A twice is one for the guest; with an unknown key it is nothing", () => {
  assert.deepEqual(keys("\x01\x01\x01a\x01zq"), ['"\\u0001\\u0001q"']);
});
