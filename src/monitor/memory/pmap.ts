/**
 * The pmap of a VM: which frame of the machine stands behind each page of the guest's physical memory. It is the truth that G-stage and
 * shadow tables are made from, and is kept where no address of a guest reaches.
 */
import { assert } from "#base/assert.ts";
import { ZERO_FRAME } from "#machine/frames.ts";

/** No frame yet: the guest has not touched the page. */
export const UNTOUCHED = -1;
/** Nor is it to be used: the guest has given it to its balloon. */
export const BALLOONED = -2;
export type NoFrame = typeof UNTOUCHED | typeof BALLOONED;
/** What it held is in this slot of the swap file. */
export const pagedOut = (slot: number): number => -16 - slot;
export const slotOf = (noFrame: number): number => -16 - noFrame;
export const isPagedOut = (frame: number): boolean => frame <= -16;

/** Of a page with a frame: others may have the frame too, and nobody writes to it. */
const COPY_ON_WRITE = 1 << 30;
/** No table leads to it, so that its next use is seen. */
const HIDDEN = 1 << 29;
const FRAME = HIDDEN - 1;

export interface PageCounts {
  /** Pages with a frame: of these, with one that nobody writes to; and of these, with the frame of zeros. */
  mapped: number;
  shared: number;
  zero: number;
  /** Pages in the guest's balloon. */
  ballooned: number;
  pagedOut: number;
}

export class Pmap {
  /** The page number (address / 4096) of the first page. */
  readonly firstPage: number;
  readonly pages: number;
  readonly #entries: Int32Array;
  readonly #counts: PageCounts = { mapped: 0, shared: 0, zero: 0, ballooned: 0, pagedOut: 0 };

  /** Of `pages` pages, none of them touched; or as saved. */
  constructor(firstPage: number, pages: number | Int32Array) {
    this.firstPage = firstPage;
    this.#entries = typeof pages === "number" ? new Int32Array(pages).fill(UNTOUCHED) : pages;
    this.pages = this.#entries.length;
    for (const entry of this.#entries) this.#count(entry, 1);
  }

  save(): Int32Array {
    return this.#entries.slice();
  }

  /** Whether the guest has memory there. */
  holds(page: number): boolean {
    return page >= this.firstPage && page < this.firstPage + this.pages;
  }

  /** The frame behind a page of the guest's memory; if it has none, UNTOUCHED, BALLOONED or `pagedOut`, which are negative. */
  frame(page: number): number {
    const entry = this.#entry(page);
    return entry < 0 ? entry : entry & FRAME;
  }

  /** Of a page with a frame: whether it must not be written to. */
  isShared(page: number): boolean {
    const entry = this.#entry(page);
    return entry >= 0 && (entry & COPY_ON_WRITE) !== 0;
  }

  isHidden(page: number): boolean {
    const entry = this.#entry(page);
    return entry >= 0 && (entry & HIDDEN) !== 0;
  }

  /** The page has this frame for itself from now on, or none. */
  set(page: number, frame: number): void {
    this.#set(page, frame);
  }

  /** The page has this frame, which is not to be written to. */
  setShared(page: number, frame: number): void {
    this.#set(page, frame | COPY_ON_WRITE);
  }

  setHidden(page: number, hidden: boolean): void {
    const entry = this.#entry(page);
    assert(entry >= 0, "only what has a frame can be hidden", { page, entry });
    this.#entries[page - this.firstPage] = hidden ? entry | HIDDEN : entry & ~HIDDEN;
  }

  get counts(): Readonly<PageCounts> {
    return this.#counts;
  }

  /** Pages that have a frame, and their frames. */
  *entries(): Generator<readonly [page: number, frame: number]> {
    for (let i = 0; i < this.pages; i++) if (this.#entries[i]! >= 0) yield [this.firstPage + i, this.#entries[i]! & FRAME];
  }

  /** Slots of the swap file that hold pages of the guest's. */
  *slots(): Generator<number> {
    for (const entry of this.#entries) if (isPagedOut(entry)) yield slotOf(entry);
  }

  #entry(page: number): number {
    assert(this.holds(page), "a page outside of the guest's memory", { page });
    return this.#entries[page - this.firstPage]!;
  }

  #set(page: number, entry: number): void {
    this.#count(this.#entry(page), -1);
    this.#count(entry, 1);
    this.#entries[page - this.firstPage] = entry;
  }

  #count(entry: number, by: number): void {
    const counts = this.#counts;
    if (entry >= 0) {
      counts.mapped += by;
      if (entry & COPY_ON_WRITE) counts.shared += by;
      if ((entry & FRAME) === ZERO_FRAME) counts.zero += by;
    } else if (entry === BALLOONED) counts.ballooned += by;
    else if (isPagedOut(entry)) counts.pagedOut += by;
  }
}
