import assert from "node:assert/strict";
import { test } from "node:test";
import { throughJson } from "../test-kit.ts";
import type { VirtioDevice, VirtioHost } from "./device.ts";
import type { Chain } from "./queue.ts";
import { MEMORY_BASE, TestDriver, type TestDriverOptions } from "./test-driver.ts";

/** Keeps the chains that it gets; the test says when to give them back. */
class HoldingDevice implements VirtioDevice {
  readonly deviceId = 99;
  readonly features = [];
  readonly queueSizes = [256];
  readonly config = Uint8Array.of(1, 2, 3, 4, 5);
  chains: Chain[] = [];
  host!: VirtioHost;

  attach(host: VirtioHost): void {
    this.host = host;
  }

  get queue() {
    return this.host.queues[0]!;
  }

  notified(): void {
    this.queue.drain((chain) => void this.chains.push(chain));
  }

  complete(...indices: number[]): void {
    this.host.run(() => {
      for (const index of indices) this.queue.push(this.chains[index]!, 10 + index);
      this.queue.signal();
    });
  }

  reset(): void {}

  save() {
    return { kind: "holding", version: 1 };
  }

  restore(): void {}
}

function setUp(options: TestDriverOptions = {}) {
  const device = new HoldingDevice();
  return { device, driver: new TestDriver(device, options).start() };
}

const A = { address: MEMORY_BASE, length: 16 };
const B = { address: MEMORY_BASE + 0x1000, length: 512, writable: true };
const C = { address: MEMORY_BASE + 0x2000, length: 1, writable: true };

for (const scattered of [false, true]) {
  test(`a chain arrives as it was offered, direct and indirect (memory ${scattered ? "scattered" : "contiguous"})`, () => {
    const { device, driver } = setUp({ scattered });
    const queue = driver.queue(0);
    const heads = [
      queue.offer([A, B, C]),
      queue.offerIndirect([A, B, C], MEMORY_BASE + 0x3000),
      queue.offerIndirect(Array(300).fill(A), MEMORY_BASE + 0x4ff0),
      queue.offerIndirect([A, B, C], MEMORY_BASE + 0x7ff6),
    ];
    queue.notify();
    assert.deepEqual(driver.errors, []);
    assert.deepEqual(device.chains.map((chain) => chain.head), heads);
    for (const index of [0, 1, 3]) {
      assert.deepEqual(device.chains[index]!.readable, [A]);
      assert.deepEqual(device.chains[index]!.writable, [{ address: B.address, length: 512 }, { address: C.address, length: 1 }]);
    }
    assert.equal(device.chains[2]!.readable.length, 300);
  });
}

test("normal descriptors may lead to an indirect one", () => {
  const { device, driver } = setUp();
  const queue = driver.queue(0);
  queue.writeDescriptor(MEMORY_BASE + 0x3000, 0, B, 0, 0);
  queue.writeDescriptor(queue.descriptors, 0, A, 1, 1);
  queue.writeDescriptor(queue.descriptors, 1, { address: MEMORY_BASE + 0x3000, length: 16 }, 4 | 2, 0);
  queue.makeAvailable(0);
  queue.notify();
  assert.deepEqual(device.chains.map((chain) => [chain.readable.length, chain.writable.length]), [[1, 1]]);
});

test("chains are given back in any order, and the driver is told", () => {
  const { device, driver } = setUp({ features: [] });
  const queue = driver.queue(0);
  const heads = [queue.offer([C]), queue.offer([C]), queue.offer([C])];
  queue.notify();
  assert.equal(driver.line.level, false);
  device.complete(2, 0);
  assert.equal(driver.acknowledge(), 1);
  assert.deepEqual(queue.collect(), [{ head: heads[2]!, written: 12 }, { head: heads[0]!, written: 10 }]);
});

test("the rings go round, beyond 2^16", () => {
  const { device, driver } = setUp({ queueSize: 4 });
  const queue = driver.queue(0);
  for (let count = 0; count < 70_000; count++) {
    const head = queue.offer([C]);
    queue.notify();
    device.complete(0);
    device.chains = [];
    const completed = queue.collect();
    if (completed.length !== 1 || completed[0]!.head !== head) assert.fail(`at ${count}: ${JSON.stringify(completed)}`);
  }
  assert.deepEqual(driver.errors, []);
});

test("without EVENT_IDX the driver's flag silences the device", () => {
  const { device, driver } = setUp({ features: [] });
  const queue = driver.queue(0);
  driver.memory.setU16(queue.available, 1);
  queue.offer([C]);
  queue.notify();
  device.complete(0);
  assert.equal(driver.line.rises, 0);
  assert.equal(queue.collect().length, 1);
});

