/**
 * Direct paging (Barham et al., "Xen and the Art of Virtualization", 2003): the hart walks the guest's own page tables, which hold frame numbers.
 * That is safe as long as the guest can't write them unseen. So each of its pages is used as one thing at a time, with a count of those who do:
 * memory that something maps writable, or a page table of a level; who becomes a table is checked with all below it, and changes only by `update`.
 */
import { SbiError } from "#devices/sbi.ts";
import { FRAME_SIZE } from "#machine/frames.ts";
import { HostelryError } from "#base/errors.ts";
import { Copies, type SavedCopies } from "./copies.ts";
import type { GuestMemory } from "./guest-memory.ts";
import { pte } from "./guest-walk.ts";
import { MachineToPhysical, MONITOR_SLOT } from "./machine-to-physical.ts";

const { success, failed, invalidParameter, denied, alreadyAvailable } = SbiError;
/** 0, or an error of SbiError's. */
export type Refusal = number;

const ENTRIES = 512;
export const ROOT_LEVEL = 2;
const NOTHING = 0;
const WRITABLE = 1;
/** And a table of each level: 2, 3, 4. */
const tableOf = (level: number): number => WRITABLE + 1 + level;
const NOT_OURS = -1;

/** The low byte of an entry that leads to a table; and what no leaf may have. */
const POINTER_MASK = 0xff;
/** So many tables are checked in one exit: 5 ms of the monitor's time. */
const CHECKS = 1024;
/** Of a guest's pages, so many frames may be kept by its entries alone; and a few in any case. */
const ORPHANS = { part: 1 / 16, few: 64 } as const;

export interface DirectOptions {
  readonly memory: GuestMemory;
  /** The hart forgets whatever it knows of the guest's pages. */
  readonly flush: () => void;
  /** The frame of this number is no table any more. */
  readonly tableEnded: (number: number) => void;
}

export interface SavedDirect {
  readonly uses: Uint8Array;
  readonly counts: Uint32Array;
  readonly pinned: Uint8Array;
  /** Pages of whose frames the guest was told. */
  readonly told: readonly number[];
  readonly firstView: boolean;
  readonly copies: SavedCopies;
  readonly readers: ReadonlyMap<number, number>;
}

export class DirectTables {
  readonly frames: MachineToPhysical;
  readonly #memory: GuestMemory;
  readonly #flush: () => void;
  readonly #tableEnded: (number: number) => void;
  /** Of each page: what it is used as, by how many, and whether it is pinned. */
  readonly #uses: Uint8Array;
  readonly #counts: Uint32Array;
  readonly #pinned: Uint8Array;
  /** The guest's page behind each of its frames that it has been told of. */
  readonly #pages = new Map<number, number>();
  readonly #copies: Copies;
  /** Entries that lead to each frame and don't let it be written: without such, none is here. */
  readonly #readers: Map<number, number>;
  /** Pages that are not mapped writable any more, but of which the hart may not know yet. */
  readonly #stale = new Set<number>();
  /** Whether the guest is in its first view: the G-stage's tables, which map all pages writable that are no tables. */
  #firstView: boolean;
  #checks = 0;

