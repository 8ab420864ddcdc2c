import assert from "node:assert/strict";
import { test } from "node:test";
import { Worker } from "node:worker_threads";
import { ByteRing } from "./byte-ring.ts";

test("bytes come out in order, around the end, and no more than there are", () => {
  const ring = ByteRing.create(8);
  assert.equal(ring.push(Uint8Array.of(1, 2, 3, 4, 5, 6)), 6);
  assert.deepEqual([...ring.shift(4)], [1, 2, 3, 4]);
  assert.equal(ring.push(Uint8Array.of(7, 8, 9, 10, 11, 12, 13)), 6);
  assert.equal(ring.free, 0);
  assert.equal(ring.push(Uint8Array.of(1)), 0);
  assert.deepEqual([...ring.shift()], [5, 6, 7, 8, 9, 10, 11, 12]);
  assert.deepEqual([...ring.shift()], []);
});

test("the counts may wrap around 32 bits", () => {
  const ring = ByteRing.create(8);
  new Int32Array(ring.buffer, 0, 2).fill(-3);
  assert.equal(ring.push(Uint8Array.of(1, 2, 3, 4, 5)), 5);
  assert.equal(ring.length, 5);
  assert.deepEqual([...ring.shift()], [1, 2, 3, 4, 5]);
});

test("nobody waits for a ring that has ended", async () => {
  const ring = ByteRing.create(8);
  const waiting = ring.waitForBytes();
  ring.end();
  await waiting;
  ring.push(new Uint8Array(8));
  await ring.roomAgain();
  assert.ok(ring.ended);
});

test("another thread's bytes all arrive, though both sides have to wait", async () => {
  const ring = ByteRing.create(64);
  const source = `
    const { workerData } = require("node:worker_threads");
    import(workerData.module).then(({ ByteRing }) => {
      const ring = new ByteRing(workerData.buffer);
      for (let sent = 0; sent < 10000; ) {
        const chunk = Uint8Array.from({ length: Math.min(50, 10000 - sent) }, (_, i) => sent + i);
        const taken = ring.push(chunk);
        sent += taken;
        if (taken < chunk.length) ring.waitForRoom();
      }
    });`;
  const module = new URL("./byte-ring.ts", import.meta.url).href;
  const worker = new Worker(source, { eval: true, workerData: { module, buffer: ring.buffer } });
  let received = 0;
  while (received < 10000) {
    await ring.waitForBytes();
    for (const byte of ring.shift(17)) assert.equal(byte, received++ & 255);
  }
  await worker.terminate();
});
