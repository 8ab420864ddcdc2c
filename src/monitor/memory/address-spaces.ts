/**
 * The guest's address spaces as shadows know them: each root of the guest's has roots of its own, one for each view, and an ASID of the hart's, which
 * is not the guest's. They are kept until there is no room, or until the guest's root is no table any more.
 */
import type { HartState } from "#machine/hart.ts";
import { shadowBound } from "./footprint.ts";
import type { GuestMemory } from "./guest-memory.ts";
import { everything, rootOf, views, type AddressSpaceRoot, type ShadowView } from "./guest-walk.ts";
import type { ShadowTable, ShadowTables } from "./shadow-tables.ts";

/** The shadows of an address space, in the order of views. */
export interface AddressSpace extends AddressSpaceRoot {
  readonly key: number;
  /** Of the shadow: as the guest's, or what is filled where its translation is off. */
  readonly shadowLevels: number;
  readonly asid: number;
  readonly roots: readonly ShadowTable[];
  /** Those that show them. */
  readonly satps: readonly bigint[];
  /** What the guest has called it, one vCPU so and another so. */
  readonly guestAsids: Set<number>;
  used: number;
}

export interface AddressSpacesOptions {
  readonly memory: GuestMemory;
  readonly tables: ShadowTables;
  /** All of the VM's harts. */
  readonly harts: () => readonly HartState[];
  /** Whether the guest is in VS-mode and VU-mode, and the hart tells them apart: then one view shows all. */
  readonly isVirtual: boolean;
  /** The hart forgets what it knows by its ASID. */
  readonly flush: (asid: number) => void;
}

/** Physical addresses of a guest's memory have no more bits. */
const BARE_LEVELS = 3;
const LAST_ASID = 0xffff;
/** The root of all tables that are not in the guest's memory: a page where it never is. */
const NO_MEMORY = 0;
/** Of tables where translation is off: what is a user's there is not a large page's, so that they are never those of one. */
export const BARE_FLAGS = 0x1ef;

export class AddressSpaces {
  readonly #memory: GuestMemory;
  readonly #tables: ShadowTables;
  readonly #harts: () => readonly HartState[];
  readonly #flush: (asid: number) => void;
  /** Of each address space there is a root for each of these. */
  readonly #views: readonly ShadowView[];
  readonly #spaces = new Map<number, AddressSpace>();
  /** A table of zeros: what a hart has that is in no address space yet. */
  readonly #nowhere: number;
  #nextAsid = 1;
  #uses = 0;
  #evictions = 0;

  /** Throws HostelryError `no-frames`. */
  constructor({ memory, tables, harts, isVirtual, flush }: AddressSpacesOptions) {
    this.#memory = memory;
    this.#tables = tables;
    this.#harts = harts;
    this.#flush = flush;
    this.#views = isVirtual ? [everything] : Object.values(views);
    this.#nowhere = memory.machine.take(memory.owner, "page-table");
  }

  get size(): number {
    return this.#spaces.size;
  }

  /** Address spaces that went for want of room. */
  get evictions(): number {
    return this.#evictions;
  }

  /** satp of a hart that is nowhere: whatever it accesses faults. */
  get nowhere(): bigint {
    return this.#satp(BARE_LEVELS, 0, this.#nowhere);
  }

  [Symbol.iterator](): Iterator<AddressSpace> {
    return this.#spaces.values();
  }

