/** Random page tables, protection and registers, made so that most accesses get somewhere and all rules are met. */
import type { Random } from "../kit/random.ts";
import type { PmpEntry, Privilege, Registers } from "./model.ts";

export const ramBase = 0x80000000;
export const ramSize = 1 << 20;
/** The page of test code; PMP's first entry allows it to everyone. */
export const codePhysical = ramBase;
/** Device registers that answer; elsewhere outside of memory nothing does. */
export const device = { base: 0x10000000, size: 0x1000 } as const;

export const frames = ramSize / 4096;
const tableFrames = 100;

export interface AddressSpace {
  readonly mode: 0 | 8 | 9 | 10;
  readonly root: number;
  readonly asid: number;
  readonly mappings: Mapping[];
  readonly codeVirtual: Record<0 | 1, bigint>;
}

export interface Mapping {
  /** First address. */
  readonly virtual: bigint;
  readonly level: number;
  /** Physical address of the leaf entry. */
  readonly entry: number;
  /** The same in both address spaces, so that it may be global. */
  readonly isShared: boolean;
}

export interface Scene {
  readonly ram: Uint8Array<ArrayBuffer>;
  readonly spaces: readonly AddressSpace[];
  readonly pmp: readonly PmpEntry[];
  /** Few frames and offsets in them that mappings, protection and accesses prefer, so that they meet. */
  readonly hotFrames: readonly number[];
  readonly hotOffsets: readonly number[];
}

/**
 * Memory is full of LUIs, each at an address that is 2 modulo 4, so that they also lie across pages: the value loaded tells where both
 * halves come from. Low half: 4 bits and the opcode; high half: 16 bits.
 */
export function fill(ram: Uint8Array<ArrayBuffer>): void {
  const view = new DataView(ram.buffer, ram.byteOffset, ram.length);
  for (let at = 0; at < ram.length; at += 4) {
    const index = at >>> 2;
    view.setUint16(at, index & 0xffff, true);
    view.setUint16(at + 2, ((index >>> 16) << 12) | ((at >>> 12) & 3) << 14 | luiLow, true);
  }
}

/** `lui t0, …` without the immediate. */
export const luiLow = 0x2b7;
export const isLui = (word: number): boolean => (word & 0xfff) === luiLow;

export function buildScene(random: Random): Scene {
  const ram = new Uint8Array(ramSize);
  fill(ram);
  const { hotFrames, hotOffsets } = hotPlaces(random);
  const builder = new Builder(ram, hotFrames, random);
  const asids = random.pick([[1, 9], [1, 2], [0, 1], [0xffff, 0x7fff]] as const);
  const modes = [0, 8, 8, 8, 9, 9, 10] as const;
  const first = builder.space(random.pick(modes), asids[0]);
  // As under Linux: what lies in the upper half is the kernel's, the same for all.
  const second = random.oneIn(2) ? builder.space(random.pick(modes), asids[1]) : builder.sibling(first, asids[1]);
  const spaces = [first, second];
  return { ram, spaces, pmp: pmpEntries(hotFrames, hotOffsets, random), hotFrames, hotOffsets };
}

export function hotPlaces(random: Random): Pick<Scene, "hotFrames" | "hotOffsets"> {
  return {
    hotFrames: Array.from({ length: 6 }, () => random.below(frames)),
    hotOffsets: Array.from({ length: 5 }, () => random.pick([0, 4, 0x800, 0xff8, 0xffc, random.below(1024) * 4])),
  };
}

export class Builder {
  readonly #view: DataView;
  readonly #hotFrames: readonly number[];
  readonly #random: Random;
  readonly #tableLimit: number;
  #nextTable = 1;

  constructor(ram: Uint8Array<ArrayBuffer>, hotFrames: readonly number[], random: Random, tableLimit = tableFrames) {
    this.#tableLimit = tableLimit;
    this.#view = new DataView(ram.buffer);
    this.#hotFrames = hotFrames;
    this.#random = random;
  }

