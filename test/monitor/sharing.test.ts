/** Pages that are alike get one frame, under every technique, and no guest is the wiser. */
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { ZERO_FRAME } from "#machine/frames.ts";
import { Harts } from "#host/node/harts.ts";
import { Hints } from "#monitor/memory/hints.ts";
import { hashPage } from "#monitor/memory/page-hash.ts";
import { saltOf, Sharing } from "#monitor/memory/sharing.ts";
import { address } from "#platform/memory-map.ts";
import { assemble } from "#riscv/assemble.ts";
import { EXIT, TestMonitor, type TestVm } from "../kit/monitor.ts";
import { allTechniques, titleOf } from "../kit/techniques.ts";

const FIRST = address.memory / 4096;
/** Pages that guests fill, each with its number; one of zeros; one with code; and where they wait. */
const PAGES = 16;
const [DATA, ZEROS, CODE, WAIT] = [FIRST + 64, FIRST + 64 + PAGES, FIRST + 81, FIRST + 82];

/** Fills its pages and reads them back until it may go on; then adds to each word of each by another kind of store, and sums up what is there. */
const GUEST = `
  li   s0, ${DATA * 4096}
  li   s1, ${CODE * 4096}
  li   s2, ${WAIT * 4096}
  li   s3, ${ZEROS * 4096}
  sd   zero, 0(s3)
  mv   t0, s0
  fill:
  srli t1, t0, 12
  sd   t1, 0(t0)
  addi t0, t0, 8
  bltu t0, s3, fill
  wait:
  mv   t0, s0
  look:
  ld   t1, 0(t0)
  sd   t1, 0(t0)
  li   t2, 4096
  add  t0, t0, t2
  bltu t0, s3, look
  jalr s1
  ld   t1, 0(s3)
  sd   t1, 8(s2)
  ld   t1, 0(s2)
  beqz t1, wait
  mv   t0, s0
  li   s4, 0
  li   s5, 1
  change:
  lr.d t1, (t0)
  addi t1, t1, 1
  sc.d t2, t1, (t0)
  add  s4, s4, t2
  addi t2, t0, 8
  amoadd.d zero, s5, (t2)
  ld   t1, 4088(t0)
  addi t1, t1, 1
  sd   t1, 4088(t0)
  li   t2, 4096
  add  t0, t0, t2
  bltu t0, s3, change
  sd   s5, 16(s3)
  jalr s1
  mv   t0, s0
  li   s6, 0
  li   t2, 4096
  add  s3, s3, t2
  sum:
  ld   t1, 0(t0)
  add  s6, s6, t1
  addi t0, t0, 8
  bltu t0, s3, sum
  li   a0, 1
  ${EXIT}`.replaceAll("ld   t1, 4088(t0)", "li   t2, 4088\n  add  t2, t2, t0\n  ld   t1, 0(t2)").replaceAll("sd   t1, 4088(t0)", "sd   t1, 0(t2)");

const RETURN = Uint8Array.of(0x67, 0x80, 0, 0);
/** Of each page its number in 512 words, and three that have been counted up; and in the page of zeros one. */
const SUM = Array.from({ length: PAGES }, (_, i) => BigInt(DATA + i) * 512n + 3n).reduce((sum, page) => sum + page) + 1n;

const put = ({ vm }: TestVm, page: number, bytes: Uint8Array): void => vm.memory.writable(page * 4096, bytes.length).set(bytes);
const data = Array.from({ length: PAGES }, (_, i) => DATA + i);

