/** Guests that have more in memory than the machine has frames, under every technique: nothing is lost. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { suite, test } from "node:test";
import { readShared } from "#host/node/boot-files.ts";
import { Harts } from "#host/node/harts.ts";
import { techniqueOf } from "#monitor/cpu/technique.ts";
import { Balloon } from "#monitor/memory/balloon.ts";
import { Paging } from "#monitor/memory/paging.ts";
import { address } from "#platform/memory-map.ts";
import { defaultImage } from "../kit/hostelry.ts";
import { EXIT, TestMonitor, type TestVm, type TestVmOptions } from "../kit/monitor.ts";
import { Random } from "../kit/random.ts";
import { TestStore } from "../kit/store.ts";
import { allTechniques, titleOf } from "../kit/techniques.ts";
import { WatchedConsole } from "../kit/watched-console.ts";

const MIB = 1 << 20;
const [FIRST, PAGES, PASSES] = [64, 1600, 4];

/** Goes through its pages again and again: each has to hold what the last pass has written there, and has code that is called. */
const GUEST = `
  li   s0, ${address.memory + FIRST * 4096}
  li   s1, ${address.memory + (FIRST + PAGES) * 4096}
  li   s2, 0
  li   s3, 4096
  li   s5, ${PASSES}
  li   s6, 0x00008067
  pass:
  mv   t0, s0
  page:
  beqz s2, write
  ld   t1, 16(t0)
  mul  t2, t0, s2
  bne  t1, t2, lost
  jalr t0
  write:
  addi t3, s2, 1
  mul  t2, t0, t3
  sd   t2, 16(t0)
  sw   s6, 0(t0)
  add  t0, t0, s3
  bltu t0, s1, page
  fence.i
  addi s2, s2, 1
  bne  s2, s5, pass
  li   a0, 1
  ${EXIT}
  lost:
  li   a0, 2
  ${EXIT.replaceAll("stay", "stay2")}`;

const scene = (slots: number, technique: TestVmOptions["technique"], memory = 4 * MIB): { monitor: TestMonitor; store: TestStore; guest: TestVm } => {
  const store = new TestStore(slots);
  const monitor = new TestMonitor({ translate: true, memory, store });
  const guest = monitor.create(GUEST, { memory: 8 * MIB, ...(technique && { technique }) });
  guest.vm.computer.longestSlice = 1000;
  monitor.start(guest);
  return { monitor, store, guest };
};

for (const technique of allTechniques) test(`a guest on ${titleOf(technique)} with more than the machine has: pages come and go, hold what they held, and it does what it does elsewhere`, () => {
  const { monitor, store, guest } = scene(2000, technique);
  monitor.run(() => guest.end() !== undefined, 60_000);
  assert.deepEqual(guest.end(), { kind: "fail", code: 1 });
  const { memory } = guest.vm;
  const { outs, ins, prefetched, prefetchedUsed } = memory.paging;
  assert.ok(ins > (PASSES - 2) * (PAGES - 1024) && outs >= ins && prefetched > 0 && prefetchedUsed > 0, JSON.stringify(memory.paging));
  assert.equal(outs - ins, memory.pmap.counts.pagedOut);
  const enough = scene(0, technique, 64 * MIB);
  enough.monitor.run(() => enough.guest.end() !== undefined, 60_000);
  assert.equal(guest.vm.computer.instret, enough.guest.vm.computer.instret);
  assert.equal(store.slots.used, memory.pmap.counts.pagedOut);
  guest.vm.release();
  assert.equal(store.slots.used, 0);
  assert.equal(monitor.frames.available, monitor.frames.usable);
});

