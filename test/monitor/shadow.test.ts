/**
 * Shadow tables after each step of long random runs, against the guest's own tables as a plain model walks them: what an entry maps, the guest's
 * tables map, and allow; no traced page is writable; no frame is another's; what the reverse map has is what is mapped; and a TLB that holds
 * whatever it was once given is told of all that has become a table, and by the guest's fences of all that is stale.
 */
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { Frames } from "#machine/frames.ts";
import { privilege } from "#machine/csr-bits.ts";
import { HartState } from "#machine/hart.ts";
import { hartStateSize, memoryMap } from "#machine/layout.ts";
import { PhysicalMemory } from "#machine/physical-memory.ts";
import { allocate } from "#machine/processor.ts";
import type { ShadowPolicy } from "#monitor/cpu/technique.ts";
import { shadowBound } from "#monitor/memory/footprint.ts";
import { GuestMemory } from "#monitor/memory/guest-memory.ts";
import { pte, type Access } from "#monitor/memory/guest-walk.ts";
import { MachineMemory } from "#monitor/memory/machine-memory.ts";
import { Shadow } from "#monitor/memory/shadow.ts";
import { cases, seed } from "../kit/effort.ts";
import { Random } from "../kit/random.ts";
import { Fault, MemoryModel, type Kind, type Registers } from "../mmu/model.ts";

const PAGE = 4096;
const BASE = 0x8000_0000;
const FIRST = BASE / PAGE;
const GUEST_PAGES = 600;
/** Of the guest's pages these may be tables, those behind them are data as a rule. */
const TABLES = 24;
const OWNER = 7;
const STEPS = 1500;
const KIND: Readonly<Record<Access, Kind>> = { fetch: "execute", load: "read", store: "write" };
const NEEDED: Readonly<Record<Access, number>> = { fetch: pte.execute, load: pte.read, store: pte.write };

/** What a hart may keep of an entry that it has walked to. */
interface Cached {
  readonly asid: number;
  readonly virtual: bigint;
  readonly guestAsid: number;
  readonly frame: number;
  readonly isWritable: boolean;
  /** By which entry of a shadow table. */
  readonly view: number;
  /** By which tables of the guest's, and what was found there. */
  readonly satp: bigint;
  readonly leaf: Leaf;
}

/** Where tables lead. */
interface Leaf {
  /** The entries on the way. */
  readonly path: string;
  /** How much the last one maps, and which page of that is asked for, if any. */
  readonly span: bigint;
  readonly page: number | undefined;
}

class Scene {
  readonly random: Random;
  readonly frames = Frames.create(8192);
  readonly machine: MachineMemory;
  readonly guest: GuestMemory;
  readonly shadow: Shadow;
  readonly state: HartState;
  readonly tlb = new Map<string, Cached>();
  readonly isVirtual: boolean;
  readonly #free: number;
  readonly #known: bigint[] = [];
  /** satp's mode, as a rule. */
  readonly #levels: number;
  /** The tables as they are; of the rest the model only has to know that it is memory. */
  readonly #ram = new Uint8Array(GUEST_PAGES * PAGE);

