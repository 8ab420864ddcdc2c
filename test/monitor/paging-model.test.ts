/**
 * Random runs of all that can happen to VMs' memory on a machine that has too little of it, so that frames are taken where somebody else is in the middle of
 * something; what each page holds, wherever it is, is looked at after each step.
 */
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { Balloon } from "#monitor/memory/balloon.ts";
import { Hints } from "#monitor/memory/hints.ts";
import { victims } from "#monitor/memory/paging.ts";
import { isPagedOut, slotOf } from "#monitor/memory/pmap.ts";
import { saltOf, Sharing } from "#monitor/memory/sharing.ts";
import { address } from "#platform/memory-map.ts";
import { cases } from "../kit/effort.ts";
import { auditMemory } from "../kit/memory-audit.ts";
import { EXIT, TestMonitor, type TestVm } from "../kit/monitor.ts";
import { Random } from "../kit/random.ts";
import { TestStore } from "../kit/store.ts";
import { allTechniques } from "../kit/techniques.ts";

const MIB = 1 << 20;
const BASE = address.memory / 4096;
const [VMS, PAGES] = [3, 256];
/** Words of a page that are written and looked at; in one page of four few values, so that these become alike. */
const PLACES = [0, 1024, 2048, 4092];
const VALUES = 3;

/** What a guest finds in its pages. */
interface Model {
  readonly guest: TestVm;
  readonly pages: Uint32Array[];
}

class Run {
  readonly random: Random;
  readonly store = new TestStore(600);
  readonly monitor: TestMonitor;
  readonly sharing: Sharing;
  readonly models: Model[];

  constructor(seed: number) {
    this.random = new Random(seed);
    this.monitor = new TestMonitor({ memory: 2 * MIB, store: this.store });
    this.sharing = new Sharing(this.monitor.memory, Hints.create(this.monitor.frames.total));
    this.models = Array.from({ length: VMS }, (_, i) => this.model(i + 1));
  }

  model(id: number): Model {
    const guest = this.monitor.create(undefined, { id, memory: PAGES * 4096 });
    this.#sharer(guest);
    return { guest, pages: Array.from({ length: PAGES }, () => new Uint32Array(PLACES.length)) };
  }

  #sharer({ vm: { memory } }: TestVm): void {
    this.sharing.add({ memory, salt: saltOf("") });
  }

  some(): number[] {
    const { random } = this;
    return Array.from({ length: 1 + random.below(40) }, () => BASE + random.below(PAGES));
  }

  /** A device's accesses, which hold on to their pages together. */
  access({ guest: { vm: { memory } }, pages }: Model): void {
    const { random } = this;
    if (!random.oneIn(4)) memory.settle();
    const held: (() => void)[] = [];
    for (let i = random.below(60); i >= 0; i--) {
      const [index, place] = [random.below(PAGES), random.below(PLACES.length)];
      const at = (BASE + index) * 4096 + PLACES[place]!;
      if (random.oneIn(2)) {
        const bytes = memory.readable(at, 4);
        held.push(() => assert.equal(new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true), pages[index]![place], `page ${index}`));
      } else {
        const bytes = memory.writable(at, 4);
        const value = index % 4 === 0 ? random.below(VALUES) : random.u32();
        held.push(() => {
          new DataView(bytes.buffer, bytes.byteOffset).setUint32(0, value, true);
          pages[index]![place] = value;
        });
      }
    }
    for (const access of held) access();
  }

  give(model: Model): void {
    const balloon = new Balloon(model.guest.vm.memory);
    const pages = this.some();
    const way = this.random.pick(["inflate", "report", "deflate"] as const);
    balloon[way](pages);
    if (way !== "deflate") for (const page of pages) model.pages[page - BASE]!.fill(0);
  }

  pageOut({ guest: { vm: { memory } } }: Model): void {
    if (!this.random.oneIn(3)) memory.settle();
    memory.pageOut(this.random.oneIn(2) ? this.some() : victims(memory, 1 + this.random.below(60), this.random));
  }

  move(model: Model): Model {
    const { guest: { vm } } = model;
    this.sharing.remove(vm.memory);
    const guest = this.monitor.create(undefined, { id: vm.id, memory: PAGES * 4096, technique: vm.technique }, vm.save());
    vm.memory.forget();
    this.#sharer(guest);
    return { ...model, guest };
  }

  kill({ guest: { vm } }: Model): Model {
    this.sharing.remove(vm.memory);
    vm.release();
    return this.model(vm.id);
  }

  step(): string {
    const { random } = this;
    const at = random.below(VMS);
    const model = this.models[at]!;
    const { vm } = model.guest;
    const steps: readonly (readonly [often: number, name: string, act: () => void])[] = [
      [12, "access", () => this.access(model)],
      [2, "page out", () => this.pageOut(model)],
      [1, "balloon", () => this.give(model)],
      [2, "share", () => void this.sharing.look({ memory: vm.memory, salt: saltOf("") }, new Set(this.some()), random.pick(["note", "offer"]))],
      [1, "scan", () => void this.sharing.scan(64)],
      [3, "hide", () => vm.memory.hide(this.some())],
      [1, "technique", () => vm.setTechnique(random.pick(allTechniques))],
      [1, "move", () => void (this.models[at] = this.move(model))],
      [random.below(4) === 0 ? 1 : 0, "kill", () => void (this.models[at] = this.kill(model))],
    ];
    let chosen = random.below(steps.reduce((sum, [often]) => sum + often, 0));
    const [, name, act] = steps.find(([often]) => (chosen -= often) < 0)!;
    act();
    return `${name} of ${vm.id}`;
  }

  check(): void {
    auditMemory(this.monitor.memory, this.models.map(({ guest }) => guest.vm.memory));
    let slots = 0;
    for (const { guest: { vm: { memory } }, pages } of this.models) {
      slots += memory.pmap.counts.pagedOut;
      pages.forEach((words, index) => {
        const frame = memory.pmap.frame(BASE + index);
        this.#holds(isPagedOut(frame) ? this.store.pages.get(slotOf(frame))! : frame < 0 ? undefined : memory.machine.readable(frame), words, index);
      });
    }
    assert.equal(this.store.slots.used, slots);
  }

  #holds(bytes: Uint8Array | undefined, words: Uint32Array, index: number): void {
    const view = bytes && new DataView(bytes.buffer, bytes.byteOffset);
    PLACES.forEach((place, i) => assert.equal(view?.getUint32(place, true) ?? 0, words[i], `page ${index} at ${place}`));
  }
}

