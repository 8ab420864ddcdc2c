/**
 * Shadow paging: the hart walks tables of the monitor's own, which say where the guest's tables would lead if guest-physical addresses were
 * frames. They are filled as the hart faults (a *hidden* fault: the guest's own tables allow the access), emptied where the guest writes to its
 * tables, which it may not do unseen (they are *traced*: mapped read-only), and otherwise as stale as a TLB may be.
 *
 * A guest's kernel and programs are both in U-mode, so each address space has a shadow for each view: see house rules in hart/deprivileged.ts.
 */
import type { HartState } from "#machine/hart.ts";
import { AddressSpaces, BARE_FLAGS, type AddressSpace } from "./address-spaces.ts";
import type { GuestMemory } from "./guest-memory.ts";
import { everything, GuestWalk, isSeen, pte, span, viewOf, views, type Access, type View } from "./guest-walk.ts";
import type { ShadowPolicy } from "../cpu/technique.ts";
import { held, ShadowTables, type ShadowTable } from "./shadow-tables.ts";

/** What comes of a page fault of the hart's. */
export type ShadowFault =
  /** The guest is not to know: it goes on. */
  | { readonly kind: "hidden" }
  /** Likewise, but for this instruction only: see `settle`. */
  | { readonly kind: "once" }
  /** The guest's own. */
  | { readonly kind: "true"; readonly fault: "page-fault" | "access-fault" }
  /** There is no memory at this guest-physical address; a device may answer. */
  | { readonly kind: "no-memory"; readonly physical: number }
  /** The guest writes to one of its tables, at this guest-physical address. */
  | { readonly kind: "table-write"; readonly physical: number };

export interface ShadowStatistics {
  /** Frames that they take. */
  readonly tables: number;
  readonly addressSpaces: number;
  /** Address spaces that went for want of room. */
  readonly evictions: number;
}

export interface ShadowOptions {
  readonly memory: GuestMemory;
  /** All of the VM's harts. */
  readonly harts: () => readonly HartState[];
  /** The hart that executes it has other views. */
  readonly selectView: () => void;
  readonly policy: ShadowPolicy;
  /** Whether the guest is in VS-mode and VU-mode, and the hart tells them apart: then one view shows all. */
  readonly isVirtual: boolean;
  /** The hart forgets a virtual page of all the guest's address spaces; or all pages of one, or of all. */
  readonly flush: (what: { readonly virtual?: bigint; readonly asid?: number }) => void;
  /** Nothing that the hart knows lets it write to this frame any more. */
  readonly purge: (frame: number) => void;
}

/** Neighbours that are looked at when a page is mapped. */
const AHEAD = 16;
/** Writes to a table, none of whose entries were used since, after which it is no table any more. */
const FLOOD = 4;
/** Bytes of an entry. */
const ENTRY = 8;

const HIDDEN: ShadowFault = { kind: "hidden" };
const ONCE: ShadowFault = { kind: "once" };
const PAGE_FAULT: ShadowFault = { kind: "true", fault: "page-fault" };
const ACCESS_FAULT: ShadowFault = { kind: "true", fault: "access-fault" };

export class Shadow {
  readonly tables: ShadowTables;
  readonly #memory: GuestMemory;
  readonly #selectView: () => void;
  readonly #walk: GuestWalk;
  readonly #policy: ShadowPolicy;
  readonly #flush: ShadowOptions["flush"];
  readonly #spaces: AddressSpaces;
  /** Writes to each page of the guest's that is a table, since it was last walked. */
  readonly #floods: Uint8Array;
  /** One instruction is being done with more than the shadow allows. */
  isStepping = false;
  /** Traced pages that the guest may write just now, and what they held before; and pages that it may read just now. */
  readonly #allowed = new Map<number, Uint32Array>();
  readonly #lent: (readonly [table: ShadowTable, index: number])[] = [];
  /** Throws HostelryError `no-frames`. */
  constructor({ memory, harts, selectView, policy, isVirtual, flush, purge }: ShadowOptions) {
    this.#memory = memory;
    this.#selectView = selectView;
    this.#policy = policy;
    this.#flush = flush;
    this.#walk = new GuestWalk(memory);
    this.#floods = new Uint8Array(memory.pmap.pages);
    this.tables = new ShadowTables({ memory, flush: () => flush({}), purge });
    this.#spaces = new AddressSpaces({ memory, tables: this.tables, harts, isVirtual, flush: (asid) => flush({ asid }) });
    memory.written = this.#written;
  }

