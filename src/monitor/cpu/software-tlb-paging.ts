/**
 * A guest with a TLB that its kernel fills, on a machine with one that the monitor fills (docs/software-tlb.md). The guest's entries, from virtual
 * to guest-physical pages, stand in fields of their own; the hart's lead from there to frames, and are the only ones that translate:
 *
 *   program: an access misses → monitor: has the guest an entry? no: its handler is called, in U-mode → handler: writes stlbop, which traps
 *   → monitor: notes the guest's entry, and installs the frame's → handler: SRET traps → monitor: returns → program: the access again, which hits
 *
 * Misses for which the guest has an entry are hidden: it knows nothing of how many entries the hart can spare.
 */
import { cause } from "#machine/csr-bits.ts";
import { ExitReason } from "#machine/hart/exit-reason.ts";
import type { HartState } from "#machine/hart.ts";
import { softwareTlbEntries as entries } from "#machine/layout.ts";
import { deviceAccess, load, managesBlock } from "../io/device-access.ts";
import { emulateDeviceAccess } from "../io/emulated.ts";
import { allows, pte, span, viewOf, views, type Access, type View } from "../memory/guest-walk.ts";
import type { ShadowStatistics } from "../memory/shadow.ts";
import type { CsrAccess } from "../virtual-core.ts";
import type { VirtualMachine } from "../vm.ts";
import { writtenBy } from "./privileged.ts";

export const STLBOP = 0x5c6;
const operations = { read: 0, write: 1, writeNext: 2, probe: 3 } as const;
/** Of zero, which it reads as, clearing leaves zero. */
const CLEAR = 3;
const NOT_FOUND = 2 ** 31;

const GO_ON = 0;
/** Its bytes. */
const CACHE_BLOCK_INSTRUCTION = 4;
const SPACES = 4096;
const ALL = 0xcf;
const MXR = 1 << 19;
const PAGE_HALF = 2 ** 20;
const PPN_HALF = 2 ** 22;

/** Causes of page faults, and of misses twelve above. */
const faults: Readonly<Record<Access, number>> = { fetch: cause.instructionPage, load: cause.loadPage, store: cause.storePage };
const accessFaults: Readonly<Record<Access, number>> = { fetch: cause.instructionAccess, load: cause.loadAccess, store: cause.storeAccess };
const accesses: Readonly<Record<number, Access>> = {
  [cause.instructionPage]: "fetch", [cause.loadPage]: "load", [cause.storePage]: "store",
  [cause.instructionTlbMiss]: "fetch", [cause.loadTlbMiss]: "load", [cause.storeTlbMiss]: "store",
};
const misses: Readonly<Record<Access, number>> = { fetch: cause.instructionTlbMiss, load: cause.loadTlbMiss, store: cause.storeTlbMiss };

const modeOf = (satp: bigint): number => Number(satp >> 60n);
const SATP_SPACE_HIGH = ~(15n << 56n);

/** Where the hart's entries are for a view: an address space of its own. */
const hartSpace = (view: View): number => view + 1;
const satpOf = (space: number): bigint => (14n << 60n) | (BigInt(space) << 44n);

/** An entry of the guest's, taken apart. */
interface GuestEntry {
  /** Of the page that was asked for. */
  readonly page: number;
  readonly flags: number;
}

export class SoftwareTlbPaging {
  readonly #vm: VirtualMachine;
  /** Where the next of the hart's entries goes. */
  #next = 0;

  constructor(vm: VirtualMachine) {
    this.#vm = vm;
  }

  /** The hart's TLB is what shadow tables are elsewhere. */
  readonly shadow = {
    /** satp of a hart none of whose entries count. */
    nowhere: satpOf(SPACES - 1),
    statistics: (): ShadowStatistics | null => null,
    vacated: (): void => {
      for (const { state } of this.#vm.cores) for (let index = 0; index < entries; index++) state.setHalves("tlbEntryLo", index, 0, 0);
    },
    // What an entry has led to is only forgotten while the entry is there.
    moved: (): void => {
      this.shadow.vacated();
      this.#vm.core.flushGuest({});
    },
    release: (): void => {},
  };

  get #state(): HartState {
    return this.#vm.core.state;
  }

  /** The guest's access to satp. A mode that there isn't leaves it as it was. */
  accessSatp(access: CsrAccess): boolean {
    const state = this.#state;
    const old = state.get("parkedSatp");
    const satp = writtenBy(access, state, old);
    if (satp !== undefined && (modeOf(satp) === 0 || modeOf(satp) === 14)) {
      state.set("parkedSatp", satp & SATP_SPACE_HIGH);
      this.#enter();
    }
    if (access.rd !== 0) state.set("x", old, access.rd);
    return true;
  }

