import assert from "node:assert/strict";
import { test } from "node:test";
import { Extension, Sbi, SbiError } from "./sbi.ts";
import type { HartState, SbiPlatform } from "./sbi-platform.ts";
import { TestMemory, TestRandom } from "./test-kit.ts";

const BASE = 0x8000_0000;
const ALL_ONES = 2n ** 64n - 1n;
const { success, notSupported, invalidParameter, invalidAddress, alreadyAvailable } = SbiError;

function setUp(hartCount = 4, hypervisor = false) {
  const calls: unknown[][] = [];
  const states: HartState[] = ["started", ...Array<HartState>(hartCount - 1).fill("stopped")];
  const memory = new TestMemory(BASE, 0x1_0000, true);
  let output = "";
  let input = "";
  const note = (name: string) => (...args: unknown[]) => void calls.push([name, ...args]);
  const platform: SbiPlatform = {
    hartCount, memory, hypervisor,
    identity: { implementationId: 0x4854, implementationVersion: 7, mvendorid: 1n, marchid: 2n, mimpid: 3n },
    setTimer: note("setTimer"),
    sendIpi: note("sendIpi"),
    remoteFence: note("remoteFence"),
    hartState: (hart) => states[hart]!,
    startHart: note("startHart"),
    stopHart: note("stopHart"),
    suspendHart: note("suspendHart"),
    systemReset: note("systemReset"),
    consoleWrite: (bytes) => void (output += Buffer.from(bytes).toString("latin1")),
    consoleRead(into) {
      const bytes = Buffer.from(input.slice(0, into.length), "latin1");
      into.set(bytes);
      input = input.slice(bytes.length);
      return bytes.length;
    },
  };
  const sbi = new Sbi(platform);
  return {
    sbi, memory, states,
    type: (text: string) => void (input += text),
    output: () => output,
    calls: () => calls.splice(0),
    call(eid: number, fid: number, ...args: bigint[]) {
      while (args.length < 6) args.push(0n);
      const { error, value } = sbi.call(0, { eid, fid, args });
      return [error, value];
    },
  };
}

test("the base extension tells version, identity and what is there", () => {
  const { call } = setUp();
  assert.deepEqual(call(Extension.base, 0), [success, 0x0200_0000n]);
  assert.deepEqual([1, 2, 4, 5, 6].map((fid) => call(Extension.base, fid)[1]), [0x4854n, 7n, 1n, 2n, 3n]);
  for (const eid of Object.values(Extension)) assert.deepEqual(call(Extension.base, 3, BigInt(eid)), [success, 1n]);
  for (const eid of [0x504d55n, 3n, 0x0an, 2n ** 40n]) assert.deepEqual(call(Extension.base, 3, eid), [success, 0n]);
});

test("an extension or function that is not there is not supported", () => {
  const { call } = setUp();
  assert.deepEqual(call(0x504d55, 0), [notSupported, 0n]);
  assert.deepEqual(call(Extension.time, 1), [notSupported, 0n]);
  assert.deepEqual(call(Extension.base, -1), [notSupported, 0n]);
});

test("timers are set, in the new way and the old", () => {
  const { call, calls } = setUp();
  assert.deepEqual(call(Extension.time, 0, ALL_ONES), [success, 0n]);
  assert.deepEqual(call(Extension.legacySetTimer, 0, 5n), [0, undefined], "the old way leaves a1 alone");
  assert.deepEqual(calls(), [["setTimer", 0, ALL_ONES], ["setTimer", 0, 5n]]);
});

test("harts are named by mask and base, and checked", () => {
  const { call, calls } = setUp();
  const ipi = (mask: bigint, first: bigint) => call(Extension.ipi, 0, mask, first)[0];
  assert.equal(ipi(0b1010n, 0n), success);
  assert.equal(ipi(0b11n, 2n), success);
  assert.equal(ipi(123n, ALL_ONES), success);
  assert.equal(ipi(0n, 0n), success);
  assert.deepEqual(calls().map(([, hart]) => hart), [1, 3, 2, 3, 0, 1, 2, 3]);
  for (const [mask, first] of [[0b10000n, 0n], [0b10n, 3n], [1n, 4n], [1n, ALL_ONES - 1n], [ALL_ONES, 0n]] as const) {
    assert.equal(ipi(mask, first), invalidParameter);
  }
  assert.deepEqual(calls(), []);
});

test("remote fences carry their range and address space", () => {
  const { call, calls } = setUp();
  const fence = (fid: number, ...args: bigint[]) => call(Extension.rfence, fid, 1n, 0n, ...args)[0];
  assert.equal(fence(0), success);
  assert.equal(fence(1, 0x1000n, 0x2000n), success);
  assert.equal(fence(1, 0n, 0n), success);
  assert.equal(fence(2, 0x1000n, ALL_ONES, 9n), success);
  assert.deepEqual(calls(), [
    ["remoteFence", [0], { kind: "fence.i" }],
    ["remoteFence", [0], { kind: "sfence.vma", range: { start: 0x1000n, size: 0x2000n } }],
    ["remoteFence", [0], { kind: "sfence.vma", range: "all" }],
    ["remoteFence", [0], { kind: "sfence.vma", range: "all", id: 9n }],
  ]);
  assert.equal(fence(1, ALL_ONES, 2n), invalidAddress);
  for (const fid of [3, 4, 5, 6]) assert.equal(fence(fid), notSupported);
  assert.equal(fence(7), notSupported);
});

