/**
 * The manual's rules on physical memory protection and address translation, said as plainly as possible: no TLB, no shortcuts. Privileged
 * manual 3.7 (PMP), 12.3 to 12.7 (Sv39, Sv48, Sv57, Svnapot, Svpbmt, Svadu); CMO specification for the cache-block operations.
 */
import { cause } from "#machine/csr-bits.ts";

export type Kind = "execute" | "read" | "write";
export type Privilege = 0 | 1 | 3;

/** The registers that the rules depend on. */
export interface Registers {
  readonly privilege: Privilege;
  readonly satp: bigint;
  readonly sum: boolean;
  readonly mxr: boolean;
  readonly mprv: boolean;
  readonly mpp: Privilege;
  /** menvcfg.ADUE: the hart sets A and D by itself. */
  readonly adue: boolean;
  /** menvcfg.PBMTE. */
  readonly pbmte: boolean;
  readonly pmp: readonly PmpEntry[];
}

export interface PmpEntry {
  /** A byte of pmpcfg. */
  readonly config: number;
  readonly address: bigint;
}

export class Fault extends Error {
  override readonly cause: number;
  readonly value: bigint;

  constructor(number: number, value: bigint) {
    super(`cause ${number}, tval 0x${value.toString(16)}`);
    this.cause = number;
    this.value = value;
  }
}

const accessFault = { execute: cause.instructionAccess, read: cause.loadAccess, write: cause.storeAccess };
const pageFault = { execute: cause.instructionPage, read: cause.loadPage, write: cause.storePage };

const bit = (value: bigint, position: number): boolean => ((value >> BigInt(position)) & 1n) === 1n;
const field = (value: bigint, high: number, low: number): bigint => (value >> BigInt(low)) & ((1n << BigInt(high - low + 1)) - 1n);

const pageSize = 4096n;

export class MemoryModel {
  readonly ram: DataView;
  readonly ramBase: bigint;

  constructor(ram: Uint8Array<ArrayBuffer>, ramBase: number) {
    this.ram = new DataView(ram.buffer, ram.byteOffset, ram.length);
    this.ramBase = BigInt(ramBase);
  }

  isRam(physical: bigint): boolean {
    return physical >= this.ramBase && physical < this.ramBase + BigInt(this.ram.byteLength);
  }

  offset(physical: bigint): number {
    return Number(physical - this.ramBase);
  }

  /** 3.7.1: the lowest-numbered entry that matches any byte decides, and must match all. */
  isAllowed({ pmp }: Registers, physical: bigint, size: number, kind: Kind, privilege: Privilege): boolean {
    const last = physical + BigInt(size) - 1n;
    for (let i = 0; i < pmp.length; i++) {
      const range = rangeOf(pmp, i);
      if (range === undefined || range.first > last || range.last < physical) continue;
      if (range.first > physical || range.last < last) return false;
      const { config } = pmp[i]!;
      if (privilege === 3 && !(config & 0x80)) return true;
      return (config & { read: 1, write: 2, execute: 4 }[kind]) !== 0;
    }
    return privilege === 3;
  }

  effectivePrivilege({ privilege, mprv, mpp }: Registers, kind: Kind): Privilege {
    return mprv && kind !== "execute" ? mpp : privilege;
  }

