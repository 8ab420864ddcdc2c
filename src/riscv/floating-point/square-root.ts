/** The square root of an unpacked number, one binary digit at a time, as by hand. */
import { i32, i64, type FunctionReference } from "#wasm/expression.ts";
import { NV, raise, type Context } from "./environment.ts";
import { INFINITY, NAN, ONE, unpackedParameter, unpackedTypes, ZERO } from "./unpack.ts";

/** Two more than the greatest precision, so that the sticky bit lies below the bit that decides on a half. */
const DIGITS = 56;

/** (state, a) → sign, exponent, significand with a sticky bit. */
export function defineSquareRoot(context: Context): FunctionReference {
  return context.module.function("squareRoot", ["i32", ...unpackedTypes], unpackedTypes, (f) => {
    const state = f.parameter(0);
    const a = unpackedParameter(f, 1);
    const [radicand, remainder, root, trial] = [a.significand, f.local("i64"), f.local("i64"), f.local("i64")];
    const digits = f.local("i32");

    // NaN, ±0 and +∞ are their own roots: the root of −0 is −0 (IEEE 754-2019, section 5.4.1).
    f.if(i32.or(i32.eq(a.exponent, NAN), i32.eq(a.exponent, ZERO)), () =>
      f.return(a.sign, a.exponent, a.significand),
    );
    f.if(a.sign, () => {
      raise(context, f, state, NV);
      f.return(0, NAN, ONE);
    });
    f.if(i32.eq(a.exponent, INFINITY), () => f.return(0, INFINITY, ONE));

    // With an even exponent the radicand is 1 ≤ x < 4: its integer part is the pair of bits 63 and 62. An even exponent leaves
    // the leading one in bit 62, an odd one in bit 63. The root then is 1 ≤ √x < 2.
    f.set(radicand, i64.shrU(radicand, i64.extendI32U(i32.xor(i32.and(a.exponent, 1), 1))));
    f.set(digits, DIGITS);
    // Each pair of bits yields a digit d of the root r: (2r + d)² = 4r² + d·(4r + d), of which 4r² is already taken away.
    f.loop((next) => {
      f.set(remainder, i64.or(i64.shl(remainder, 2), i64.shrU(radicand, 62)));
      f.set(radicand, i64.shl(radicand, 2));
      f.set(trial, i64.or(i64.shl(root, 2), 1));
      f.set(root, i64.shl(root, 1));
      f.if(i64.geU(remainder, trial), () => {
        f.set(remainder, i64.sub(remainder, trial));
        f.set(root, i64.or(root, 1));
      });
      f.branchIf(next, f.tee(digits, i32.sub(digits, 1)));
    });
    f.push(
      i32.const(0),
      i32.shrS(a.exponent, 1),
      i64.or(i64.shl(root, 64 - DIGITS), i64.extendI32U(i64.ne(remainder, 0))),
    );
  });
}
