import assert from "node:assert/strict";
import { test } from "node:test";
import { parseCap, parseCount, parseDrive, parseMemory, parseMemoryOrNone, parsePart, parseSeconds, parseSeed } from "./options.ts";

test("sizes have a unit", () => {
  assert.deepEqual(["512M", "1g", "65536K", "1.5G", "256MiB"].map((text) => parseMemory(text)), [2 ** 29, 2 ** 30, 2 ** 26, 1.5 * 2 ** 30, 2 ** 28]);
});

test("nonsense sizes are refused in one line", () => {
  for (const [text, message] of [
    ["512", /say 512M/], ["", /is no size/], ["-1M", /is no size/], ["M", /is no size/], ["1T", /is no size/], ["12M3", /is no size/],
    ["0M", /too little/], ["512K", /too little/], ["1025K", /multiple of 4096/], ["1.00000001G", /multiple/], ["1e3M", /is no size/],
  ] as const) {
    assert.throws(() => parseMemory(text), { code: "bad-size", message }, text);
  }
});

test("a drive is a file, perhaps for reading only", () => {
  assert.deepEqual(parseDrive("a.img"), { path: "a.img", readOnly: false });
  assert.deepEqual(parseDrive("a,b.img,ro"), { path: "a,b.img", readOnly: true });
  assert.deepEqual(parseDrive("a.img,rw"), { path: "a.img", readOnly: false });
  assert.throws(() => parseDrive(",ro"), { code: "bad-drive" });
});

test("a seed is an exact number", () => {
  assert.deepEqual(["0", "42", "0xff"].map(parseSeed), [0, 42, 255]);
  for (const text of ["", "-1", "1.5", "x", "9007199254740993", "1e3"]) assert.throws(() => parseSeed(text), { code: "bad-seed" }, text);
});

test("a cap is a part of a hart", () => {
  assert.deepEqual(["50%", "0.5", "1", "100%", "2.5%"].map(parseCap), [0.5, 0.5, 1, 1, 0.025]);
  for (const text of ["0", "0%", "101%", "2", "-1", "half", ""]) assert.throws(() => parseCap(text), { code: "bad-cap" }, text);
});

test("a guarantee may be of nothing", () => {
  assert.deepEqual(["0", "0M", "64M"].map(parseMemoryOrNone("--swap")), [0, 0, 2 ** 26]);
  assert.throws(() => parseMemoryOrNone("--memory-min")("1"), { code: "bad-size", message: /^--memory-min/ });
});

test("a part is up to so much", () => {
  assert.deepEqual(["0", "75%", "0.5"].map(parsePart("--idle-tax", 0.99)), [0, 0.75, 0.5]);
  for (const text of ["100%", "x", "-1", ""]) assert.throws(() => parsePart("--idle-tax", 0.99)(text), { code: "bad-part", message: /up to 99%/ }, text);
});

test("seconds are above 0", () => {
  assert.deepEqual(["30", "0.5"].map(parseSeconds("--sample-period")), [30, 0.5]);
  for (const text of ["0", "-1", "1s", ""]) assert.throws(() => parseSeconds("--sample-period")(text), { code: "bad-seconds" }, text);
});

test("a count is a whole number", () => {
  assert.equal(parseCount("--harts")("16"), 16);
  for (const text of ["0", "1.5", "-1", "x", "", "1e3"]) assert.throws(() => parseCount("--harts")(text), { code: "bad-count", message: /^--harts/ }, text);
});