  readonly #written = (page: number): void => {
    if (this.tables.isTraced(page)) this.tables.forget(page);
  };

  /** No entry leads to these pages any more; what was a table of the guest's among them is none. */
  vacated(pages: readonly number[]): void {
    for (const page of pages) this.#written(page);
    this.tables.unmap(pages);
  }

  /** A page has another frame, with the same contents. */
  moved(page: number): void {
    this.tables.unmap([page], "flushed");
  }

  statistics(): ShadowStatistics {
    return { tables: this.tables.size + 1, addressSpaces: this.#spaces.size, evictions: this.#spaces.evictions };
  }

  /** satp of a hart that is nowhere: whatever it accesses comes to `fault`. */
  get nowhere(): bigint {
    return this.#spaces.nowhere;
  }

  /** Puts the hart that executes it into the address space that its guest's satp names. */
  enter(state: HartState): AddressSpace {
    const space = this.#spaces.enter(state);
    this.#selectView();
    return space;
  }

  /** The guest's satp was written: what that makes of the shadows. */
  switched(state: HartState): void {
    if (this.#policy === "naive") this.#spaces.dropAll();
    this.enter(state);
  }

  /** SFENCE.VMA of the guest's. */
  fence(virtual: bigint | undefined, asid: number | undefined): void {
    if (virtual !== undefined) this.#flush({ virtual });
    else if (asid === undefined) this.#flush({});
    else for (const space of this.#spaces) if (space.guestAsids.has(asid)) this.#flush({ asid: space.asid });
  }

  /** The hart's page fault at a virtual address, given as its two halves. Throws HostelryError `no-frames`. */
  fault(state: HartState, low: number, high: number, access: Access): ShadowFault {
    const root = this.#spaces.rootOf(state);
    this.#spaces.makeRoom(root);
    const space = this.#spaces.current(state, root) ?? this.enter(state);
    const vpn = high * 2 ** 20 + (low >>> 12);
    const view = viewOf(state);
    const walk = this.#walk;
    const refused = walk.walk(root, vpn, access, view, (state.low("mstatus", 0) & MXR) !== 0);
    for (let level = walk.level; level < root.levels; level++) this.#floods[walk.tables[level]! - this.#memory.pmap.firstPage] = 0;
    if (refused !== undefined) return refused === "page-fault" ? PAGE_FAULT : ACCESS_FAULT;
    const { page } = walk;
    if (!this.#memory.pmap.holds(page)) return { kind: "no-memory", physical: page * 4096 + (low & 4095) };
    if (access === "store" && this.#isGuarded(page)) return { kind: "table-write", physical: page * 4096 + (low & 4095) };
    if (access === "store") this.#memory.own(page);
    this.#fill(space, vpn, view);
    // A table of the guest's that its own walk needs has become read-only by being walked.
    if (access === "store" && this.#isGuarded(page)) return { kind: "table-write", physical: page * 4096 + (low & 4095) };
    return this.#lent.length > 0 ? ONCE : HIDDEN;
  }

  /** The guest may write a traced page until `settle`, or read what `fault` has lent it. */
  allow(page: number): void {
    this.#allowed.set(page, this.#words(page).slice());
  }

  /** Whatever was written meanwhile is looked at. */
  settle(): void {
    this.isStepping = false;
    const written = [...this.#allowed];
    // What is mapped anew below is guarded again.
    this.#allowed.clear();
    for (const [page, before] of written) {
      this.tables.protect(page);
      const after = this.#words(page);
      const first = before.findIndex((word, at) => word !== after[at]);
      if (first >= 0) this.tableWritten(page, 4 * first, 4 * before.findLastIndex((word, at) => word !== after[at]));
    }
    for (const [table, index] of this.#lent.splice(0)) if (this.tables.holds(table)) this.tables.drop(table, index);
  }

  #words(page: number): Uint32Array {
    const { machine } = this.#memory;
    const first = machine.wordOf(this.#memory.own(page));
    return machine.words.subarray(first, first + 1024);
  }

  #isGuarded(page: number): boolean {
    return this.tables.isTraced(page) && !this.#allowed.has(page);
  }

  /** Where an access goes in the guest's physical memory; undefined if its tables refuse, or there is no memory. */
  physicalAddress(state: HartState, low: number, high: number, access: Access): number | undefined {
    const root = this.#spaces.rootOf(state);
    const mxr = (state.low("mstatus", 0) & MXR) !== 0;
    if (this.#walk.walk(root, high * 2 ** 20 + (low >>> 12), access, viewOf(state), mxr) !== undefined) return undefined;
    const { page } = this.#walk;
    return this.#memory.pmap.holds(page) ? page * 4096 + (low & 4095) : undefined;
  }

  /** Entries of a traced page, from the byte `first` to `last`, have been written. */
  tableWritten(page: number, first: number, last: number): void {
    // Who writes more than an entry at once, clears a page.
    const isCleared = last - first >= ENTRY;
    if (++this.#floods[page - this.#memory.pmap.firstPage]! >= FLOOD || isCleared) {
      this.#retire(page);
      return;
    }
    const images = this.tables.imagesOf(page);
    // Backwards: with what an entry leads to, images of the same page may go.
    for (let i = images.length - 1; i >= 0; i = Math.min(i, images.length) - 1) {
      const table = images[i]!;
      for (let index = first >>> 3; index <= last >>> 3; index++) {
        this.tables.drop(table, index);
        // What a kernel maps is likely to be used next: that would be a fault.
        if (table.level === 0) this.#mapAhead(table, index, page);
      }
    }
  }

  release(): void {
    // Another's already, if that has taken its place.
    if (this.#memory.written === this.#written) this.#memory.written = undefined;
    this.tables.release();
    this.#spaces.release();
  }

  /** A page that is only written to is a table no longer, unless an address space stands on it that is in use. */
  #retire(page: number): void {
    this.#floods[page - this.#memory.pmap.firstPage] = 0;
    this.#spaces.dropUnused(page);
    this.tables.forget(page);
  }

  /** Maps what the last walk has found, and what is near it. */
  #fill(space: AddressSpace, vpn: number, user: View): void {
    const walk = this.#walk;
    const leaf = space.levels === 0 ? space.shadowLevels : walk.level;
    const { page } = walk;
    // Without tables of the guest's own, a page is whose that accesses it.
    const flags = space.levels === 0 && user === views.user ? walk.flags | pte.user : walk.flags;
    const source = space.levels === 0 ? BARE_FLAGS : flags;
    const { root, view } = this.#spaces.rootFor(space, user);
    let table = root;
    for (let level = space.shadowLevels - 1; level > 0; level--) {
      const index = Math.floor(vpn / span(level)) % 512;
      let next = this.tables.next(table, index);
      // A large page that has become dirty since has another image.
      if (next !== undefined && level === leaf && next.flags !== source) {
        this.tables.drop(table, index);
        next = undefined;
      }
      if (next === undefined) {
        next =
          level > leaf
            ? this.tables.table({ page: walk.tables[level - 1]!, level: level - 1, view })
            : this.tables.table({ page: page - (page % span(level)), level: level - 1, view, flags: source });
        this.tables.link(table, index, next);
      }
      table = next;
    }
    const index = vpn % 512;
    this.#map(table, index, page, flags);
    // A program's page that only MXR makes readable, to a kernel that may not execute it: where MXR is off again, it must not be there.
    if (this.tables.entry(table, index) === 0) {
      this.tables.map(table, index, page, this.#memory.touch(page), pte.read | pte.user);
      this.#lent.push([table, index]);
    }
    const start = index - (index % AHEAD);
    for (let near = start; near < start + AHEAD; near++) {
      if (near === index || this.tables.entry(table, near) !== 0) continue;
      if (leaf > 0) this.#mapIfPresent(table, near, page - index + near, flags);
      else this.#mapAhead(table, near, walk.tables[0]!);
    }
  }

  /** What a table of the guest's says, if that has been used before: nothing is to be set accessed ahead of its time. */
  #mapAhead(table: ShadowTable, index: number, guestTable: number): void {
    const [low, high] = this.#memory.tableEntry(guestTable, index);
    const present = pte.valid | pte.accessed;
    const isWriteOnly = (low & (pte.read | pte.write)) === pte.write;
    if ((low & present) !== present || !(low & (pte.read | pte.execute)) || isWriteOnly || !isSeen(low, table.view)) return;
    // NAPOT, page-based memory types and reserved bits are the walk's matter.
    if (high >>> 22 !== 0) return;
    this.#mapIfPresent(table, index, high * 2 ** 22 + (low >>> 10), low & 0xff);
  }

  #mapIfPresent(table: ShadowTable, index: number, page: number, flags: number): void {
    const { pmap } = this.#memory;
    if (pmap.holds(page) && pmap.frame(page) >= 0 && !pmap.isHidden(page)) this.#map(table, index, page, flags);
  }

  #map(table: ShadowTable, index: number, page: number, flags: number): void {
    let allowed = flags & (pte.read | pte.write | pte.execute | pte.global);
    const frame = this.#memory.touch(page);
    if (!(flags & pte.dirty) || this.#memory.pmap.isShared(page)) allowed &= ~pte.write;
    if (allowed & pte.write && this.#isGuarded(page)) allowed = (allowed & ~pte.write) | held;
    // The kernel may read and write its programs' pages with SUM, but never execute them.
    if (table.view === views.kernelWithSum && flags & pte.user) allowed &= ~pte.execute;
    // All that a deprivileged guest sees is a user's to the hart.
    allowed |= table.view === everything ? flags & pte.user : pte.user;
    if ((allowed & (pte.read | pte.execute)) === 0) return;
    this.tables.map(table, index, page, frame, allowed);
  }
}

const MXR = 1 << 19;