  /** All is memory, or as `saved`. Throws HostelryError `no-frames`. */
  constructor({ memory, flush, tableEnded }: DirectOptions, saved?: SavedDirect) {
    const { pages } = memory.pmap;
    this.#memory = memory;
    this.#flush = flush;
    this.#tableEnded = tableEnded;
    this.#uses = saved?.uses ?? new Uint8Array(pages);
    this.#counts = saved?.counts ?? new Uint32Array(pages);
    this.#pinned = saved?.pinned ?? new Uint8Array(pages);
    this.#firstView = saved?.firstView ?? true;
    this.#copies = new Copies(memory, () => this.flushed(), saved?.copies);
    this.#readers = new Map(saved?.readers);
    this.frames = new MachineToPhysical(memory.machine, memory.owner);
    memory.tables.setLastEntry(this.frames.entry);
    memory.written = (page) => {
      if (!memory.pmap.holds(page) || !this.isTable(page)) return;
      const at = (page * FRAME_SIZE).toString(16);
      throw new HostelryError("in-table", `the guest wants a transfer into its page table at 0x${at}: give the device other memory`);
    };
    // Whatever frame it may name has to stay its own.
    memory.isFixed = (page) => this.#uses[this.#index(page)] !== NOTHING || this.#pages.has(memory.pmap.frame(page)) || this.#copies.frameOf(page) !== undefined;
    try {
      for (const page of saved?.told ?? []) this.numberOf(page);
      for (const frame of this.#copies) this.frames.set(frame, this.#copies.pageOf(frame) ?? 0);
    } catch (error) {
      this.frames.release();
      throw error;
    }
    for (let index = 0; index < pages; index++) {
      if (this.#uses[index] === tableOf(ROOT_LEVEL)) this.#showFrames(memory.pmap.firstPage + index);
    }
  }

  /** What another hart needs to go on. The machine-to-physical table is made anew there. */
  save(): SavedDirect {
    const told = [...this.#pages.values()];
    return { uses: this.#uses, counts: this.#counts, pinned: this.#pinned, told, firstView: this.#firstView, copies: this.#copies.save(), readers: this.#readers };
  }

  release(): void {
    this.#memory.written = this.#memory.isFixed = undefined;
    this.#copies.release();
    this.frames.release();
  }

  /** The guest begins anew: all is memory. */
  reset(): void {
    const { pmap, tables } = this.#memory;
    for (const [page, frame] of pmap.entries()) if (this.isTable(page)) tables.map(page, frame, "read-write");
    for (const array of [this.#uses, this.#counts, this.#pinned]) array.fill(0);
    this.#stale.clear();
    this.#readers.clear();
    this.#copies.release();
    this.#firstView = true;
    this.#flush();
  }

  /** Another exit: tables may be checked again. */
  begin(): void {
    this.#checks = 0;
  }

  isTable(page: number): boolean {
    return this.#uses[this.#index(page)]! > WRITABLE;
  }

  /** The number of the frame behind a page, of which the guest is told. Throws HostelryError `no-frames`. */
  numberOf(page: number): number {
    const copy = this.#copies.frameOf(page);
    if (copy !== undefined) return this.#memory.machine.pageNumber(copy);
    const frame = this.#memory.own(page);
    if (!this.#pages.has(frame)) {
      this.frames.set(frame, page);
      this.#pages.set(frame, page);
    }
    return this.#memory.machine.pageNumber(frame);
  }

  /**
   * `page` is a copy of `source` from now on: they have one frame, whose number `numberOf` gives, and which entries may name that don't let it be written. Neither
   * may be used as anything, and no entry lead to the frame that `page` has. Throws HostelryError `no-frames`.
   */
  copy(page: number, source: number): Refusal {
    if (page === source) return invalidParameter;
    if ([page, source].some((one) => this.#uses[this.#index(one)] !== NOTHING)) return denied;
    // What was a copy is first one no more.
    this.own(page);
    const old = this.#memory.touch(page);
    if (this.#readers.has(old)) return denied;
    const frame = this.#copies.make(page, source);
    if (frame === undefined) return failed;
    if (this.#pages.delete(old)) this.frames.set(old, 0);
    this.#pages.delete(frame);
    this.frames.set(frame, source);
    return success;
  }

  /** The page has a frame of its own: of a copy, with what that holds. Throws HostelryError `no-frames`. */
  own(page: number): void {
    this.#memory.own(page);
  }

  /** A copy has been written to, by whomever, and has a frame of its own. Throws HostelryError `copies` if the guest has too many frames beyond its pages by now. */
  moved(page: number): void {
    const frame = this.#copies.frameOf(page);
    if (frame === undefined) return;
    this.#copies.leave(page, frame);
    this.frames.set(frame, this.#copies.pageOf(frame) ?? 0);
    if (!this.#readers.has(frame)) this.#copies.unmapped(frame);
    const most = Math.max(ORPHANS.few, ORPHANS.part * this.#memory.pmap.pages);
    if (this.#copies.orphans <= most) return;
    throw new HostelryError("copies", `the guest's entries keep ${this.#copies.orphans} frames of copies that are none any more: it has to map what its pages have instead`);
  }

  /** The monitor writes to the page from now on: it becomes no table. */
  claim(page: number): Refusal {
    return this.#hold(page, WRITABLE);
  }

  unclaim(page: number): void {
    this.#letGo(page);
  }

  /** The guest's page that the frame of this number is behind, if it is the guest's. */
  pageOf(number: number): number | undefined {
    const page = this.#pageOf(number);
    return page === NOT_OURS ? undefined : page;
  }

  pin(number: number, level: number): Refusal {
    if (level > ROOT_LEVEL) return invalidParameter;
    const page = this.#pageOf(number);
    if (page === NOT_OURS) return denied;
    if (this.#pinned[this.#index(page)] !== 0) return alreadyAvailable;
    const refusal = this.#hold(page, tableOf(level));
    if (refusal === success) this.#pinned[this.#index(page)] = 1;
    return refusal;
  }

  unpin(number: number): Refusal {
    const page = this.#pageOf(number);
    if (page === NOT_OURS || this.#pinned[this.#index(page)] === 0) return denied;
    this.#pinned[this.#index(page)] = 0;
    this.#letGo(page);
    return success;
  }

  /** A root is the hart's, or no longer. */
  holdRoot(number: number): Refusal {
    const page = this.#pageOf(number);
    return page === NOT_OURS ? denied : this.#hold(page, tableOf(ROOT_LEVEL));
  }

  letGoRoot(number: number): void {
    this.#letGo(this.#pageOf(number));
  }

  /** The hart is in tables of the guest's own. */
  leaveFirstView(): void {
    if (!this.#firstView) return;
    this.#firstView = false;
    this.flushed();
  }

  /** The hart is to forget everything, which settles what it might not have known. */
  flushed(): void {
    this.#stale.clear();
    this.#flush();
  }

  /** An entry of the table in this frame gets this value, given as two halves. */
  update(number: number, index: number, low: number, high: number): Refusal {
    const page = this.#pageOf(number);
    if (page === NOT_OURS || !this.isTable(page)) return denied;
    const level = this.#levelOf(page);
    if (level === ROOT_LEVEL && index === MONITOR_SLOT) return denied;
    const refusal = this.#holdEntry(level, index, low, high);
    if (refusal !== success) return refusal;
    const { words } = this.#memory.machine;
    const at = this.#firstWord(page) + 2 * index;
    this.#forgetCode(page);
    const before = words[at]!;
    words[at] = low;
    words[at + 1] = high;
    this.#letGoEntry(level, before);
    return success;
  }

  #index(page: number): number {
    return page - this.#memory.pmap.firstPage;
  }

  #levelOf(page: number): number {
    return this.#uses[this.#index(page)]! - tableOf(0);
  }

  #pageOf(number: number): number {
    return this.#pages.get(number - this.#memory.machine.pageNumber(0)) ?? NOT_OURS;
  }

  #firstWord(page: number): number {
    return this.#memory.machine.wordOf(this.#memory.pmap.frame(page));
  }

  /** One more uses it as that. */
  #hold(page: number, use: number): Refusal {
    const index = this.#index(page);
    if (this.#counts[index]! > 0) {
      if (this.#uses[index] !== use) return denied;
      this.#counts[index]!++;
      return success;
    }
    // Before its entries are looked at: they may lead back to it.
    this.#uses[index] = use;
    this.#counts[index] = 1;
    if (use === WRITABLE) return success;
    const refusal = this.#becomeTable(page, use - tableOf(0));
    if (refusal !== success) {
      this.#uses[index] = NOTHING;
      this.#counts[index] = 0;
    }
    return refusal;
  }

  #letGo(page: number): void {
    const index = this.#index(page);
    if (--this.#counts[index]! > 0) return;
    if (this.isTable(page)) this.#endTable(page);
    else this.#stale.add(page);
    this.#uses[index] = NOTHING;
  }

  #becomeTable(page: number, level: number): Refusal {
    if (this.#checks++ >= CHECKS) return failed;
    const first = this.#firstWord(page);
    const { words } = this.#memory.machine;
    for (let index = 0; index < ENTRIES; index++) {
      const refusal = this.#holdEntry(level, index, words[first + 2 * index]!, words[first + 2 * index + 1]!);
      if (refusal === success) continue;
      while (index-- > 0) this.#letGoEntry(level, words[first + 2 * index]!);
      return refusal;
    }
    this.#protect(page);
    if (level === ROOT_LEVEL) this.#showFrames(page);
    return success;
  }

  #endTable(page: number): void {
    const level = this.#levelOf(page);
    const first = this.#firstWord(page);
    const { words } = this.#memory.machine;
    if (level === ROOT_LEVEL) words[first + 2 * MONITOR_SLOT] = 0;
    for (let index = 0; index < ENTRIES; index++) this.#letGoEntry(level, words[first + 2 * index]!);
    const frame = this.#memory.pmap.frame(page);
    this.#tableEnded(this.#memory.machine.pageNumber(frame));
    this.#memory.tables.map(page, frame, "read-write");
  }

  #showFrames(root: number): void {
    this.#memory.machine.words[this.#firstWord(root) + 2 * MONITOR_SLOT] = this.frames.entry;
  }

  /** The hart doesn't write to the page, neither by an entry nor by what it remembers of one. */
  #protect(page: number): void {
    this.#memory.tables.map(page, this.#memory.pmap.frame(page), "read-only");
    if (this.#firstView || this.#stale.has(page)) this.flushed();
  }

  /** A table can be executed too: what the hart has decoded of it is gone. */
  #forgetCode(page: number): void {
    this.#memory.machine.writable(this.#memory.pmap.frame(page));
  }

  #holdEntry(level: number, index: number, low: number, high: number): Refusal {
    if (level === ROOT_LEVEL && index === MONITOR_SLOT) return low === 0 && high === 0 ? success : denied;
    if (!(low & pte.valid)) return success;
    // Frames below 4 GiB leave the upper half without bits of the number; all others there are not for guests.
    if (high !== 0) return invalidParameter;
    if (!isAllowed(level, low)) return invalidParameter;
    const page = this.#pageOf(low >>> 10);
    if (level === 0 && !(low & pte.write)) {
      const frame = this.#frameOf(low);
      if (page === NOT_OURS && !this.#copies.has(frame)) return denied;
      this.#readers.set(frame, (this.#readers.get(frame) ?? 0) + 1);
      return success;
    }
    if (page === NOT_OURS) return denied;
    return this.#hold(page, level > 0 ? tableOf(level - 1) : WRITABLE);
  }

  #frameOf(low: number): number {
    return (low >>> 10) - this.#memory.machine.pageNumber(0);
  }

  #letGoEntry(level: number, low: number): void {
    if (!(low & pte.valid)) return;
    if (level > 0 || low & pte.write) return this.#letGo(this.#pageOf(low >>> 10));
    const frame = this.#frameOf(low);
    const left = this.#readers.get(frame)! - 1;
    if (left > 0) return void this.#readers.set(frame, left);
    this.#readers.delete(frame);
    this.#copies.unmapped(frame);
  }
}

/** Privileged manual, 12.4.1; G is not allowed, since the hart's other address spaces are other guests'. */
function isAllowed(level: number, low: number): boolean {
  if (level > 0) return (low & POINTER_MASK) === pte.valid;
  const readable = (low & (pte.read | pte.execute)) !== 0;
  return readable && !(low & pte.global) && (!(low & pte.write) || (low & pte.read) !== 0);
}
