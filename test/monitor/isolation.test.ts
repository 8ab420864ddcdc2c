/**
 * Hostile guests: random instructions in the kernel's and in the programs' mode, page tables that point anywhere, rings full of nonsense, hypercalls
 * with random arguments. Whatever they do, they do it to themselves: no frame but their own changes, no translation leads out of them, the
 * monitor never throws. By every technique. HOSTELRY_TEST_EFFORT=1200 makes it a million cases of each.
 */
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { Random } from "#base/random.ts";
import { privilege } from "#machine/csr-bits.ts";
import { bank, layout } from "#machine/layout.ts";
import type { Technique } from "#monitor/cpu/technique.ts";
import { GuestMemory } from "#monitor/memory/guest-memory.ts";
import { address, balloonSlot } from "#platform/memory-map.ts";
import { assemble } from "#riscv/assemble.ts";
import { instructions } from "#riscv/table.ts";
import { assertConfined, setRegisters, watchExits, type Registers } from "../kit/confinement.ts";
import { cases, seed } from "../kit/effort.ts";
import { TestMonitor, type TestVm } from "../kit/monitor.ts";
import { allTechniques, titleOf } from "../kit/techniques.ts";

const PAGE = 4096;
const GUEST_PAGES = 64;
const MACHINE_PAGES = 512;
/** For the tables that shadow the guest's. */
const SPARE_PAGES = 160;
const OTHERS = 98;
/** Cases between which the rest of the machine is looked at. */
const BATCH = 64;
const INSTRUCTIONS = 300;

/** Loads, stores and atomics: what reaches for memory. */
const accesses = instructions.filter(({ syntax }) => syntax.includes("(rs1)"));

/** Entries of a queue. */
const RING = 8;

/** Pages of the guest, by number from 0. */
interface Rings {
  readonly descriptors: number;
  readonly available: number;
  readonly used: number;
}

const RINGS = "descriptors that say anything, in rings where they should be";

type Scene = (hostile: Hostile) => void;

class Hostile {
  readonly random: Random;
  readonly monitor: TestMonitor;
  readonly guest: TestVm;
  readonly #others: Uint8Array;
  readonly #neighbour: GuestMemory;
  /** Chains of descriptors that devices took for done. */
  served = 0;

