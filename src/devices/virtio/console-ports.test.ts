import assert from "node:assert/strict";
import { test } from "node:test";
import { TestRandom, throughJson } from "../test-kit.ts";
import { VirtioConsole } from "./console.ts";
import { MEMORY_BASE, TestDriver, type TestDriverOptions } from "./test-driver.ts";

const bytes = (text: string) => new TextEncoder().encode(text);
const text = (some: Uint8Array) => new TextDecoder().decode(some.slice());

/* Section 5.3.2: the queues; section 5.3.6.2: the events. */
const Queue = { input: 0, output: 1, news: 2, orders: 3, portInput: 4, portOutput: 5 } as const;
const Event = { deviceReady: 0, portAdd: 1, portReady: 3, consolePort: 4, resize: 5, portOpen: 6, portName: 7 } as const;
const MULTIPORT = 1;
const NAME = "org.example.port";

function setUp(options: TestDriverOptions = {}) {
  const opened: boolean[] = [];
  let written = "";
  let ready = 0;
  const device = new VirtioConsole({ write: () => true }, {
    columns: 100,
    rows: 30,
    port: { name: NAME, write: (some) => (written += text(some), true), opened: (open) => void opened.push(open), ready: () => void ready++ },
  });
  const driver = new TestDriver(device, options);
  let place = MEMORY_BASE;
  const offered: number[] = [];
  return {
    device, driver, opened,
    written: () => written,
    timesReady: () => ready,
    /** Offers buffers for messages from the device. */
    listen(buffers = 16, length = 64) {
      for (let count = 0; count < buffers; count++) {
        offered.push(place);
        driver.queue(Queue.news).offer([{ address: place, length, writable: true }]);
        place += 0x100;
      }
      driver.queue(Queue.news).notify();
    },
    order(port: number, event: number, value: number) {
      driver.memory.setU32(MEMORY_BASE + 0x8000, port);
      driver.memory.setU16(MEMORY_BASE + 0x8004, event);
      driver.memory.setU16(MEMORY_BASE + 0x8006, value);
      driver.queue(Queue.orders).offer([{ address: MEMORY_BASE + 0x8000, length: 8 }]);
      driver.queue(Queue.orders).notify();
      assert.equal(driver.queue(Queue.orders).collect().length, 1, "Linux spins until its message is taken");
    },
    /** What the device has said: port, event, value, and what follows. */
    news: () => driver.queue(Queue.news).collect().map(({ written: length }) => {
      const at = offered.shift()!;
      return [driver.memory.u32(at), driver.memory.u16(at + 4), driver.memory.u16(at + 6), text(driver.memory.get(at + 8, length - 8))];
    }),
    offer(queue: number, length: number, at = 0x9000) {
      driver.queue(queue).offer([{ address: MEMORY_BASE + at, length, writable: true }]);
      driver.queue(queue).notify();
    },
  };
}

test("without a port for programs, there are two queues and no word of others", () => {
  const device = new VirtioConsole({ write: () => true });
  assert.equal(device.queueSizes.length, 2);
  assert.ok(!device.features.includes(MULTIPORT));
  assert.deepEqual([...device.config.subarray(4, 8)], [0, 0, 0, 0]);
});

test("a driver hears of both ports, what they are, and that the host is there", () => {
  const { driver, listen, order, news } = setUp();
  assert.equal(driver.get(0x104), 2, "max_nr_ports");
  driver.start();
  listen();
  order(0xffff_ffff, Event.deviceReady, 1);
  assert.deepEqual(news(), [[0, Event.portAdd, 0, ""], [1, Event.portAdd, 0, ""]]);
  order(0, Event.portReady, 1);
  assert.deepEqual(news(), [[0, Event.consolePort, 1, ""], [0, Event.resize, 0, "d\0\x1e\0"], [0, Event.portOpen, 1, ""]]);
  order(1, Event.portReady, 1);
  assert.deepEqual(news(), [[1, Event.portName, 0, NAME], [1, Event.portOpen, 1, ""]]);
});

test("what is to be said waits for buffers, each thing once, and is how things are by then", () => {
  const { device, driver, listen, order, news } = setUp();
  driver.start();
  for (let count = 0; count < 1000; count++) order(0, Event.portReady, 1);
  device.resize(50, 20);
  device.resize(60, 21);
  listen();
  assert.deepEqual(news(), [[0, Event.consolePort, 1, ""], [0, Event.resize, 0, "<\0\x15\0"], [0, Event.portOpen, 1, ""]]);
  device.resize(61, 22);
  assert.deepEqual(news(), [[0, Event.resize, 0, "=\0\x16\0"]]);
});