test("with EVENT_IDX the driver is told when the used index passes what it named, and not else", () => {
  const { device, driver } = setUp();
  const queue = driver.queue(0);
  for (let count = 0; count < 6; count++) queue.offer([C]);
  queue.notify();
  queue.setUsedEvent(3);
  device.complete(0, 1, 2);
  assert.equal(driver.line.level, false);
  device.complete(3);
  assert.equal(driver.acknowledge(), 1);
  device.complete(4);
  assert.equal(driver.line.level, false);
  queue.setUsedEvent(5);
  device.complete(5);
  assert.equal(driver.line.level, true);
});

test("with EVENT_IDX the device says from which buffer on it wants to be notified", () => {
  const { driver } = setUp();
  const queue = driver.queue(0);
  queue.offer([C]);
  queue.offer([C]);
  assert.equal(queue.availableEvent(), 0);
  queue.notify();
  assert.equal(queue.availableEvent(), 2);
});

const hostile: Record<string, (driver: TestDriver) => void> = {
  "a loop of descriptors": (driver) => {
    const q = driver.queue(0);
    q.writeDescriptor(q.descriptors, 0, A, 1, 1);
    q.writeDescriptor(q.descriptors, 1, A, 1, 0);
    q.makeAvailable(0);
  },
  "a descriptor that names itself": (driver) => {
    const q = driver.queue(0);
    q.writeDescriptor(q.descriptors, 3, B, 1, 3);
    q.makeAvailable(3);
  },
  "a head beyond the table": (driver) => driver.queue(0).makeAvailable(16),
  "a next beyond the table": (driver) => {
    const q = driver.queue(0);
    q.writeDescriptor(q.descriptors, 0, A, 1, 16);
    q.makeAvailable(0);
  },
  "an available index far ahead": (driver) => driver.memory.setU16(driver.queue(0).available + 2, 17),
  "an available index that goes back": (driver) => driver.memory.setU16(driver.queue(0).available + 2, 0xffff),
  "a readable buffer after a writable one": (driver) => void driver.queue(0).offer([B, A]),
  "an empty indirect table": (driver) => void driver.queue(0).offerIndirect([], MEMORY_BASE),
  "an indirect table of an odd size": (driver) => {
    const q = driver.queue(0);
    q.writeDescriptor(q.descriptors, 0, { address: MEMORY_BASE, length: 24 }, 4, 0);
    q.makeAvailable(0);
  },
  "an enormous indirect table": (driver) => {
    const q = driver.queue(0);
    q.writeDescriptor(q.descriptors, 0, { address: MEMORY_BASE, length: 0xffff_fff0 }, 4, 0);
    q.makeAvailable(0);
  },
  "an indirect table outside memory": (driver) => {
    const q = driver.queue(0);
    q.writeDescriptor(q.descriptors, 0, { address: 0x1000, length: 32 }, 4, 0);
    q.makeAvailable(0);
  },
  "an indirect table within one": (driver) => {
    const q = driver.queue(0);
    q.writeDescriptor(MEMORY_BASE, 0, { address: MEMORY_BASE, length: 16 }, 4, 0);
    q.writeDescriptor(q.descriptors, 0, { address: MEMORY_BASE, length: 16 }, 4, 0);
    q.makeAvailable(0);
  },
  "an indirect descriptor that goes on": (driver) => {
    const q = driver.queue(0);
    q.writeDescriptor(q.descriptors, 0, { address: MEMORY_BASE, length: 16 }, 5, 1);
    q.makeAvailable(0);
  },
  "an indirect table that loops": (driver) => {
    const q = driver.queue(0);
    q.writeDescriptor(MEMORY_BASE, 0, A, 1, 0);
    q.writeDescriptor(q.descriptors, 0, { address: MEMORY_BASE, length: 16 }, 4, 0);
    q.makeAvailable(0);
  },
  "buffers of more than 2^32 bytes": (driver) => void driver.queue(0).offer([{ ...A, length: 0xffff_ffff }, { ...A, length: 2 }]),
};

