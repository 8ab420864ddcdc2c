/**
 * Shadow page tables: real tables in frames of the machine, each the image of a table of the guest's for one view, with frames in the place of
 * guest pages. A part of a large page of the guest's gets tables of its own, which are images of no table (*direct*).
 *
 * What is here is the graph: tables, the links between them, which entries map a guest page. What belongs into an entry is `Shadow`'s matter.
 */
import { assert } from "#base/assert.ts";
import { FRAME_SIZE } from "#machine/frames.ts";
import type { GuestMemory } from "./guest-memory.ts";
import { pte, span, type ShadowView } from "./guest-walk.ts";
import { ReverseMap } from "./reverse-map.ts";

/** Entries of a table. */
const ENTRIES = FRAME_SIZE / 8;
const PPN_SHIFT = 10;
/** Not the image of a guest's table. */
const NO_FLAGS = -1;

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
  /** The hart may hold a translation of this virtual page (sign-extended by its mode's levels), or of any if it is undefined: it must not any more. */
  readonly flush: (vpn: number | undefined, levels: number) => void;
}

/** So many addresses of a page are flushed one by one; if it has more, all go. */
const FEW_ADDRESSES = 16;

export class ShadowTables {
  readonly #memory: GuestMemory;
  readonly #flush: ShadowTablesOptions["flush"];
  readonly #byKey = new Map<number, ShadowTable>();
  readonly #byFrame = new Map<number, ShadowTable>();
  /** Images of each of the guest's tables. */
  readonly #images = new Map<number, ShadowTable[]>();
  readonly #mappings: ReverseMap;
  /** The hart has just forgotten everything. */
  #flushed = false;

  constructor({ memory, flush }: ShadowTablesOptions) {
    this.#memory = memory;
    this.#flush = flush;
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
    const table: ShadowTable = { ...source, frame, key, parents: new Set(), pages: level === 0 ? new Int32Array(ENTRIES) : undefined, roots: 0 };
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
    assert(table.pages !== undefined, "pages are mapped in the last level", { level: table.level });
    if (this.entry(table, index) !== 0) this.drop(table, index);
    this.#set(table, index, frame, flags | pte.valid | pte.accessed | pte.dirty);
    table.pages[index] = page;
    this.#mappings.add(page, table.frame * ENTRIES + index);
  }

  /** An entry is gone, and what only it led to. */
  drop(table: ShadowTable, index: number): void {
    const low = this.entry(table, index);
    if (low === 0) return;
    const place = table.frame * ENTRIES + index;
    if (table.pages !== undefined) {
      this.#mappings.remove(table.pages[index]!, place);
      // What is mapped nowhere will not be found when it becomes a table. And of a large page the guest may fence one address for all.
      if (low & pte.write || table.flags !== undefined) this.#flushEntry(table, index);
      this.#clear(table, index);
      return;
    }
    const child = this.next(table, index)!;
    this.#separate(child);
    this.#clear(table, index);
    child.parents.delete(place);
    this.#freeIfUnused(child);
  }

  /** Guest pages are no longer seen anywhere, nor by what the hart may still know of entries that were dropped: their next use comes to the monitor. */
  unmap(pages: readonly number[], hart: "flushed" | "flush" = "flush"): void {
    if (hart === "flush") this.#flush(undefined, 0);
    this.#flushed = true;
    for (const page of pages) {
      for (const place of [...this.#mappings.entries(page)]) this.drop(this.#byFrame.get(Math.floor(place / ENTRIES))!, place % ENTRIES);
    }
    this.#flushed = false;
  }

  /** A guest's table has no images any more, but as a root. */
  forget(page: number): void {
    for (const table of [...this.imagesOf(page)]) {
      for (const place of [...table.parents]) this.drop(this.#byFrame.get(Math.floor(place / ENTRIES))!, place % ENTRIES);
      if (table.roots > 0) this.#empty(table);
    }
  }

  /** An address space has it as its root, or no longer. */
  hold(table: ShadowTable): void {
    table.roots++;
  }

  letGo(table: ShadowTable): void {
    this.#separate(table);
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
      const mapping = this.#byFrame.get(Math.floor(place / ENTRIES))!;
      const index = place % ENTRIES;
      const low = this.entry(mapping, index);
      if (!(low & pte.write)) continue;
      this.#flushEntry(mapping, index);
      this.#memory.machine.words[this.#memory.machine.wordOf(mapping.frame) + 2 * index] = low & ~pte.write;
    }
  }

  #freeIfUnused(table: ShadowTable): void {
    if (table.parents.size > 0 || table.roots > 0) return;
    this.#byKey.delete(table.key);
    this.#byFrame.delete(table.frame);
    const images = this.#images.get(table.page);
    if (table.flags === undefined && images !== undefined) {
      images.splice(images.indexOf(table), 1);
      if (images.length === 0) this.#images.delete(table.page);
    }
    this.#memory.machine.release(table.frame);
  }

  /** One way to a table is about to go. While it is still known at which addresses the table is seen, the hart forgets what it knows by this one. */
  #separate(table: ShadowTable): void {
    if (table.parents.size + table.roots === 1) this.#empty(table);
    else if (!this.#flushed) this.#flush(undefined, 0);
  }

  #empty(table: ShadowTable): void {
    const { words } = this.#memory.machine;
    const first = this.#memory.machine.wordOf(table.frame);
    let many = table.pages === undefined ? FEW_ADDRESSES : 0;
    for (let at = first; at < first + 2 * ENTRIES; at += 2) if (words[at]! !== 0) many++;
    const alone = many > FEW_ADDRESSES && !this.#flushed;
    if (alone) {
      this.#flush(undefined, 0);
      this.#flushed = true;
    }
    for (let index = 0; index < ENTRIES; index++) if (words[first + 2 * index]! !== 0) this.drop(table, index);
    if (alone) this.#flushed = false;
  }

  #set(table: ShadowTable, index: number, frame: number, flags: number): void {
    const { machine } = this.#memory;
    machine.words[machine.wordOf(table.frame) + 2 * index] = (machine.pageNumber(frame) << PPN_SHIFT) | flags;
  }

  #clear(table: ShadowTable, index: number): void {
    this.#memory.machine.words[this.#memory.machine.wordOf(table.frame) + 2 * index] = 0;
  }

  /** The hart forgets what it knows by this entry. */
  #flushEntry(table: ShadowTable, index: number): void {
    if (this.#flushed) return;
    const addresses = new Map<number, number>();
    if (this.#collect(table, index, addresses)) for (const [vpn, levels] of addresses) this.#flush(vpn, levels);
    else this.#flush(undefined, 0);
  }

  /** Virtual pages at which an entry is seen, with the levels of their address space; false if there are many. */
  #collect(table: ShadowTable, index: number, into: Map<number, number>, below = 0): boolean {
    const vpn = index * span(table.level) + below;
    if (table.roots > 0) into.set(vpn, table.level + 1);
    // The many roots that share a kernel's tables have them in the same place.
    const places = new Set<number>();
    for (const place of table.parents) {
      const parent = this.#byFrame.get(Math.floor(place / ENTRIES))!;
      const seenAt = (parent.level * 2 + Number(parent.roots > 0)) * ENTRIES + (place % ENTRIES);
      if (parent.parents.size === 0 && places.has(seenAt)) continue;
      places.add(seenAt);
      if (!this.#collect(parent, place % ENTRIES, into, vpn) || into.size > FEW_ADDRESSES) return false;
    }
    return true;
  }
}
