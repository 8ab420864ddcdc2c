/**
 * Where everything stands in the machine's linear memory. One table of named fields gives the offsets of a hart's state to
 * TypeScript and to emitted code alike; so state is saved, restored, moved and shown by name.
 */
import { assert } from "#base/assert.ts";
import { i32, i64, type Expr, type Operand } from "#wasm/expression.ts";
import type { FunctionBuilder } from "#wasm/function.ts";

type FieldType = "i32" | "i64";
type FieldSpec = FieldType | readonly [FieldType, count: number];

/** A hart's state. What is architectural comes first; the rest can be made anew from it. */
const fieldSpecs = {
  /** x[32] takes what is written to x0. */
  x: ["i64", 33],
  f: ["i64", 32],
  pc: "i64",
  /** 0 user, 1 supervisor (HS), 3 machine, 4 virtual user, 5 virtual supervisor, 8 as 0: see `privilege` in csr-bits.ts. */
  privilege: "i32",
  fflags: "i32",
  frm: "i32",
  mstatus: "i64",
  medeleg: "i64",
  mideleg: "i64",
  mie: "i64",
  /** The bits of mip that software sets. The lines of devices are in `lines`. */
  mip: "i64",
  mtvec: "i64",
  mscratch: "i64",
  mepc: "i64",
  mcause: "i64",
  mtval: "i64",
  mcounteren: "i64",
  mcountinhibit: "i64",
  menvcfg: "i64",
  stvec: "i64",
  sscratch: "i64",
  sepc: "i64",
  scause: "i64",
  stval: "i64",
  scounteren: "i64",
  senvcfg: "i64",
  satp: "i64",
  stimecmp: "i64",
  hstatus: "i64",
  hedeleg: "i64",
  hideleg: "i64",
  hcounteren: "i64",
  henvcfg: "i64",
  htimedelta: "i64",
  htval: "i64",
  htinst: "i64",
  hgatp: "i64",
  mtval2: "i64",
  mtinst: "i64",
  vstimecmp: "i64",
  /**
   * The supervisor registers of the world that isn't executing: VS-mode's while V = 0, HS-mode's while V = 1. The others of each pair, which
   * stand in `stvec` to `satp` and in what sstatus shows of `mstatus`, are those of the world that is. hvip is in `mip`, vsie in `mie`.
   */
  parkedStatus: "i64",
  parkedStvec: "i64",
  parkedSscratch: "i64",
  parkedSepc: "i64",
  parkedScause: "i64",
  parkedStval: "i64",
  parkedSatp: "i64",
  /**
   * While V = 1: vsstatus.FS, unless it has become dirty since. mstatus.FS then is 0 if floating point is off for either world, 3 (dirty) if it
   * was used, and else 1: so it is tested and set as ever.
   */
  guestFloat: "i32",
  /**
   * Whether a monitor stands where HS-mode and M-mode would: a trap that would go there ends `run` instead, the hart left as it was
   * at that instruction, with the reason in the fields from `exitCause` on.
   */
  monitored: "i32",
  /** With `monitored`: the guest is emulated, as the plainest of monitors would. Nothing is kept of a translation or of an instruction from one to the next. */
  emulated: "i32",
  /**
   * With `monitored` and V = 0, a deprivileged guest: its kernel and its programs are both in U-mode (see hart/deprivileged.ts). Its supervisor
   * registers are the parked ones, but for FS and MXR, which stand in mstatus, and these: its privilege (0 user, 1 supervisor), scounteren, senvcfg;
   */
  virtualPrivilege: "i32",
  virtualScounteren: "i64",
  virtualSenvcfg: "i64",
  /** what satp holds for its programs, for its kernel, and for its kernel with SUM; which of its kernel's instructions are rewritten: see `rewriting`. */
  views: ["i64", 3],
  rewrites: "i32",
  pmpcfg: ["i64", 2],
  pmpaddr: ["i64", 16],
  tselect: "i64",
  tdata1: "i64",
  tdata2: "i64",
  /** mcycle and minstret minus the count of retired instructions, modulo 2^64. */
  cycleOffset: "i64",
  instretOffset: "i64",
  hartId: "i64",
  /** The count of retired instructions when the budget reaches zero: now, it is this less the budget. */
  instretTarget: "i64",
  /** Instructions left until the hart stands still. Kept in a local while code runs. */
  budget: "i32",
  /** Instructions of the slice behind the budget: before them the hart stands still for a moment. */
  reserve: "i32",
  /** Interrupt lines from devices, as bits of mip: changed atomically, by any thread. */
  lines: "i32",
  /** 0: time is the host's (import `time`); otherwise instructions per tick. */
  instructionsPerTick: "i32",
  /** Ticks that time is ahead of its clock: what was skipped while waiting, and what a guest added by writing mtime. */
  timeOffset: "i64",
  /** Whether an ecall from S-mode ends `run` for the built-in firmware, instead of trapping to M-mode. */
  firmware: "i32",
  /**
   * The TLB that software fills, by entry, and its registers: see docs/software-tlb.md. Where tables are walked, all of it is zero and unused.
   */
  tlbEntryHi: ["i64", 64],
  tlbEntryLo: ["i64", 64],
  /** Of a deprivileged guest, its own entries; those above then lead to frames, and the registers below are the guest's. */
  virtualTlbHi: ["i64", 64],
  virtualTlbLo: ["i64", 64],
  tlbHi: "i64",
  tlbLo: "i64",
  tlbContext: "i64",
  tlbVector: "i64",
  tlbScratch: ["i64", 2],
  /** stlbindex, bit 31 for P; stlbwired; stlbnext. */
  tlbIndex: "i32",
  tlbWired: "i32",
  tlbNext: "i32",
  /** Whether two entries ever were for the same address: what is global then holds in one address space only, since another's entry may come first. */
  tlbOverlaps: "i32",
  /**
   * On the silent machine, of each kind of silent instruction (see silences.ts): how often the kernel of a deprivileged guest executed it; and of
   * the first, after how many instructions, its pc and its bits: 0 if they aren't known.
   */
  silences: ["i64", 8],
  silencedSince: ["i64", 8],
  silencedFirst: ["i64", 8],
  silencedWord: ["i64", 8],

  /** Host address that a load-reserved reserved, or 0, and the value that it saw. */
  reservation: "i32",
  reservationValue: "i64",
  /** Host address of the translation bank in use. */
  bank: "i32",
  bankKey: "i64",
  /** Goes up when code may have changed under translated callers: they must not be returned to. */
  codeEpoch: "i32",
  /** Each bank's key; 0 for an empty bank. A bit for each that may have another. */
  bankKeys: ["i64", 128],
  banksUsed: ["i64", 2],
  /** PMP regions as first and last byte, made from pmpcfg and pmpaddr; entries from `pmpCount` on are off. */
  pmpFirst: ["i64", 16],
  pmpLast: ["i64", 16],
  pmpCount: "i32",
  /** Whether the last PMP check holds for the whole page; never while the guest is `emulated`, so that nothing gets into a TLB. */
  pmpUniform: "i32",
  /** Whether the cache of guest physical pages has pieces of larger ones. */
  guestLarge: "i32",
  /** The last translation's leaf: 0 for 4 KiB, 1 for up to 2 MiB, 2 for 1 GiB, 3 and 4 for larger. */
  walkLarge: "i32",
  /** Whether it holds in all address spaces. */
  walkGlobal: "i32",
  /** Set by a routine whose instruction must trap: cause and tval beside. */
  fault: "i32",
  faultCause: "i64",
  faultValue: "i64",
  /** The fault is of an access that was made as if V = 1 while V is 0. */
  faultAsGuest: "i32",
  /** Of a guest-page fault: the guest physical address; and if that was a page table entry's, a pseudoinstruction that says how it was accessed. */
  faultGuestPhysical: "i64",
  faultImplicit: "i32",
  /** How far behind the first byte of the access the fault is. */
  faultOffset: "i32",
  /** Bits of the instruction that faulted, or 0: only where htinst, mtinst or a monitor may want them. */
  faultInstruction: "i32",
  /** Set while the hart looks ahead: translating then leaves no trace in page tables. */
  looking: "i32",
  /** On the silent machine: pc and bits of the instruction, where they are known while it accesses a CSR; else 0. */
  silentPc: "i64",
  silentWord: "i64",
  /** Set when an interrupt may have become pending or the context changed. */
  attention: "i32",
  /** Why `run` returned: see ExitReason. */
  exitReason: "i32",
  /** What a monitor is told at an exit: the trap's cause, an interrupt's with bit 31; */
  exitCause: "i32",
  /** the bits of the instruction, or 0 if they aren't known or it wasn't one that trapped; */
  exitInstruction: "i32",
  /** of a guest-page fault at an entry of a page table, a pseudoinstruction as in htinst (0x3000 read, 0x3020 write), else 0; */
  exitImplicit: "i32",
  /** where, what stval would have been, and of a guest-page fault the guest physical address, to the byte. */
  exitPc: "i64",
  exitTval: "i64",
  exitGuestPhysical: "i64",
  /** The value of an access to a device, in either direction. */
  mmioValue: "i64",
  /** How often shared TLB checks failed since they straddle two pages; of the last, the number of its region and the offset of its access. */
  straddles: "i32",
  straddlingRegion: "i32",
  straddlingOffset: "i32",
  /** The last loop in which a slice ended that could be unrolled: number of its region, or 0, and offset from the head. */
  hotRegion: "i32",
  hotLoop: "i32",
  /** Set by translated code that stops before an instruction that the interpreter must execute. */
  interpretOne: "i32",
  /** A predecoded instruction that stands in no page, two sentinels, and its bits as they are. */
  scratchEntries: ["i64", 4],
  /** Predecoded pages that were never used begin here; those given back are a list, by their first word. */
  predecodeNext: "i32",
  predecodeFree: "i32",
  /** Whether all were thrown away once: what was never used since may be other than zero. */
  predecodeReused: "i32",
  /** Heads that became hot: count of entries written to the request ring. */
  requests: "i32",

  /** Statistics. */
  tlbMisses: "i64",
  /** SFENCE.VMA: of all, by address; and banks emptied. */
  fences: "i64",
  addressFences: "i64",
  bankClears: "i64",
  walks: "i64",
  /** Instructions that regions executed. */
  translated: "i64",
  pagesPredecoded: "i64",
  pageFlushes: "i64",
  crossings: "i64",
  regionEntries: "i64",
  traps: ["i64", 64],
  interrupts: ["i64", 64],
} as const satisfies Record<string, FieldSpec>;

