/**
 * The manual's rules on physical memory protection and address translation, said as plainly as possible: no TLB, no shortcuts. Privileged
 * manual 3.7 (PMP), 12.3 to 12.7 (Sv39, Sv48, Sv57, Svnapot, Svpbmt, Svadu); H extension (two-stage translation); CMO specification for the
 * cache-block operations.
 */
import { cause } from "#machine/csr-bits.ts";

/** HLVX reads what may be executed. */
export type Kind = "execute" | "read" | "write" | "readExecutable";
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
  readonly guest?: GuestRegisters;
}

/** What counts for accesses with V = 1. */
export interface GuestRegisters {
  /** V of the hart, mstatus.MPV, hstatus.SPVP. */
  readonly v: boolean;
  readonly mpv: boolean;
  readonly spvp: 0 | 1;
  readonly vsatp: bigint;
  readonly hgatp: bigint;
  /** vsstatus.SUM and MXR. */
  readonly sum: boolean;
  readonly mxr: boolean;
  /** henvcfg.ADUE and PBMTE. */
  readonly adue: boolean;
  readonly pbmte: boolean;
  /** The instruction is HLV, HLVX or HSV. */
  readonly isVirtualMachineAccess?: boolean;
}

/** Who accesses. */
export interface Accessor {
  readonly privilege: Privilege;
  readonly v: boolean;
}

export interface PmpEntry {
  /** A byte of pmpcfg. */
  readonly config: number;
  readonly address: bigint;
}

/** What a guest-page fault says beside: the guest physical address, and a pseudoinstruction if it is that of an entry of the guest's tables. */
export interface GuestPage {
  readonly physical: bigint;
  readonly implicit: bigint;
}

export class Fault extends Error {
  override readonly cause: number;
  readonly value: bigint;
  readonly guestPage: GuestPage | undefined;

  constructor(number: number, value: bigint, guestPage?: GuestPage) {
    super(`cause ${number}, tval 0x${value.toString(16)}`);
    this.cause = number;
    this.value = value;
    this.guestPage = guestPage;
  }
}

const accessFault = { execute: cause.instructionAccess, read: cause.loadAccess, write: cause.storeAccess, readExecutable: cause.loadAccess };
const pageFault = { execute: cause.instructionPage, read: cause.loadPage, write: cause.storePage, readExecutable: cause.loadPage };
const guestPageFault = {
  execute: cause.instructionGuestPage, read: cause.loadGuestPage, write: cause.storeGuestPage, readExecutable: cause.loadGuestPage,
};

/** One stage of translation. */
interface Stage {
  /** satp, vsatp or hgatp. */
  readonly root: bigint;
  /** Sv39x4 and its like: two more bits. */
  readonly widened: boolean;
  readonly privilege: Privilege;
  readonly sum: boolean;
  readonly mxr: boolean;
  readonly adue: boolean;
  readonly pbmte: boolean;
  /** Where an entry is, from its address in this stage's space. */
  readonly place: (entry: bigint, kind: "read" | "write") => bigint;
  readonly pageFault: () => Fault;
  readonly accessFault: () => Fault;
}

const bit = (value: bigint, position: number): boolean => ((value >> BigInt(position)) & 1n) === 1n;
const field = (value: bigint, high: number, low: number): bigint => (value >> BigInt(low)) & ((1n << BigInt(high - low + 1)) - 1n);

const modeOf = (root: bigint): number => Number(field(root, 63, 60));

