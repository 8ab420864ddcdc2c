/**
 * Rounding an exact result into a format, with the exceptions that this entails: inexact, overflow, underflow
 * (IEEE 754-2019, sections 4.3 and 7.4 to 7.6). All other arithmetic in this folder is exact up to the sticky bit.
 *
 *   significand   1 x x x x x x x x x | r r r r r r
 *                 precision p bits      s = 64 − p bits that rounding removes; bit 0 is sticky
 */
import { conditional, i32, i64, select, type Expr, type FunctionReference } from "#wasm/expression.ts";
import type { Local } from "#wasm/function.ts";
import { NX, OF, raise, RMM, RNE, RUP, UF, type Context } from "./environment.ts";
import type { Format } from "./format.ts";
import { INFINITY, NAN, unpackedParameter, unpackedTypes } from "./unpack.ts";
import { shiftRightSticky } from "./wide.ts";

/** (state, rm, sign, exponent, significand) → bits */
export function defineRound(context: Context, format: Format): FunctionReference {
  const { precision, fractionBits, bias, specialField, infinity } = format;
  const removed = 64 - precision;

  return context.module.function(
    `round${format.name}`,
    ["i32", "i32", ...unpackedTypes],
    [format.bitsType],
    (f) => {
      const [state, rm] = [f.parameter(0), f.parameter(1)];
      const { sign, exponent, significand } = unpackedParameter(f, 2);
      const field = f.local("i32");
      const tiny = f.local("i32");
      const inexact = f.local("i64");
      const magnitude = f.local("i64");

      const bits = (value: Expr) => (format.bitsType === "i64" ? value : i32.wrap(value));
      const signed = (value: Expr) => bits(i64.or(i64.shl(i64.extendI32U(sign), format.width - 1), value));
      const rounded = () =>
        i64.add(
          i64.shrU(significand, removed),
          i64.shrU(i64.add(removedBits(), increment(rm, sign, significand, removed)), removed),
        );
      const removedBits = () => i64.and(significand, (1n << BigInt(removed)) - 1n);

      f.if(i64.eqz(significand), () => f.return(signed(i64.const(0))));
      f.if(i32.geS(exponent, INFINITY), () => {
        f.if(i32.eq(exponent, NAN), () => f.return(bits(i64.const(format.canonicalNaN))));
        f.return(signed(i64.const(infinity)));
      });

      f.set(field, i32.add(exponent, bias));
      f.if(i32.leS(field, 0), () => {
        // Tininess is detected after rounding: as if the exponent had no lower bound, so before the significand is shifted.
        // Only just below the least normal number can rounding carry the result out of the tiny ones.
        f.set(tiny, conditional(i32.ltS(field, 0), i32.const(1), i64.eqz(i64.shrU(rounded(), precision))));
        f.set(significand, shiftRightSticky(significand, i64.extendI32S(i32.sub(1, field))));
        f.set(field, 1);
      });

      f.set(inexact, removedBits());
      // The leading one is added to the field and makes up for the one taken off; a carry out of the fraction steps to the
      // next exponent, from subnormal to normal too. A subnormal has no leading one: its field comes out as 0.
      f.set(magnitude, i64.add(rounded(), i64.shl(i64.extendI32U(i32.sub(field, 1)), fractionBits)));

      f.if(i32.or(i32.geS(field, specialField), i64.geU(magnitude, infinity)), () => {
        raise(context, f, state, OF | NX);
        // Infinity, or the greatest finite number, whose bits are one less, where the mode rounds towards zero.
        const away = i32.or(i32.or(i32.eq(rm, RNE), i32.eq(rm, RMM)), isAwayFromZero(rm, sign));
        f.return(signed(select(away, i64.const(infinity), infinity - 1n)));
      });
      f.if(i64.ne(inexact, 0), () => raise(context, f, state, select(tiny, i32.const(UF | NX), NX)));
      f.push(signed(magnitude));
    },
  );
}

/** What to add to the removed bits so that a carry out of them means "round up in magnitude". */
function increment(rm: Local, sign: Local, significand: Local, removed: number): Expr {
  const half = 1n << BigInt(removed - 1);
  // A tie carries exactly if the last kept bit is odd.
  const toEven = i64.add(half - 1n, i64.and(i64.shrU(significand, removed), 1));
  const directed = select(isAwayFromZero(rm, sign), i64.const(2n * half - 1n), 0);
  return conditional(i32.eq(rm, RNE), toEven, select(i32.eq(rm, RMM), i64.const(half), directed));
}

/** Up for a positive number, RUP xor 0 = 3, or down for a negative one, RDN xor 1 = 3; no other mode gives 3. */
function isAwayFromZero(rm: Local, sign: Local): Expr {
  return i32.eq(i32.xor(rm, sign), RUP);
}
