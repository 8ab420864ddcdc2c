import assert from "node:assert/strict";
import { test } from "node:test";
import { throughJson } from "../test-kit.ts";
import { VirtioEntropy } from "./entropy.ts";
import { MEMORY_BASE, TestDriver, type TestDriverOptions } from "./test-driver.ts";

function setUp(options: TestDriverOptions = {}) {
  let next = 0;
  const device = new VirtioEntropy({ fill: (bytes) => bytes.forEach((_, index) => (bytes[index] = ++next)) });
  return new TestDriver(device, options).start();
}

test("buffers are filled, whole, across frames, and the driver interrupted", () => {
  const driver = setUp({ scattered: true });
  const queue = driver.queue(0);
  const head = queue.offer([
    { address: MEMORY_BASE + 4090, length: 10, writable: true },
    { address: MEMORY_BASE + 0x4000, length: 4, writable: true },
  ]);
  queue.notify();
  assert.equal(driver.acknowledge(), 1);
  assert.deepEqual(queue.collect(), [{ head, written: 14 }]);
  assert.deepEqual([...driver.memory.get(MEMORY_BASE + 4090, 10)], [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
  assert.deepEqual([...driver.memory.get(MEMORY_BASE + 0x4000, 5)], [11, 12, 13, 14, 0]);
});

test("a request beyond reason is answered in part", () => {
  const driver = setUp();
  const queue = driver.queue(0);
  queue.offer([{ address: MEMORY_BASE, length: 0xf_0000, writable: true }]);
  queue.notify();
  assert.equal(queue.collect()[0]!.written, 65536);
  assert.equal(driver.memory.get(MEMORY_BASE + 65536, 1)[0], 0);
});

test("a buffer outside memory makes the device need a reset", () => {
  const driver = setUp();
  driver.queue(0).offer([{ address: MEMORY_BASE - 4, length: 8, writable: true }]);
  driver.queue(0).notify();
  assert.equal(driver.errors[0]?.code, "dma-out-of-range");
  assert.equal(driver.status & 0x40, 0x40);
});

test("saved and restored it goes on", () => {
  const before = setUp();
  const after = new TestDriver(new VirtioEntropy({ fill: (bytes) => void bytes.fill(9) }), { memory: before.memory });
  after.transport.restore(throughJson(before.transport.save()));
  after.queue(0).offer([{ address: MEMORY_BASE, length: 2, writable: true }]);
  after.queue(0).notify();
  assert.deepEqual([...after.memory.get(MEMORY_BASE, 3)], [9, 9, 0]);
});
