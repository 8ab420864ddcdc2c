import assert from "node:assert/strict";
import { test } from "node:test";
import { TestLine, fuzzRegisters, throughJson } from "./test-kit.ts";
import { Uart16550 } from "./uart16550.ts";

const text = (bytes: number[]) => String.fromCharCode(...bytes);
const bytes = (string: string) => new TextEncoder().encode(string);

function setUp() {
  const line = new TestLine();
  const sent: number[] = [];
  let ready = 0;
  const uart = new Uart16550(line, { write: (some) => void sent.push(...some), ready: () => void ready++ });
  return {
    line, sent, uart,
    timesReady: () => ready,
    get: (offset: number) => uart.read(offset, 1),
    put: (offset: number, value: number) => uart.write(offset, 1, value),
    receiveAll() {
      const received: number[] = [];
      while (uart.read(5, 1) & 1) received.push(uart.read(0, 1));
      return text(received);
    },
  };
}

test("a polling driver sends and receives", () => {
  const { uart, get, put, sent, line, receiveAll } = setUp();
  for (const byte of bytes("hello")) {
    assert.equal(get(5) & 0x60, 0x60);
    put(0, byte);
  }
  assert.equal(text(sent), "hello");
  uart.receive(bytes("world"));
  assert.equal(receiveAll(), "world");
  assert.equal(line.rises, 0);
});

test("Linux's probe finds a working 16550A", () => {
  const { get, put } = setUp();
  put(1, 0);
  assert.equal(get(1), 0);
  put(1, 0x0f);
  assert.equal(get(1), 0x0f);
  put(1, 0);
  put(4, 0x1a);
  assert.equal(get(6) & 0xf0, 0x90, "loopback wires OUT2 to DCD and RTS to CTS");
  put(4, 0);
  put(2, 1);
  assert.equal(get(2) >> 6, 3);
  put(7, 0xa5);
  assert.equal(get(7), 0xa5);
  put(3, 0x83);
  put(0, 0x02);
  put(1, 0x01);
  assert.deepEqual([get(0), get(1)], [2, 1]);
  put(3, 0x03);
  assert.equal(get(1), 0, "the divisor is not the interrupt enable register");
});

test("the transmitter's interrupt rises when enabled and after a byte, and a read of IIR answers it", () => {
  const { get, put, line } = setUp();
  put(1, 2);
  assert.equal(line.level, true);
  assert.equal(get(2) & 0x0f, 2);
  assert.equal(line.level, false);
  assert.equal(get(2) & 0x0f, 1);
  put(0, 65);
  assert.equal(line.level, true);
  put(1, 0);
  assert.equal(line.level, false);
  put(1, 2);
  assert.equal(get(2) & 0x0f, 2, "Linux checks that enabling it again raises it again");
});

test("received bytes interrupt until read: as data from the trigger level on, as a timeout below it", () => {
  const { uart, get, put, line } = setUp();
  put(2, 0x81);
  put(1, 1);
  uart.receive(bytes("1234567"));
  assert.equal(line.level, true);
  assert.equal(get(2), 0xcc);
  uart.receive(bytes("8"));
  assert.equal(get(2), 0xc4);
  for (let count = 0; count < 8; count++) {
    assert.equal(line.level, true);
    get(0);
  }
  assert.equal(line.level, false);
});

test("more bytes than the FIFO holds wait on the wire and none is lost", () => {
  const { uart, put, receiveAll, get } = setUp();
  put(2, 1);
  const long = "x".repeat(100) + "end";
  assert.equal(uart.receive(bytes(long)), long.length);
  assert.equal(get(5) & 2, 0, "no overrun");
  assert.equal(receiveAll(), long);
});

test("a wire that is full refuses, and says when there is room", () => {
  const { uart, timesReady, receiveAll } = setUp();
  const much = new Uint8Array(100_000).fill(120);
  const taken = uart.receive(much);
  assert.ok(taken > 0 && taken < much.length);
  const more = uart.receive(much);
  assert.ok(more <= 16, "only what moved on into the FIFO");
  assert.equal(uart.receive(much), 0);
  assert.equal(timesReady(), 0);
  assert.equal(receiveAll().length, taken + more);
  assert.equal(timesReady(), 1);
});

test("in loopback a byte comes back, the wire waits, and a full receiver overruns", () => {
  const { uart, get, put, sent, line, receiveAll } = setUp();
  put(4, 0x10);
  uart.receive(bytes("wire"));
  put(0, 66);
  assert.equal(receiveAll(), "B");
  put(0, 67);
  put(0, 68);
  put(1, 4);
  assert.equal(line.level, true);
  assert.equal(get(2) & 0x0f, 6);
  assert.equal(get(5) & 2, 2);
  assert.equal(line.level, false, "a read of LSR answers the overrun");
  assert.equal(receiveAll(), "C");
  assert.deepEqual(sent, []);
  put(4, 0);
  assert.equal(receiveAll(), "wire");
});

test("modem status changes interrupt, and are shown once", () => {
  const { get, put, line } = setUp();
  put(1, 8);
  put(4, 0x10);
  assert.equal(line.level, true);
  assert.equal(get(2) & 0x0f, 0);
  assert.equal(get(6), 0x0b, "DCD, DSR and CTS went");
  assert.equal(get(6), 0x00);
  assert.equal(line.level, false);
});

test("saved and restored in the middle of input, it goes on", () => {
  const before = setUp();
  before.put(2, 0x41);
  before.put(1, 1);
  before.put(7, 9);
  before.uart.receive(bytes("abcdefghijklmnopqrstuvwxyz"));
  before.get(0);
  const after = setUp();
  after.uart.restore(throughJson(before.uart.save()));
  assert.equal(after.line.level, true);
  assert.equal(after.get(7), 9);
  assert.equal(after.receiveAll(), "bcdefghijklmnopqrstuvwxyz");
  assert.throws(() => after.uart.restore({ ...before.uart.save(), ier: 300 }), { code: "bad-snapshot" });
});

test("reset leaves it as at power-on", () => {
  const { uart, put, get, line } = setUp();
  const fresh = uart.save();
  put(2, 1);
  put(1, 3);
  put(7, 1);
  uart.receive(bytes("a"));
  uart.reset();
  assert.equal(line.level, false);
  assert.deepEqual(uart.save(), fresh);
  assert.equal(get(5), 0x60);
});

test("no access makes it throw", () => {
  const { uart } = setUp();
  for (const seed of [1, 2, 3]) fuzzRegisters(uart, seed);
});