  constructor(seedOfRun: number, policy: ShadowPolicy, isVirtual: boolean) {
    this.random = new Random(seedOfRun);
    this.isVirtual = isVirtual;
    this.#levels = this.random.pick([8, 8, 9, 10]);
    const map = memoryMap(8192 * PAGE);
    this.machine = new MachineMemory(this.frames, map, new PhysicalMemory(allocate(map), map, () => {}));
    this.state = new HartState(new Uint8Array(hartStateSize), 0);
    this.#free = this.frames.available;
    this.guest = new GuestMemory(this.machine, OWNER, { base: BASE, size: GUEST_PAGES * PAGE });
    for (let page = 0; page < GUEST_PAGES; page++) if (page < TABLES || !this.random.oneIn(4)) this.guest.own(FIRST + page);
    this.shadow = new Shadow({
      memory: this.guest,
      policy,
      isVirtual,
      harts: () => [this.state],
      selectView: () => this.state.set("satp", this.state.get("views", isVirtual ? 0 : this.#view())),
      flush: (what) => this.#forget(what),
      purge: (frame) => {
        for (const [key, cached] of this.tlb) if (cached.isWritable && cached.frame === frame) this.tlb.delete(key);
      },
    });
    for (const view of [0, 1, 2]) this.state.set("views", this.shadow.nowhere, view);
    this.mode();
    for (let table = 0; table < TABLES; table++) for (let index = 0; index < 512; index++) this.#put(table, index, this.entry());
  }

  /** An entry, valid as a rule: of a table, often of one that there is already, and itself; of a page, a large one, a NAPOT one. */
  entry(): bigint {
    const { random } = this;
    const flags = random.pick([0xc7, 0xd7, 0xdf, 0xcf, 0xdf, 0xcf, 0xdf, 0xcf, 0xdb, 0x17, 0xd3, 0xd9, 0x5f, 0x1f, 0x4b, 0xd1, 0xe7, 0xff, random.below(256)]);
    const odd = random.oneIn(24) ? random.pick([1n << 63n, 1n << 61n, 3n << 61n, 1n << 54n]) : 0n;
    const page = random.pick([random.below(TABLES), random.below(TABLES), random.below(GUEST_PAGES), 0, 8 + 16 * random.below(40), GUEST_PAGES + random.below(9)]);
    if (random.oneIn(2)) return BigInt(FIRST + random.below(TABLES)) * 1024n + BigInt(random.oneIn(8) ? 0x21 : 1);
    return BigInt(FIRST + page) * 1024n + BigInt(flags) + odd;
  }

  #put(table: number, index: number, value: bigint): void {
    const bytes = this.machine.writable(this.guest.own(FIRST + table));
    new DataView(bytes.buffer, bytes.byteOffset).setBigUint64(index * 8, value, true);
  }

  #view(): number {
    if (this.state.number("virtualPrivilege") === 0) return 0;
    return Number((this.state.get("parkedStatus") >> 18n) & 1n) + 1;
  }

  /** An address that its tables may lead somewhere: few indices, so that paths meet; or where they have led. */
  virtual(): bigint {
    const { random } = this;
    const known = this.#known[random.below(24)];
    if (known !== undefined && !random.oneIn(3)) return known;
    let value = 0n;
    for (let level = 0; level < 5; level++) value = (value << 9n) | BigInt(random.oneIn(30) ? random.below(512) : random.pick([0, 1, 2, 511]));
    const mode = Number(this.state.get("parkedSatp") >> 60n);
    if (mode === 0) return BigInt(BASE + random.below(GUEST_PAGES + 2) * PAGE);
    const extended = BigInt.asUintN(64, BigInt.asIntN(12 + 9 * (mode - 5), value << 12n));
    return random.oneIn(40) ? value << 12n : extended;
  }

