import assert from "node:assert/strict";
import { test } from "node:test";
import { fuzzRegisters } from "../test-kit.ts";
import { VirtioConsole } from "./console.ts";
import { VirtioEntropy } from "./entropy.ts";
import { TestDriver } from "./test-driver.ts";

const entropy = () => new VirtioEntropy({ fill: (bytes) => void bytes.fill(7) });

test("an empty slot says that it is one, and nothing disturbs it", () => {
  const { transport, line } = new TestDriver(undefined);
  assert.deepEqual([0, 4, 8].map((offset) => transport.read(offset, 4)), [0x7472_6976, 2, 0]);
  fuzzRegisters(transport, 1);
  assert.equal(transport.read(8, 4), 0);
  assert.equal(transport.read(0x70, 4), 0);
  assert.equal(line.rises, 0);
});

test("the identity registers tell magic, version and device", () => {
  const { transport } = new TestDriver(entropy());
  assert.deepEqual([0, 4, 8].map((offset) => transport.read(offset, 4)), [0x7472_6976, 2, 4]);
  assert.equal(transport.read(0, 1), 0, "registers are 32 bits wide");
});

test("features are offered by words, and settled at FEATURES_OK", () => {
  const driver = new TestDriver(new VirtioConsole({ write: () => true }));
  driver.put(0x14, 0);
  assert.equal(driver.get(0x10), (1 << 29) + (1 << 28) + 5);
  driver.put(0x14, 1);
  assert.equal(driver.get(0x10), 1);
  driver.put(0x14, 2);
  assert.equal(driver.get(0x10), 0);
  driver.negotiate();
  assert.equal(driver.transport.negotiated(0), true);
  driver.put(0x24, 0);
  driver.put(0x20, 0);
  assert.equal(driver.transport.negotiated(0), true);
});

test("a driver that accepts what was not offered does not get FEATURES_OK", () => {
  for (const words of [[1, 1], [0, 3]]) {
    const driver = new TestDriver(entropy());
    driver.put(0x70, 3);
    words.forEach((word, select) => {
      driver.put(0x24, select);
      driver.put(0x20, word);
    });
    driver.put(0x70, 11);
    assert.equal(driver.status, 3);
  }
});

test("xv6's driver finds what it looks for: QEMU's device, and no need to accept version 1", () => {
  const driver = new TestDriver(entropy());
  assert.equal(driver.get(0x0c), 0x554d_4551);
  driver.put(0x70, 3);
  driver.put(0x20, 0);
  driver.put(0x70, 11);
  assert.equal(driver.status, 11);
});

test("a queue that does not exist reads as 0 and ignores writes; a ready one can't be changed", () => {
  const driver = new TestDriver(entropy()).start();
  driver.put(0x30, 1);
  driver.put(0x38, 4);
  driver.put(0x44, 1);
  assert.deepEqual([driver.get(0x34), driver.get(0x44)], [0, 0]);
  driver.put(0x50, 1);
  driver.put(0x50, 0xffff_ffff);
  driver.put(0x30, 0);
  driver.put(0x38, 3);
  driver.put(0x44, 0);
  driver.put(0x44, 1);
  assert.equal(driver.get(0x44), 1, "the size was not changed while it was ready");
  assert.deepEqual(driver.errors, []);
});

test("nothing is done for a driver that is not ready", () => {
  const driver = new TestDriver(entropy());
  driver.negotiate();
  driver.setUpQueue(0);
  driver.queue(0).offer([{ address: driver.memory.base, length: 8, writable: true }]);
  driver.queue(0).notify();
  assert.deepEqual(driver.queue(0).collect(), []);
});

test("there is no shared memory", () => {
  const driver = new TestDriver(entropy());
  assert.deepEqual([0xb0, 0xb4, 0xb8, 0xbc].map((offset) => driver.get(offset)), Array(4).fill(0xffff_ffff));
});

test("a reset takes back queues, features and interrupts", () => {
  const driver = new TestDriver(entropy()).start();
  driver.queue(0).offer([{ address: driver.memory.base, length: 8, writable: true }]);
  driver.queue(0).notify();
  assert.equal(driver.line.level, true);
  driver.put(0x70, 0);
  assert.equal(driver.line.level, false);
  driver.put(0x30, 0);
  assert.deepEqual([driver.status, driver.get(0x60), driver.get(0x44)], [0, 0, 0]);
  assert.equal(driver.transport.negotiated(32), false);
});

test("the configuration space is read by bytes, half words and words, and is 0 beyond its end", () => {
  const { transport } = new TestDriver(new VirtioConsole({ write: () => true }, { columns: 0x1234, rows: 0x5678 }));
  assert.equal(transport.read(0x100, 4), 0x5678_1234);
  assert.equal(transport.read(0x102, 2), 0x5678);
  assert.equal(transport.read(0x101, 1), 0x12);
  assert.equal(transport.read(0x10c, 4), 0);
});

test("no access makes it throw", () => {
  for (const seed of [1, 2, 3]) {
    fuzzRegisters(new TestDriver(entropy()).start().transport, seed);
    fuzzRegisters(new TestDriver(new VirtioConsole({ write: () => true })).transport, seed);
    fuzzRegisters(new TestDriver(new VirtioConsole({ write: () => true }, { port: { name: "x", write: () => true, opened() {} } })).start().transport, seed);
  }
});

test("its node is Linux's", () => {
  const { transport } = new TestDriver(undefined);
  assert.deepEqual(transport.deviceTreeNode({ address: 0x1000_1000, interrupt: 1, interruptParent: 5 }), {
    name: "virtio_mmio@10001000",
    properties: { compatible: "virtio,mmio", reg: [0, 0x1000_1000, 0, 0x1000], interrupts: [1], "interrupt-parent": [5] },
  });
});
