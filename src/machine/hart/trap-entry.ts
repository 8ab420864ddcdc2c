/** What every trap does to the status and to the registers of the mode that it enters (privileged manual, 3.1.6.1, 3.1.7, 12.1.2). */
import { conditional, i32, i64, select, type Expr, type Operand } from "#wasm/expression.ts";
import type { Local } from "#wasm/function.ts";
import { alwaysDelegated, status } from "../csr-bits.ts";
import { layout } from "../layout.ts";
import { bits, type State } from "./program.ts";

export interface TrapEntry {
  readonly level: "supervisor" | "machine";
  readonly pc: Expr;
  /** With the interrupt bit. */
  readonly cause: Operand;
  readonly value: Expr;
  /** The cause without that bit, and whether it was set. */
  readonly number: Expr;
  readonly isInterrupt: Expr;
  /** The nominal privilege that was. */
  readonly previous: Expr;
  /** Further fields of mstatus that are written: which, and what. */
  readonly further?: { readonly mask: bigint; readonly value: Expr };
}

/** Enters supervisor or machine mode; where V = 1, its supervisor registers stand in the same places. */
export function enterTrap(state: State, entry: TrapEntry): void {
  const { f } = state;
  const { level, pc, value, number, isInterrupt, previous, further } = entry;
  const isSupervisor = level === "supervisor";
  state.set(isSupervisor ? "scause" : "mcause", entry.cause);
  state.set(isSupervisor ? "sepc" : "mepc", pc);
  state.set(isSupervisor ? "stval" : "mtval", value);
  const mstatus = f.let(state.get("mstatus"));
  // xPIE takes xIE, xIE is cleared, xPP takes the privilege.
  const [ie, pie, pp, ppWidth] = isSupervisor
    ? [status.sie, status.spie, status.spp, 1]
    : [status.mie, status.mpie, status.mpp, 2];
  const cleared = (1n << BigInt(ie)) | (1n << BigInt(pie)) | (BigInt(2 ** ppWidth - 1) << BigInt(pp));
  const pushed = i64.or(
    i64.and(mstatus, ~(cleared | (further?.mask ?? 0n))),
    i64.or(i64.shl(i64.extendI32U(bits(mstatus, ie, 1)), pie), i64.shl(i64.extendI32U(previous), pp)),
  );
  state.set("mstatus", further ? i64.or(pushed, further.value) : pushed);
  state.set("pc", trapVector(f.let(state.get(isSupervisor ? "stvec" : "mtvec")), number, isInterrupt));
}

/** Where a trap goes by stvec or its like: vectored interrupts have an instruction each. */
export function trapVector(vector: Local, number: Expr, isInterrupt: Expr): Expr {
  const offset = select(i32.and(isInterrupt, i32.wrap(vector)), i64.extendI32U(i32.shl(number, 2)), i64.const(0));
  return i64.add(i64.and(vector, -4), offset);
}

/** Whether machine mode leaves a trap to HS-mode (i32). */
export function isDelegated(state: State, number: Expr, isInterrupt: Expr): Expr {
  return hasBit(conditional(isInterrupt, i64.or(state.get("mideleg"), alwaysDelegated), state.get("medeleg")), number);
}

/** Whether HS-mode leaves it to VS-mode. */
export function isDelegatedFurther(state: State, number: Expr, isInterrupt: Expr): Expr {
  return hasBit(conditional(isInterrupt, state.get("hideleg"), state.get("hedeleg")), number);
}

const hasBit = (set: Expr, number: Expr): Expr => i32.wrap(i64.and(i64.shrU(set, i64.extendI32U(number)), 1));

/** Counts a trap in the statistics. */
export function countTrap(state: State, number: Local, isInterrupt: Expr): void {
  const { f } = state;
  const base = select(isInterrupt, i32.const(layout.interrupts.offset), layout.traps.offset);
  const counter = f.let(i32.add(state.base, i32.add(i32.shl(number, 3), base)));
  f.store("i64", counter, i64.add(i64.load(counter), 1));
}
