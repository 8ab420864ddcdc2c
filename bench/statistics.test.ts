import assert from "node:assert/strict";
import { test } from "node:test";
import { geometricMean, median, spread } from "./statistics.ts";

test("the median is the middle value, or the mean of the two in the middle", () => {
  assert.equal(median([10, 9, 100]), 10);
  assert.equal(median([4, 1, 3, 2]), 2.5);
  assert.ok(Number.isNaN(median([])));
});

test("twice as fast and half as fast make no difference in the geometric mean", () => {
  assert.ok(Math.abs(geometricMean([2, 0.5]) - 1) < 1e-12);
  assert.ok(Math.abs(geometricMean([1, 2, 4]) - 2) < 1e-12);
});

test("the spread is the slowest against the fastest", () => {
  assert.equal(spread([2, 3, 4]), 2);
});