test("hypervisor fences are there with the extension", () => {
  const { call, calls } = setUp(1, true);
  for (const fid of [3, 4, 5, 6]) call(Extension.rfence, fid, 1n, 0n, 0n, 0n, 4n);
  assert.deepEqual(calls().map(([, , fence]) => fence), [
    { kind: "hfence.gvma", range: "all", id: 4n },
    { kind: "hfence.gvma", range: "all" },
    { kind: "hfence.vvma", range: "all", id: 4n },
    { kind: "hfence.vvma", range: "all" },
  ]);
});

test("harts are started, stopped, suspended and asked for their state", () => {
  const { call, calls, states } = setUp();
  const start = BigInt(BASE + 0x100);
  assert.deepEqual(call(Extension.hsm, 0, 1n, start, 42n), [success, 0n]);
  assert.deepEqual(calls(), [["startHart", 1, start, 42n]]);
  assert.equal(call(Extension.hsm, 0, 0n, start)[0], alreadyAvailable);
  assert.equal(call(Extension.hsm, 0, 4n, start)[0], invalidParameter);
  assert.equal(call(Extension.hsm, 0, 1n, 0x1000n)[0], invalidAddress);
  states[2] = "suspended";
  assert.deepEqual([0n, 1n, 2n].map((hart) => call(Extension.hsm, 2, hart)[1]), [0n, 1n, 4n]);
  assert.equal(call(Extension.hsm, 2, ALL_ONES)[0], invalidParameter);
  call(Extension.hsm, 1);
  call(Extension.hsm, 3, 0n);
  call(Extension.hsm, 3, 0xffff_ffff_8000_0000n, start, 6n);
  assert.deepEqual(calls(), [
    ["stopHart", 0],
    ["suspendHart", 0, { kind: "retentive" }],
    ["suspendHart", 0, { kind: "non-retentive", address: start, opaque: 6n }],
  ]);
  assert.equal(call(Extension.hsm, 3, 0x8000_0000n, 0n)[0], invalidAddress);
  assert.equal(call(Extension.hsm, 3, 1n)[0], invalidParameter);
});

test("the system is shut down or rebooted, for a known reason", () => {
  const { call, calls } = setUp();
  call(Extension.reset, 0, 0n, 0n);
  call(Extension.reset, 0, 1n, 1n);
  call(Extension.reset, 0, 2n, 0n);
  call(Extension.legacyShutdown, 0);
  assert.deepEqual(calls().map(([, reset]) => reset), [
    { kind: "shutdown", reason: "none" },
    { kind: "cold-reboot", reason: "system-failure" },
    { kind: "warm-reboot", reason: "none" },
    { kind: "shutdown", reason: "none" },
  ]);
  assert.equal(call(Extension.reset, 0, 3n, 0n)[0], invalidParameter);
  assert.equal(call(Extension.reset, 0, 0n, 2n)[0], invalidParameter);
  assert.equal(call(Extension.reset, 0, 0xf000_0000n, 0n)[0], invalidParameter);
  assert.deepEqual(calls(), []);
});

test("the debug console writes from memory, across frames, and in parts if there is much", () => {
  const { call, memory, output } = setUp();
  memory.put(BASE + 4090, Buffer.from("hello, world"));
  assert.deepEqual(call(Extension.debugConsole, 0, 12n, BigInt(BASE + 4090), 0n), [success, 12n]);
  assert.deepEqual(call(Extension.debugConsole, 2, 0x121n), [success, 0n]);
  assert.deepEqual(call(Extension.legacyPutchar, 0, 0x3fn), [0, undefined]);
  assert.equal(output(), "hello, world!?");
  assert.deepEqual(call(Extension.debugConsole, 0, 0n, BigInt(BASE), 0n), [success, 0n]);
});

test("the debug console reads what is there and no more", () => {
  const { call, memory, type } = setUp();
  const read = (length: bigint) => call(Extension.debugConsole, 1, length, BigInt(BASE + 4094), 0n);
  assert.deepEqual(read(10n), [success, 0n]);
  type("abcdef");
  assert.deepEqual(read(4n), [success, 4n]);
  assert.equal(Buffer.from(memory.get(BASE + 4094, 5)).toString("latin1"), "abcd\0");
  assert.deepEqual(call(Extension.legacyGetchar, 0), [101, undefined]);
  assert.deepEqual(call(Extension.legacyGetchar, 0), [102, undefined]);
  assert.deepEqual(call(Extension.legacyGetchar, 0), [-1, undefined]);
});

test("a console buffer that is not memory is refused", () => {
  const { call } = setUp();
  for (const fid of [0, 1]) {
    for (const [length, low, high] of [[1n, 0n, 0n], [1n, BigInt(BASE), 1n], [0x1_0001n, BigInt(BASE), 0n], [ALL_ONES, BigInt(BASE), 0n], [8n, ALL_ONES, 0n]] as const) {
      assert.deepEqual(call(Extension.debugConsole, fid, length, low, high), [invalidParameter, 0n]);
    }
  }
});

test("no call makes it throw", () => {
  const random = new TestRandom(77);
  const { call } = setUp();
  const eids = [...Object.values(Extension), 3, 0x504d55, -1];
  for (let count = 0; count < 20_000; count++) {
    const args = Array.from({ length: 6 }, () => random.pick([0n, 1n, BigInt(BASE), ALL_ONES, BigInt(random.u32()), BigInt(random.u32()) << 32n]));
    const [error] = call(random.pick(eids), random.below(9), ...args);
    assert.ok(Number.isInteger(error));
  }
});
