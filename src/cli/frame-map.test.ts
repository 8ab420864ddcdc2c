import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { drawFrames } from "./frame-map.ts";

suite("a map of frames", () => {
  test("has a character for each frame of a small machine, and says what they mean", () => {
    const picture = drawFrames([
      { first: 0, frames: 1, state: "zero", owner: null },
      { first: 1, frames: 4, state: "page-table", owner: "web" },
      { first: 5, frames: 3, state: "private", owner: "web" },
      { first: 8, frames: 2, state: "private", owner: "db" },
      { first: 10, frames: 1, state: "shared", owner: null },
      { first: 11, frames: 60, state: "free", owner: null },
    ], "4 KiB");
    assert.equal(picture, `_####wwwdd=${".".repeat(53)}\n.......\nd db, w web, . free, = shared, _ of zeros, # page tables; each for a frame of 4 KiB\n`);
  });

  test("gives each VM a letter of its own, while there are any", () => {
    const runs = Array.from({ length: 70 }, (_, i) => ({ first: i, frames: 1, state: "private" as const, owner: `web${String(i).padStart(2, "0")}` }));
    const [first, second] = drawFrames(runs, "4 KiB").split("\n");
    assert.equal(new Set(`${first}${second}`.replaceAll("*", "")).size, 62);
    assert.match(first!, /^web0/);
  });

  test("of a large one shows what most of the frames are", () => {
    const picture = drawFrames([{ first: 0, frames: 100, state: "private", owner: "a" }, { first: 100, frames: 262_044, state: "free", owner: null }], "4 KiB");
    const lines = picture.split("\n");
    assert.equal(lines.length, 32 + 2);
    assert.equal(lines[0], `a${".".repeat(63)}`);
    assert.match(lines[32]!, /^a a, \. free; each for 128 frames of 4 KiB$/);
  });
});
