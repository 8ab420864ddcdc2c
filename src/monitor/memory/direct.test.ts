import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { Random } from "#base/random.ts";
import { SbiError } from "#devices/sbi.ts";
import { Frames } from "#machine/frames.ts";
import { frame, frameFlags, memoryMap } from "#machine/layout.ts";
import { PhysicalMemory } from "#machine/physical-memory.ts";
import { allocate } from "#machine/processor.ts";
import { DirectTables } from "./direct.ts";
import { GuestMemory } from "./guest-memory.ts";
import { MachineMemory } from "./machine-memory.ts";
import { UNTOUCHED } from "./pmap.ts";

const PAGES = 24;
const BASE = 0x8000_0000;
const MACHINE_PAGES = 256;
const FIRST = BASE / 4096;
const [V, R, W, X, G] = [1, 2, 4, 8, 32];

function setUp() {
  const map = memoryMap(MACHINE_PAGES * 4096);
  const linear = allocate(map);
  /** Says that the hart has decoded some of a frame; and which it was told of. */
  const code = Object.assign((number: number): void => new DataView(linear.buffer).setUint32(map.frames + number * frame.size + frame.flags, frameFlags.code, true), { dropped: 0 });
  const machine = new MachineMemory(Frames.create(MACHINE_PAGES), map, new PhysicalMemory(linear, map, (host) => void (code.dropped = host)));
  const memory = new GuestMemory(machine, 1, { base: BASE, size: PAGES * 4096 });
  const other = new GuestMemory(machine, 2, { base: BASE, size: PAGES * 4096 });
  const counts = { flushes: 0 };
  const direct = new DirectTables({ memory, flush: () => void counts.flushes++, tableEnded: () => {} });
  memory.forgetting = { pages() {}, frame: (page) => direct.moved(page) };
  /** Of the guest's n-th page. */
  const number = (n: number): number => direct.numberOf(FIRST + n);
  const words = (n: number): Uint32Array => machine.words.subarray(machine.wordOf(memory.own(FIRST + n)), machine.wordOf(memory.own(FIRST + n)) + 1024);
  const entry = (n: number, flags: number): number => (number(n) << 10) | flags;
  for (let n = 0; n < PAGES; n++) number(n);
  return { machine, memory, other, direct, counts, code, number, words, entry };
}