suite("a swap file", () => {
  const OTHER = `
    li   s0, ${address.memory + 16 * 4096}
    wait:
    ld   t0, 0(s0)
    beqz t0, wait
    li   a0, 3
    ${EXIT}`;

  /** How the guest with too much ends; the other goes on whatever happens. */
  const endBeside = (slots: number, broken: (store: TestStore) => void): { readonly end: ReturnType<TestVm["end"]>; readonly store: TestStore } => {
    const { monitor, store, guest } = scene(slots, undefined);
    const other = monitor.create(OTHER);
    monitor.start(other);
    monitor.run(() => guest.vm.memory.paging.ins > 0 || guest.end() !== undefined);
    broken(store);
    monitor.run(() => guest.end() !== undefined);
    guest.vm.release();
    assert.equal(other.end(), undefined);
    Object.assign(store.broken, { read: false, write: false });
    other.vm.memory.writable(address.memory + 16 * 4096, 1)[0] = 1;
    monitor.run(() => other.end() !== undefined);
    assert.deepEqual(other.end(), { kind: "fail", code: 3 });
    other.vm.release();
    assert.deepEqual([monitor.frames.available, store.slots.used], [monitor.frames.usable, 0]);
    return { end: guest.end(), store };
  };

  test("that is full: whoever finds no frame ends", () => {
    const { end } = endBeside(200, () => {});
    assert.ok(end?.kind === "failed" && end.code === "no-frames", JSON.stringify(end));
  });

  for (const way of ["write", "read"] as const) test(`from which nothing can be ${way === "write" ? "written" : "read"}: whoever needs it ends`, () => {
    const { end } = endBeside(4000, ({ broken }) => (broken[way] = true));
    assert.ok(end?.kind === "failed" && end.code === "swap" && end.message.includes("it is broken"), JSON.stringify(end));
  });

  test("that is full: other harts have a moment to free frames before somebody ends", () => {
    const { monitor } = scene(200, undefined);
    const taken: number[] = [];
    for (let frame; (frame = monitor.frames.take(99, "private")) >= 0; ) taken.push(frame);
    const give = (): boolean => {
      for (const frame of taken.splice(0)) monitor.frames.release(frame);
      return true;
    };
    monitor.memory.reclaimer = new Paging({ guests: () => [], random: new Random(1), now: () => 0, wait: give });
    assert.equal(monitor.memory.frames.info(monitor.memory.take(1, "private")).owner, 1);
    assert.equal(taken.length, 0);
  });

  test("takes what a VM has beyond its limit, little by little; nobody waits for one that is full", () => {
    const { monitor, store, guest } = scene(600, undefined, 16 * MIB);
    monitor.run(() => guest.end() !== undefined);
    const { memory } = guest.vm;
    const paging = new Paging({ guests: () => [memory], random: new Random(1), now: () => 0 });
    memory.limit = memory.pmap.counts.mapped - 500;
    assert.equal(paging.trim(memory), true);
    assert.ok(paging.isBehind(memory) && memory.paging.outs >= 200 && memory.paging.outs < 300);
    while (paging.trim(memory));
    assert.ok(memory.pmap.counts.mapped <= memory.limit);
    memory.limit = 0;
    while (paging.trim(memory));
    assert.ok(memory.pmap.counts.mapped > 0 && !paging.isBehind(memory));
    assert.equal(store.slots.used, 600);
  });

  test("ends the VM of a device that can't have its page, whatever the device makes of it", () => {
    const { monitor, store, guest } = scene(4000, undefined);
    const { memory } = guest.vm;
    monitor.run(() => memory.pmap.counts.pagedOut > 0);
    store.broken.read = true;
    const page = Array.from({ length: PAGES }, (_, i) => memory.pmap.firstPage + FIRST + i).find((at) => memory.pmap.frame(at) < -1)!;
    assert.throws(() => memory.readable(page * 4096, 8), { code: "swap" });
    store.broken.read = false;
    monitor.run(() => guest.end() !== undefined);
    const end = guest.end();
    assert.ok(end?.kind === "failed" && end.code === "swap");
  });

  test("keeps what the balloon took no longer, and goes along to another hart", () => {
    const { monitor, store, guest } = scene(4000, undefined);
    const { memory } = guest.vm;
    monitor.run(() => memory.paging.ins > 0);
    monitor.monitor.stop(guest.vm);
    const moved = monitor.create(undefined, { memory: 8 * MIB, id: guest.vm.id }, guest.vm.save());
    memory.forget();
    monitor.start(moved);
    monitor.run(() => moved.end() !== undefined);
    assert.deepEqual(moved.end(), { kind: "fail", code: 1 });
    const { pmap } = moved.vm.memory;
    const [out, used] = [pmap.counts.pagedOut, store.slots.used];
    assert.equal(out, used);
    new Balloon(moved.vm.memory).inflate(Array.from({ length: pmap.pages }, (_, i) => pmap.firstPage + i));
    assert.deepEqual([pmap.counts.pagedOut, store.slots.used, pmap.counts.ballooned], [0, 0, pmap.pages]);
  });
});