  /** A kernel's or a program's, with or without SUM and MXR. */
  mode(): void {
    const { random, state, isVirtual } = this;
    const [isKernel, status] = [random.oneIn(2), BigInt(random.below(4)) << 18n];
    state.setNumber("privilege", !isVirtual ? privilege.user : isKernel ? privilege.virtualSupervisor : privilege.virtualUser);
    state.setNumber("virtualPrivilege", Number(isKernel));
    state.set("parkedStatus", isVirtual ? 0n : status);
    state.set("mstatus", isVirtual ? status : status & (1n << 19n));
    state.set("satp", state.get("views", isVirtual ? 0 : this.#view()));
  }

  space(): void {
    const { random, state } = this;
    const root = random.oneIn(20) ? BigInt(random.u32()) * BigInt(random.below(4096)) : BigInt(FIRST + random.below(3));
    const satp = random.oneIn(10) ? 0n : (BigInt(random.oneIn(8) ? random.pick([8, 9, 10]) : this.#levels) << 60n) | (BigInt(random.below(3)) << 44n) | root;
    state.set("parkedSatp", satp);
    this.shadow.switched(state);
  }

  access(): void {
    const { random, state, shadow } = this;
    const virtual = this.virtual();
    const access = random.pick(["fetch", "load", "store", "store"] as const);
    const model = this.#model();
    const expected = this.#expected(model, virtual, access);
    for (let tries = 0; ; tries++) {
      // A fault that leads to nothing would never end.
      assert.ok(tries < 2, `${access} at ${virtual.toString(16)} comes out for ever`);
      const found = this.#look(virtual, access);
      if (found !== undefined) {
        assert.equal(expected, found, `${access} at ${virtual.toString(16)}`);
        return;
      }
      const fault = shadow.fault(state, Number(virtual & 0xffff_ffffn), Number(virtual >> 32n), access);
      switch (fault.kind) {
        case "hidden":
          this.#known[random.below(24)] = virtual;
          // Accessed and dirty, and nothing else.
          for (let table = 0; table < TABLES; table++) {
            assert.equal(Buffer.compare(this.#table(table), this.#ram.subarray(table * PAGE, (table + 1) * PAGE)), 0, `table ${table}`);
          }
          continue;
        case "once":
          assert.equal(expected, this.#look(virtual, "load", shadow) ?? expected);
          shadow.settle();
          return;
        case "true":
          assert.equal(expected, fault.fault, `${access} at ${virtual.toString(16)}`);
          return;
        case "no-memory":
          assert.equal(expected, "no-memory");
          return;
        case "table-write":
          assert.equal(expected, this.guest.pmap.frame(Math.floor(fault.physical / PAGE)));
          return this.#writeTable(fault.physical);
      }
    }
  }

  /** The store that came out: done in the hart's place, or as the hart does it with the page writable. */
  #writeTable(physical: number): void {
    const { random, shadow } = this;
    const [page, index] = [Math.floor(physical / PAGE) - FIRST, random.pick([0, 1, 2, 511, random.below(512)])];
    if (random.oneIn(2)) {
      this.#put(page, index, this.entry());
      shadow.tableWritten(page + FIRST, index * 8, index * 8 + 7);
    } else {
      shadow.allow(page + FIRST);
      // Often the table maps itself, which may be written just now, and not when it is settled.
      this.#put(page, index, random.oneIn(4) ? BigInt(FIRST + page) * 1024n + 0xdfn : this.entry());
      shadow.settle();
    }
  }

  /** A store by way of any mapping that lets it, or by a device. */
  edit(): void {
    const { random } = this;
    const page = random.below(TABLES);
    if (random.oneIn(4)) {
      const bytes = this.guest.writable(BASE + page * PAGE, PAGE);
      new DataView(bytes.buffer, bytes.byteOffset).setBigUint64(8 * random.below(8), this.entry(), true);
    } else if (this.shadow.tables.isTraced(FIRST + page)) this.#writeTable((FIRST + page) * PAGE);
    else if (page < TABLES) this.#put(page, random.below(16), this.entry());
  }

  fence(): void {
    const { random, shadow } = this;
    const virtual = random.oneIn(2) ? undefined : random.oneIn(2) ? this.virtual() : this.#besides();
    const asid = random.oneIn(2) ? random.below(3) : undefined;
    shadow.fence(virtual, asid);
    // What the guest has asked to be gone is gone; a global page of one address space is not.
    for (const cached of this.tlb.values()) {
      const isAsked = (virtual === undefined || cached.virtual === (virtual & -4096n)) && (asid === undefined || cached.guestAsid === asid);
      assert.ok(!isAsked, `${cached.virtual.toString(16)} of ${cached.guestAsid} is still cached after a fence of ${virtual?.toString(16)}, ${asid}`);
      if (virtual !== undefined && (asid === undefined || cached.guestAsid === asid)) this.#checkFenced(cached, virtual);
    }
  }

  /** An address of a large page of which the hart knows another. */
  #besides(): bigint {
    const large = [...this.tlb.values()].filter(({ leaf }) => leaf.span > BigInt(PAGE));
    if (large.length === 0) return this.virtual();
    const { virtual, leaf } = this.random.pick(large);
    return BigInt.asUintN(64, virtual ^ (BigInt(this.random.below(512) * PAGE) % leaf.span));
  }

  /** A fence of one address of a large page is one of all of it, if no entry above it was another: what is still cached is so still. */
  #checkFenced(cached: Cached, virtual: bigint): void {
    const { path, span } = cached.leaf;
    if (span <= BigInt(PAGE) || (cached.virtual & -span) !== (virtual & -span)) return;
    const leaf = this.#leafOf(cached.satp, cached.virtual);
    if (!leaf.path.startsWith(path)) return;
    const frame = leaf.page !== undefined && this.guest.pmap.holds(leaf.page) ? this.guest.pmap.frame(leaf.page) : undefined;
    assert.equal(frame, cached.frame, `${cached.virtual.toString(16)} is stale, of a large page with ${virtual.toString(16)}, which was fenced`);
  }

  #leafOf(satp: bigint, virtual: bigint): Leaf {
    let [table, path] = [Number(satp & ((1n << 44n) - 1n)), ""];
    for (let level = Number(satp >> 60n) - 6; level >= 0 && this.guest.pmap.holds(table); level--) {
      const [low, high] = this.guest.tableEntry(table, Number((virtual >> BigInt(12 + 9 * level)) & 511n));
      const span = BigInt(PAGE) << BigInt(9 * level);
      const page = (high & 0x3f_ffff) * 2 ** 22 + (low >>> 10);
      if (!(low & pte.valid)) return { path, span, page: undefined };
      if (low & (pte.read | pte.execute)) return { path, span, page: page + Number((virtual & (span - 1n)) >> 12n) };
      [table, path] = [page, `${path}${page}/`];
    }
    return { path, span: 0n, page: undefined };
  }

  #forget({ virtual, asid }: { readonly virtual?: bigint; readonly asid?: number }): void {
    for (const [key, cached] of this.tlb) {
      const isOther = (virtual !== undefined && cached.virtual !== (virtual & -4096n)) || (asid !== undefined && cached.asid !== asid);
      if (!isOther) this.tlb.delete(key);
    }
  }

  /** The frame that the shadow shows, as a hart would walk to it, and remember it. */
  #look(virtual: bigint, access: Access, lent?: Shadow): number | undefined {
    const { state } = this;
    const satp = state.get("satp");
    const levels = Number(satp >> 60n) - 5;
    if (BigInt.asUintN(64, BigInt.asIntN(12 + 9 * levels, virtual)) !== virtual) return undefined;
    let frame = this.#frameOf(satp & ((1n << 44n) - 1n));
    for (let level = levels - 1; ; level--) {
      assert.deepEqual(this.#use(frame), { owner: OWNER, state: "page-table" });
      const index = Number((virtual >> BigInt(12 + 9 * level)) & 511n);
      const low = this.machine.words[this.machine.wordOf(frame) + 2 * index]!;
      if (!(low & pte.valid)) return undefined;
      frame = this.#frameOf(BigInt(low >>> 10));
      if (level > 0) continue;
      const mxr = ((state.get("mstatus") >> 19n) & 1n) === 1n;
      const needed = access === "load" && mxr ? pte.read | pte.execute : NEEDED[access];
      if (!(low & needed) || !this.#isSeen(low, access)) return undefined;
      const cached = {
        asid: Number((satp >> 44n) & 0xffffn), guestAsid: Number((state.get("parkedSatp") >> 44n) & 0xffffn), virtual, frame, isWritable: access === "store", view: this.#view(),
        satp: state.get("parkedSatp"), leaf: this.#leafOf(state.get("parkedSatp"), virtual),
      };
      if (lent === undefined) this.tlb.set(Object.values(cached).join(), cached);
      return frame;
    }
  }

  /** By U, as a hart has it. */
  #isSeen(flags: number, access: Access): boolean {
    const isUserPage = (flags & pte.user) !== 0;
    const mode = this.state.number("privilege");
    if (mode !== privilege.virtualSupervisor) return isUserPage;
    return !isUserPage || (access !== "fetch" && ((this.state.get("mstatus") >> 18n) & 1n) === 1n);
  }

  #frameOf = (pageNumber: bigint): number => Number(pageNumber) - this.machine.pageNumber(0);

  #use(frame: number) {
    const { owner, state } = this.frames.info(frame);
    return { owner, state };
  }

  #table(table: number): Uint8Array {
    return this.machine.readable(this.guest.pmap.frame(FIRST + table));
  }

