/**
 * A VM's physical memory. Frames come when pages are first touched, by the guest or by a device, and may go again: what is known to be zero, or to be
 * the same as another page, is given a frame that nobody writes to, and gets its own when it is written. What the machine has no room for goes to a
 * backing store, and comes back when it is touched.
 */
import { HostelryError } from "#base/errors.ts";
import type { DmaMemory } from "#machine/bus.ts";
import { FRAME_SIZE, ZERO_FRAME } from "#machine/frames.ts";
import { outOfRange } from "#machine/physical-memory.ts";
import type { MachineMemory } from "./machine-memory.ts";
import { GStageTables, type SavedTables } from "./nested.ts";
import { isPagedOut, pagedOut, Pmap, slotOf, UNTOUCHED, type NoFrame } from "./pmap.ts";
import { wentTogether, writeOut } from "./swap.ts";

/** A VM's memory where it stands: its frames, and its slots in the backing store, hold the contents. */
export interface SavedGuestMemory {
  readonly frames: Int32Array;
  readonly tables: SavedTables;
  readonly paging: PagingCounts;
}

/** Pages that went to the backing store, and that came back; and of these, those that nobody had asked for yet, and those of them that were used then. */
export interface PagingCounts {
  readonly outs: number;
  readonly ins: number;
  readonly prefetched: number;
  readonly prefetchedUsed: number;
}

/** Turns are numbered by bytes. */
const LAST_TURN = 255;

/** For what is read from the backing store, but has no frame. */
const UNWANTED = new Uint8Array(FRAME_SIZE);

/** What must not know of a page any more. */
export interface Forgetting {
  /** No table but the G-stage's leads to these pages, and no hart knows of them. */
  pages(pages: readonly number[]): void;
  /** The same of one page that could only be read and executed, and has another frame now, with the same contents. */
  frame(page: number, before: number, after: number): void;
}

export class GuestMemory implements DmaMemory {
  readonly pmap: Pmap;
  readonly tables: GStageTables;
  readonly base: number;
  readonly size: number;
  readonly machine: MachineMemory;
  readonly owner: number;
  /** Told of a page that is about to be written by anyone but the guest's own instructions. */
  written: ((page: number) => void) | undefined;
  forgetting: Forgetting | undefined;
  /** Pages that keep their frames, whatever becomes of the balloon or of others like them. */
  isFixed: ((page: number) => boolean) | undefined;
  /** Told of a hidden page's use. */
  used: ((page: number) => void) | undefined;
  /** Whether a hart is just now between the two halves of an atomic access to this frame. */
  isReserved: ((frame: number) => boolean) | undefined;
  /** Frames that it may have; more while the machine has enough. */
  limit: number;
  /** Frames of its own that others may not have. */
  guaranteed = 0;
  /** Why a device could not have a page. Its VM can't go on. */
  failure: HostelryError | undefined;
  readonly #paging: { -readonly [Name in keyof PagingCounts]: PagingCounts[Name] };
  /** Pages that came back before they were asked for. */
  readonly #early = new Set<number>();
  /** Pages whose frames somebody has in hand have the number of this turn: see `settle`. */
  readonly #held: Uint8Array;
  #turn = 1;
  /** Frames that pages had until this turn: somebody may still be reading there. */
  readonly #left: number[] = [];
  readonly #entry: [low: number, high: number] = [0, 0];

  /** New, or `saved`. Throws HostelryError `no-frames` if not even the root of its tables can be had. */
  constructor(memory: MachineMemory, owner: number, range: { readonly base: number; readonly size: number }, saved?: SavedGuestMemory) {
    this.base = range.base;
    this.size = range.size;
    this.machine = memory;
    this.owner = owner;
    this.pmap = new Pmap(range.base / FRAME_SIZE, saved?.frames ?? range.size / FRAME_SIZE);
    this.limit = this.pmap.pages;
    this.#held = new Uint8Array(this.pmap.pages);
    this.#paging = { ...(saved?.paging ?? { outs: 0, ins: 0, prefetched: 0, prefetchedUsed: 0 }) };
    this.tables = new GStageTables(memory, owner, saved?.tables);
  }

  /** Nothing is paged out any more: who is to be told of that is gone, and what a paravirtual guest knows of its frames has been taken down. */
  save(): SavedGuestMemory {
    this.#letGo();
    return { frames: this.pmap.save(), tables: this.tables.save(), paging: this.paging };
  }