test("bytes go both ways once a program has opened the port; before, and after, they are nobody's", () => {
  const { device, driver, opened, written, order, offer } = setUp();
  driver.start();
  assert.equal(device.receiveNamed(bytes("early")), 5);
  order(1, Event.portOpen, 1);
  offer(Queue.portInput, 16);
  assert.deepEqual(driver.queue(Queue.portInput).collect(), []);
  assert.equal(device.receiveNamed(bytes("hello")), 5);
  assert.deepEqual(driver.queue(Queue.portInput).collect().map(({ written: length }) => length), [5]);
  assert.equal(text(driver.memory.get(MEMORY_BASE + 0x9000, 5)), "hello");
  driver.memory.put(MEMORY_BASE + 0xa000, bytes("answer"));
  driver.queue(Queue.portOutput).offer([{ address: MEMORY_BASE + 0xa000, length: 6 }]);
  driver.queue(Queue.portOutput).notify();
  assert.equal(written(), "answer");
  device.receiveNamed(bytes("for a program that goes"));
  order(1, Event.portOpen, 0);
  offer(Queue.portInput, 64);
  assert.deepEqual(driver.queue(Queue.portInput).collect(), []);
  assert.deepEqual(opened, [true, false]);
});

test("a port takes no more than it has room for, and says when it has again", () => {
  const { device, driver, order, offer, timesReady } = setUp();
  driver.start();
  order(1, Event.portOpen, 1);
  assert.equal(device.receiveNamed(new Uint8Array(100_000)), 65536);
  offer(Queue.portInput, 40_000);
  assert.equal(timesReady(), 1);
  device.receiveNamed(new Uint8Array(100_000));
  driver.put(0x70, 0);
  assert.equal(timesReady(), 2, "after a reset, there is room");
});

test("a driver that doesn't know of ports has a console as ever", () => {
  const { device, driver, written, opened } = setUp({ features: [0] });
  driver.start();
  for (const queue of [2, 3, 4, 5]) driver.queue(queue).notify();
  driver.queue(Queue.input).offer([{ address: MEMORY_BASE, length: 8, writable: true }]);
  driver.queue(Queue.input).notify();
  device.receive(bytes("typed"));
  device.resize(10, 10);
  assert.equal(driver.queue(Queue.input).collect()[0]?.written, 5);
  assert.deepEqual([written(), opened], ["", []]);
});

test("a reset closes the port, and the driver is to ask again", () => {
  const { driver, opened, listen, order, news } = setUp();
  driver.start();
  order(1, Event.portReady, 1);
  order(1, Event.portOpen, 1);
  driver.start();
  listen();
  assert.deepEqual([opened, news()], [[true, false], []]);
});

test("messages that make no sense are taken and passed over, but too little room for ours is an error", () => {
  const { driver, opened, listen, order, news } = setUp();
  driver.start();
  listen(4);
  for (const [port, event, value] of [[2, 3, 1], [0xffff_ffff, 6, 1], [1, 99, 1], [1, 3, 0], [0, 0, 0], [1, 1, 1]] as const) order(port, event, value);
  driver.queue(Queue.orders).offer([{ address: MEMORY_BASE, length: 7 }]);
  driver.queue(Queue.orders).notify();
  assert.deepEqual([news(), opened, driver.errors], [[], [], []]);
  const small = setUp();
  small.driver.start();
  small.listen(1, 7);
  small.order(0, Event.deviceReady, 1);
  assert.equal(small.driver.errors[0]?.code, "virtio-bad-request");
});

test("saved and restored, the port is open, and nothing is lost", () => {
  const before = setUp();
  before.driver.start();
  before.order(1, Event.portReady, 1);
  before.order(1, Event.portOpen, 1);
  before.device.receiveNamed(bytes("typed"));
  const after = setUp({ memory: before.driver.memory });
  after.driver.transport.restore(throughJson(before.driver.transport.save()));
  assert.deepEqual(after.opened, [true]);
  after.listen();
  assert.deepEqual(after.news().map(([, event]) => event), [Event.portName, Event.portOpen]);
  after.offer(Queue.portInput, 16);
  assert.equal(text(after.driver.memory.get(MEMORY_BASE + 0x9000, 5)), "typed");
  assert.throws(() => new VirtioConsole({ write: () => true }).restore(throughJson(before.device.save())), { code: "bad-snapshot" });
});

test("random rings neither throw nor go on for ever", () => {
  for (let seed = 1; seed <= 60; seed++) {
    const random = new TestRandom(seed);
    const { device, driver } = setUp({ scattered: random.below(2) === 0 });
    driver.start();
    for (let round = 0; round < 30; round++) {
      const queue = driver.queue(random.below(6));
      const tables = [queue.descriptors, MEMORY_BASE + 0x6000];
      for (let at = 0; at < 64; at += 8) {
        driver.memory.setU32(MEMORY_BASE + at, random.below(3));
        driver.memory.setU32(MEMORY_BASE + at + 4, random.below(8) + 0x1_0000 * random.below(2));
      }
      for (let count = 0; count < 6; count++) {
        const buffer = {
          address: random.pick([MEMORY_BASE + 8 * random.below(8), MEMORY_BASE + random.below(1 << 20), tables[1]!, random.u32(), 2 ** 40]),
          length: random.pick([0, 7, 8, 16, 48, 4096, random.u32()]),
        };
        queue.writeDescriptor(random.pick(tables), random.below(16), buffer, random.below(8), random.below(18));
      }
      queue.makeAvailable(random.below(17));
      if (random.below(10) === 0) driver.memory.setU16(queue.available + 2, random.u32() & 0xffff);
      queue.notify();
      device.receiveNamed(bytes("input"));
      if (random.below(4) === 0) device.resize(random.below(200), random.below(100));
      if (driver.status & 0x40) driver.start();
    }
  }
});
