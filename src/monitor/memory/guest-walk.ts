/**
 * The walk of a guest's own page tables by the monitor, as the machine does it for a guest that has them to itself (privileged manual, 12.3.2):
 * Sv39, Sv48 or Sv57, over guest-physical memory.
 */
import { privilege, virtualBit } from "#machine/csr-bits.ts";
import { FRAME_SIZE } from "#machine/frames.ts";
import type { HartState } from "#machine/hart.ts";
import type { GuestMemory } from "./guest-memory.ts";

/** Bits of a page table entry. */
export const pte = { valid: 1, read: 2, write: 4, execute: 8, user: 16, global: 32, accessed: 64, dirty: 128 } as const;
const PERMISSIONS = pte.read | pte.write | pte.execute;

export type Access = "fetch" | "load" | "store";

/** Who accesses: a guest's programs, its kernel, or its kernel with SUM. The index of `views` in a hart's state. */
export const views = { user: 0, kernel: 1, kernelWithSum: 2 } as const;
export type View = (typeof views)[keyof typeof views];
/** What a shadow table shows: one of these, or all, where the hart tells a guest's kernel from its programs. */
export const everything = 3;
export type ShadowView = View | typeof everything;

/** An address space: satp without the ASID. `levels` is 0 while translation is off. */
export interface AddressSpaceRoot {
  readonly levels: number;
  /** Guest page of the root table. */
  readonly page: number;
}

/** Of the two halves of a satp. */
export function rootOf(low: number, high: number): AddressSpaceRoot {
  const mode = high >>> 28;
  return mode === 0 ? { levels: 0, page: 0 } : { levels: mode - 5, page: (high & 0xfff) * 2 ** 32 + low };
}

const SPANS = [0, 1, 2, 3, 4, 5, 6, 7].map((level) => 512 ** level);

/** Pages of an entry at a level. */
export const span = (level: number): number => SPANS[level]!;

const PPN_HIGH = 0x3f_ffff;
const NON_LEAF_RESERVED = pte.user | pte.accessed | pte.dirty;
const NAPOT = 0x8000_0000;
const PBMT = 0x6000_0000;
const RESERVED_HIGH = 0x1fc0_0000;

/** One walk at a time: its result stays here until the next. */
export class GuestWalk {
  readonly #memory: GuestMemory;
  /** Guest pages of the tables that were read, by level. */
  readonly tables: number[] = [];
  /** Of the last table that was read, where the leaf is if there is one; 0 if translation is off. */
  level = 0;
  /** The leaf's low byte as it is after the access. A table above may be global too: to know less of that is always right. */
  flags = 0;
  /** The guest page behind the virtual one. Beyond 2^40 for an address where nothing is. */
  page = 0;

  constructor(memory: GuestMemory) {
    this.#memory = memory;
  }

  /** Of the virtual page number `vpn` (52 bits). Sets accessed and dirty as the hart would. Returns the fault that it comes to, if it does. */
  walk({ levels, page: root }: AddressSpaceRoot, vpn: number, access: Access, view: View, mxr: boolean): "page-fault" | "access-fault" | undefined {
    if (levels === 0) {
      // Physical addresses have 56 bits.
      if (vpn >= 2 ** 44) return "access-fault";
      this.page = vpn;
      this.level = 0;
      this.flags = PERMISSIONS | pte.valid | pte.accessed | pte.dirty | pte.global;
      return undefined;
    }
    this.level = levels;
    const upper = Math.floor(vpn / 2 ** (9 * levels - 1));
    if (upper !== 0 && upper !== 2 ** (53 - 9 * levels) - 1) return "page-fault";
    let table = root;
    for (let level = levels - 1; ; level--) {
      if (!this.#memory.pmap.holds(table)) return "access-fault";
      this.tables[level] = table;
      this.level = level;
      const index = Math.floor(vpn / span(level)) % 512;
      const [low, high] = this.#memory.tableEntry(table, index);
      const isWriteOnly = (low & (pte.read | pte.write)) === pte.write;
      if (!(low & pte.valid) || isWriteOnly || high & RESERVED_HIGH) return "page-fault";
      let page = (high & PPN_HIGH) * 2 ** 22 + (low >>> 10);
      if (!(low & (pte.read | pte.execute))) {
        if (low & NON_LEAF_RESERVED || high & (PBMT | NAPOT) || level === 0) return "page-fault";
        table = page;
        continue;
      }
      if ((high & PBMT) === PBMT) return "page-fault";
      if (high & NAPOT) {
        if (level !== 0 || (page & 15) !== 8) return "page-fault";
        page = page - 8 + (vpn % 16);
      }
      if (page % span(level) !== 0) return "page-fault";
      if (!allows(low, access, view, mxr)) return "page-fault";
      const needed = low | pte.accessed | (access === "store" ? pte.dirty : 0);
      if (needed !== low) this.#memory.setTableEntryLow(table, index, needed);
      this.page = page + (vpn % span(level));
      this.flags = needed & 0xff;
      return undefined;
    }
  }
}

/** Whether an access is what a leaf with these flags is for. */
export function allows(flags: number, access: Access, view: View, mxr: boolean): boolean {
  if (access === "fetch" ? !(flags & pte.execute) : access === "store" ? !(flags & pte.write) : !(flags & (mxr ? pte.read | pte.execute : pte.read))) {
    return false;
  }
  return isSeen(flags, view) && !(view === views.kernelWithSum && access === "fetch" && flags & pte.user);
}

const SUM = 1 << 18;

/** Who accesses, by a hart's state. */
export function viewOf(state: HartState): View {
  const mode = state.number("privilege");
  const isVirtual = (mode & virtualBit) !== 0;
  const isKernel = isVirtual ? mode === privilege.virtualSupervisor : state.number("virtualPrivilege") === 1;
  if (!isKernel) return views.user;
  return state.low(isVirtual ? "mstatus" : "parkedStatus", 0) & SUM ? views.kernelWithSum : views.kernel;
}

/** Whether a view has pages with these flags at all. */
export function isSeen(flags: number, view: ShadowView): boolean {
  if (view === views.kernelWithSum || view === everything) return true;
  return (flags & pte.user) !== 0 === (view === views.user);
}

export const addressOf = (page: number): number => page * FRAME_SIZE;