const TOUCHES = `
  li   s0, ${address.memory + FIRST * 4096}
  li   s1, ${address.memory + (FIRST + 64) * 4096}
  li   s2, 4096
  touch:
  sd   s0, 0(s0)
  add  s0, s0, s2
  bltu s0, s1, touch
  stay:
  j    stay`;

// Its technique, which knows what may go, and is to be told, is gone by then.
for (const technique of [...allTechniques, techniqueOf({ cpu: "paravirtual" })]) test(`a VM on ${titleOf(technique)} is not paged out while it is saved, or ends`, () => {
  const monitor = new TestMonitor({ memory: 8 * MIB, store: new TestStore(4000) });
  const guests = [1, 2].map(() => monitor.create(TOUCHES, { technique }));
  for (const guest of guests) {
    guest.vm.computer.longestSlice = 1000;
    monitor.start(guest);
  }
  monitor.run(() => guests.every(({ vm }) => vm.memory.pmap.counts.mapped > 64));
  for (const { vm } of guests) monitor.monitor.stop(vm);
  while (monitor.frames.available > 8) monitor.frames.take(99, "device");
  guests[0]!.vm.save();
  guests[1]!.vm.release();
  for (const { vm } of guests) assert.equal(vm.memory.paging.outs, 0);
});

test("what is guaranteed to a VM is not paged out for another, and another's is for it", () => {
  const store = new TestStore(8000);
  const monitor = new TestMonitor({ translate: true, memory: 8 * MIB, store });
  const [sure, other] = [monitor.create(GUEST, { memory: 8 * MIB }), monitor.create(GUEST, { memory: 8 * MIB })];
  sure.vm.memory.guaranteed = 2048;
  for (const guest of [other, sure]) {
    guest.vm.computer.longestSlice = 1000;
    monitor.start(guest);
  }
  monitor.run(() => sure.end() !== undefined && other.end() !== undefined, 60_000);
  assert.deepEqual([sure.end(), other.end()], [{ kind: "fail", code: 1 }, { kind: "fail", code: 1 }]);
  assert.equal(sure.vm.memory.paging.outs, 0);
  assert.ok(other.vm.memory.paging.outs > 0);
});

const found = await defaultImage();
const PATIENCE = 120_000;
const NUMBERS = 500_000;
const checksum = createHash("md5").update(Array.from({ length: NUMBERS }, (_, n) => `${n + 1}\n`).join("")).digest("hex");

suite("a Debian guest that has more than the machine", { skip: "skip" in found && found.skip }, () => {
  const config = { name: "debian", cpus: 1, memory: 192 * MIB, clock: "host", drives: [], terminal: { columns: 80, rows: 24 }, allotment: { shares: 1, cap: 1 }, entitlement: { min: 0, shares: 1 } } as const;

  test("loses nothing, on whichever hart", async () => {
    const { image } = found as Exclude<typeof found, { skip: string }>;
    const directory = mkdtempSync(join(tmpdir(), "hostelry-paging-"));
    const harts = new Harts({ harts: 2, memory: 56 * MIB, swap: { path: join(directory, "swap"), size: 512 * MIB } });
    try {
      const files = await readShared({ kernel: image.kernelPath, initrd: image.initrdPath, append: image.manifest.append });
      const guest = new WatchedConsole(harts.create(config, files));
      await guest.until(/hostelry:~# /, PATIENCE);
      for (const hart of [1, 0]) {
        harts.move(guest.vm, hart);
        guest.text = "";
        guest.type(`[ -e numbers ] || seq ${NUMBERS} > numbers; md5sum numbers; echo 'do'ne\n`);
        await guest.until(/done/, PATIENCE);
        assert.match(guest.text, new RegExp(checksum));
      }
      const { paging, memory: { pagedOut } } = await guest.vm.stats();
      assert.ok(paging.ins > 0 && pagedOut > 0 && harts.swap.used >= pagedOut, JSON.stringify(paging));
      guest.vm.stop();
      await guest.vm.result;
      assert.deepEqual([harts.frames.free, harts.swap.used], [harts.frames.total, 0]);
    } finally {
      await harts.close();
      rmSync(directory, { recursive: true });
    }
  });
});
