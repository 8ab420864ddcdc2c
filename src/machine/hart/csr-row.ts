/** What a row of the table of control and status registers says, and the kinds of rows that there are many of. */
import { i32, i64, type Expr, type FunctionReference } from "#wasm/expression.ts";
import type { FunctionBuilder, Local } from "#wasm/function.ts";
import { envcfg } from "../csr-bits.ts";
import { layout, type FieldName } from "../layout.ts";
import type { MachineModel } from "../model.ts";
import type { State } from "./program.ts";

export interface CsrBehaviour {
  readonly read: (c: Context) => Expr;
  /** Absent for a register that ignores writes (WARL with one value). Read-only numbers trap before. */
  readonly write?: (c: Context, value: Local) => void;
  /** A condition (i32) under which the access is illegal, though the privilege would do. */
  readonly illegal?: (c: Context) => Expr;
  /** A condition (i32) under which it is a virtual-instruction exception, if it is not illegal. */
  readonly virtual?: (c: Context) => Expr;
}

export interface Csr extends CsrBehaviour {
  /** Several, if all of them behave the same. */
  readonly number: number | readonly number[];
  /** What is different where V = 1; `absent` if it isn't there. */
  readonly guest?: Partial<CsrBehaviour> | "absent";
  /** What is different for the kernel of a deprivileged guest; `monitor` if it is not for the hart to do. */
  readonly deprivileged?: Partial<CsrBehaviour> | "monitor";
}

export interface Context {
  readonly f: FunctionBuilder;
  readonly state: State;
  readonly number: Local;
  /** Whether the instruction writes (i32). */
  readonly writes: Local;
  readonly model: MachineModel;
  /** See software-tlb.ts: there where software fills the TLB. */
  readonly tlbOperation: FunctionReference | undefined;
  readonly time: FunctionReference;
  readonly selectBank: FunctionReference;
  readonly updateTimer: FunctionReference;
  readonly updatePmp: FunctionReference;
  readonly flushAll: FunctionReference;
  readonly selectView: FunctionReference;
  /** What the instruction makes of an old value. */
  readonly updated: (old: Expr) => Expr;
}

export const constant =
  (value: number | bigint): Csr["read"] =>
  () =>
    i64.const(value);
export const field =
  (name: FieldName, index = 0): Csr["read"] =>
  ({ state }) =>
    state.get(name, index);

/** A register the writable bits of which are in `mask`. */
export function plain(number: number, name: FieldName, mask: bigint = -1n, after?: (c: Context) => void): Csr {
  return {
    number,
    read: field(name),
    write: (c, value) => {
      c.state.set(name, mask === -1n ? value : i64.and(value, mask));
      after?.(c);
    },
  };
}

/** Registers that are always zero. */
export function zeros(number: number | readonly number[]): Csr {
  return { number, read: constant(0), write: () => {} };
}

/** For the kernel of a deprivileged guest, the register stands elsewhere. */
export const standsIn = (csr: Csr, { read, write }: CsrBehaviour): Csr => ({ ...csr, deprivileged: { read, ...(write && { write }) } });

export const range = (first: number, length: number): number[] => Array.from({ length }, (_, i) => first + i);
/** Low bit clear, since instructions lie at even addresses. */
export const address = (number: number, name: FieldName): Csr => plain(number, name, ~1n);
/** Direct or vectored. */
export const vector = (number: number, name: FieldName): Csr => plain(number, name, ~2n);

export const environmentMask = 1n | (3n << 4n) | (1n << 6n) | (1n << 7n);
/** ADUE, PBMTE, STCE. */
export const environmentHighMask = 7n << 61n;

/** A 2-bit field's reserved value 2 reads as the old one; only the bits in `mask` exist. */
export function environment(number: number, name: FieldName, mask: bigint, after?: (c: Context) => void): Csr {
  return {
    number,
    read: field(name),
    write: (c, value) => {
      c.f.set(value, i64.and(value, mask));
      const cbie = 3n << BigInt(envcfg.cbie);
      c.f.if(i64.eq(i64.and(value, cbie), 2n << BigInt(envcfg.cbie)), () =>
        c.f.set(value, i64.or(i64.and(value, ~cbie), i64.and(c.state.get(name), cbie))),
      );
      c.state.set(name, value);
      after?.(c);
    },
  };
}

export const attention = ({ state }: Context): void => state.set("attention", 1);
export const contextChanged = (c: Context): void => {
  c.f.call(c.selectBank, [c.state.base]);
  attention(c);
};

/** SD says that FS is dirty. */
export function withSd(status64: Expr): Expr {
  return i64.or(status64, i64.shl(i64.and(i64.shrU(i64.add(i64.and(status64, 0x6000), 0x2000), 15), 1), 63));
}

/** mip as it is read: what software set, and the lines of devices. */
export function pendingInterrupts({ state }: Context): Expr {
  return i64.or(state.get("mip"), i64.extendI32U(i32.atomicLoad(i32.add(state.base, layout.lines.offset))));
}

/** Writes the bits of a field that `mask` has (i64). */
export function writeMasked({ state }: Context, name: FieldName, value: Expr, mask: Local): void {
  state.set(name, i64.or(i64.and(state.get(name), i64.xor(mask, -1)), i64.and(value, mask)));
}