/** Physical addresses have 56 bits. */
function unpaged(address: bigint, refuse: () => Fault): bigint {
  if (address >> 56n !== 0n) throw refuse();
  return address;
}

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
      const wanted = { read: 1, write: 2, execute: 4, readExecutable: 5 }[kind];
      return (config & wanted) === wanted;
    }
    return privilege === 3;
  }

  accessor({ privilege, mprv, mpp, guest }: Registers, kind: Kind): Accessor {
    if (kind === "execute") return { privilege, v: guest?.v ?? false };
    if (guest?.isVirtualMachineAccess) return { privilege: guest.spvp, v: true };
    return mprv ? { privilege: mpp, v: mpp !== 3 && (guest?.mpv ?? false) } : { privilege, v: guest?.v ?? false };
  }

  /** Physical address of a byte; throws a Fault. Sets A and D where the hart does that. PMP for the byte is the caller's. */
  translate(registers: Registers, virtual: bigint, kind: Kind): bigint {
    const { privilege, v } = this.accessor(registers, kind);
    const stage = {
      widened: false,
      privilege,
      pageFault: () => new Fault(pageFault[kind], virtual),
      accessFault: () => new Fault(accessFault[kind], virtual),
    };
    if (!v) {
      if (privilege === 3 || modeOf(registers.satp) === 0) return unpaged(virtual, stage.accessFault);
      const { satp: root, sum, mxr, adue, pbmte } = registers;
      return this.#walk(registers, { ...stage, root, sum, mxr, adue, pbmte, place: (entry) => entry }, virtual, kind);
    }
    const guest = registers.guest!;
    const guestPhysical = (address: bigint, wanted: Kind, implicit: bigint): bigint => {
      if (modeOf(guest.hgatp) === 0) return unpaged(address, stage.accessFault);
      const { adue, pbmte } = registers;
      const second = {
        ...stage,
        root: guest.hgatp,
        widened: true,
        privilege: 0 as const,
        sum: false,
        mxr: registers.mxr && implicit === 0n,
        adue,
        pbmte,
        place: (entry: bigint) => entry,
        pageFault: () => new Fault(guestPageFault[kind], virtual, { physical: address, implicit }),
      };
      return this.#walk(registers, second, address, wanted);
    };
    if (modeOf(guest.vsatp) === 0) return guestPhysical(virtual, kind, 0n);
    const first = {
      ...stage,
      root: guest.vsatp,
      sum: guest.sum,
      mxr: guest.mxr || registers.mxr,
      adue: guest.adue && registers.adue,
      pbmte: guest.pbmte && registers.pbmte,
      place: (entry: bigint, what: "read" | "write") => guestPhysical(entry, what, what === "read" ? 0x3000n : 0x3020n),
    };
    return guestPhysical(this.#walk(registers, first, virtual, kind), kind, 0n);
  }

  /** 12.3.2 step by step. */
  #walk(registers: Registers, stage: Stage, virtual: bigint, kind: Kind): bigint {
    const levels = modeOf(stage.root) - 5;
    const width = 12 + 9 * levels + (stage.widened ? 2 : 0);
    const extended = stage.widened ? BigInt.asUintN(width, virtual) : BigInt.asUintN(64, BigInt.asIntN(width, virtual));
    if (extended !== virtual) throw stage.pageFault();

    // Steps 1 and 2.
    let table = field(stage.root, 43, 0) * pageSize;
    let level = levels - 1;
    for (;;) {
      const isRoot = level === levels - 1;
      const index = field(virtual, 12 + 9 * level + (stage.widened && isRoot ? 10 : 8), 12 + 9 * level);
      const entry = table + index * 8n;
      const address = stage.place(entry, "read");
      if (!this.isRam(address)) throw stage.accessFault();
      if (!this.isAllowed(registers, address, 8, "read", 1)) throw stage.accessFault();
      const pte = this.ram.getBigUint64(this.offset(address), true);
      const [v, r, w, x, u, , a, d] = [0, 1, 2, 3, 4, 5, 6, 7].map((i) => bit(pte, i));
      const ppn = field(pte, 53, 10);
      const n = bit(pte, 63);
      const pbmt = field(pte, 62, 61);
      const fail = (): never => {
        throw stage.pageFault();
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
      if (pbmt !== 0n && (!stage.pbmte || pbmt === 3n)) fail();
      if (n && (level !== 0 || field(ppn, 3, 0) !== 8n)) fail();
      // Step 6 of the manual: a superpage is aligned to its size.
      const offsetBits = n ? 16 : 12 + 9 * level;
      if (!n && field(ppn * pageSize, offsetBits - 1, 0) !== 0n) fail();
      // Step 5: permissions.
      const allowed = kind === "read" ? r || (stage.mxr && x) : kind === "write" ? w : x;
      if (!allowed) fail();
      if (stage.privilege === 0 && !u) fail();
      if (stage.privilege === 1 && u && (kind === "execute" || !stage.sum)) fail();
      // Step 7: A and D.
      if (!a || (kind === "write" && !d)) {
        if (!stage.adue) fail();
        stage.place(entry, "write");
        if (!this.isAllowed(registers, address, 8, "write", 1)) throw stage.accessFault();
        // What stands there may have changed: the second stage may have set bits of its own entry at this place.
        const now = this.ram.getBigUint64(this.offset(address), true);
        this.ram.setBigUint64(this.offset(address), now | 0x40n | (kind === "write" ? 0x80n : 0n), true);
      }
      // Step 8.
      const offset = field(virtual, offsetBits - 1, 0);
      return ((ppn * pageSize) >> BigInt(offsetBits)) * (1n << BigInt(offsetBits)) + offset;
    }
  }

  /** An access within one page: where it goes, or a Fault for its first byte. */
  place(registers: Registers, virtual: bigint, size: number, kind: Kind): bigint {
    const physical = this.translate(registers, virtual, kind);
    if (!this.isAllowed(registers, physical, size, kind, this.accessor(registers, kind).privilege)) {
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
