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

  /** Of `pages` pages, none of them touched; or of those whose frames are given. */
  constructor(firstPage: number, pages: number | Int32Array) {
    this.firstPage = firstPage;
    this.#frames = typeof pages === "number" ? new Int32Array(pages).fill(UNTOUCHED) : pages;
    this.pages = this.#frames.length;
    for (const frame of this.#frames) if (frame !== UNTOUCHED) this.#mapped++;
  }

  /** The frames, page by page. */
  save(): Int32Array {
    return this.#frames.slice();
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