  constructor(seedOfRun: number, technique: Technique, translate: boolean) {
    this.random = new Random(seedOfRun);
    this.monitor = new TestMonitor({ memory: MACHINE_PAGES * PAGE, translate });
    const disk = { kind: "immediate", sectors: 64, readOnly: false, id: "disk", read: (_: number, into: readonly Uint8Array[]) => into.forEach((bytes) => bytes.fill(0xee)), write() {}, flush() {} } as const;
    // With a port for an agent the console has queues for its control, too.
    this.guest = this.monitor.create(undefined, { memory: GUEST_PAGES * PAGE, drives: [disk], agent: { output() {}, opened() {} }, balloon: true, technique });
    watchExits(this.monitor.memory, this.guest.vm);
    this.#neighbour = new GuestMemory(this.monitor.memory, 99, { base: address.memory, size: GUEST_PAGES * PAGE });
    for (let page = 0; page < GUEST_PAGES; page++) {
      this.guest.vm.memory.own(address.memory / PAGE + page);
      this.random.fill(this.#neighbour.writable(address.memory + page * PAGE, PAGE));
    }
    // What no VM has is not for them either, but for the monitor's work.
    while (this.monitor.frames.available > SPARE_PAGES) this.random.fill(this.monitor.memory.writable(this.monitor.memory.take(OTHERS, "private")));
    this.#others = Uint8Array.from(this.#contents());
  }

  get vm() {
    return this.guest.vm;
  }

  below(limit: number): number {
    return this.random.u32() % limit;
  }

  pick<Item>(items: readonly Item[]): Item {
    return items[this.below(items.length)]!;
  }

  /** A page of the guest's memory, by number from 0. */
  page(index: number): Uint8Array {
    return this.vm.memory.writable(address.memory + index * PAGE, PAGE);
  }

  u64(): bigint {
    return (BigInt(this.random.u32()) << 32n) | BigInt(this.random.u32());
  }

  /** What is worth trying as an address or a value. */
  value(): bigint {
    const inGuest = BigInt(address.memory + this.below(GUEST_PAGES * PAGE));
    if (this.below(2) === 0) return inGuest & ~7n;
    return this.pick([
      inGuest, inGuest & ~0xfffn, inGuest | 7n, BigInt(this.below(4096)), -1n, this.u64(), 1n << BigInt(this.below(64)),
      BigInt(address.memory + this.below(4 * MACHINE_PAGES * PAGE)), BigInt(address.uart + this.below(16)), BigInt(address.plic + 4 * this.below(0x100)),
      BigInt(address.virtio + this.below(0x9000)), BigInt(address.clint + this.below(0xc000)), BigInt(this.monitor.processor.map.hart), BigInt(this.below(0x2000)),
    ]);
  }

  /** Valid encodings as a rule, with random operands. */
  instruction(): number {
    if (this.below(8) === 0) return this.random.u32();
    const { mask, match } = this.pick(this.below(2) === 0 ? accesses : instructions).encoding;
    return ((this.random.u32() & ~mask) | match) >>> 0;
  }

  fillWithInstructions(index: number): void {
    const page = this.page(index);
    const view = new DataView(page.buffer, page.byteOffset, PAGE);
    for (let at = 0; at < PAGE; at += 4) view.setUint32(at, this.instruction(), true);
  }

  fillWithPageTable(index: number): void {
    const page = this.page(index);
    const view = new DataView(page.buffer, page.byteOffset, PAGE);
    for (let at = 0; at < PAGE; at += 8) {
      const frame = this.pick([0x80000n + BigInt(this.below(GUEST_PAGES)), 0x80000n + BigInt(this.below(2 * MACHINE_PAGES)), this.u64() >> 20n, BigInt(this.below(0x11000))]);
      const pointer = this.below(2) === 0;
      view.setBigUint64(at, BigInt.asUintN(64, (frame << 10n) | BigInt(pointer ? 1 : this.below(256) | 1) | (this.below(50) === 0 ? this.u64() << 54n : 0n)), true);
    }
  }

  /** A device takes only what it offers: those that none could have come now and then. */
  features(): number {
    return this.pick([0, 0, 1 << 28, 1 << 29, 3 << 28, 2, this.random.u32()]);
  }

  /** Rings of a queue, in their places, whose descriptors say anything: of memory that isn't there, too much of it, in circles, one table in another. */
  fillWithRings({ descriptors, available, used }: Rings): void {
    const table = new DataView(this.page(descriptors).buffer, this.page(descriptors).byteOffset, PAGE);
    for (let n = 0; n < RING; n++) {
      const inside = BigInt(address.memory + this.below(GUEST_PAGES * PAGE));
      const length = this.pick([0, 1, 16, 16, 512, PAGE, GUEST_PAGES * PAGE, -1, this.random.u32()]);
      table.setBigUint64(16 * n, BigInt.asUintN(64, this.below(4) === 0 ? this.value() : inside), true);
      table.setUint32(16 * n + 8, length >>> 0, true);
      table.setUint16(16 * n + 12, this.pick([0, 1, 1, 2, 3, 4, 5, this.below(0x10000)]), true);
      table.setUint16(16 * n + 14, this.below(RING + 1), true);
      // Now and then it is the head of a request to a disk.
      const head = this.page(Math.floor((Number(inside) - address.memory) / PAGE));
      const at = Number(inside) % PAGE & ~15;
      head.set([this.pick([0, 1, 4, 8, 11, 13]), 0, 0, 0, 0, 0, 0, 0, this.below(70), 0, 0, 0, 0, 0, 0, 0], at);
    }
    const ring = new DataView(this.page(available).buffer, this.page(available).byteOffset, PAGE);
    ring.setUint16(0, this.below(2), true);
    ring.setUint16(2, this.pick([1, 2, RING, this.below(0x10000)]), true);
    for (let n = 0; n < RING; n++) ring.setUint16(4 + 2 * n, this.below(RING + 1), true);
    this.page(used).fill(0, 0, 4);
  }

  /** A kernel or a program in a random state, at random code. */
  begin(): void {
    this.vm.core.reset();
    this.vm.computer.begin();
    const handler = this.below(GUEST_PAGES);
    this.fillWithInstructions(handler);
    const code = this.below(GUEST_PAGES - 4);
    this.fillWithInstructions(code);
    const registers = {
      x: Array.from({ length: 33 }, (_, i) => (i === 0 ? 0n : this.value())),
      f: Array.from({ length: 32 }, () => this.u64()),
      privilege: this.below(3) === 0 ? privilege.virtualUser : privilege.virtualSupervisor,
      mstatus: this.pick([0x6000n, 0x2000n, 0n]) | (this.u64() & 0xc0122n),
      stvec: this.below(4) === 0 ? this.value() & ~3n : address.memory + handler * PAGE,
      mie: this.u64() & 0x444n,
      vstimecmp: this.pick([0n, -1n, BigInt(this.below(100))]),
      pc: address.memory + code * PAGE + (this.below(PAGE) & ~3),
    };
    this.set(this.below(2) === 0 ? registers : { ...registers, ...this.#addressSpace(registers.pc) });
  }

  #addressSpace(pc: number): Registers {
    const root = this.below(GUEST_PAGES);
    this.fillWithPageTable(root);
    if (this.below(2) === 0) this.fillWithPageTable(this.below(GUEST_PAGES));
    const place = this.below(8) === 0 ? BigInt(this.below(2 ** 31)) << BigInt(this.below(14)) : 0x80000n + BigInt(root);
    return {
      satp: (this.pick([8n, 9n, 10n]) << 60n) | (BigInt(this.below(4)) << 44n) | place,
      pc: this.below(2) === 0 ? this.value() & ~1n : pc,
    };
  }

  set(registers: Registers): void {
    setRegisters(this.vm.core, registers);
  }

  /** Runs the driver, which writes these values to registers of the device at this address. */
  drive(device: number, steps: readonly (readonly [register: number, value: number])[]): void {
    this.page(0).set(driver);
    const table = this.page(1);
    const view = new DataView(table.buffer, table.byteOffset, PAGE);
    steps.forEach(([register, value], i) => {
      view.setUint32(i * 8, device + register, true);
      view.setUint32(i * 8 + 4, value, true);
    });
    this.set({ privilege: privilege.virtualSupervisor, satp: 0, pc: address.memory });
    const { state } = this.vm.core;
    state.set("x", address.memory + PAGE, 10);
    state.set("x", steps.length, 11);
    this.run();
  }

  run(): void {
    const { core, computer } = this.vm;
    core.load();
    this.monitor.processor.contextChanged();
    this.monitor.processor.run(this.vm, INSTRUCTIONS);
    computer.sliceEnded();
    core.unload();
    assertConfined(this.monitor.memory, this.vm);
  }

  /** Every frame comes back. */
  end(): void {
    const { available } = this.monitor.frames;
    const taken = MACHINE_PAGES - available - this.#held();
    assert.ok(taken > 0);
    this.vm.release();
    assert.equal(this.monitor.frames.available, available + taken);
  }

  /** Frames of others. */
  #held(): number {
    let held = 0;
    for (let frame = 0; frame < MACHINE_PAGES; frame++) if (this.#isOthers(frame)) held++;
    return held;
  }

  #isOthers(frame: number): boolean {
    const { owner, state } = this.monitor.frames.info(frame);
    return state !== "free" && owner !== this.vm.id;
  }

  /** All frames that aren't the guest's. */
  #contents(): Uint8Array {
    const all = this.monitor.processor.dma.readable(address.memory, MACHINE_PAGES * PAGE).slice();
    for (let frame = 0; frame < MACHINE_PAGES; frame++) if (!this.#isOthers(frame)) all.fill(0, frame * PAGE, (frame + 1) * PAGE);
    return all;
  }

  check(what: string): void {
    const now = this.#contents();
    for (let frame = 0; frame < MACHINE_PAGES; frame++) {
      const [before, after] = [this.#others, now].map((all) => all.subarray(frame * PAGE, (frame + 1) * PAGE));
      assert.ok(Buffer.compare(before!, after!) === 0, `${what}: frame ${frame} (${JSON.stringify(this.monitor.frames.info(frame))}) has changed`);
    }
    this.#checkTranslations(what);
  }

  /** What the hart has cached of translations leads to the guest's own pages. */
  #checkTranslations(what: string): void {
    const { map, memory } = this.monitor.processor;
    const view = new DataView(memory.buffer);
    const own = new Set([...this.vm.memory.pmap.entries()].map(([, frame]) => frame));
    for (let index = 0; index < bank.count; index++) {
      if (view.getBigUint64(map.hart + layout.bankKeys.offset + 8 * index, true) === 0n) continue;
      const base = map.banks + index * bank.size;
      for (let at = base + bank.read; at < base + bank.exec; at += 16) {
        const tag = view.getBigInt64(at, true);
        if (tag === -1n) continue;
        const host = (Number(BigInt.asUintN(32, tag)) + view.getInt32(at + 8, true)) >>> 0;
        assert.ok(own.has((host - map.ram) / PAGE), `${what}: a cached translation of ${tag.toString(16)} leads to ${host.toString(16)}`);
      }
    }
  }
}

const scenes: Readonly<Record<string, Scene>> = {
  "random code in random states, with page tables that point anywhere": (hostile) => {
    hostile.begin();
    hostile.run();
  },

  "hypercalls with random arguments": (hostile) => {
    hostile.begin();
    const page = hostile.page(0);
    const view = new DataView(page.buffer, page.byteOffset, PAGE);
    for (let at = 0; at < 64; at += 4) view.setUint32(at, 0x73, true);
    hostile.set({ privilege: privilege.virtualSupervisor, satp: 0, pc: address.memory });
    const { state } = hostile.vm.core;
    state.set("x", hostile.pick([0n, 1n, 2n, 8n, 0x10n, 0x54494d45n, 0x735049n, 0x52464e43n, 0x48534dn, 0x53525354n, 0x4442434en, hostile.u64()]), 17);
    state.set("x", BigInt(hostile.below(8)), 16);
    hostile.run();
  },

  [RINGS]: (hostile) => {
    hostile.begin();
    const device = address.virtio + 0x1000 * hostile.below(3);
    const queues = Array.from({ length: 2 }, (_, i) => ({ descriptors: 2 + 3 * i, available: 3 + 3 * i, used: 4 + 3 * i }));
    const numbers = [hostile.below(6), hostile.below(2)];
    queues.forEach((rings) => hostile.fillWithRings(rings));
    const setUp = queues.flatMap(({ descriptors, available, used }, i): [number, number][] => [
      [0x30, numbers[i]!], [0x38, RING], [0x80, address.memory + descriptors * PAGE], [0x84, 0], [0x90, address.memory + available * PAGE], [0x94, 0],
      [0xa0, address.memory + used * PAGE], [0xa4, 0], [0x44, 1],
    ]);
    hostile.drive(device, [[0x70, 0], [0x70, 3], [0x24, 0], [0x20, hostile.features()], [0x24, 1], [0x20, 1], [0x70, 11], ...setUp, [0x70, 15], [0x50, numbers[0]!], [0x50, numbers[1]!]]);
    for (const { used } of queues) hostile.served += hostile.page(used)[2]!;
  },

  "a driver that tells devices nonsense": (hostile) => {
    hostile.begin();
    const slot = address.virtio + 0x1000 * hostile.pick([0, 1, 2, 3, balloonSlot]);
    const ring = (): number => Number(BigInt.asUintN(32, hostile.value()));
    const steps: readonly [number, number][] = [
      [0x70, 0], [0x70, 1], [0x70, 3], [0x24, 0], [0x20, hostile.features()], [0x24, 1], [0x20, 1 | hostile.below(4)], [0x70, 11], [0x30, hostile.below(3)],
      [0x38, hostile.pick([1, 2, 4, 8, 256, 3, 0x10000])], [0x80, ring()], [0x84, 0], [0x90, ring()], [0x94, 0], [0xa0, ring()], [0xa4, 0], [0x44, 1], [0x70, 15],
      [0x50, hostile.below(3)], [0x50, hostile.below(3)], [hostile.below(0x200) & ~3, hostile.random.u32()],
    ];
    // Rings and descriptors in the rest of memory are what the cases before have left there, with small numbers among it.
    const rings = hostile.page(2 + hostile.below(GUEST_PAGES - 2));
    for (let i = 0; i < PAGE; i += 2) rings[i] = hostile.below(4) === 0 ? 0 : rings[i]!;
    hostile.drive(slot, steps);
  },
};

/** Stores (address, value) pairs of u32s from a0 on, a1 of them. */
const driver = assemble(`
  again:
  lwu  a2, 0(a0)
  lw   a3, 4(a0)
  sw   a3, 0(a2)
  addi a0, a0, 8
  addi a1, a1, -1
  bnez a1, again
  stay: j stay
`, { base: address.memory });

for (const technique of allTechniques) {
  suite(`hostile guests by ${titleOf(technique)} (seed ${seed})`, () => {
    for (const [name, scene] of Object.entries(scenes)) {
      for (const translate of [false, true]) {
        test(`${name}${translate ? ", translated" : ""}`, () => {
          const hostile = new Hostile(seed + (translate ? 1 : 0), technique, translate);
          for (let n = 0; n < cases(150); n += BATCH) {
            for (let i = 0; i < BATCH; i++) scene(hostile);
            hostile.check(`cases ${n} to ${n + BATCH}`);
          }
          // Otherwise it would prove little.
          assert.ok(name !== RINGS || hostile.served > 0, "no device has done anything");
          hostile.end();
        });
      }
    }
  });
}
