/**
 * The pmap of a VM: which frame of the machine stands behind each page of the guest's physical memory. It is the truth that G-stage and
 * shadow tables are made from, and is kept where no address of a guest reaches.
 */
import { assert } from "#base/assert.ts";

/** No frame yet: the guest has not touched the page. */
export const UNTOUCHED = -1;

export class Pmap {
  /** The page number (address / 4096) of the first page. */
  readonly firstPage: number;
  readonly pages: number;
  readonly #frames: Int32Array;
  #mapped = 0;

  constructor(firstPage: number, pages: number) {
    this.firstPage = firstPage;
    this.pages = pages;
    this.#frames = new Int32Array(pages).fill(UNTOUCHED);
  }

  /** Whether the guest has memory there. */
  holds(page: number): boolean {
    return page >= this.firstPage && page < this.firstPage + this.pages;
  }

  /** The frame behind a page of the guest's memory, or UNTOUCHED. */
  frame(page: number): number {
    assert(this.holds(page), "a page outside of the guest's memory", { page });
    return this.#frames[page - this.firstPage]!;
  }

  set(page: number, frame: number): void {
    const before = this.frame(page);
    this.#mapped += Number(frame !== UNTOUCHED) - Number(before !== UNTOUCHED);
    this.#frames[page - this.firstPage] = frame;
  }

  /** Pages that have a frame. */
  get mapped(): number {
    return this.#mapped;
  }

  /** Those pages and their frames. */
  *entries(): Generator<readonly [page: number, frame: number]> {
    for (let i = 0; i < this.pages; i++) if (this.#frames[i] !== UNTOUCHED) yield [this.firstPage + i, this.#frames[i]!];
  }
}
