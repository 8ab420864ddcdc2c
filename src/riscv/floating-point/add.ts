/**
 * The sum of two unpacked numbers, the first of them with a significand of 128 bits: so that one function serves addition,
 * where its lower half is 0, and fused multiply-add, where it is an exact product.
 */
import { i32, i64, type FunctionReference } from "#wasm/expression.ts";
import type { Local } from "#wasm/function.ts";
import { NV, raise, RDN, type Context } from "./environment.ts";
import { INFINITY, NAN, ONE, unpackedParameter, unpackedTypes, ZERO } from "./unpack.ts";

/** (state, rm, a with two halves of significand, b) → sign, exponent, significand with a sticky bit. */
export function defineAdd(context: Context, shiftRightSticky128: FunctionReference): FunctionReference {
  return context.module.function(
    "add",
    ["i32", "i32", "i32", "i32", "i64", "i64", ...unpackedTypes],
    unpackedTypes,
    (f) => {
      const [state, rm] = [f.parameter(0), f.parameter(1)];
      const a = { sign: f.parameter(2), exponent: f.parameter(3), high: f.parameter(4), low: f.parameter(5) };
      const unpacked = unpackedParameter(f, 6);
      const b = { sign: unpacked.sign, exponent: unpacked.exponent, high: unpacked.significand, low: f.local("i64") };
      const carry = f.local("i64");
      const leadingZeros = f.local("i64");

      f.if(i32.or(i32.geS(a.exponent, INFINITY), i32.geS(b.exponent, INFINITY)), () => {
        f.if(i32.or(i32.eq(a.exponent, NAN), i32.eq(b.exponent, NAN)), () => f.return(0, NAN, ONE));
        f.if(i32.eq(a.exponent, b.exponent), () => {
          f.if(i32.ne(a.sign, b.sign), () => {
            raise(context, f, state, NV);
            f.return(0, NAN, ONE);
          });
        });
        f.if(i32.eq(a.exponent, INFINITY), () => f.return(a.sign, INFINITY, ONE));
        f.return(b.sign, INFINITY, ONE);
      });

      // Room for a carry: leading ones go to bit 126. Nothing is lost, since the lowest bits of both are zero.
      f.set(a.low, i64.or(i64.shrU(a.low, 1), i64.shl(a.high, 63)));
      f.set(a.high, i64.shrU(a.high, 1));
      f.set(b.high, i64.shrU(b.high, 1));

      // Let a be the greater in magnitude. Zeros have the least exponent, so they need no case of their own below.
      const isGreater = i32.or(
        i64.gtU(b.high, a.high),
        i32.and(i64.eq(b.high, a.high), i64.gtU(b.low, a.low)),
      );
      f.if(
        i32.or(i32.gtS(b.exponent, a.exponent), i32.and(i32.eq(b.exponent, a.exponent), isGreater)),
        () => {
          const swap = (x: Local, y: Local) =>
            f.scope(() => {
              const old = f.let(x);
              f.set(x, y);
              f.set(y, old);
            });
          swap(a.sign, b.sign);
          swap(a.exponent, b.exponent);
          swap(a.high, b.high);
          swap(a.low, b.low);
        },
      );

      // Where bits are cut off here, the exponents differ by more than 20, so a subtraction loses at most one leading bit: the
      // sticky bit stays far below the bits that are kept.
      f.call(shiftRightSticky128, [b.high, b.low, i32.sub(a.exponent, b.exponent)], [b.high, b.low]);
      f.if(
        i32.eq(a.sign, b.sign),
        () => {
          f.set(a.low, i64.add(a.low, b.low));
          f.set(carry, i64.extendI32U(i64.ltU(a.low, b.low)));
          f.set(a.high, i64.add(i64.add(a.high, b.high), carry));
        },
        () => {
          f.set(carry, i64.extendI32U(i64.ltU(a.low, b.low)));
          f.set(a.low, i64.sub(a.low, b.low));
          f.set(a.high, i64.sub(i64.sub(a.high, b.high), carry));
          // An exact zero from opposite signs is +0, but −0 when rounding down (IEEE 754-2019, section 6.3).
          f.if(i64.eqz(i64.or(a.high, a.low)), () => f.return(i32.eq(rm, RDN), ZERO, 0));
        },
      );
      f.if(i64.eqz(i64.or(a.high, a.low)), () => f.return(a.sign, ZERO, 0));

      // Back to a leading one at bit 127, which counts one power of two more than bit 126 did.
      f.set(a.exponent, i32.add(a.exponent, 1));
      f.if(i64.eqz(a.high), () => {
        f.set(a.high, a.low);
        f.set(a.low, 0);
        f.set(a.exponent, i32.sub(a.exponent, 64));
      });
      f.set(leadingZeros, i64.clz(a.high));
      f.if(i64.ne(leadingZeros, 0), () => {
        f.set(a.high, i64.or(i64.shl(a.high, leadingZeros), i64.shrU(a.low, i64.sub(64, leadingZeros))));
        f.set(a.low, i64.shl(a.low, leadingZeros));
        f.set(a.exponent, i32.sub(a.exponent, i32.wrap(leadingZeros)));
      });
      f.push(a.sign, a.exponent, i64.or(a.high, i64.extendI32U(i64.ne(a.low, 0))));
    },
  );
}
