/**
 * Shadow page tables: real tables in frames of the machine, each the image of a table of the guest's for one view, with frames in the place of
 * guest pages. A part of a large page of the guest's gets tables of its own, which are images of no table (*direct*).
 *
 * What is here is the graph: tables, the links between them, which entries map a guest page. What belongs into an entry is `Shadow`'s matter.
 */
import { assert } from "#base/assert.ts";
import { FRAME_SIZE } from "#machine/frames.ts";
import type { GuestMemory } from "./guest-memory.ts";
import { pte, type ShadowView } from "./guest-walk.ts";
import { ReverseMap } from "./reverse-map.ts";

/** Entries of a table. */
const ENTRIES = FRAME_SIZE / 8;
const PPN_SHIFT = 10;
/** Not the image of a guest's table. */
const NO_FLAGS = -1;
/** Of an entry, one of the bits that are for software: writable, but for its page being traced. */
export const held = 0x100;

/** What a table is the image of: a guest's table, or with `flags` the part of a large page that begins at this guest page. */
export interface TableSource {
  readonly page: number;
  readonly level: number;
  readonly view: ShadowView;
  /** Low byte of the large page's entry. */
  readonly flags?: number;
}

export interface ShadowTable extends TableSource {
  readonly frame: number;
  readonly key: number;
  /** Places of the entries that lead here: frame · 512 + index. */
  readonly parents: Set<number>;
  /** Of a last level, the guest page behind each entry that is there. */
  readonly pages: Int32Array | undefined;
  /** Address spaces whose root it is. */
  roots: number;
}

export interface ShadowTablesOptions {
  readonly memory: GuestMemory;
  /** The hart forgets all that it knows of the guest. */
  readonly flush: () => void;
  /** Nothing that the hart knows lets it write to this frame any more. */
  readonly purge: (frame: number) => void;
}

export class ShadowTables {
  readonly #memory: GuestMemory;
  readonly #flush: () => void;
  readonly #purge: (frame: number) => void;
  readonly #byKey = new Map<number, ShadowTable>();
  readonly #byFrame = new Map<number, ShadowTable>();
  /** Images of each of the guest's tables. */
  readonly #images = new Map<number, ShadowTable[]>();
  readonly #mappings: ReverseMap;
  /** Of tables that are gone, for those to come. */
  readonly #spare: Int32Array[] = [];

  constructor({ memory, flush, purge }: ShadowTablesOptions) {
    this.#memory = memory;
    this.#flush = flush;
    this.#purge = purge;
    this.#mappings = new ReverseMap(memory.pmap.firstPage, memory.pmap.pages);
  }

  /** Frames that they take. */
  get size(): number {
    return this.#byFrame.size;
  }

  /** Whether a guest page is a table that has images: writing to it has to be seen. */
  isTraced(page: number): boolean {
    return this.#images.has(page);
  }

  imagesOf(page: number): readonly ShadowTable[] {
    return this.#images.get(page) ?? [];
  }