for (const [name, breakQueue] of Object.entries(hostile)) {
  test(`${name} makes the device need a reset, is reported, and a reset heals it`, () => {
    const { device, driver } = setUp();
    breakQueue(driver);
    driver.queue(0).notify();
    assert.equal(driver.errors.length, 1);
    assert.match(driver.errors[0]!.code, /^(virtio-bad-queue|dma-out-of-range)$/);
    assert.equal(driver.status, 0x4f);
    assert.equal(driver.acknowledge(), 2, "the driver hears of it by a configuration change");
    driver.queue(0).notify();
    assert.equal(driver.errors.length, 1, "nothing is done until the reset");
    driver.start();
    assert.equal(driver.status, 15);
    device.chains = [];
    driver.queue(0).offer([A]);
    driver.queue(0).notify();
    assert.equal(device.chains.length, 1);
    assert.equal(driver.errors.length, 1);
  });
}

test("an indirect table is refused if it was not negotiated", () => {
  const { driver } = setUp({ features: [] });
  driver.queue(0).offerIndirect([A], MEMORY_BASE + 0x3000);
  driver.queue(0).notify();
  assert.equal(driver.errors[0]?.code, "virtio-bad-queue");
});

test("the same chains made available again and again without waiting are refused", () => {
  const { driver } = setUp({ queueSize: 4 });
  const queue = driver.queue(0);
  for (let count = 0; count < 4; count++) queue.offer([A]);
  queue.notify();
  assert.equal(driver.errors.length, 0);
  queue.offer([A]);
  queue.notify();
  assert.equal(driver.errors[0]?.code, "virtio-bad-queue");
});

const badSetUps: Record<string, [offset: number, value: number]> = {
  "size 0": [0x38, 0],
  "size no power of two": [0x38, 12],
  "size beyond the maximum": [0x38, 512],
  "table not aligned": [0x80, 0x8000_0008],
  "available ring not aligned": [0x90, 0x8000_0001],
  "used ring not aligned": [0xa0, 0x8000_0002],
};
for (const [name, [offset, value]] of Object.entries(badSetUps)) {
  test(`a queue is not set up with its ${name}`, () => {
    const { driver } = setUp();
    driver.negotiate();
    driver.put(0x30, 0);
    driver.put(0x38, 16);
    driver.put(offset, value);
    driver.put(0x44, 1);
    assert.equal(driver.get(0x44), 0);
    assert.equal(driver.errors[0]?.code, "virtio-bad-queue");
  });
}

test("rings outside memory are found when they are used", () => {
  for (const [low, high] of [[0x1000, 0], [0xffff_fff0, 0xffff_ffff]] as const) {
    for (const register of [0x80, 0x90, 0xa0]) {
      const { device, driver } = setUp();
      driver.queue(0).offer([A]);
      driver.put(0x44, 0);
      driver.put(register, low);
      driver.put(register + 4, high);
      driver.put(0x44, 1);
      driver.queue(0).notify();
      device.complete(0);
      assert.equal(driver.errors[0]?.code, "dma-out-of-range");
    }
  }
});

test("a chain of before a queue's reset is not given back after it", () => {
  const { device, driver } = setUp();
  driver.queue(0).offer([C]);
  driver.queue(0).notify();
  driver.put(0x44, 0);
  driver.put(0x44, 1);
  device.complete(0);
  assert.deepEqual(driver.queue(0).collect(), []);
});

test("saved and restored with chains in flight, the indices go on", () => {
  const before = setUp();
  const heads = [before.driver.queue(0).offer([C]), before.driver.queue(0).offer([C])];
  before.driver.queue(0).notify();
  before.device.complete(0);
  const device = new HoldingDevice();
  const after = new TestDriver(device, { memory: before.driver.memory });
  after.transport.restore(throughJson(before.driver.transport.save()));
  assert.equal(after.line.level, true);
  device.chains = [device.queue.chain(heads[1]!)];
  device.complete(0);
  assert.deepEqual(after.queue(0).collect().map(({ head }) => head), heads);
  after.memory.setU16(after.queue(0).available + 2, 3);
  after.queue(0).notify();
  assert.equal(device.chains.length, 2);
});

test("a snapshot of another device or with broken queues is refused or harmless", () => {
  const { driver } = setUp();
  const state = driver.transport.save() as unknown as { queues: Record<string, unknown>[] };
  assert.throws(() => new TestDriver(undefined).transport.restore(state), { code: "bad-snapshot" });
  assert.throws(() => driver.transport.restore({ ...state, queues: [] }), { code: "bad-snapshot" });
  assert.throws(() => driver.transport.restore({ ...state, status: 256 }), { code: "bad-snapshot" });
  driver.transport.restore({ ...state, queues: [{ ...state.queues[0], size: 3 }] });
  assert.deepEqual(driver.errors.map((error) => error.code), ["virtio-bad-queue"]);
  assert.equal(driver.status & 0x40, 0x40);
});