  /** It fences page tables, and there are none. */
  fence(): number {
    return GO_ON;
  }

  /** The guest's access to stlbop; it reads as zero. */
  operate({ operand, writes, rd, operation }: CsrAccess): boolean {
    const state = this.#state;
    if (rd !== 0) state.set("x", 0, rd);
    if (!writes) return true;
    const index = state.number("tlbIndex") % entries;
    const value = operand & 32 ? operand & 31 : state.low("x", operand);
    switch (operation === CLEAR ? 0 : value) {
      case operations.read:
        state.set("tlbHi", state.get("virtualTlbHi", index));
        state.set("tlbLo", state.get("virtualTlbLo", index));
        break;
      case operations.write:
        this.#write(index);
        break;
      case operations.writeNext: {
        const next = Math.max(state.number("tlbNext"), state.number("tlbWired"));
        this.#write(next);
        state.setNumber("tlbNext", (next + 1) % entries);
        break;
      }
      case operations.probe: {
        const found = this.#find(pageOf(state, "tlbHi", 0), state.low("tlbHi", 0) % SPACES);
        state.setNumber("tlbIndex", found < 0 ? NOT_FOUND : found);
        break;
      }
    }
    return true;
  }

  /** A miss of the hart's, or a page fault, by its cause. Throws HostelryError `no-frames`. */
  pageFault(why: number): number {
    const state = this.#state;
    if (state.get("views") !== satpOf(hartSpace(0))) this.#enter();
    const asked = accesses[why]!;
    const isManagement = managesBlock(state.number("exitInstruction"));
    const access = isManagement ? "load" : asked;
    const low = state.low("exitTval", 0);
    const vpn = state.high("exitTval") * PAGE_HALF + (low >>> 12);
    const entry = this.#entry(vpn);
    if (entry === undefined) return this.#missed(asked);
    const view = viewOf(state);
    const isAllowed = allows(entry.flags, access, view, (state.low("mstatus", 0) & MXR) !== 0);
    const needed = pte.accessed | (access === "store" ? pte.dirty : 0);
    if (!isAllowed || (entry.flags & needed) !== needed) return this.#reflect("true-fault", faults[asked]);
    // It may, and that is all: there is no cache.
    if (isManagement) {
      this.#vm.core.retire(CACHE_BLOCK_INSTRUCTION);
      return GO_ON;
    }
    if (!this.#vm.memory.pmap.holds(entry.page)) {
      const isDone = access !== "fetch" && emulateDeviceAccess(this.#vm, entry.page * 4096 + (low & 4095));
      return isDone ? GO_ON : this.#reflect("access-fault", accessFaults[asked]);
    }
    this.#vm.record("hidden-fault", low);
    const isReadable = access !== "load" || view !== views.kernelWithSum || !(entry.flags & pte.user) || (entry.flags & pte.read) !== 0;
    if (access === "store") this.#vm.memory.own(entry.page);
    if (isReadable) this.#install(vpn, view, entry);
    else if (!this.#loadExecutable(entry.page, low & 4095)) return this.#reflect("true-fault", faults[asked]);
    return GO_ON;
  }

  /** With SUM and MXR, a kernel reads a program's page that can only be executed. No entry says that and no more, so that the load is done here; false if it is no plain one. */
  #loadExecutable(page: number, offset: number): boolean {
    const { core, memory } = this.#vm;
    const access = deviceAccess(core.state.number("exitInstruction"));
    if (access === undefined || access.kind !== "read" || offset + access.size > 4096) return false;
    const word = new DataView(new ArrayBuffer(8));
    memory.machine.readable(memory.touch(page)).subarray(offset, offset + access.size).forEach((byte, i) => word.setUint8(i, byte));
    core.retire(access.length);
    load(core.state, access, [word.getUint32(0, true), word.getUint32(4, true)]);
    return true;
  }

  /** The guest has no entry: its kernel's handler is next. */
  #missed(access: Access): number {
    const state = this.#state;
    const isLeft = this.#reflect("true-fault", misses[access]);
    state.set("tlbHi", (state.get("exitTval") & -4096n) | ((state.get("parkedSatp") >> 44n) & 0xfffn));
    const handler = state.get("tlbVector");
    if (handler !== 0n) state.set("pc", handler);
    return isLeft;
  }

