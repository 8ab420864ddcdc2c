import assert from "node:assert/strict";
import { test } from "node:test";
import { Aclint } from "./aclint.ts";
import { TestClock, fuzzRegisters, throughJson } from "./test-kit.ts";

function setUp(hartCount = 2) {
  const clock = new TestClock();
  const software: boolean[] = [];
  const timecmp: number[] = [];
  const offsets: number[] = [];
  const aclint = new Aclint(hartCount, clock, {
    setSoftwareInterrupt: (hart, level) => void (software[hart] = level),
    timecmpChanged: (hart, ticks) => void (timecmp[hart] = ticks),
    timeOffsetChanged: (offset) => void offsets.push(offset),
  });
  return {
    clock, software, timecmp, offsets, aclint,
    get: (offset: number) => aclint.read(offset, 4),
    put: (offset: number, value: number) => aclint.write(offset, 4, value),
    get64: (offset: number) => aclint.read(offset, 4) + aclint.read(offset + 4, 4) * 2 ** 32,
  };
}

test("msip sends an interrupt to its hart and reads back one bit", () => {
  const { software, get, put } = setUp();
  put(4, 0xffff_ffff);
  assert.deepEqual([software[0], software[1]], [undefined, true]);
  assert.equal(get(4), 1);
  put(4, 0);
  assert.equal(software[1], false);
  put(8, 1);
  assert.equal(software.length, 2, "there is no third hart");
  assert.equal(get(8), 0);
});

test("mtimecmp is told in ticks, and as never when it is beyond what can come", () => {
  const { timecmp, aclint, get64, put } = setUp();
  assert.equal(aclint.timecmp(0), Infinity);
  put(0x4008, 1000);
  assert.equal(timecmp[1], Infinity, "the high half is still at its reset value");
  put(0x400c, 2);
  assert.equal(timecmp[1], 2 * 2 ** 32 + 1000);
  assert.equal(aclint.timecmp(1), timecmp[1]);
  assert.equal(get64(0x4008), timecmp[1]);
  put(0x400c, 0xffff_ffff);
  assert.equal(aclint.timecmp(1), Infinity);
});

test("mtime follows the clock", () => {
  const { clock, aclint, get64 } = setUp();
  clock.now = 2 ** 33 + 5;
  assert.equal(get64(0xbff8), 2 ** 33 + 5);
  assert.equal(aclint.mtime(), 2 ** 33 + 5);
});

test("a 64-bit read is whole although time passes in its middle; a lone read of the high half is current", () => {
  const { clock, get } = setUp();
  clock.now = 2 ** 32 - 1;
  assert.equal(get(0xbff8), 0xffff_ffff);
  clock.now++;
  assert.equal(get(0xbffc), 0);
  assert.equal(get(0xbffc), 1);
});

test("mtime can be written, half by half", () => {
  const { clock, aclint, offsets, get64, put } = setUp();
  clock.now = 123;
  put(0xbff8, 0);
  put(0xbffc, 3);
  assert.equal(get64(0xbff8), 3 * 2 ** 32);
  assert.equal(offsets.at(-1), 3 * 2 ** 32 - 123);
  clock.now += 10;
  assert.equal(aclint.mtime(), 3 * 2 ** 32 + 10);
  aclint.reset();
  assert.equal(aclint.mtime(), 133);
});

test("restored, mtime lies to the clock as it did", () => {
  const before = setUp();
  before.clock.now = 5000;
  before.put(0xbff8, 4000);
  before.put(0x4000, 6000);
  before.put(0x4004, 0);
  before.put(0, 1);
  const after = setUp();
  after.clock.now = 5070;
  after.aclint.restore(throughJson(before.aclint.save()));
  assert.equal(after.aclint.mtime(), 4070);
  assert.deepEqual(after.timecmp, [6000, Infinity]);
  assert.deepEqual(after.software, [true, false]);
  assert.throws(() => setUp(1).aclint.restore(before.aclint.save()), { code: "bad-snapshot" });
});

test("no access makes it throw", () => {
  for (const seed of [1, 2, 3]) fuzzRegisters(setUp().aclint, seed);
});
