import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { Cooling } from "./cooling.ts";

/** How often counts are let go in a minute of a hart that executes for so long in each of its tenths of a second. */
function forgotten(milliseconds: number): number {
  let count = 0;
  const cooling = new Cooling(() => count++);
  for (let tick = 0; tick <= 600; tick++) cooling.look(tick * 100, tick * milliseconds);
  return count;
}

suite("counts of what is hot", () => {
  test("are let go where a hart mostly rests", () => assert.equal(forgotten(1), 6));
  test("stay where it works", () => assert.equal(forgotten(20), 0));

  test("stay for the time of a burst", () => {
    let count = 0;
    const cooling = new Cooling(() => count++);
    cooling.look(60_000, 0);
    count = 0;
    for (let now = 60_000; now < 70_000; now += 10) cooling.look(now, now - 60_000);
    assert.equal(count, 0);
  });
});
