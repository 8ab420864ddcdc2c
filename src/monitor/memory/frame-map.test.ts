import assert from "node:assert/strict";
import { test } from "node:test";
import { Frames } from "#machine/frames.ts";
import { frameRuns, framesByState } from "./frame-map.ts";

test("runs are all frames, in order, and neighbours differ", () => {
  const frames = Frames.create(2000);
  const root = frames.takeRoot(7);
  for (let i = 0; i < 500; i++) frames.take(1 + (i % 3), i % 7 === 0 ? "page-table" : "private");
  const runs = frameRuns(frames);
  let next = 0;
  for (const [i, { first, frames: count, state, owner }] of runs.entries()) {
    assert.equal(first, next);
    for (let frame = first; frame < first + count; frame++) assert.deepEqual([frames.info(frame).state, frames.info(frame).owner], [state, owner]);
    if (i > 0) assert.notDeepEqual([state, owner], [runs[i - 1]!.state, runs[i - 1]!.owner]);
    next = first + count;
  }
  assert.equal(next, 2000);
  assert.deepEqual(runs.find(({ owner }) => owner === 7), { first: root, frames: 4, state: "page-table", owner: 7 });
  const counts = framesByState(runs);
  assert.equal(counts.free, frames.available);
  assert.equal(counts["page-table"], 4 + Math.ceil(500 / 7));
});
