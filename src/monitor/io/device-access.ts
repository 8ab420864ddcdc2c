/** Which access an instruction makes: what the monitor must know to do it in the place of a hart that found no memory there. */
import { status } from "#machine/csr-bits.ts";
import type { HartState } from "#machine/hart.ts";
import { decode } from "#riscv/table.ts";

export interface DeviceAccess {
  readonly kind: "read" | "write";
  /** Bytes: 1, 2, 4 or 8. */
  readonly size: number;
  readonly signed: boolean;
  /** rd of a load, rs2 of a store, */
  readonly register: number;
  /** and whose registers these are: integers', or floating point's. */
  readonly file: "x" | "f";
  /** Where it begins: so far behind a register, rs1. */
  readonly base: number;
  readonly offset: number;
  /** Bytes of the instruction. */
  readonly length: 2 | 4;
}

/**
 * The access of the instruction that came out, if it begins at this virtual address (its lower half): what was refused may be the second page of
 * one that begins in the page before.
 */
export function accessAt(state: HartState, low: number): DeviceAccess | undefined {
  const access = deviceAccess(state.number("exitInstruction"));
  if (access === undefined) return undefined;
  const begin = state.low("x", access.base) + access.offset;
  return begin >>> 0 === low ? access : undefined;
}

const accesses: Readonly<Record<string, Pick<DeviceAccess, "kind" | "size" | "signed"> & { readonly file?: "f" }>> = {
  lb: { kind: "read", size: 1, signed: true },
  lh: { kind: "read", size: 2, signed: true },
  lw: { kind: "read", size: 4, signed: true },
  ld: { kind: "read", size: 8, signed: true },
  lbu: { kind: "read", size: 1, signed: false },
  lhu: { kind: "read", size: 2, signed: false },
  lwu: { kind: "read", size: 4, signed: false },
  sb: { kind: "write", size: 1, signed: false },
  sh: { kind: "write", size: 2, signed: false },
  sw: { kind: "write", size: 4, signed: false },
  sd: { kind: "write", size: 8, signed: false },
  flw: { kind: "read", size: 4, signed: false, file: "f" },
  fld: { kind: "read", size: 8, signed: false, file: "f" },
  fsw: { kind: "write", size: 4, signed: false, file: "f" },
  fsd: { kind: "write", size: 8, signed: false, file: "f" },
};

/** What a store writes: the lower and the upper half. */
export const stored = (state: HartState, { file, register }: DeviceAccess): readonly [number, number] => [state.low(file, register), state.high(file,
  register)];

/** A load has found this value. */
export function load(state: HartState, { file, register, size, signed }: DeviceAccess, [low, high]: readonly [number, number]): void {
  if (file === "f") {
    // A narrower value is one within a NaN (unprivileged manual, "NaN Boxing").
    state.setHalves("f", register, low, size === 8 ? high : -1);
    state.set("mstatus", state.get("mstatus") | (3n << BigInt(status.fs)));
    return;
  }
  if (register === 0) return;
  if (size === 8) return state.setHalves("x", register, low, high);
  const unused = 32 - 8 * size;
  const value = signed ? (low << unused) >> unused : (low << unused) >>> unused;
  state.setHalves("x", register, value, signed ? value >> 31 : 0);
}

/** CBO.INVAL, CBO.CLEAN and CBO.FLUSH: they fault as stores do, but only have to read; and where no memory is, there is nothing to do. */
export const managesBlock = (word: number): boolean => (word & 0x7fff) === 0x200f && word >>> 20 < 4;

const cache = new Map<number, DeviceAccess | undefined>();

/** The access of a load or store, compressed or not; undefined for anything else: atomics. */
export function deviceAccess(word: number): DeviceAccess | undefined {
  if (!cache.has(word)) {
    // Drivers have a few dozen of such instructions; a guest that makes up others must not fill the host.
    if (cache.size > 4096) cache.clear();
    cache.set(word, accessOf(word));
  }
  return cache.get(word);
}

function accessOf(word: number): DeviceAccess | undefined {
  const { instruction, rd, rs1, rs2, imm, length } = decode(word);
  const access = accesses[instruction.name];
  return access && { file: "x", ...access, register: access.kind === "read" ? rd : rs2, base: rs1, offset: imm, length };
}
