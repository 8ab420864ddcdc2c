/** The floating-point environment: rounding modes and accrued exceptions (F chapter, "Floating-Point Control and Status Register"). */
import { i32, type Expr, type Operand } from "#wasm/expression.ts";
import type { FunctionBuilder, Local } from "#wasm/function.ts";
import type { ModuleBuilder } from "#wasm/module.ts";

/** The encodings of the rm field and of frm. */
export const RNE = 0;
export const RTZ = 1;
export const RDN = 2;
export const RUP = 3;
export const RMM = 4;

/** The bits of fflags. */
export const NV = 16;
export const DZ = 8;
export const OF = 4;
export const UF = 2;
export const NX = 1;

/** What every generator is given: where to define its function, and where fflags lie in the hart's state. */
export interface Context {
  readonly module: ModuleBuilder;
  /** Bytes from the address `state` to the i32 that holds fflags. */
  readonly fflagsOffset: number;
}

/** Accrues exceptions. They only ever add up: nothing here clears one. */
export function raise({ fflagsOffset }: Context, f: FunctionBuilder, state: Local, flags: Operand): void {
  f.store("i32", state, i32.or(i32.load(state, fflagsOffset), flags), fflagsOffset);
}

export function isInexactAccrued({ fflagsOffset }: Context, state: Local): Expr {
  return i32.and(i32.load(state, fflagsOffset), NX);
}