suite("direct paging", () => {
  test("a tree of tables is checked, kept from being written, and memory again when nobody needs it", () => {
    const { direct, memory, number, words, entry } = setUp();
    words(0)[0] = entry(1, V);
    words(1)[2] = entry(2, V);
    words(2)[4] = entry(3, V | R | W);
    assert.equal(direct.pin(number(0), 2), SbiError.success);
    assert.deepEqual([0, 1, 2, 3].map((n) => direct.isTable(FIRST + n)), [true, true, true, false]);
    assert.ok(words(0)[1022]! !== 0, "the root shows the machine-to-physical table");
    assert.throws(() => memory.writable(BASE + 4096, 8), { code: "in-table" });
    assert.equal(direct.update(number(2), 0, entry(1, V | R | W), 0), SbiError.denied, "a writable mapping of a table");
    assert.equal(direct.update(number(2), 0, entry(1, V | R), 0), SbiError.success);
    assert.equal(direct.pin(number(3), 0), SbiError.denied, "a table of what is mapped writable");
    assert.equal(direct.pin(number(0), 2), SbiError.alreadyAvailable);
    assert.equal(direct.unpin(number(0)), SbiError.success);
    assert.equal(direct.unpin(number(0)), SbiError.denied);
    assert.deepEqual([0, 1, 2].map((n) => direct.isTable(FIRST + n)), [false, false, false]);
    assert.equal(words(0)[1022], 0);
    assert.equal(direct.pin(number(3), 0), SbiError.success);
  });

  test("a page of whose frame the guest knows keeps it: an entry that doesn't let it be written may lead there, and is not counted", () => {
    const { direct, memory, machine, other } = setUp();
    const before = memory.pmap.frame(FIRST + 1);
    memory.vacate([FIRST + 1], UNTOUCHED);
    assert.equal(memory.pmap.frame(FIRST + 1), before);
    direct.release();
    memory.vacate([FIRST + 1], UNTOUCHED);
    assert.deepEqual([memory.pmap.frame(FIRST + 1), machine.frames.info(before).state], [UNTOUCHED, "free"]);
    // Its shared page, of whose frame it need not know.
    const fresh = new DirectTables({ memory: other, flush: () => {}, tableEnded: () => {} });
    const page = other.own(FIRST);
    fresh.claim(FIRST);
    other.vacate([FIRST], UNTOUCHED);
    assert.equal(other.pmap.frame(FIRST), page);
  });

  test("a page that is a copy of another has its frame: it may be mapped, but not writable, and is no table", () => {
    const { direct, memory, machine, number, words, entry } = setUp();
    words(4).fill(7);
    const [free, old] = [machine.frames.available, memory.pmap.frame(FIRST + 5)];
    assert.equal(direct.copy(FIRST + 5, FIRST + 5), SbiError.invalidParameter);
    assert.equal(direct.copy(FIRST + 5, FIRST + 4), SbiError.success);
    assert.equal(number(5), number(4));
    assert.deepEqual([machine.frames.available - free, machine.frames.info(old).state], [1, "free"]);
    assert.equal(direct.pin(number(2), 0), SbiError.success);
    assert.equal(direct.update(number(2), 0, entry(4, V | R | W), 0), SbiError.denied);
    assert.equal(direct.update(number(2), 1, (machine.pageNumber(old) << 10) | V | R, 0), SbiError.denied, "the frame that was the copy's");
    assert.equal(direct.update(number(2), 0, entry(5, V | R), 0), SbiError.success);
    assert.equal(direct.pin(number(4), 0), SbiError.denied);
    assert.equal(direct.copy(FIRST + 6, FIRST + 2), SbiError.denied, "a copy of a table");
    assert.equal(direct.copy(FIRST + 2, FIRST + 6), SbiError.denied, "a table that becomes a copy");
    // Both are written to, and the frame is still mapped.
    const shared = memory.pmap.frame(FIRST + 4);
    direct.own(FIRST + 4);
    memory.writable(BASE + 5 * 4096, 4)[0] = 9;
    assert.deepEqual([words(4)[0], words(4)[1], words(5)[0], words(5)[1]], [7, 7, 9, 7]);
    assert.equal(new Set([number(4), number(5), machine.pageNumber(shared)]).size, 3);
    memory.settle();
    assert.equal(machine.frames.info(shared).count, 1);
    assert.equal(direct.update(number(2), 0, 0, 0), SbiError.success);
    assert.equal(machine.frames.info(shared).state, "free");
    // What is mapped read-only keeps its frame.
    assert.equal(direct.update(number(2), 3, entry(7, V | R), 0), SbiError.success);
    assert.equal(direct.copy(FIRST + 7, FIRST + 4), SbiError.denied);
    assert.equal(direct.copy(FIRST + 4, FIRST + 7), SbiError.success, "but may be copied");
    assert.equal(direct.copy(FIRST + 8, FIRST + 4), SbiError.success, "as may a copy");
    assert.equal(new Set([number(4), number(7), number(8)]).size, 1);
    // It goes to another hart, and begins anew.
    const saved = direct.save();
    direct.release();
    const next = new DirectTables({ memory, flush: () => {}, tableEnded: () => {} }, saved);
    assert.equal(machine.frames.info(memory.pmap.frame(FIRST + 4)).count, 4);
    next.reset();
    assert.equal(machine.frames.info(memory.pmap.frame(FIRST + 4)).count, 3);
    memory.release();
    next.release();
  });

  test("entries keep no number of frames beyond the guest's pages", () => {
    const { direct, machine, number, entry, memory } = setUp();
    assert.equal(direct.pin(number(2), 0), SbiError.success);
    const free = machine.frames.available;
    const hoard = (): void => {
      for (let index = 0; index < 128; index++) {
        memory.settle();
        assert.equal(direct.copy(FIRST + 5, FIRST + 4), SbiError.success);
        assert.equal(direct.update(number(2), index, entry(5, V | R), 0), SbiError.success);
        for (const n of [4, 5]) direct.own(FIRST + n);
      }
    };
    assert.throws(hoard, { code: "copies" });
    assert.ok(machine.frames.available >= free - 66);
  });

  test("what the hart has decoded of a copy that only entries lead to is gone when it goes to another", () => {
    const { direct, machine, number, entry, code } = setUp();
    assert.equal(direct.pin(number(2), 0), SbiError.success);
    assert.equal(direct.copy(FIRST + 5, FIRST + 4), SbiError.success);
    assert.equal(direct.update(number(2), 0, entry(5, V | R | X), 0), SbiError.success);
    const frame = number(5) - machine.pageNumber(0);
    for (const n of [4, 5]) direct.own(FIRST + n);
    code(frame);
    direct.save();
    assert.equal(code.dropped, machine.hostOf(frame));
  });

  test("entries that no table may have", () => {
    const { direct, other, machine, number, words, entry } = setUp();
    const foreign = machine.pageNumber(other.own(FIRST));
    const refusals: readonly (readonly [level: number, low: number, high: number, refusal: number])[] = [
      [0, (foreign << 10) | V | R, 0, SbiError.denied],
      [0, (0x100 << 10) | V | R, 0, SbiError.denied],
      [0, entry(3, V | R | G), 0, SbiError.invalidParameter],
      [0, entry(3, V | W), 0, SbiError.invalidParameter],
      [0, entry(3, V), 0, SbiError.invalidParameter],
      [0, entry(3, V | R), 1 << 31, SbiError.invalidParameter],
      [1, entry(3, V | R | W | X), 0, SbiError.invalidParameter],
      [1, (foreign << 10) | V, 0, SbiError.denied],
      [2, entry(3, V | 64), 0, SbiError.invalidParameter],
    ];
    for (const [level, low, high, refusal] of refusals) {
      const what = `${low.toString(16)} at level ${level}`;
      words(level).fill(0);
      words(level).set([low, high], 10);
      assert.equal(direct.pin(number(level), level), refusal, what);
      words(level).fill(0);
      assert.equal(direct.pin(number(level), level), SbiError.success);
      assert.equal(direct.update(number(level), 5, low, high), refusal, what);
      assert.equal(words(level)[10], 0);
      direct.unpin(number(level));
    }
    assert.equal(direct.pin(number(0), 3), SbiError.invalidParameter);
    assert.equal(direct.pin(foreign, 0), SbiError.denied);
    direct.pin(number(2), 2);
    assert.equal(direct.update(number(2), 511, 0, 0), SbiError.denied, "the monitor's own entry");
    assert.equal(direct.update(number(5), 0, 0, 0), SbiError.denied, "no table");
  });

  test("tables that lead back to themselves are refused, and what was counted for them is not", () => {
    const { direct, number, words, entry } = setUp();
    words(0)[0] = entry(1, V);
    words(1)[0] = entry(2, V);
    words(1)[2] = entry(0, V);
    assert.equal(direct.pin(number(0), 2), SbiError.denied);
    assert.deepEqual([0, 1, 2].map((n) => direct.isTable(FIRST + n)), [false, false, false]);
    assert.ok(direct.save().counts.every((count) => count === 0));
  });

  test("whoever becomes a table is not written by what the hart remembers", () => {
    const { direct, counts, number, words, entry } = setUp();
    direct.pin(number(1), 0);
    direct.update(number(1), 0, entry(2, V | R | W), 0);
    direct.leaveFirstView();
    direct.update(number(1), 0, 0, 0);
    const before = counts.flushes;
    words(2).fill(0);
    assert.equal(direct.pin(number(2), 0), SbiError.success);
    assert.equal(counts.flushes, before + 1);
    assert.equal(direct.pin(number(3), 0), SbiError.success);
    assert.equal(counts.flushes, before + 1, "it was never mapped");
  });

  test("random calls: each page is what the tables say, after each", () => {
    const random = new Random(7);
    const below = (limit: number): number => random.u32() % limit;
    const scene = setUp();
    const { direct, number, words, entry } = scene;
    const roots: number[] = [];
    const randomEntry = (level: number): number => {
      const flags = level > 0 ? V : [V | R, V | R | W, V | X, V | R | W, 0][below(5)]!;
      return below(6) === 0 ? random.u32() : entry(below(PAGES), flags | (below(8) === 0 ? 1 << below(10) : 0));
    };
    const actions: readonly (() => void)[] = [
      () => {
        const n = below(PAGES);
        if (direct.isTable(FIRST + n)) return;
        words(n).fill(0);
        const level = below(3);
        for (let i = 0; i < 4; i++) words(n)[2 * below(512)] = randomEntry(level);
      },
      () => void direct.pin(number(below(PAGES)), below(4)),
      () => void direct.unpin(number(below(PAGES))),
      () => void direct.update(number(below(PAGES)), below(512), randomEntry(below(3)), below(30) === 0 ? 1 : 0),
      () => {
        const root = number(below(PAGES));
        if (roots.length < 3 && direct.holdRoot(root) === SbiError.success) roots.push(root);
      },
      () => {
        if (roots.length > 0) direct.letGoRoot(roots.pop()!);
      },
    ];
    let tables = 0;
    for (let step = 0; step < 20_000; step++) {
      direct.begin();
      actions[below(actions.length)]!();
      tables += recount(scene, roots);
    }
    assert.ok(tables > 5000, `${tables} tables seen: there is something to look at`);
  });
});

