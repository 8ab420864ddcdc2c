import assert from "node:assert/strict";
import { test } from "node:test";
import { GoldfishRtc } from "./goldfish-rtc.ts";
import { TestClock, TestLine, fuzzRegisters, throughJson } from "./test-kit.ts";

function setUp() {
  const line = new TestLine();
  const clock = new TestClock();
  let due: number | undefined;
  const rtc = new GoldfishRtc(line, clock, { arm: (ticks) => void (due = ticks), disarm: () => void (due = undefined) });
  return {
    line, clock, rtc,
    due: () => due,
    /** Lets time pass, as the machine would. */
    pass(ticks: number) {
      clock.now += ticks;
      if (due !== undefined && clock.now >= due) rtc.expire();
    },
    get: (offset: number) => rtc.read(offset, 4),
    time: () => BigInt(rtc.read(0, 4)) | (BigInt(rtc.read(4, 4)) << 32n),
    set64(offset: number, value: bigint) {
      rtc.write(offset + 4, 4, Number(value >> 32n));
      rtc.write(offset, 4, Number(value & 0xffff_ffffn));
    },
    put: (offset: number, value: number) => rtc.write(offset, 4, value),
  };
}

test("it tells the time, high half latched with the low one", () => {
  const { clock, rtc, time, get } = setUp();
  assert.equal(time(), clock.realTime());
  clock.epoch = 0x1_ffff_ffffn;
  assert.equal(get(0), 0xffff_ffff);
  clock.epoch++;
  assert.equal(rtc.read(4, 4), 1);
});

test("a guest sets it, and it goes on from there", () => {
  const { time, set64, pass, rtc } = setUp();
  set64(0, 1_000_000_000_000_000_000n);
  pass(10_000_000);
  assert.equal(time(), 1_000_000_001_000_000_000n);
  rtc.reset();
  assert.equal(time(), 1_000_000_001_000_000_000n);
});

test("the alarm rings at its time and not before, until cleared", () => {
  const { clock, line, set64, put, get, pass, due } = setUp();
  put(0x10, 1);
  set64(8, clock.realTime() + 5_000_000_050n);
  assert.equal(get(0x18), 1);
  assert.equal(due(), 50_000_001);
  pass(50_000_000);
  assert.equal(line.level, false);
  pass(1);
  assert.equal(line.level, true);
  assert.equal(get(0x18), 0);
  put(0x10, 0);
  assert.equal(line.level, false);
  put(0x10, 1);
  assert.equal(line.level, true);
  put(0x1c, 1);
  assert.equal(line.level, false);
});

test("an alarm in the past rings at once; a cleared one never does", () => {
  const { clock, line, set64, put, get, pass, due } = setUp();
  put(0x10, 1);
  set64(8, clock.realTime());
  assert.equal(line.level, true);
  put(0x1c, 1);
  set64(8, clock.realTime() + 1000n);
  put(0x14, 1);
  assert.equal(get(0x18), 0);
  assert.equal(due(), undefined);
  pass(100);
  assert.equal(line.level, false);
});

test("if the host's clock is set back, the alarm waits on", () => {
  const { clock, line, set64, put, pass, due } = setUp();
  put(0x10, 1);
  set64(8, clock.realTime() + 1000n);
  clock.epoch -= 500n;
  pass(10);
  assert.equal(line.level, false);
  assert.equal(due(), 15);
  pass(5);
  assert.equal(line.level, true);
});

test("saved and restored, offset and alarm hold", () => {
  const before = setUp();
  before.set64(0, 7_000n);
  before.put(0x10, 1);
  before.set64(8, 8_000n);
  const after = setUp();
  after.rtc.restore(throughJson(before.rtc.save()));
  assert.equal(after.time(), 7_000n);
  assert.equal(after.due(), 10);
  after.pass(10);
  assert.equal(after.line.level, true);
  assert.throws(() => after.rtc.restore({ ...before.rtc.save(), alarm: 3 }), { code: "bad-snapshot" });
});

test("no access makes it throw", () => {
  for (const seed of [1, 2, 3]) fuzzRegisters(setUp().rtc, seed);
});