export type FieldName = keyof typeof fieldSpecs;

const fieldNames = Object.keys(fieldSpecs) as FieldName[];
/** What decides how a run goes on. */
export const architecturalFields: readonly FieldName[] = fieldNames.slice(0, fieldNames.indexOf("bank"));

export interface Field {
  readonly offset: number;
  readonly type: FieldType;
  readonly count: number;
}

const sizeOf: Record<FieldType, number> = { i32: 4, i64: 8 };

function place(): Record<FieldName, Field> {
  let offset = 0;
  const placed: Partial<Record<FieldName, Field>> = {};
  for (const [name, spec] of Object.entries(fieldSpecs) as [FieldName, FieldSpec][]) {
    const [type, count] = typeof spec === "string" ? ([spec, 1] as const) : spec;
    offset = Math.ceil(offset / sizeOf[type]) * sizeOf[type];
    placed[name] = { offset, type, count };
    offset += sizeOf[type] * count;
  }
  assert(offset <= hartStateSize, "a hart's state outgrew its space", { offset });
  return placed as Record<FieldName, Field>;
}

export const hartStateSize = 8192;
export const layout: Readonly<Record<FieldName, Field>> = place();

/** A field's value in emitted code. `state` is the hart's base. */
export function get(state: Expr, name: FieldName, index = 0): Expr {
  const { offset, type } = layout[name];
  return (type === "i32" ? i32 : i64).load(state, offset + index * sizeOf[type]);
}

