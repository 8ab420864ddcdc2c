import assert from "node:assert/strict";
import { test } from "node:test";
import { TestRandom, throughJson } from "../test-kit.ts";
import { VirtioConsole } from "./console.ts";
import { MEMORY_BASE, TestDriver, type TestDriverOptions } from "./test-driver.ts";

const bytes = (text: string) => new TextEncoder().encode(text);
const text = (some: Uint8Array) => new TextDecoder().decode(some.slice());

function setUp(options: TestDriverOptions = {}) {
  const written: string[] = [];
  let takesMore = true;
  let ready = 0;
  const device = new VirtioConsole({
    write(some) {
      written.push(text(some));
      return takesMore;
    },
    ready: () => void ready++,
  });
  const driver = new TestDriver(device, options);
  return {
    device, driver, written,
    hold: (held: boolean) => void (takesMore = !held),
    timesReady: () => ready,
    /** Offers a receive buffer. */
    offer(length: number, at = 0) {
      driver.queue(0).offer([{ address: MEMORY_BASE + at, length, writable: true }]);
      driver.queue(0).notify();
    },
    send(string: string, at = 0x8000) {
      driver.memory.put(MEMORY_BASE + at, bytes(string));
      driver.queue(1).offer([{ address: MEMORY_BASE + at, length: string.length }]);
      driver.queue(1).notify();
    },
  };
}

test("what the guest sends is written, and the buffer given back", () => {
  const { driver, written, send } = setUp();
  driver.start();
  send("hello ");
  send("world\n");
  assert.deepEqual(written, ["hello ", "world\n"]);
  assert.equal(driver.queue(1).collect().length, 2);
  assert.equal(driver.acknowledge(), 1);
});

test("input goes into the buffers that wait, as many as it needs", () => {
  const { device, driver, offer } = setUp({ scattered: true });
  driver.start();
  offer(4, 0);
  offer(4, 0x2ffe);
  offer(4, 0x5000);
  assert.equal(driver.line.level, false);
  assert.equal(device.receive(bytes("abcdef")), 6);
  assert.equal(driver.acknowledge(), 1);
  assert.deepEqual(driver.queue(0).collect().map(({ written }) => written), [4, 2]);
  assert.equal(text(driver.memory.get(MEMORY_BASE, 4)), "abcd");
  assert.equal(text(driver.memory.get(MEMORY_BASE + 0x2ffe, 2)), "ef");
});

test("input that comes before driver or buffer waits for it", () => {
  const { device, driver, offer } = setUp();
  device.receive(bytes("early"));
  driver.start();
  offer(16);
  assert.equal(driver.queue(0).collect()[0]?.written, 5);
  assert.equal(text(driver.memory.get(MEMORY_BASE, 5)), "early");
});

test("input beyond the buffer is refused until the guest has taken some", () => {
  const { device, driver, offer, timesReady } = setUp();
  driver.start();
  const paste = new Uint8Array(100_000).fill(120);
  const taken = device.receive(paste);
  assert.equal(taken, 65536);
  assert.equal(device.receive(paste), 0);
  offer(1000);
  assert.equal(timesReady(), 0);
  offer(40_000, 0x1000);
  assert.equal(timesReady(), 1);
  assert.equal(device.receive(paste.subarray(taken)), 100_000 - taken);
});

test("output waits while the back end takes no more", () => {
  const { device, driver, written, hold, send } = setUp();
  driver.start();
  hold(true);
  send("one", 0x8000);
  send("two", 0x9000);
  assert.deepEqual(written, ["one"]);
  assert.equal(driver.queue(1).collect().length, 1);
  hold(false);
  device.resume();
  assert.deepEqual(written, ["one", "two"]);
  assert.equal(driver.queue(1).collect().length, 1);
});

test("a new size is a configuration change", () => {
  const { device, driver } = setUp();
  driver.start();
  const generation = driver.get(0xfc);
  assert.equal(driver.get(0x100), (24 << 16) | 80);
  device.resize(132, 43);
  assert.notEqual(driver.get(0xfc), generation);
  assert.equal(driver.get(0x100), (43 << 16) | 132);
  assert.equal(driver.acknowledge(), 2);
});

test("an emergency write needs no queue", () => {
  const { driver, written } = setUp();
  driver.put(0x108, 0x41);
  assert.deepEqual(written, ["A"]);
});

test("a hostile length does not fill our memory", () => {
  const { driver } = setUp();
  driver.start();
  const big = { address: MEMORY_BASE, length: 0x10_0000 };
  driver.queue(1).offer([big, big]);
  driver.queue(1).notify();
  assert.equal(driver.errors[0]?.code, "virtio-bad-request");
});

test("saved and restored, neither input nor output is lost", () => {
  const before = setUp();
  before.driver.start();
  before.hold(true);
  before.send("one", 0x8000);
  before.send("two", 0x9000);
  before.device.receive(bytes("typed"));
  const after = setUp({ memory: before.driver.memory });
  after.driver.transport.restore(throughJson(before.driver.transport.save()));
  assert.deepEqual(after.written, ["two"]);
  after.offer(16);
  assert.equal(text(after.driver.memory.get(MEMORY_BASE, 5)), "typed");
});

test("random rings neither throw nor go on for ever", () => {
  for (let seed = 1; seed <= 60; seed++) {
    const random = new TestRandom(seed);
    const { device, driver } = setUp({ scattered: random.below(2) === 0 });
    driver.start();
    for (let round = 0; round < 20; round++) {
      const index = random.below(2);
      const queue = driver.queue(index);
      const tables = [queue.descriptors, MEMORY_BASE + 0x6000];
      for (let count = 0; count < 6; count++) {
        const buffer = {
          address: random.pick([MEMORY_BASE + random.below(1 << 20), tables[1]!, random.u32(), 2 ** 40]),
          length: random.pick([0, 1, 16, 48, 4096, random.u32()]),
        };
        queue.writeDescriptor(random.pick(tables), random.below(16), buffer, random.below(8), random.below(18));
      }
      queue.makeAvailable(random.below(17));
      if (random.below(10) === 0) driver.memory.setU16(queue.available + 2, random.u32() & 0xffff);
      queue.notify();
      device.receive(bytes("input"));
      if (driver.status & 0x40) driver.start();
    }
  }
});