for (const technique of allTechniques) suite(`guests on ${titleOf(technique)}`, () => {
  const scene = (groups: readonly string[], translate: boolean) => {
    const monitor = new TestMonitor({ translate });
    const hints = Hints.create(monitor.frames.total);
    const sharing = new Sharing(monitor.memory, hints);
    const guests = groups.map((group) => {
      const guest = monitor.create(GUEST, { technique });
      put(guest, CODE, RETURN);
      monitor.start(guest);
      sharing.add({ memory: guest.vm.memory, salt: saltOf(group) });
      return guest;
    });
    const waits = ({ vm }: TestVm): boolean => vm.memory.readable(DATA * 4096 + PAGES * 4096 - 8, 1)[0] !== 0 && vm.exits.total > 0;
    monitor.run(() => guests.every(waits));
    return { monitor, sharing, hints, guests };
  };
  const scanAll = (sharing: Sharing): number => {
    let merged = 0;
    for (let rounds = 0; rounds < 64; rounds++) merged += sharing.scan(256).merged;
    return merged;
  };

  for (const translate of [false, true]) test(`share what is alike, and have their own again when they write${translate ? ", translated" : ""}`, () => {
    const { monitor, sharing, guests: [one, other] } = scene(["", ""], translate);
    const frameOf = ({ vm }: TestVm, page: number): number => vm.memory.pmap.frame(page);
    const before = monitor.frames.available;
    const merged = scanAll(sharing);
    assert.ok(merged >= PAGES + 2, `${merged} merged`);
    for (const page of [...data, CODE]) {
      assert.equal(frameOf(one!, page), frameOf(other!, page));
      assert.deepEqual(monitor.frames.info(frameOf(one!, page)), { owner: 0, state: "shared", count: 2 });
    }
    for (const guest of [one!, other!]) assert.equal(frameOf(guest, ZEROS), ZERO_FRAME);
    assert.ok(monitor.frames.available >= before + PAGES + 1 + 2);
    assert.equal(scanAll(sharing), 0, "nothing more is alike");
    for (const guest of [one!, other!]) put(guest, WAIT, Uint8Array.of(1));
    monitor.run(() => [one!, other!].every((guest) => guest.end() !== undefined));
    for (const guest of [one!, other!]) {
      assert.deepEqual(guest.end(), { kind: "fail", code: 1 });
      assert.deepEqual([guest.x(20), guest.x(22)], [0n, SUM]);
      for (const page of [...data, ZEROS]) assert.ok(!guest.vm.memory.pmap.isShared(page));
    }
    for (const page of data) assert.notEqual(frameOf(one!, page), frameOf(other!, page));
    for (const guest of [one!, other!]) guest.vm.release();
    assert.equal(monitor.frames.available, monitor.frames.usable);
  });

  test("share nothing beyond their group", () => {
    const { sharing, guests: [one, other] } = scene(["a", "b"], false);
    scanAll(sharing);
    const frames = new Set(Array.from(one!.vm.memory.pmap.entries(), ([, frame]) => frame));
    for (const [, frame] of other!.vm.memory.pmap.entries()) assert.ok(frame === ZERO_FRAME || !frames.has(frame));
  });

  test("nor a frame that was their group's once, as is still known, and is another's now, with the same in it", () => {
    const { monitor: { memory: machine }, sharing, hints, guests: [one, other] } = scene(["one", "other"], false);
    sharing.offerAll(one!.vm.memory);
    for (const page of data) {
      const hash = hashPage(machine.words, machine.wordOf(other!.vm.memory.pmap.frame(page)), saltOf("other"));
      hints.set(hash!, { kind: "frame", frame: one!.vm.memory.pmap.frame(page) });
    }
    scanAll(sharing);
    for (const page of data) assert.notEqual(other!.vm.memory.pmap.frame(page), one!.vm.memory.pmap.frame(page));
  });

  test("have what another's memory begins with without a copy", () => {
    const monitor = new TestMonitor();
    const sharing = new Sharing(monitor.memory, Hints.create(monitor.frames.total));
    const bytes = Uint8Array.from({ length: 8 * 4096 }, (_, i) => i % 251);
    const make = (): TestVm => {
      const guest = monitor.create(undefined, { technique });
      for (let at = 0; at < bytes.length; at += 4096) put(guest, DATA + at / 4096, bytes.subarray(at, at + 4096));
      sharing.add({ memory: guest.vm.memory, salt: 0 });
      sharing.offerAll(guest.vm.memory);
      return guest;
    };
    make();
    const before = monitor.frames.available;
    const second = make();
    assert.equal(before - monitor.frames.available, second.vm.memory.tables.size + (second.vm.shadow?.tables ?? 0));
    assert.deepEqual(second.vm.memory.readable(DATA * 4096, 4096), bytes.subarray(0, 4096));
  });
});

/** Fills its pages with what depends on the pass alone, so that they are as others' as long as all keep step; reads them twice; and says how often it found something else. */
const WRITER = `
  li   s0, ${DATA * 4096}
  li   s1, ${(DATA + 128) * 4096}
  li   s2, 0
  li   s3, 60
  li   s5, 4096
  pass:
  addi s2, s2, 1
  mv   t0, s0
  fill:
  srli t1, t0, 14
  mul  t1, t1, s2
  sd   t1, 0(t0)
  addi t0, t0, 8
  bltu t0, s1, fill
  li   s4, 30
  again:
  mv   t0, s0
  look:
  srli t1, t0, 14
  mul  t1, t1, s2
  ld   t2, 0(t0)
  bne  t1, t2, lost
  addi t0, t0, 8
  bltu t0, s1, look
  addi s4, s4, -1
  bnez s4, again
  bne  s2, s3, pass
  li   a0, 1
  ${EXIT}
  lost:
  li   a0, 2
  ${EXIT.replaceAll("stay", "stay2")}`;

test("writers race the scanners of two harts, and lose nothing", async () => {
  const harts = new Harts({ harts: 2, memory: 64 << 20 });
  try {
    harts.memory.change({ scanRate: 1_000_000 });
    const kernel = { format: "raw", bytes: assemble(WRITER, { base: address.memory }) } as const;
    const config = { cpus: 1, memory: 8 << 20, clock: "host", drives: [], terminal: { columns: 80, rows: 24 }, allotment: { shares: 1, cap: 1 } } as const;
    const vms = Array.from({ length: 4 }, (_, i) => harts.create({ ...config, name: `${i}` }, { kernel, append: "" }));
    const results = await Promise.all(vms.map((vm) => vm.result));
    for (const { end, stats } of results) {
      assert.deepEqual(end, { kind: "fail", code: 1 });
      assert.ok(stats.exits["hidden-fault"] > 100, "pages were shared, and written to");
    }
    assert.equal(harts.frames.free, harts.frames.total);
  } finally {
    await harts.close();
  }
});