  /** Physical address of a byte, by 12.3.2 step by step; throws a Fault. Sets A and D where the hart does that. PMP for the byte is the caller's. */
  translate(registers: Registers, virtual: bigint, kind: Kind): bigint {
    const privilege = this.effectivePrivilege(registers, kind);
    const mode = Number(field(registers.satp, 63, 60));
    if (privilege === 3 || mode === 0) {
      if (virtual >> 56n !== 0n) throw new Fault(accessFault[kind], virtual);
      return virtual;
    }
    const levels = { 8: 3, 9: 4, 10: 5 }[mode]!;
    const width = 12 + 9 * levels;
    if (BigInt.asUintN(64, BigInt.asIntN(width, virtual)) !== virtual) throw new Fault(pageFault[kind], virtual);

    // Steps 1 and 2.
    let table = field(registers.satp, 43, 0) * pageSize;
    let level = levels - 1;
    for (;;) {
      const index = field(virtual, 12 + 9 * level + 8, 12 + 9 * level);
      const address = table + index * 8n;
      if (!this.isRam(address)) throw new Fault(accessFault[kind], virtual);
      if (!this.isAllowed(registers, address, 8, "read", 1)) throw new Fault(accessFault[kind], virtual);
      const pte = this.ram.getBigUint64(this.offset(address), true);
      const [v, r, w, x, u, , a, d] = [0, 1, 2, 3, 4, 5, 6, 7].map((i) => bit(pte, i));
      const ppn = field(pte, 53, 10);
      const n = bit(pte, 63);
      const pbmt = field(pte, 62, 61);
      const fail = (): never => {
        throw new Fault(pageFault[kind], virtual);
      };
      // Step 3, and what is reserved.
      if (!v || (!r && w) || field(pte, 60, 54) !== 0n) fail();
      // Step 4.
      if (!r && !x) {
        if (u || a || d || n || pbmt !== 0n) fail();
        if (level === 0) fail();
        level--;
        table = ppn * pageSize;
        continue;
      }
      if (pbmt !== 0n && (!registers.pbmte || pbmt === 3n)) fail();
      if (n && (level !== 0 || field(ppn, 3, 0) !== 8n)) fail();
      // Step 6 of the manual: a superpage is aligned to its size.
      const offsetBits = n ? 16 : 12 + 9 * level;
      if (!n && field(ppn * pageSize, offsetBits - 1, 0) !== 0n) fail();
      // Step 5: permissions.
      const allowed = kind === "read" ? r || (registers.mxr && x) : kind === "write" ? w : x;
      if (!allowed) fail();
      if (privilege === 0 && !u) fail();
      if (privilege === 1 && u && (kind === "execute" || !registers.sum)) fail();
      // Step 7: A and D.
      if (!a || (kind === "write" && !d)) {
        if (!registers.adue) fail();
        if (!this.isAllowed(registers, address, 8, "write", 1)) throw new Fault(accessFault[kind], virtual);
        this.ram.setBigUint64(this.offset(address), pte | 0x40n | (kind === "write" ? 0x80n : 0n), true);
      }
      // Step 8.
      const offset = field(virtual, offsetBits - 1, 0);
      return ((ppn * pageSize) >> BigInt(offsetBits)) * (1n << BigInt(offsetBits)) + offset;
    }
  }

  /** An access within one page: where it goes, or a Fault for its first byte. */
  place(registers: Registers, virtual: bigint, size: number, kind: Kind): bigint {
    const physical = this.translate(registers, virtual, kind);
    if (!this.isAllowed(registers, physical, size, kind, this.effectivePrivilege(registers, kind))) {
      throw new Fault(accessFault[kind], virtual);
    }
    return physical;
  }
}

/** First and last byte of an entry, if it matches any. */
function rangeOf(pmp: readonly PmpEntry[], index: number): { readonly first: bigint; readonly last: bigint } | undefined {
  const { config, address } = pmp[index]!;
  switch ((config >> 3) & 3) {
    case 1: {
      const bottom = index === 0 ? 0n : pmp[index - 1]!.address;
      return bottom < address ? { first: bottom << 2n, last: (address << 2n) - 1n } : undefined;
    }
    case 2:
      return { first: address << 2n, last: (address << 2n) + 3n };
    case 3: {
      let ones = 0n;
      while (bit(address, Number(ones))) ones++;
      const size = 1n << (ones + 3n);
      const first = ((address << 2n) / size) * size;
      return { first, last: first + size - 1n };
    }
    default:
      return undefined;
  }
}