export function set(f: FunctionBuilder, state: Expr, name: FieldName, value: Operand, index = 0): void {
  const { offset, type } = layout[name];
  f.store(type, state, value, offset + index * sizeOf[type]);
}

/** Adds to a counter. */
export function count(f: FunctionBuilder, state: Expr, name: FieldName, amount: Operand = 1): void {
  set(f, state, name, i64.add(get(state, name), amount));
}

/**
 * A translation bank: the translations of one context (see tlb.ts). Entries are 16 bytes.
 *
 *   read TLB    tag: va of the page (i64) │ host address - va (i32) │ -
 *   write TLB   the same
 *   exec TLB    tag                       │ predecoded page (i32)   │ -
 *   jump cache  pc (i64)                  │ slot of the function table (i32) │ -; empty: the interpreter's slot for pc 0
 *   filters     one bit a hashed range: has a page of up to 2 MiB been cached there; is there code of a region; has a page of 1 GiB or more
 */
export const bank = {
  readEntries: 2048,
  writeEntries: 2048,
  execEntries: 1024,
  jumpEntries: 8192,
  read: 0,
  write: 2048 * 16,
  exec: 4096 * 16,
  jump: 5120 * 16,
  largeFilter: 13312 * 16,
  codeFilter: 13312 * 16 + 1024,
  hugeFilter: 13312 * 16 + 2048,
  filterBytes: 512,
  /** A bit for each 2 KiB of the tables that holds entries: two i64. */
  used: 13312 * 16 + 3072,
  usedShift: 11,
  /** In a bank that all address spaces share: whether it holds entries that aren't global, and whose (i32 each). */
  nonGlobal: 13312 * 16 + 3088,
  nonGlobalAsid: 13312 * 16 + 3092,
  /** Whether it was ever cleared. */
  ready: 13312 * 16 + 3096,
  size: 256 * 1024,
  /** Sets of one bank for each kind of context. An address space has one of a few sets, which begin elsewhere for each virtual machine. */
  kinds: 4,
  spaces: 8,
  count: 128,
} as const;

/** Entries of the TLB that software fills. */
export const softwareTlbEntries = 64;

