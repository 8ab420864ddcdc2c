/**
 * Was a native result exact? Asked where NX isn't accrued yet, so that programs that compute with integers in floating point,
 * and never raise NX, stay on the quick path.
 */
import { f64, i32, i64, type Expr } from "#wasm/expression.ts";
import type { Local } from "#wasm/function.ts";
import { F64, type Format } from "./format.ts";

/**
 * sum = a + b exactly, for a native sum of whatever operands. If it was exact then both differences below are, and match.
 * Otherwise consider the operand of the greater magnitude, say a: sum − a is a number of the format (Dekker's Fast2Sum), so it is
 * computed exactly, and it isn't b. Where a NaN or an overflow is involved, one of the comparisons fails; an infinity from
 * infinite operands is not recognized.
 */
export function isExactSum({ float }: Format, sum: Local, a: Expr, b: Expr): Expr {
  return i32.and(float.eq(float.sub(sum, a), b), float.eq(float.sub(sum, b), a));
}

/**
 * The bits of binary64 significands a and b, trailing zeros not counted, are 53 or fewer together: then the product of the two
 * needs no more than 53 either. Counted too high for subnormals, hence on the safe side.
 */
export function haveShortSignificands(a: Expr, b: Expr): Expr {
  return i64.geU(i64.add(trailingZeros(a), trailingZeros(b)), 53);
}

/** The trailing zeros of the fraction: 53 − the bits of the significand. */
function trailingZeros(value: Expr): Expr {
  return i64.ctz(i64.or(F64.toBits(value), 1n << 52n));
}

/** Is the binary64 value a number of binary32 too? For a NaN: no. */
export function isExactInF32(value: Local, demoted: Expr): Expr {
  return f64.eq(f64.promoteF32(demoted), value);
}
