import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { Frames, NOBODY, ZERO_FRAME } from "./frames.ts";

suite("frames", () => {
  test("each is given once, and all are", () => {
    const frames = Frames.create(1000);
    const taken = new Set<number>();
    for (let i = 1; i < 1000; i++) taken.add(frames.take(7, "private"));
    assert.equal(taken.size, 999);
    assert.deepEqual([Math.min(...taken), Math.max(...taken)], [1, 999]);
    assert.equal(frames.available, 0);
    assert.deepEqual(frames.info(ZERO_FRAME), { owner: NOBODY, state: "zero", count: 1 });
    assert.equal(frames.take(7, "private"), -1);
  });

  test("come scattered within 2 MiB, and window after window", () => {
    const frames = Frames.create(4096);
    const taken = Array.from({ length: 1024 }, () => frames.take(1, "private"));
    const neighbours = taken.filter((frame, i) => i > 0 && Math.abs(frame - taken[i - 1]!) === 1);
    assert.ok(neighbours.length < 20, `${neighbours.length} neighbours`);
    assert.ok(taken.slice(0, 511).every((frame) => frame < 512));
  });

  test("what was given back is used first, by whichever thread", () => {
    const first = Frames.create(8192);
    const second = new Frames(first.shared);
    const taken = Array.from({ length: 4096 }, () => first.take(1, "private"));
    const back = [taken[3000]!, taken[700]!, taken[1500]!, taken[1501]!];
    for (const frame of back) first.release(frame);
    const again = back.map(() => second.take(2, "private"));
    assert.deepEqual(again.sort(), back.sort());
    assert.ok(first.take(1, "private") >= 4096);
  });

  test("know their owner, state and number of users; the last user frees", () => {
    const frames = Frames.create(64);
    const frame = frames.take(3, "pinned");
    assert.deepEqual(frames.info(frame), { owner: 3, state: "pinned", count: 1 });
    frames.release(frame);
    assert.deepEqual(frames.info(frame), { owner: 0, state: "free", count: 0 });
    assert.equal(frames.available, frames.usable);
    assert.throws(() => frames.release(frame), /a free frame was released/);
    // As a hint says that another hart was just writing.
    assert.equal(frames.join(0xffff_ffff, 0), false);
  });

  test("are joined only by those that they are shared among, and are one's again who is alone", () => {
    const frames = Frames.create(64);
    const frame = frames.take(3, "private");
    frames.share(frame, 0xffff);
    assert.deepEqual([frames.join(frame, 7), frames.join(frame, 0xffff)], [false, true]);
    assert.deepEqual(frames.info(frame), { owner: 0, state: "shared", count: 2 });
    assert.equal(frames.reclaim(frame, 5), false);
    frames.release(frame);
    assert.equal(frames.reclaim(frame, 5), true);
    assert.deepEqual(frames.info(frame), { owner: 5, state: "private", count: 1 });
  });

  test("a root is four frames at a multiple of four", () => {
    const frames = Frames.create(20);
    const one = frames.take(1, "private");
    const roots = [frames.takeRoot(1), frames.takeRoot(1), frames.takeRoot(1)];
    assert.deepEqual(roots.map((root) => root % 4), [0, 0, 0]);
    assert.ok(roots.every((root) => one < root || one >= root + 4));
    assert.equal(frames.takeRoot(1), -1);
  });

  test("another thread's view is of the same frames", () => {
    const first = Frames.create(64);
    const second = new Frames(first.shared);
    const taken = new Set(Array.from({ length: 63 }, (_, i) => (i % 2 === 0 ? first : second).take(1, "private")));
    assert.equal(taken.size, 63);
    assert.equal(second.available, 0);
  });
});