  /** Whose the guest's satp of this hart is. */
  rootOf(state: HartState): AddressSpaceRoot {
    const { levels, page } = rootOf(state.low("parkedSatp", 0), state.high("parkedSatp"));
    return { levels, page: this.#memory.pmap.holds(page) ? page : NO_MEMORY };
  }

  /** The address space whose views a hart has, if its guest's satp, which says `root`, still names it. */
  current(state: HartState, root: AddressSpaceRoot): AddressSpace | undefined {
    const space = this.#spaces.get(keyOf(root));
    return space !== undefined && this.#isIn(state, space) ? space : undefined;
  }

  /** Puts a hart into the address space that its guest's satp names: the caller selects the view. Throws HostelryError `no-frames`. */
  enter(state: HartState): AddressSpace {
    const space = this.#space(this.rootOf(state));
    space.guestAsids.add((state.high("parkedSatp") >>> 12) & LAST_ASID);
    this.#setViews(state, (index) => space.satps[index]!);
    return space;
  }

  /** The root for a view, and what its tables are called by. */
  rootFor(space: AddressSpace, view: number): { readonly root: ShadowTable; readonly view: ShadowView } {
    const index = this.#views.length === 1 ? 0 : view;
    return { root: space.roots[index]!, view: this.#views[index]! };
  }

  /** Beyond their bound, the address spaces go that were not in use for longest. */
  makeRoom(current: AddressSpaceRoot): void {
    const most = shadowBound(this.#memory.pmap.pages);
    if (this.#tables.size < most) return;
    const key = keyOf(current);
    const others = [...this.#spaces.values()].filter((space) => space.key !== key).sort((a, b) => a.used - b.used);
    for (const space of others) {
      if (this.#tables.size < most / 2) return;
      this.#evictions++;
      this.#drop(space);
    }
    if (this.#tables.size < most) return;
    this.#evictions++;
    this.dropAll();
  }

  dropAll(): void {
    for (const space of [...this.#spaces.values()]) this.#drop(space);
  }

  /** Those on this root of the guest's go, unless a hart is there. */
  dropUnused(page: number): void {
    for (const space of [...this.#spaces.values()]) {
      const isUsed = this.#harts().some((state) => this.#isIn(state, space));
      if (space.levels > 0 && space.page === page && !isUsed) this.#drop(space);
    }
  }

  /** The tables go with theirs. */
  release(): void {
    this.#memory.machine.release(this.#nowhere);
  }

  #space(root: AddressSpaceRoot): AddressSpace {
    const key = keyOf(root);
    this.#uses++;
    let space = this.#spaces.get(key);
    if (space === undefined) {
      this.makeRoom(root);
      if (this.#nextAsid > LAST_ASID) {
        this.dropAll();
        this.#nextAsid = 1;
      }
      const shadowLevels = root.levels || BARE_LEVELS;
      const level = shadowLevels - 1;
      const roots = this.#views.map((view) => {
        const table = this.#tables.table(root.levels === 0 ? { page: 0, level, view, flags: BARE_FLAGS } : { page: root.page, level, view });
        this.#tables.hold(table);
        return table;
      });
      const asid = this.#nextAsid++;
      const satps = roots.map(({ frame }) => this.#satp(shadowLevels, asid, frame));
      space = { ...root, key, shadowLevels, asid, roots, satps, guestAsids: new Set(), used: 0 };
      this.#spaces.set(key, space);
    }
    space.used = this.#uses;
    return space;
  }

  /** Whoever is there is nowhere from now on. */
  #drop(space: AddressSpace): void {
    this.#spaces.delete(space.key);
    for (const state of this.#harts()) {
      if (!this.#isIn(state, space)) continue;
      this.#setViews(state, () => this.nowhere);
      state.set("satp", this.nowhere);
    }
    this.#flush(space.asid);
    for (const root of space.roots) this.#tables.letGo(root);
  }

  /** By the ASID: that of `nowhere` is nobody's. */
  #isIn(state: HartState, space: AddressSpace): boolean {
    return ((state.high("views") >>> 12) & LAST_ASID) === space.asid;
  }

  #setViews(state: HartState, satp: (index: number) => bigint): void {
    for (let index = 0; index < this.#views.length; index++) state.set("views", satp(index), index);
  }

  #satp(levels: number, asid: number, frame: number): bigint {
    return (BigInt(levels + 5) << 60n) | (BigInt(asid) << 44n) | BigInt(this.#memory.machine.pageNumber(frame));
  }
}

const keyOf = ({ levels, page }: AddressSpaceRoot): number => page * 8 + levels;