  /** The table for a source, made if it isn't there. Throws HostelryError `no-frames`. */
  table(source: TableSource): ShadowTable {
    const { page, level, view, flags = NO_FLAGS } = source;
    const key = (((page * 8 + level) * 4 + view) * 512) + flags + 1;
    const present = this.#byKey.get(key);
    if (present !== undefined) return present;
    const { machine, owner } = this.#memory;
    const frame = machine.take(owner, "page-table");
    const table: ShadowTable = { ...source, frame, key, parents: new Set(), pages: level === 0 ? this.#spare.pop() ?? new Int32Array(ENTRIES) : undefined, roots: 0 };
    this.#byKey.set(key, table);
    this.#byFrame.set(frame, table);
    if (flags === NO_FLAGS) this.#trace(page, table);
    return table;
  }

  /** Whether it is still there. */
  holds(table: ShadowTable): boolean {
    return this.#byFrame.get(table.frame) === table;
  }

  /** The table that an entry leads to, if there is one. */
  next(table: ShadowTable, index: number): ShadowTable | undefined {
    const low = this.entry(table, index);
    return low === 0 ? undefined : this.#byFrame.get((low >>> PPN_SHIFT) - this.#memory.machine.pageNumber(0));
  }

  /** The lower half of an entry; the upper one is always 0. */
  entry(table: ShadowTable, index: number): number {
    return this.#memory.machine.words[this.#memory.machine.wordOf(table.frame) + 2 * index]!;
  }

  link(table: ShadowTable, index: number, child: ShadowTable): void {
    this.#set(table, index, child.frame, pte.valid);
    child.parents.add(table.frame * ENTRIES + index);
  }

  /** Maps a guest page, behind which is `frame`. */
  map(table: ShadowTable, index: number, page: number, frame: number, flags: number): void {
    const { pages } = table;
    assert(pages !== undefined, "pages are mapped in the last level", { level: table.level });
    const place = table.frame * ENTRIES + index;
    const isOther = this.entry(table, index) !== 0 && pages[index] !== page;
    if (isOther) this.#mappings.remove(pages[index]!, place);
    if (isOther || this.entry(table, index) === 0) this.#mappings.add(page, place);
    pages[index] = page;
    this.#set(table, index, frame, flags | pte.valid | pte.accessed | pte.dirty);
  }

  /** An entry is gone, and what only it led to. What the hart knows by it may be as stale as a TLB's. */
  drop(table: ShadowTable, index: number): void {
    if (this.entry(table, index) === 0) return;
    const place = table.frame * ENTRIES + index;
    if (table.pages !== undefined) {
      this.#mappings.remove(table.pages[index]!, place);
      this.#setLow(table, index, 0);
      return;
    }
    const child = this.next(table, index)!;
    this.#setLow(table, index, 0);
    child.parents.delete(place);
    // Of a large page the guest may fence one address for all, and the hart doesn't know that it is one.
    if (child.flags !== undefined && table.flags === undefined) this.#flush();
    this.#freeIfUnused(child);
  }

  /** Guest pages are no longer seen anywhere, nor by what the hart may still know of entries that were dropped: their next use comes to the monitor. */
  unmap(pages: readonly number[], hart: "flushed" | "flush" = "flush"): void {
    if (hart === "flush") this.#flush();
    for (const page of pages) for (const place of [...this.#mappings.entries(page)]) this.drop(this.#tableAt(place), place % ENTRIES);
  }

  /** A guest's table has no images any more, but as a root. */
  forget(page: number): void {
    for (const table of [...this.imagesOf(page)]) {
      for (const place of [...table.parents]) this.drop(this.#tableAt(place), place % ENTRIES);
      if (table.roots > 0) this.#empty(table);
    }
  }

  /** An address space has it as its root, or no longer. */
  hold(table: ShadowTable): void {
    table.roots++;
  }

  letGo(table: ShadowTable): void {
    table.roots--;
    this.#freeIfUnused(table);
  }

  release(): void {
    for (const frame of this.#byFrame.keys()) this.#memory.machine.release(frame);
    this.#byFrame.clear();
    this.#byKey.clear();
    this.#images.clear();
  }

  /** What is mapped, for those who check it: guest page, frame, flags. */
  *mapped(): Generator<{ readonly table: ShadowTable; readonly index: number; readonly page: number; readonly frame: number; readonly flags: number }> {
    for (const table of this.#byFrame.values()) {
      if (table.pages === undefined) continue;
      for (let index = 0; index < ENTRIES; index++) {
        const low = this.entry(table, index);
        if (low === 0) continue;
        yield { table, index, page: table.pages[index]!, frame: (low >>> PPN_SHIFT) - this.#memory.machine.pageNumber(0), flags: low & 0xff };
      }
    }
  }

  /** Its writes are the monitor's from now on. */
  #trace(page: number, table: ShadowTable): void {
    const images = this.#images.get(page);
    if (images !== undefined) {
      images.push(table);
      return;
    }
    this.#images.set(page, [table]);
    this.protect(page);
  }

  /** No entry lets a guest page be written. */
  protect(page: number): void {
    for (const place of this.#mappings.entries(page)) {
      const [table, index] = [this.#tableAt(place), place % ENTRIES];
      const low = this.entry(table, index);
      if (low & pte.write) this.#setLow(table, index, (low & ~pte.write) | held);
    }
    const { pmap } = this.#memory;
    if (pmap.holds(page) && pmap.frame(page) >= 0) this.#purge(pmap.frame(page));
  }

  /** Its writes are the guest's own again. */
  #untrace(page: number): void {
    this.#images.delete(page);
    for (const place of this.#mappings.entries(page)) {
      const [table, index] = [this.#tableAt(place), place % ENTRIES];
      const low = this.entry(table, index);
      if (low & held) this.#setLow(table, index, (low & ~held) | pte.write);
    }
  }

  #freeIfUnused(table: ShadowTable): void {
    if (table.parents.size > 0 || table.roots > 0) return;
    this.#empty(table);
    this.#byKey.delete(table.key);
    this.#byFrame.delete(table.frame);
    if (table.pages !== undefined) this.#spare.push(table.pages);
    const images = this.#images.get(table.page);
    if (table.flags === undefined && images !== undefined) {
      images.splice(images.indexOf(table), 1);
      if (images.length === 0) this.#untrace(table.page);
    }
    this.#memory.machine.release(table.frame);
  }

  #empty(table: ShadowTable): void {
    const { words } = this.#memory.machine;
    const first = this.#memory.machine.wordOf(table.frame);
    for (let index = 0; index < ENTRIES; index++) if (words[first + 2 * index]! !== 0) this.drop(table, index);
  }

  #set(table: ShadowTable, index: number, frame: number, flags: number): void {
    this.#setLow(table, index, (this.#memory.machine.pageNumber(frame) << PPN_SHIFT) | flags);
  }

  #setLow(table: ShadowTable, index: number, low: number): void {
    this.#memory.machine.words[this.#memory.machine.wordOf(table.frame) + 2 * index] = low;
  }

  #tableAt(place: number): ShadowTable {
    return this.#byFrame.get(Math.floor(place / ENTRIES))!;
  }
}