/** What each page is used as, and how often, by the tables' entries alone. Returns how many tables there are. */
function recount({ direct, number, words }: ReturnType<typeof setUp>, roots: readonly number[]): number {
  const { uses, counts, pinned } = direct.save();
  const pages = new Map(Array.from({ length: PAGES }, (_, n) => [number(n), n]));
  const expected = new Uint32Array(PAGES);
  const use = (n: number, as: number): void => {
    expected[n]!++;
    assert.equal(uses[n], as, `page ${n}`);
  };
  for (let n = 0; n < PAGES; n++) {
    const level = uses[n]! - 2;
    if (pinned[n] === 1) expected[n]!++;
    if (level < 0) continue;
    for (let i = 0; i < (level === 2 ? 511 : 512); i++) {
      const [low, high] = [words(n)[2 * i]!, words(n)[2 * i + 1]!];
      if (!(low & V)) continue;
      const target = pages.get(low >>> 10);
      assert.ok(high === 0 && target !== undefined && !(low & G), `entry ${low.toString(16)}`);
      if (level > 0) use(target, level + 1);
      else if (low & W) use(target, 1);
    }
  }
  for (const root of roots) use(pages.get(root)!, 4);
  assert.deepEqual([...counts], [...expected]);
  for (let n = 0; n < PAGES; n++) assert.equal(uses[n] === 0, expected[n] === 0, `page ${n}`);
  return uses.filter((as) => as > 1).length;
}