suite("what VMs have in memory", () => {
  for (let seed = 1; seed <= 4; seed++) test(`is what was written there, and tables, frames and slots agree, whatever was done: seed ${seed}`, () => {
    const run = new Run(seed);
    const done: string[] = [];
    for (let step = 0; step < cases(300); step++) {
      try {
        done.push(run.step());
        run.check();
      } catch (error) {
        throw new Error(`after ${done.slice(-5).join(", ")}, at step ${step}`, { cause: error });
      }
    }
    assert.ok(run.models.some(({ guest: { vm } }) => vm.memory.paging.ins > 0));
  });
});

/** Counts up words in its pages, each by its own amount, calls what is written there, and sees whether all are what they should be. */
const [FIRST, COUNT, PASSES] = [16, 240, 40];
const GUEST = `
  li   s0, ${(BASE + FIRST) * 4096}
  li   s1, ${(BASE + FIRST + COUNT) * 4096}
  li   s2, 0
  li   s3, 4096
  li   s5, ${PASSES}
  li   s6, 0x00008067
  pass:
  mv   t0, s0
  page:
  bnez s2, count
  sd   zero, 0(t0)
  count:
  mul  t2, t0, s2
  lr.d t1, (t0)
  bne  t1, t2, lost
  add  t1, t1, t0
  sc.d t4, t1, (t0)
  bnez t4, page
  sw   s6, 8(t0)
  fence.i
  jalr ra, 8(t0)
  add  t0, t0, s3
  bltu t0, s1, page
  addi s2, s2, 1
  bne  s2, s5, pass
  li   a0, 1
  ${EXIT}
  lost:
  li   a0, 2
  ${EXIT.replaceAll("stay", "stay2")}`;

for (let seed = 1; seed <= 3; seed++) test(`guests find what they have written while all of that is done to them: seed ${seed}`, () => {
  const random = new Random(seed);
  const store = new TestStore(1000);
  const monitor = new TestMonitor({ translate: true, memory: 2 * MIB, store });
  const sharing = new Sharing(monitor.memory, Hints.create(monitor.frames.total));
  const begin = (guest: TestVm): TestVm => {
    guest.vm.computer.longestSlice = 300;
    sharing.add({ memory: guest.vm.memory, salt: saltOf("") });
    monitor.start(guest);
    return guest;
  };
  const guests = [1, 2, 3].map((id) => begin(monitor.create(GUEST, { id, memory: 8 * MIB, technique: random.pick(allTechniques) })));
  const some = (): number[] => Array.from({ length: 1 + random.below(60) }, () => BASE + random.below(PAGES));
  const disturb = (): void => {
    const at = random.below(3);
    const guest = guests[at]!;
    const { vm } = guest;
    if (guest.end() !== undefined) return;
    vm.memory.settle();
    const acts = [
      () => void vm.memory.pageOut(some()),
      () => vm.memory.hide(some()),
      () => void sharing.look({ memory: vm.memory, salt: saltOf("") }, new Set(some()), random.pick(["note", "offer"])),
      () => void sharing.scan(64),
      () => random.oneIn(5) && vm.setTechnique(random.pick(allTechniques)),
      () => {
        if (!random.oneIn(10)) return;
        monitor.monitor.stop(vm);
        sharing.remove(vm.memory);
        const moved = monitor.create(undefined, { id: vm.id, memory: 8 * MIB, technique: vm.technique }, vm.save());
        vm.memory.forget();
        guests[at] = begin(moved);
      },
    ];
    random.pick(acts)();
  };
  monitor.run(() => (disturb(), guests.every((guest) => guest.end() !== undefined)), 120_000);
  for (const { vm, end } of guests) {
    assert.deepEqual(end(), { kind: "fail", code: 1 });
    assert.ok(vm.memory.paging.ins > 0);
    sharing.remove(vm.memory);
    vm.release();
  }
  assert.deepEqual([monitor.frames.available, store.slots.used], [monitor.frames.usable, 0]);
});