  space(mode: AddressSpace["mode"], asid: number): AddressSpace {
    const root = this.#table();
    const mappings: Mapping[] = [];
    const space: AddressSpace = { mode, root, asid, mappings, codeVirtual: { 0: BigInt(codePhysical), 1: BigInt(codePhysical) } };
    if (mode === 0) return space;
    const levels = mode - 5;
    for (const user of [0, 1] as const) {
      const virtual = canonical(0x7000n + BigInt(user) * 0x1000n, levels);
      // R, X, A, and U for user mode.
      this.#map(root, levels, virtual, 0, () => pteOf(codePhysical, 0x4b | (user === 0 ? 0x10 : 0)));
      space.codeVirtual[user === 0 ? 0 : 1] = virtual;
    }
    const count = 4 + this.#random.below(16);
    for (let i = 0; i < count; i++) {
      const level = this.#random.oneIn(3) ? this.#random.below(levels) : 0;
      const virtual = this.#virtual(levels, level);
      const entry = this.#map(root, levels, virtual, level, () => randomLeaf(level, this.#hotFrames, this.#random));
      if (entry !== undefined) mappings.push({ virtual, level, entry, isShared: false });
    }
    // An invalid leaf may have made way for a table: fences by address don't reach what is no leaf.
    const leaves = mappings.filter(({ entry }) => (this.#view.getUint8(entry - ramBase) & 0xf) !== 1);
    mappings.splice(0, mappings.length, ...leaves);
    return space;
  }

  /** A space that shares the tables of the upper half; pages there may be global, but for those in the root, of which each has its own. */
  sibling(other: AddressSpace, asid: number): AddressSpace {
    const own = this.space(other.mode, asid);
    if (other.mode === 0) return own;
    const levels = other.mode - 5;
    const isUpper = ({ virtual, level }: Mapping): boolean => virtual >> 63n === 1n && level < levels - 1;
    const shared = other.mappings.filter(isUpper).map((mapping) => ({ ...mapping, isShared: true }));
    for (const { entry } of shared) {
      if (this.#random.oneIn(3)) continue;
      this.#view.setBigUint64(entry - ramBase, this.#view.getBigUint64(entry - ramBase, true) | global, true);
    }
    for (let at = 2048; at < 4096; at += 8) {
      this.#view.setBigUint64(own.root - ramBase + at, this.#view.getBigUint64(other.root - ramBase + at, true), true);
    }
    const separate = (mappings: readonly Mapping[]): Mapping[] => mappings.filter(({ virtual }) => virtual >> 63n === 0n);
    other.mappings.splice(0, other.mappings.length, ...separate(other.mappings), ...shared);
    own.mappings.splice(0, own.mappings.length, ...separate(own.mappings), ...shared);
    return own;
  }

  /** Few indexes at each level, so that tables are shared and pages are neighbours. */
  #virtual(levels: number, level: number): bigint {
    let virtual = 0n;
    for (let at = level; at < levels; at++) {
      const index = at === 0 ? this.#random.pick([0, 1, 2, 3, 16, 17, 31, 510, 511]) : this.#random.pick([0, 0, 0, 1, 2, 255, 256, 511]);
      virtual |= BigInt(index) << BigInt(12 + 9 * at);
    }
    return canonical(virtual, levels);
  }

  #table(): number {
    const at = this.#nextTable++ * 4096;
    for (let i = 0; i < 4096; i += 8) this.#view.setBigUint64(at + i, this.#random.oneIn(64) ? this.#random.u64() & ~1n : 0n, true);
    return ramBase + at;
  }

  #map(root: number, levels: number, virtual: bigint, level: number, leaf: () => bigint): number | undefined {
    let table = root;
    for (let at = levels - 1; ; at--) {
      const entry = table + Number((virtual >> BigInt(12 + 9 * at)) & 511n) * 8;
      const old = this.#view.getBigUint64(entry - ramBase, true);
      if (at === level) {
        if (old & 1n) return undefined;
        this.#view.setBigUint64(entry - ramBase, leaf(), true);
        return entry;
      }
      if (old & 1n) {
        // A leaf or a broken entry is left as it is.
        if (old & 0xeen) return undefined;
        const next = Number((old >> 10n) & 0xfffffffffffn) * 4096;
        if (next < ramBase || next >= ramBase + ramSize) return undefined;
        table = next;
      } else {
        if (this.#nextTable >= this.#tableLimit) return undefined;
        table = this.#table();
        this.#view.setBigUint64(entry - ramBase, pteOf(table, 1) | this.#flaw(), true);
      }
    }
  }

  /** Now and then a bit in a pointer to a table that must not be there. */
  #flaw(): bigint {
    return this.#random.oneIn(60) ? 1n << BigInt(this.#random.pick([2, 4, 6, 7, 54, 60, 61, 62, 63, 53])) : 0n;
  }
}

function canonical(virtual: bigint, levels: number): bigint {
  return BigInt.asUintN(64, BigInt.asIntN(12 + 9 * levels, virtual));
}

export const pteOf = (physical: number, flags: number): bigint => (BigInt(physical / 4096) << 10n) | BigInt(flags);

/** The G bit. */
export const global = 0x20n;

/** A leaf that mostly leads into memory; never global. */
export function randomLeaf(level: number, hotFrames: readonly number[], random: Random): bigint {
  let ppn = physicalPage(level, hotFrames, random);
  let flags = random.pick([0x0b, 0x03, 0x07, 0x0f, 0x09, 0x0f, 0x07, 0x05, 0x0d]);
  if (random.oneIn(2)) flags |= 0x10;
  if (!random.oneIn(4)) flags |= 0x40;
  if (!random.oneIn(4)) flags |= 0x80;
  if (random.oneIn(20)) flags &= ~1;
  let pte = BigInt(flags | (random.below(4) << 8));
  if (random.oneIn(8)) {
    pte |= 1n << 63n;
    if (!random.oneIn(4)) ppn = (ppn & ~0xfn) | 8n;
  }
  if (random.oneIn(8)) pte |= BigInt(random.below(4)) << 61n;
  if (random.oneIn(40)) pte |= 1n << BigInt(54 + random.below(7));
  return pte | (ppn << 10n);
}

