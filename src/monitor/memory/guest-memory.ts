/**
 * A VM's physical memory. Frames come when pages are first touched, by the guest or by a device, and may go again: what is known to be zero, or to be
 * the same as another page, is given a frame that nobody writes to, and gets its own when it is written.
 */
import type { DmaMemory } from "#machine/bus.ts";
import { FRAME_SIZE, ZERO_FRAME } from "#machine/frames.ts";
import { outOfRange } from "#machine/physical-memory.ts";
import type { MachineMemory } from "./machine-memory.ts";
import { GStageTables, type SavedTables } from "./nested.ts";
import { Pmap, UNTOUCHED, type NoFrame } from "./pmap.ts";

/** A VM's memory where it stands: its frames hold the contents. */
export interface SavedGuestMemory {
  readonly frames: Int32Array;
  readonly tables: SavedTables;
}

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
  readonly #entry: [low: number, high: number] = [0, 0];

  /** New, or `saved`. Throws HostelryError `no-frames` if not even the root of its tables can be had. */
  constructor(memory: MachineMemory, owner: number, range: { readonly base: number; readonly size: number }, saved?: SavedGuestMemory) {
    this.base = range.base;
    this.size = range.size;
    this.machine = memory;
    this.owner = owner;
    this.pmap = new Pmap(range.base / FRAME_SIZE, saved?.frames ?? range.size / FRAME_SIZE);
    this.tables = new GStageTables(memory, owner, saved?.tables);
  }

  save(): SavedGuestMemory {
    return { frames: this.pmap.save(), tables: this.tables.save() };
  }

  /** It is another hart's from now on: what this one has decoded and translated of it is gone, since it will not hear of changes. */
  forget(): void {
    for (const [, frame] of this.pmap.entries()) this.machine.writable(frame);
  }

  /** The frame behind a page, to be read: the page gets one if it has none. Throws HostelryError `no-frames`. */
  touch(page: number): number {
    const frame = this.pmap.frame(page);
    if (frame < 0) return this.#show(page, ZERO_FRAME, "shared");
    if (this.pmap.isHidden(page)) this.#unhide(page, frame);
    return frame;
  }

  /** The frame behind a page, to be written: it is the VM's own. Throws HostelryError `no-frames`. */
  own(page: number): number {
    const frame = this.pmap.frame(page);
    if (frame < 0) return this.#show(page, this.machine.take(this.owner, "private"), "own");
    if (this.pmap.isHidden(page)) this.#unhide(page, frame);
    return this.pmap.isShared(page) ? this.#break(page, frame) : frame;
  }

  /** Pages lose their frames, and with them what they hold. Left out are those that aren't memory, have none, or keep them. */
  vacate(pages: readonly number[], left: NoFrame): void {
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

  /** A page's own frame is not written to any more, so that others may join: the frame. `forgetting` is the caller's to tell. */
  offer(page: number): number {
    const frame = this.pmap.frame(page);
    this.machine.frames.share(frame);
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
    for (const [page, frame] of this.pmap.entries()) {
      this.pmap.set(page, UNTOUCHED);
      this.#release(frame);
    }
    this.tables.release();
  }

  #movable(pages: readonly number[]): number[] {
    return [...new Set(pages)].filter((page) => this.isMovable(page));
  }

  /** `change` gives these pages, which have frames, others or none. Who has theirs next may be on another hart, and is not to have them before all here have let go. */
  #replace(pages: readonly number[], change: (page: number) => void): void {
    if (pages.length === 0) return;
    const before = pages.map((page) => this.pmap.frame(page));
    pages.forEach(change);
    this.forgetting?.pages(pages);
    for (const frame of before) this.#release(frame);
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
    this.used?.(page);
  }

  /** A shared page is about to be written. */
  #break(page: number, shared: number): number {
    if (this.machine.frames.reclaim(shared, this.owner)) return this.#show(page, shared, "own");
    const frame = this.machine.take(this.owner, "private");
    if (shared !== ZERO_FRAME) this.machine.writable(frame).set(this.machine.readable(shared));
    this.#show(page, frame, "own");
    this.forgetting?.frame(page, shared, frame);
    this.#release(shared);
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
    return contents(Math.floor(address / FRAME_SIZE)).subarray(inPage, Math.min(inPage + length, FRAME_SIZE));
  }
}
