import assert from "node:assert/strict";
import { test } from "node:test";
import { Random } from "./random.ts";

const draw = (seed: number, count = 8): number[] => {
  const random = new Random(seed);
  return Array.from({ length: count }, () => random.u32());
};

test("a seed gives one sequence, another seed another", () => {
  assert.deepEqual(draw(1), draw(1));
  const firsts = [0, 1, 2, 2 ** 32, 2 ** 32 + 1, 2 ** 53 - 1].map((seed) => draw(seed, 2).join());
  assert.equal(new Set(firsts).size, firsts.length);
});

test("bits are set half of the time, each of them", () => {
  const random = new Random(42);
  const ones = Array<number>(32).fill(0);
  const draws = 4096;
  for (let i = 0; i < draws; i++) {
    const word = random.u32();
    for (let bit = 0; bit < 32; bit++) ones[bit]! += (word >>> bit) & 1;
  }
  // Five standard deviations of a binomial distribution.
  for (const count of ones) assert.ok(Math.abs(count - draws / 2) < 5 * Math.sqrt(draws / 4), `${count}`);
});

test("bytes are those of the words, the rest of the last one left out", () => {
  const [first, second] = draw(7, 2);
  const bytes = new Uint8Array(6);
  new Random(7).fill(bytes);
  const words = new DataView(new ArrayBuffer(8));
  words.setUint32(0, first!, true);
  words.setUint32(4, second!, true);
  assert.deepEqual([...bytes], [...new Uint8Array(words.buffer, 0, 6)]);
});