function physicalPage(level: number, hotFrames: readonly number[], random: Random): bigint {
  if (random.oneIn(12)) return BigInt(device.base >> 12);
  if (random.oneIn(40)) return random.u64() & 0xfffffffffffn;
  if (level === 0) return BigInt(ramBase / 4096 + (random.oneIn(3) ? random.below(frames) : random.pick(hotFrames)));
  // The page of this size that memory begins in; now and then, not aligned.
  const size = 1n << BigInt(9 * level);
  const page = (BigInt(ramBase / 4096) / size) * size;
  return random.oneIn(15) ? page + BigInt(1 + random.below(300)) : page;
}

/** The first entry gives everyone the code; behind it come up to six random ones; mostly, the last allows everything. */
export function pmpEntries(hotFrames: readonly number[], hotOffsets: readonly number[], random: Random): PmpEntry[] {
  const entries: PmpEntry[] = [{ config: 0x1f, address: BigInt(codePhysical >>> 2) | 0x1ffn }];
  const count = random.pick([0, 0, 1, 2, 3, 6]);
  for (let i = 0; i < count; i++) entries.push(randomPmpEntry(hotFrames, hotOffsets, random));
  while (entries.length < 15) entries.push({ config: 0, address: 0n });
  entries.push(random.oneIn(10) ? { config: 0, address: 0n } : { config: 0x1f, address: (1n << 54n) - 1n });
  return entries;
}

function randomPmpEntry(hotFrames: readonly number[], hotOffsets: readonly number[], random: Random): PmpEntry {
  const permissions = random.pick([0, 1, 3, 4, 5, 7]);
  const mode = random.pick([0, 1, 1, 2, 3, 3]);
  const lock = random.oneIn(4) ? 0x80 : 0;
  const page = ramBase + (random.oneIn(4) ? random.below(frames) : random.pick(hotFrames)) * 4096;
  const near = page + (random.oneIn(4) ? random.below(1024) * 4 : random.pick(hotOffsets));
  const address = BigInt(Math.floor(near / 4));
  if (mode !== 3) return { config: lock | (mode << 3) | permissions, address };
  const ones = random.pick([0, 0, 1, 3, 8, 9, 10, 13, 16]);
  return { config: lock | 0x18 | permissions, address: (address >> BigInt(ones + 1)) << BigInt(ones + 1) | ((1n << BigInt(ones)) - 1n) };
}

/** An address to access: mostly near what is mapped, often at the edge of a page. */
export function randomAddress({ spaces, hotFrames, hotOffsets }: Scene, space: number, random: Random): bigint {
  const { mode, mappings } = spaces[space]!;
  const noise = random.below(40);
  if (noise === 0) return random.u64();
  const inPage = BigInt(randomOffset(hotOffsets, random));
  const frame = random.oneIn(3) ? random.below(frames) : random.pick(hotFrames);
  if (mode === 0 || mappings.length === 0) return BigInt(ramBase + frame * 4096) + inPage;
  const { virtual, level } = random.pick(mappings);
  // Where memory lies in a large page.
  const within = BigInt(ramBase) % (1n << BigInt(12 + 9 * level));
  const page = level === 0 ? 0n : within + BigInt(frame) * 4096n;
  const address = virtual + page + inPage;
  if (noise === 1) return address ^ (1n << BigInt(36 + random.below(28)));
  return BigInt.asUintN(64, address);
}

function randomOffset(hotOffsets: readonly number[], random: Random): number {
  switch (random.below(4)) {
    case 0:
      return random.pick([0, 1, 2, 0xff8, 0xff9, 0xffc, 0xffd, 0xffe, 0xfff]);
    case 1:
      return random.below(4096);
    default:
      return (random.pick(hotOffsets) + random.pick([-8, -4, -2, -1, 0, 0, 0, 1, 2, 4]) + 4096) % 4096;
  }
}

/** Registers that change from access to access. */
export function randomRegisters({ mode, asid, root }: AddressSpace, pmp: readonly PmpEntry[], random: Random): Registers {
  const privilege = random.pick([0, 1, 1, 3] as const);
  const below: Privilege = random.pick([0, 1]);
  const mprv = privilege === 3 && !random.oneIn(3);
  return {
    privilege,
    satp: (BigInt(mode) << 60n) | (BigInt(asid) << 44n) | BigInt(root / 4096),
    sum: random.oneIn(2),
    mxr: random.oneIn(3),
    mprv,
    mpp: mprv ? (random.oneIn(6) ? 3 : below) : below,
    adue: random.oneIn(2),
    pbmte: random.oneIn(2),
    pmp,
  };
}

/** Where two memories differ first. */
export function firstDifference(expected: Uint8Array, given: Uint8Array): string {
  const at = expected.findIndex((byte, i) => byte !== given[i]);
  const bytes = (memory: Uint8Array): string => Buffer.from(memory.subarray(at & ~7, (at & ~7) + 8)).toString("hex");
  return `memory at 0x${(ramBase + (at & ~7)).toString(16)} is ${bytes(given)}; the model: ${bytes(expected)}`;
}