  #reflect(kind: "true-fault" | "access-fault", why: number): number {
    this.#vm.record(kind, why);
    return this.#vm.core.reflect(why) ? GO_ON : ExitReason.exit;
  }

  /** The guest's entry becomes another. The hart's for the frame comes with it, for whoever will want it. */
  #write(index: number): void {
    const state = this.#state;
    this.#forget(index);
    state.set("virtualTlbHi", state.get("tlbHi"), index);
    state.set("virtualTlbLo", state.get("tlbLo"), index);
    // It may come before another for the same page.
    this.#forget(index);
    const vpn = pageOf(state, "virtualTlbHi", index);
    const entry = this.#entry(vpn);
    if (entry === undefined || !(entry.flags & pte.accessed) || !this.#vm.memory.pmap.holds(entry.page)) return;
    this.#install(vpn, (entry.flags & pte.user ? 0 : 1) as View, entry);
  }

  /** The first entry of the guest's for a page in an address space, or -1. */
  #find(vpn: number, space: number): number {
    const state = this.#state;
    for (let index = 0; index < entries; index++) {
      const flags = state.low("virtualTlbLo", index);
      if (!(flags & pte.valid)) continue;
      const pages = span(sizeOf(state, index));
      if (Math.floor(vpn / pages) !== Math.floor(pageOf(state, "virtualTlbHi", index) / pages)) continue;
      if (flags & pte.global || state.low("virtualTlbHi", index) % SPACES === space) return index;
    }
    return -1;
  }

  /** What the guest has for a page in its address space; with translation off, the page itself. */
  #entry(vpn: number): GuestEntry | undefined {
    const state = this.#state;
    const satp = state.high("parkedSatp");
    if (satp >>> 28 === 0) return { page: vpn, flags: viewOf(state) === 0 ? ALL | pte.user : ALL };
    const index = this.#find(vpn, (satp >>> 12) % SPACES);
    if (index < 0) return undefined;
    const pages = span(sizeOf(state, index));
    const page = (state.high("virtualTlbLo", index) % PPN_HALF) * PPN_HALF + (state.low("virtualTlbLo", index) >>> 10);
    return { page: page - (page % pages) + (vpn % pages), flags: state.low("virtualTlbLo", index) & 0xff };
  }

  /** An entry of the hart's: a user's, since all that the guest executes is in U-mode. What the guest's entry doesn't allow yet is not there. */
  #install(vpn: number, view: View, { page, flags }: GuestEntry): void {
    const state = this.#state;
    const index = this.#next;
    this.#next = (index + 1) % entries;
    this.#drop(index);
    const { memory } = this.#vm;
    const frame = memory.machine.pageNumber(memory.touch(page));
    let rights = flags & (pte.read | pte.write | pte.execute);
    if (!(flags & pte.dirty) || memory.pmap.isShared(page)) rights &= ~pte.write;
    if (view === views.kernelWithSum && flags & pte.user) rights &= ~pte.execute;
    state.setHalves("tlbEntryHi", index, ((vpn % PAGE_HALF) << 12) | hartSpace(view), Math.floor(vpn / PAGE_HALF));
    state.setHalves("tlbEntryLo", index, ((frame % PPN_HALF) << 10) | rights | pte.valid | pte.user | pte.accessed | pte.dirty, Math.floor(frame / PPN_HALF));
  }

  /** The hart has nothing of what an entry of the guest's covers. */
  #forget(index: number): void {
    const state = this.#state;
    if (!(state.low("virtualTlbLo", index) & pte.valid)) return;
    const pages = span(sizeOf(state, index));
    const first = Math.floor(pageOf(state, "virtualTlbHi", index) / pages);
    for (let own = 0; own < entries; own++) {
      if (Math.floor(pageOf(state, "tlbEntryHi", own) / pages) === first) this.#drop(own);
    }
  }

  #drop(index: number): void {
    const state = this.#state;
    if (!(state.low("tlbEntryLo", index) & pte.valid)) return;
    this.#vm.core.flushGuest({ virtual: state.get("tlbEntryHi", index) & -4096n });
    state.setHalves("tlbEntryLo", index, 0, 0);
  }

  /** The hart is in the address space that the guest's satp names: nothing of another is left. */
  #enter(): void {
    const state = this.#state;
    for (let index = 0; index < entries; index++) state.setHalves("tlbEntryLo", index, 0, 0);
    this.#vm.core.flushGuest({});
    for (const view of [0, 1, 2] as const) state.set("views", satpOf(hartSpace(view)), view);
    this.#vm.core.selectView();
  }
}

function pageOf(state: HartState, name: "tlbHi" | "virtualTlbHi" | "tlbEntryHi", index: number): number {
  return state.high(name, index) * PAGE_HALF + (state.low(name, index) >>> 12);
}

/** 0 for 4 KiB, and each one more 512 times as much. */
function sizeOf(state: HartState, index: number): number {
  return (state.high("virtualTlbLo", index) >>> 22) & 3;
}
