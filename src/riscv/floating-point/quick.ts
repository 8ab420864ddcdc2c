/**
 * Quick paths to be inlined: the host's own instruction, and a condition under which its result is RISC-V's.
 *
 * Each function here sets `result` to the native result and returns an i32 expression, to be evaluated while `result` holds it:
 * nonzero says that, **in RNE, with NX already accrued**, the result is right to the bit and the operation raises nothing but,
 * perhaps, NX. The caller checks the mode and the flag, once for many operations, and calls the function of the same name in
 * FloatingPoint where the condition fails. The condition may fail for a right result (an infinite operand, a zero product):
 * it is made to be cheap, not sharp.
 *
 * Why they hold. WebAssembly's arithmetic is IEEE 754's in RNE, so a native result that isn't a NaN has the right bits; NaNs never
 * pass a condition, as theirs are not canonical. What is left to exclude are NV, DZ, OF and UF:
 *
 * - NV yields a NaN. DZ and OF yield an infinity (in RNE). So a finite result excludes all three.
 * - UF needs a tiny result, that is: rounded to p bits as if exponents had no lower bound, it is below the least normal number
 *   2^emin. If the native result r has |r| > 2^emin then |r| ≥ 2^emin + u, where u is the spacing of numbers there, and the
 *   exact value is at least 2^emin + u/2: not tiny. |r| = 2^emin itself is not safe: the exact value may lie below and have been
 *   rounded up by the coarser spacing of subnormals. Field 1 is excluded as a whole, since comparing the exponent field needs
 *   small constants only; whoever computes down there is slow on many machines.
 * - A sum cannot underflow: both operands are multiples of the least subnormal, hence so is the exact sum; if it is below
 *   2^emin + u it is a number of the format, exact.
 */
import { f32, f64, fusedMultiplyAdd, i32, i64, type Expr, type Operand } from "#wasm/expression.ts";
import type { FunctionBuilder, Local } from "#wasm/function.ts";
import { exponentField, F32, F64, type Format } from "./format.ts";

/** Neither infinite nor NaN. */
export function isFinite(format: Format, value: Expr): Expr {
  return i32.ne(exponentField(format, format.toBits(value)), format.specialField);
}

/** Finite, and of at least twice the least normal number: its exponent field is neither 0, nor 1, nor the greatest. */
export function isWellInRange(format: Format, value: Expr): Expr {
  return i32.ltU(i32.sub(exponentField(format, format.toBits(value)), 2), format.specialField - 2);
}

/** Finite suffices: a sum cannot underflow. An exact zero has the right sign in RNE. */
export function quickAdd(format: Format, f: FunctionBuilder, result: Local, a: Operand, b: Operand): Expr {
  f.set(result, format.float.add(a, b));
  return isFinite(format, result);
}

/** A difference is a sum. */
export function quickSub(format: Format, f: FunctionBuilder, result: Local, a: Operand, b: Operand): Expr {
  f.set(result, format.float.sub(a, b));
  return isFinite(format, result);
}

/** Products overflow and underflow. */
export function quickMul(format: Format, f: FunctionBuilder, result: Local, a: Operand, b: Operand): Expr {
  f.set(result, format.float.mul(a, b));
  return isWellInRange(format, result);
}

/** Quotients overflow and underflow, and may divide by zero, which gives an infinity or a NaN. */
export function quickDiv(format: Format, f: FunctionBuilder, result: Local, a: Operand, b: Operand): Expr {
  f.set(result, format.float.div(a, b));
  return isWellInRange(format, result);
}

/**
 * Not a NaN suffices. A root halves the exponent, so that of a finite nonzero number neither overflows nor is tiny; the roots of
 * ±0 and +∞ are exact; all other operands give a NaN.
 */
export function quickSqrt(format: Format, f: FunctionBuilder, result: Local, a: Operand): Expr {
  f.set(result, format.float.sqrt(a));
  return format.float.eq(result, result);
}

/**
 * a·b + c in binary32, by way of binary64. The product of two significands of 24 bits is exact there, so one rounding makes the
 * sum s and a second makes the result. The numbers at which the second rounding changes its mind are those halfway between
 * two neighbours in binary32. They have 25 bits, so they are numbers of binary64, and rounding never crosses a number of its
 * format: s is on the same side of each as the exact value, or on it. So only if s is halfway itself can the result be wrong. For a
 * result with a normal exponent that is when the 29 bits that go are 100…0.
 */
export function quickFmaF32(f: FunctionBuilder, result: Local, a: Operand, b: Operand, c: Operand): Expr {
  const sum = f.temporary("f64");
  f.set(sum, f64.add(f64.mul(f64.promoteF32(a), f64.promoteF32(b)), f64.promoteF32(c)));
  f.set(result, f32.demoteF64(sum));
  return i32.and(isWellInRange(F32, result), isNotHalfway(sum));
}

/** A binary64 number that isn't halfway between two normal binary32 numbers. */
export function isNotHalfway(value: Expr): Expr {
  return i32.ne(i32.and(i32.wrap(i64.reinterpretF64(value)), 0x1fffffff), 0x10000000);
}

/** a·b + c in binary64. Only for hosts where `probeFusedMultiplyAdd()` is true: elsewhere its result is rounded twice. */
export function quickFmaF64(f: FunctionBuilder, result: Local, a: Operand, b: Operand, c: Operand): Expr {
  f.set(result, fusedMultiplyAdd("f64", a, b, c));
  return isWellInRange(F64, result);
}

type Quick2 = (f: FunctionBuilder, result: Local, a: Operand, b: Operand) => Expr;
type Quick1 = (f: FunctionBuilder, result: Local, a: Operand) => Expr;

export const quickAddF32: Quick2 = (f, result, a, b) => quickAdd(F32, f, result, a, b);
export const quickAddF64: Quick2 = (f, result, a, b) => quickAdd(F64, f, result, a, b);
export const quickSubF32: Quick2 = (f, result, a, b) => quickSub(F32, f, result, a, b);
export const quickSubF64: Quick2 = (f, result, a, b) => quickSub(F64, f, result, a, b);
export const quickMulF32: Quick2 = (f, result, a, b) => quickMul(F32, f, result, a, b);
export const quickMulF64: Quick2 = (f, result, a, b) => quickMul(F64, f, result, a, b);
export const quickDivF32: Quick2 = (f, result, a, b) => quickDiv(F32, f, result, a, b);
export const quickDivF64: Quick2 = (f, result, a, b) => quickDiv(F64, f, result, a, b);
export const quickSqrtF32: Quick1 = (f, result, a) => quickSqrt(F32, f, result, a);
export const quickSqrtF64: Quick1 = (f, result, a) => quickSqrt(F64, f, result, a);
