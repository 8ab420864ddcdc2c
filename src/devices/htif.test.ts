import assert from "node:assert/strict";
import { test } from "node:test";
import { Htif, type HtifWords } from "./htif.ts";
import { TestMemory } from "./test-kit.ts";

const BASE = 0x80000000;
const words = { tohost: BASE + 0x1000, fromhost: BASE + 0x1040 };

function setUp({ fromhost }: Partial<HtifWords> = words) {
  const memory = new TestMemory(BASE, 0x4000, true);
  const exits: number[] = [];
  let output = "";
  const htif = new Htif(memory, { tohost: words.tohost, fromhost }, {
    exit: (status) => void exits.push(status),
    write: (bytes) => void (output += Buffer.from(bytes).toString("latin1")),
  });
  const put = (address: number, value: bigint): void => {
    const bytes = new Uint8Array(8);
    new DataView(bytes.buffer).setBigUint64(0, value, true);
    memory.put(address, bytes);
  };
  const get = (address: number): bigint => new DataView(memory.get(address, 8).buffer).getBigUint64(0, true);
  const ask = (value: bigint): boolean => {
    put(words.tohost, value);
    const asked = htif.poll();
    assert.equal(get(words.tohost), 0n, "the command is taken");
    return asked;
  };
  const call = (at: number, ...values: bigint[]): bigint => {
    values.forEach((value, index) => put(at + 8 * index, value));
    ask(BigInt(at));
    assert.equal(get(words.fromhost), 1n);
    return BigInt.asIntN(64, get(at));
  };
  return { memory, htif, exits, output: () => output, put, get, ask, call };
}

test("nothing is asked", () => {
  const { htif, exits, get } = setUp();
  assert.equal(htif.poll(), false);
  assert.deepEqual([exits, get(words.fromhost)], [[], 0n]);
});

test("an odd payload is the end, with a status", () => {
  const { ask, exits } = setUp();
  for (const value of [1n, 7n, 1337n, (1n << 48n) - 1n]) assert.equal(ask(value), true);
  assert.deepEqual(exits, [0, 3, 668, 2 ** 47 - 1]);
});

test("a character to write", () => {
  const { ask, output, get } = setUp();
  ask(0x0101_0000_0000_0068n);
  ask(0x0101_0000_0000_0169n);
  assert.equal(output(), "hi");
  assert.equal(get(words.fromhost), 0n);
});

test("a system call writes, over the edge of a page too", () => {
  const { memory, call, output } = setUp();
  memory.put(BASE + 0x2ffd, Buffer.from("hello"));
  assert.equal(call(BASE + 0x100, 64n, 1n, BigInt(BASE + 0x2ffd), 5n), 5n);
  assert.equal(output(), "hello");
});

test("a system call exits; others are not there", () => {
  const { call, exits } = setUp();
  call(BASE + 0x100, 93n, 4n);
  assert.deepEqual(exits, [4]);
  assert.equal(call(BASE + 0x100, 56n, 4n), -38n);
});

test("addresses that are none: a fault, and no harm", () => {
  const { call, ask, get, output } = setUp();
  assert.equal(call(BASE + 0x100, 64n, 1n, 0n, 5n), -14n);
  ask(0x1000n);
  assert.equal(get(words.fromhost), 1n);
  assert.equal(output(), "");
});

test("other devices, and a program that wants no answers", () => {
  assert.equal(setUp().ask(0x0200_0000_0000_0001n), true);
  const { ask, put, output, memory } = setUp({});
  memory.put(BASE, Buffer.from("x"));
  [64n, 1n, BigInt(BASE), 1n].forEach((value, index) => put(BASE + 0x100 + 8 * index, value));
  ask(BigInt(BASE + 0x100));
  assert.equal(output(), "x");
});
