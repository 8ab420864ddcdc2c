/** Where pages go for which the machine has no frames: slots of a page each, which all harts take from and give back to at once. */
import { assert } from "#base/assert.ts";
import { HostelryError } from "#base/errors.ts";
import { isPagedOut, slotOf, type Pmap } from "./pmap.ts";

/** What the monitor asks of a host. */
export interface BackingStore {
  /** A free slot, now the caller's; -1 if there is none. Those taken one after the other follow each other as far as can be. */
  take(): number;
  release(slot: number): void;
  /** Pages into slots that follow each other. Throws HostelryError `swap`. */
  write(slot: number, pages: readonly Uint8Array[]): void;
  /** Fills pages from slots that follow each other. Throws HostelryError `swap`. */
  read(slot: number, pages: readonly Uint8Array[]): void;
}

export interface SharedSlots {
  /** A bit for each slot: set if it is in use. */
  readonly used: SharedArrayBuffer;
  readonly total: number;
}

export class SwapSlots {
  readonly shared: SharedSlots;
  readonly #used: Int32Array;
  /** The slot that is tried first. */
  #next: number;

  /** Over what another thread created; `first` is tried first, so that threads don't get in each other's way. */
  constructor(shared: SharedSlots, first = 0) {
    this.shared = shared;
    this.#used = new Int32Array(shared.used);
    this.#next = first;
  }

  static create(total: number): SwapSlots {
    return new SwapSlots({ used: new SharedArrayBuffer(Math.ceil(total / 32) * 4), total });
  }

  /** -1 if there is none. */
  take(): number {
    const { total } = this.shared;
    for (let tried = 0; tried < total; ) {
      const slot = this.#next;
      const [word, mask] = [slot >>> 5, 1 << (slot & 31)];
      const before = Atomics.or(this.#used, word, mask);
      this.#next = (slot + 1) % total;
      if (!(before & mask)) return slot;
      tried++;
      // A word that is full: the next.
      if (before !== -1) continue;
      const skipped = 31 - (slot & 31);
      this.#next = (slot + 1 + skipped) % total;
      tried += skipped;
    }
    return -1;
  }

  release(slot: number): void {
    const mask = 1 << (slot & 31);
    const before = Atomics.and(this.#used, slot >>> 5, ~mask);
    assert((before & mask) !== 0, "a slot that was not in use was released", { slot });
  }

  /** How many are in use. */
  get used(): number {
    let used = 0;
    for (let word = 0; word < this.#used.length; word++) for (let bits = Atomics.load(this.#used, word); bits !== 0; bits &= bits - 1) used++;
    return used;
  }
}

export const swapFailed = (doing: string, why: string): HostelryError =>
  new HostelryError("swap", `a page of the VM's can't be ${doing} the swap file: ${why}; serve with a --swap-file elsewhere, or with more --memory`);

/** Of a machine that has none. */
export const noStore: BackingStore = {
  take: () => -1,
  release: (slot) => assert(false, "there is no swap file", { slot }),
  write: (slot) => assert(false, "there is no swap file", { slot }),
  read: (slot) => assert(false, "there is no swap file", { slot }),
};

/** Pages side by side of the guest's, from a multiple of this on, that come back together if they went together. */
export const CLUSTER = 8;

/** The page that is asked for, and those near it that have the slots before and behind its own: in the order of their slots. */
export function wentTogether(pmap: Pmap, page: number): number[] {
  const first = page - (page % CLUSTER);
  const bySlot = new Map<number, number>();
  for (let near = first; near < first + CLUSTER; near++) {
    if (pmap.holds(near) && isPagedOut(pmap.frame(near))) bySlot.set(slotOf(pmap.frame(near)), near);
  }
  let slot = slotOf(pmap.frame(page));
  while (bySlot.has(slot - 1)) slot--;
  const pages: number[] = [];
  for (let next; (next = bySlot.get(slot + pages.length)) !== undefined; ) pages.push(next);
  return pages;
}

/** Writes pages, by their numbers, into slots, as far as there are any: which page is where. What could not be written is not among them; `failure` says why. */
export function writeOut(store: BackingStore, contents: ReadonlyMap<number, Uint8Array>): { readonly slots: ReadonlyMap<number, number>; readonly failure?: HostelryError } {
  const runs: { readonly slot: number; readonly pages: number[] }[] = [];
  for (const page of contents.keys()) {
    const slot = store.take();
    if (slot < 0) break;
    const last = runs.at(-1);
    if (last !== undefined && slot === last.slot + last.pages.length) last.pages.push(page);
    else runs.push({ slot, pages: [page] });
  }
  const slots = new Map<number, number>();
  let failure: HostelryError | undefined;
  for (const { slot, pages } of runs) {
    try {
      store.write(slot, pages.map((page) => contents.get(page)!));
      pages.forEach((page, i) => slots.set(page, slot + i));
    } catch (error) {
      if (!(error instanceof HostelryError)) throw error;
      failure = error;
      pages.forEach((_, i) => store.release(slot + i));
    }
  }
  return failure === undefined ? { slots } : { slots, failure };
}