  get paging(): PagingCounts {
    return { ...this.#paging };
  }

  /** Nobody has frames of its pages in hand from here on. To be called before anything is done for the guest. */
  settle(): void {
    this.#letGo();
    this.#turn++;
    if (this.#turn > LAST_TURN) {
      this.#held.fill(0);
      this.#turn = 1;
    }
    this.machine.makeRoom(this.owner);
  }

  /** It is another hart's from now on: what this one has decoded and translated of it is gone, since it will not hear of changes. */
  forget(): void {
    for (const [, frame] of this.pmap.entries()) this.machine.writable(frame);
  }

  /** The frame behind a page, to be read: the page gets one if it has none. Throws HostelryError `no-frames` or `swap`. */
  touch(page: number): number {
    this.#held[page - this.pmap.firstPage] = this.#turn;
    const frame = this.pmap.frame(page);
    if (isPagedOut(frame)) return this.#pageIn(page, slotOf(frame));
    if (frame < 0) return this.#show(page, ZERO_FRAME, "shared");
    if (this.pmap.isHidden(page)) this.#unhide(page, frame);
    return frame;
  }

  /** The frame behind a page, to be written: it is the VM's own. Throws HostelryError `no-frames` or `swap`. */
  own(page: number): number {
    this.#held[page - this.pmap.firstPage] = this.#turn;
    const frame = this.pmap.frame(page);
    if (isPagedOut(frame)) return this.#pageIn(page, slotOf(frame));
    if (frame < 0) return this.#show(page, this.machine.take(this.owner, "private"), "own");
    if (this.pmap.isHidden(page)) this.#unhide(page, frame);
    return this.pmap.isShared(page) ? this.#break(page, frame) : frame;
  }

  /** Pages lose their frames or their slots, and with them what they hold. Left out are those that aren't memory, have none, or keep them. */
  vacate(pages: readonly number[], left: NoFrame): void {
    for (const page of pages) if (this.pmap.holds(page)) this.#giveSlotBack(page, left);
    this.#replace(this.#movable(pages), (page) => {
      this.pmap.set(page, left);
      this.tables.unmap(page);
    });
  }

  /** Whether a page has a frame of its own that may become another. */
  isMovable(page: number): boolean {
    const { pmap } = this;
    return pmap.holds(page) && pmap.frame(page) >= 0 && this.isFixed?.(page) !== true;
  }

  /** Whether a page's frame may go to the backing store: nobody else has it, and nobody has it in hand. */
  isPageable(page: number): boolean {
    if (!this.isMovable(page) || this.#held[page - this.pmap.firstPage] === this.#turn) return false;
    const frame = this.pmap.frame(page);
    return frame !== ZERO_FRAME && (!this.pmap.isShared(page) || this.machine.frames.info(frame).count === 1) && this.isReserved?.(frame) !== true;
  }

  /** What these pages hold goes to the backing store, as far as it has room, and their frames are free: so many. Zeros need no room. Throws HostelryError `swap`, and nothing has changed. */
  pageOut(pages: readonly number[]): number {
    const { machine, pmap } = this;
    const pageable = [...new Set(pages)].filter((page) => this.isPageable(page) && this.#makeOwn(page));
    const contents = new Map(pageable.map((page) => [page, machine.readable(pmap.frame(page))]));
    const zeros = pageable.filter((page) => machine.isZero(pmap.frame(page)));
    for (const page of zeros) contents.delete(page);
    const { slots, failure } = writeOut(machine.store, contents);
    const gone = [...zeros, ...slots.keys()];
    if (gone.length === 0 && failure !== undefined) throw failure;
    this.#replace(gone, (page) => {
      const slot = slots.get(page);
      pmap.set(page, slot === undefined ? UNTOUCHED : pagedOut(slot));
      this.tables.unmap(page);
    });
    this.#paging.outs += slots.size;
    return gone.length;
  }

  /** A page's own frame is not written to any more, so that others of a group may join: the frame. `forgetting` is the caller's to tell. */
  offer(page: number, group: number): number {
    const frame = this.pmap.frame(page);
    this.machine.frames.share(frame, group);
    this.#show(page, frame, "shared");
    return frame;
  }

  /** Pages get other frames, of the same contents, which the caller has joined for them. */
  join(frames: ReadonlyMap<number, number>): void {
    this.#replace([...frames.keys()], (page) => this.#show(page, frames.get(page)!, "shared"));
  }

  /** The next use of these pages, by whomever, comes to `used`. */
  hide(pages: readonly number[]): void {
    const hidden = this.#movable(pages);
    for (const page of hidden) {
      this.pmap.setHidden(page, true);
      this.tables.unmap(page);
    }
    if (hidden.length > 0) this.forgetting?.pages(hidden);
  }

  readable(address: number, length: number): Uint8Array {
    return this.#view(address, length, (page) => this.machine.readable(this.touch(page)));
  }

  writable(address: number, length: number): Uint8Array {
    this.written?.(Math.floor(address / FRAME_SIZE));
    return this.#view(address, length, (page) => this.machine.writable(this.own(page)));
  }

  /** An entry of a page table of the guest's own, as two halves: the same pair each time. */
  tableEntry(page: number, index: number): readonly [low: number, high: number] {
    const { words } = this.machine;
    const at = this.machine.wordOf(this.touch(page)) + 2 * index;
    this.#entry[0] = words[at]!;
    this.#entry[1] = words[at + 1]!;
    return this.#entry;
  }

  setTableEntryLow(page: number, index: number, low: number): void {
    const frame = this.own(page);
    this.machine.written(frame);
    this.machine.words[this.machine.wordOf(frame) + 2 * index] = low;
  }

  /** Gives every frame back. */
  release(): void {
    this.#letGo();
    for (const [page, frame] of this.pmap.entries()) {
      this.pmap.set(page, UNTOUCHED);
      this.#release(frame);
    }
    for (let page = this.pmap.firstPage; this.pmap.holds(page); page++) this.#giveSlotBack(page, UNTOUCHED);
    this.tables.release();
  }

  /** A page comes back, and with it those that went with it, if there is room: hidden, so that it is seen whether they are used. */
  #pageIn(page: number, slot: number): number {
    const { machine, pmap, owner } = this;
    const frame = machine.take(owner, "private");
    const pages = machine.isShort ? [page] : wentTogether(pmap, page);
    const frames = pages.map((other) => (other === page ? frame : machine.frames.take(owner, "private")));
    try {
      machine.store.read(slot - pages.indexOf(page), frames.map((its) => (its < 0 ? UNWANTED : machine.writable(its))));
    } catch (error) {
      for (const its of frames) if (its >= 0) machine.release(its);
      throw error;
    }
    pages.forEach((other, i) => {
      if (frames[i]! < 0) return;
      machine.store.release(slotOf(pmap.frame(other)));
      pmap.set(other, frames[i]!);
      this.#paging.ins++;
      if (other !== page) this.#hideEarly(other);
    });
    this.tables.map(page, frame, "read-write");
    this.used?.(page);
    return frame;
  }

  #hideEarly(page: number): void {
    this.pmap.setHidden(page, true);
    this.#early.add(page);
    this.#paging.prefetched++;
  }

  /** A page that others may join is the VM's own again, unless somebody has. */
  #makeOwn(page: number): boolean {
    const frame = this.pmap.frame(page);
    if (!this.pmap.isShared(page)) return true;
    if (!this.machine.frames.reclaim(frame, this.owner)) return false;
    this.#show(page, frame, "own");
    return true;
  }

  #giveSlotBack(page: number, left: NoFrame): void {
    const frame = this.pmap.frame(page);
    if (!isPagedOut(frame)) return;
    this.machine.store.release(slotOf(frame));
    this.pmap.set(page, left);
  }

  #movable(pages: readonly number[]): number[] {
    return [...new Set(pages)].filter((page) => this.isMovable(page));
  }

  /** `change` gives these pages, which have frames, others or none. Who has theirs next may be on another hart, and is not to have them before all here have let go. */
  #replace(pages: readonly number[], change: (page: number) => void): void {
    if (pages.length === 0) return;
    const before = pages.map((page) => this.pmap.frame(page));
    pages.forEach((page) => {
      this.#early.delete(page);
      change(page);
    });
    this.forgetting?.pages(pages);
    for (const frame of before) this.#release(frame);
  }

  /** Of what pages had until this turn. */
  #letGo(): void {
    while (this.#left.length > 0) this.#release(this.#left.pop()!);
  }

  /** This hart would not hear that the frame holds other code. */
  #release(frame: number): void {
    if (frame === ZERO_FRAME) return;
    this.machine.writable(frame);
    this.machine.release(frame);
  }

  #show(page: number, frame: number, as: "own" | "shared"): number {
    if (as === "own") this.pmap.set(page, frame);
    else this.pmap.setShared(page, frame);
    this.tables.map(page, frame, as === "own" ? "read-write" : "read-only");
    return frame;
  }

  #unhide(page: number, frame: number): void {
    this.pmap.setHidden(page, false);
    this.tables.map(page, frame, this.pmap.isShared(page) ? "read-only" : "read-write");
    if (this.#early.delete(page)) this.#paging.prefetchedUsed++;
    this.used?.(page);
  }

  /** A shared page is about to be written. */
  #break(page: number, shared: number): number {
    if (this.machine.frames.reclaim(shared, this.owner)) return this.#show(page, shared, "own");
    const frame = this.machine.take(this.owner, "private");
    if (shared !== ZERO_FRAME) this.machine.writable(frame).set(this.machine.readable(shared));
    this.#show(page, frame, "own");
    this.#left.push(shared);
    this.forgetting?.frame(page, shared, frame);
    return frame;
  }

  /** Up to the end of the page: the next page's frame is somewhere else. */
  #view(address: number, length: number, contents: (page: number) => Uint8Array): Uint8Array {
    const offset = address - this.base;
    if (!(offset >= 0 && length >= 0 && offset + length <= this.size)) {
      throw outOfRange(address, length);
    }
    if (length === 0) return new Uint8Array(0);
    const inPage = address % FRAME_SIZE;
    return this.#forDevice(() => contents(Math.floor(address / FRAME_SIZE))).subarray(inPage, Math.min(inPage + length, FRAME_SIZE));
  }

  /** A device makes of what is thrown what it can; but its VM is to end. */
  #forDevice(contents: () => Uint8Array): Uint8Array {
    try {
      this.machine.makeRoom(this.owner);
      return contents();
    } catch (error) {
      if (error instanceof HostelryError) this.failure ??= error;
      throw error;
    }
  }
}