/** Guest physical pages, as the second stage translates them: see hart/guest-page-cache.ts. Behind the entries, a filter of one bit a page. */
export const guestPages = { entries: 4096, filter: 4096 * 16, filterBytes: 1 << 15, size: 4096 * 16 + (1 << 15) } as const;

/** Predecoded pages: a header, then one entry of 8 bytes for each halfword, then two sentinels. */
export const predecoded = {
  header: 16,
  entries: 2048,
  size: 16 + 2050 * 8 + 48,
} as const;

/** Per frame of machine memory. */
export const frame = {
  size: 16,
  /** Host address of the predecoded page, or 0. */
  predecoded: 0,
  flags: 4,
  /** One bit for each 64 bytes that hold decoded instructions. */
  lines: 8,
} as const;

export const frameFlags = {
  /** Stores to this frame take the slow path: it holds decoded instructions. */
  code: 1,
  /** A write TLB may hold it. */
  writable: 2,
  /** It holds heads of regions. */
  heads: 4,
  /** Regions cover instructions of it. */
  translated: 8,
  /** Bits from here up count the stores to it since it was decoded. */
  store: 256,
} as const;

/** Bytes from the start of a hart's state that hold what is architectural: these make a virtual hart. */
export const architecturalSize = (): number => layout.bank.offset;

export interface MemoryMap {
  /** Physical address of the first byte of memory. */
  readonly ramBase: number;
  readonly ramSize: number;
  /** Host addresses: offsets in the linear memory. */
  readonly csrIndex: number;
  readonly hart: number;
  readonly banks: number;
  readonly guestPages: number;
  readonly counters: number;
  readonly requests: number;
  readonly edges: number;
  readonly heads: number;
  readonly knownCode: number;
  readonly regions: number;
  readonly predecode: number;
  readonly predecodeEnd: number;
  readonly frames: number;
  readonly ram: number;
  /** Of the whole linear memory, in pages of 64 KiB. */
  readonly pages: number;
}

/** Tables of CSRs, by `privilege`. */
export const csrModes = 9;
/** Profile counters, u32 each. */
export const counterCount = 1 << 16;
/**
 * Requests for translations: host address of the head, privilege, then the frames that the pages around it are mapped to (host
 * addresses, 0 for none), the head's own in the middle, and how often it was executed lately. All i32.
 */
export const request = { head: 0, privilege: 4, frames: 8, reach: 8, executions: 76, size: 80, count: 1024 } as const;
/**
 * Whether there may be a translation of the code at some place: one bit for each hash of 8 bytes of code and their place in the page
 * (`codeHash` in translate/code-hash.ts). Whoever has no such bit need not ask.
 */
export const knownCode = { bytes: 1 << 15, shift: 32 - 18, multiplier: 0x85ebca6b | 0 } as const;
/** Where indirect jumps went: host address of the jump (i32), distance of the target from it (i32). Open-addressed, with bounded probing. */
export const edge = { size: 8, count: 1 << 13, probes: 8 } as const;
/** Open-addressed table of region heads: host address of the code (i32), region record (i32). The search starts at address · multiplier >>> shift. */
export const heads = { count: 1 << 18, multiplier: 0x9e3779b1 | 0, shift: 32 - 18 } as const;
/** Space for region records (see hart/region-entry.ts). */
const regionBytes = 8 << 20;

const ramBase = 0x80000000;

export interface MapOptions {
  /** Harts that share the memory, and which of them this map is for; one, and it, if absent. */
  readonly harts?: number;
  readonly hart?: number;
  /** Room for decoded pages, of each hart. */
  readonly predecodedPages?: number;
}

/**
 * Where a hart finds things: what is its own comes first, hart after hart, and then memory, which is common to all.
 */
export function memoryMap(ramSize: number, { harts = 1, hart = 0, predecodedPages = 4096 }: MapOptions = {}): MemoryMap {
  let next = 0x10000;
  const take = (bytes: number, alignment = 4096): number => {
    const at = Math.ceil(next / alignment) * alignment;
    next = at + bytes;
    return at;
  };
  const ownParts = () => ({
    csrIndex: take(csrModes * 4096),
    hart: take(hartStateSize),
    banks: take(bank.size * bank.count, 65536),
    guestPages: take(guestPages.size),
    counters: take(counterCount * 4),
    requests: take(request.count * request.size),
    edges: take(edge.count * edge.size),
    heads: take(heads.count * 8),
    knownCode: take(knownCode.bytes),
    regions: take(regionBytes),
    predecode: take(predecoded.size * predecodedPages),
    predecodeEnd: next,
    frames: take((ramSize / 4096) * frame.size),
  });
  const own = Array.from({ length: harts }, ownParts)[hart]!;
  const map = { ramBase, ramSize, ...own, ram: take(ramSize, 65536) };
  return { ...map, pages: Math.ceil(next / 65536) };
}
