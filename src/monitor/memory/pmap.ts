/**
 * The pmap of a VM: which frame of the machine stands behind each page of the guest's physical memory. It is the truth that G-stage and
 * shadow tables are made from, and is kept where no address of a guest reaches.
 */
import { assert } from "#base/assert.ts";

/** No frame yet: the guest has not touched the page. */
export const UNTOUCHED = -1;
/** Nor is it to be used: the guest has given it to its balloon. */
export const BALLOONED = -2;
export type NoFrame = typeof UNTOUCHED | typeof BALLOONED;

export class Pmap {
  /** The page number (address / 4096) of the first page. */
  readonly firstPage: number;
  readonly pages: number;
  readonly #frames: Int32Array;
  #mapped = 0;
  #ballooned = 0;

  /** Of `pages` pages, none of them touched; or of those whose frames are given. */
  constructor(firstPage: number, pages: number | Int32Array) {
    this.firstPage = firstPage;
    this.#frames = typeof pages === "number" ? new Int32Array(pages).fill(UNTOUCHED) : pages;
    this.pages = this.#frames.length;
    for (const frame of this.#frames) this.#count(frame, 1);
  }

  /** The frames, page by page. */
  save(): Int32Array {
    return this.#frames.slice();
  }

  /** Whether the guest has memory there. */
  holds(page: number): boolean {
    return page >= this.firstPage && page < this.firstPage + this.pages;
  }

  /** The frame behind a page of the guest's memory, or a NoFrame. */
  frame(page: number): number {
    assert(this.holds(page), "a page outside of the guest's memory", { page });
    return this.#frames[page - this.firstPage]!;
  }

  set(page: number, frame: number): void {
    this.#count(this.frame(page), -1);
    this.#count(frame, 1);
    this.#frames[page - this.firstPage] = frame;
  }

  /** Pages that have a frame. */
  get mapped(): number {
    return this.#mapped;
  }

  /** Pages that are in the guest's balloon. */
  get ballooned(): number {
    return this.#ballooned;
  }

  /** Those pages and their frames. */
  *entries(): Generator<readonly [page: number, frame: number]> {
    for (let i = 0; i < this.pages; i++) if (this.#frames[i]! >= 0) yield [this.firstPage + i, this.#frames[i]!];
  }

  #count(frame: number, by: number): void {
    if (frame >= 0) this.#mapped += by;
    else if (frame === BALLOONED) this.#ballooned += by;
  }
}
