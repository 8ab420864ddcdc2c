import assert from "node:assert/strict";
import { test } from "node:test";
import { ByteQueue } from "./byte-queue.ts";
import { TestRandom } from "./test-kit.ts";

test("bytes come out in the order they went in, around the buffer's end, and none beyond its capacity", () => {
  const random = new TestRandom(11);
  const queue = new ByteQueue(13);
  const model: number[] = [];
  let next = 0;
  for (let step = 0; step < 5000; step++) {
    if (random.below(2) === 0) {
      const bytes = Uint8Array.from({ length: random.below(10) }, (_, index) => next + index);
      const taken = queue.push(bytes);
      assert.equal(taken, Math.min(bytes.length, 13 - model.length));
      model.push(...bytes.subarray(0, taken));
      next += taken;
    } else {
      const into = new Uint8Array(random.below(10));
      const count = queue.shift(into);
      assert.deepEqual([...into.subarray(0, count)], model.splice(0, into.length));
    }
    assert.equal(queue.length, model.length);
    assert.deepEqual(queue.toArray(), model);
  }
});