  /** The guest's memory as it sees it. */
  #model(): MemoryModel {
    for (let table = 0; table < TABLES; table++) this.#ram.set(this.#table(table), table * PAGE);
    return new MemoryModel(this.#ram, BASE);
  }

  #registers(isKernel: boolean, sum: boolean, mxr: boolean): Registers {
    return { privilege: isKernel ? 1 : 0, satp: this.state.get("parkedSatp"), sum, mxr, mprv: false, mpp: 0, adue: true, pbmte: true, pmp: [{ config: 0x1f, address: (1n << 54n) - 1n }] };
  }

  /** The frame behind an address by the guest's present tables, or how it faults. */
  #expected(model: MemoryModel, virtual: bigint, access: Access): number | string {
    const { state, isVirtual } = this;
    const status = isVirtual ? state.get("mstatus") : state.get("parkedStatus") | state.get("mstatus");
    const registers = this.#registers(state.number("virtualPrivilege") === 1, ((status >> 18n) & 1n) === 1n, ((status >> 19n) & 1n) === 1n);
    try {
      const page = Number(model.translate(registers, virtual, KIND[access]) / 4096n);
      if (!this.guest.pmap.holds(page)) return "no-memory";
      return this.guest.own(page);
    } catch (error) {
      if (!(error instanceof Fault)) throw error;
      return error.cause >= 12 ? "page-fault" : "access-fault";
    }
  }

  /** All that is said at the top. */
  check(): void {
    const { shadow, guest } = this;
    const { tables } = shadow;
    assert.ok(tables.size < shadowBound(GUEST_PAGES) + 16, `${tables.size} tables`);
    for (const { table, index, page, frame, flags } of tables.mapped()) {
      assert.equal(guest.pmap.frame(page), frame);
      assert.deepEqual(this.#use(frame), { owner: OWNER, state: "private" });
      if (flags & pte.write) assert.ok(!tables.isTraced(page), `the traced page ${page.toString(16)} is writable`);
      if (table.flags === undefined) this.#checkImage(table.page, index, page, flags, table.view);
    }
    const traced = new Set(Array.from({ length: GUEST_PAGES }, (_, i) => FIRST + i).filter((page) => tables.isTraced(page)).map((page) => guest.pmap.frame(page)));
    for (const { isWritable, frame, virtual } of this.tlb.values()) {
      assert.ok(!isWritable || !traced.has(frame), `the hart may still write the frame ${frame}, a table of the guest's, at ${virtual.toString(16)}`);
    }
  }

  /** An entry of the last level is what the guest's own entry says, less what must be noticed. */
  #checkImage(table: number, index: number, page: number, flags: number, view: number): void {
    const [low, high] = this.guest.tableEntry(table, index);
    const isNapot = high >>> 31 === 1;
    const own = (high & 0x3f_ffff) * 2 ** 22 + (low >>> 10);
    assert.equal(page, isNapot ? own - 8 + (index % 16) : own, `entry ${index} of ${table.toString(16)}`);
    const allowed = low & (pte.read | pte.write | pte.execute | pte.global);
    assert.equal(flags & (pte.read | pte.write | pte.execute | pte.global) & ~allowed, 0, `entry ${index} of ${table.toString(16)}: ${flags.toString(16)} of ${low.toString(16)}`);
    assert.ok(low & pte.valid && low & pte.accessed);
    if (flags & pte.write) assert.ok(low & pte.dirty);
    if (view < 2) assert.equal((low & pte.user) !== 0, view === 0, "of the view's own");
    if (view === 2 && low & pte.user) assert.equal(flags & pte.execute, 0);
  }

  step(): void {
    const { random } = this;
    const what = random.below(16);
    if (what === 0) this.space();
    else if (what === 1) {
      if (random.oneIn(3)) this.fence();
    } else if (what < 4) this.edit();
    else if (what < 6) this.mode();
    else this.access();
  }

  /** Every frame comes back. */
  end(): void {
    this.shadow.release();
    this.guest.release();
    assert.equal(this.frames.available, this.#free);
  }
}

suite(`shadow tables after each step (seed ${seed})`, () => {
  for (const isVirtual of [false, true]) {
    for (const policy of ["naive", "cached"] as const) {
      test(`${isVirtual ? "in VS-mode" : "in U-mode"}, ${policy}`, () => {
        for (let run = 0; run < cases(6); run++) {
          const scene = new Scene(seed * 1000 + run, policy, isVirtual);
          scene.space();
          for (let n = 0; n < STEPS; n++) {
            scene.step();
            scene.check();
          }
          scene.end();
        }
      });
    }
  }
});
