/** The quotient of two unpacked numbers, by long division with digits of 11 bits. */
import { i32, i64, type FunctionReference } from "#wasm/expression.ts";
import { DZ, NV, raise, type Context } from "./environment.ts";
import { INFINITY, NAN, ONE, unpackedParameter, unpackedTypes, ZERO } from "./unpack.ts";

/** (state, a, b) → sign, exponent, significand with a sticky bit. */
export function defineDivide(context: Context): FunctionReference {
  return context.module.function("divide", ["i32", ...unpackedTypes, ...unpackedTypes], unpackedTypes, (f) => {
    const state = f.parameter(0);
    const a = unpackedParameter(f, 1);
    const b = unpackedParameter(f, 4);
    const sign = f.local("i32");
    const exponent = f.local("i32");
    const [remainder, divisor] = [a.significand, b.significand];
    const quotient = f.local("i64");

    f.if(i32.or(i32.eq(a.exponent, NAN), i32.eq(b.exponent, NAN)), () => f.return(0, NAN, ONE));
    f.set(sign, i32.xor(a.sign, b.sign));
    // Both zero, or both infinite: the only two numbers of one class that share an exponent without being finite and nonzero.
    f.if(i32.and(i32.eq(a.exponent, b.exponent), isZeroOrInfinite(a)), () => {
      raise(context, f, state, NV);
      f.return(0, NAN, ONE);
    });
    f.if(i32.or(i32.eq(a.exponent, INFINITY), i32.eq(b.exponent, ZERO)), () => {
      // Infinity divided by zero is exact; a finite number divided by zero is the exception (IEEE 754-2019, section 7.3).
      f.if(i32.ne(a.exponent, INFINITY), () => raise(context, f, state, DZ));
      f.return(sign, INFINITY, ONE);
    });
    f.if(i32.or(i32.eq(a.exponent, ZERO), i32.eq(b.exponent, INFINITY)), () => f.return(sign, ZERO, 0));

    // As integers of 53 bits. Doubling the dividend if it is the smaller makes the first digit of the quotient 1.
    f.set(remainder, i64.shrU(remainder, 11));
    f.set(divisor, i64.shrU(divisor, 11));
    f.set(exponent, i32.sub(a.exponent, b.exponent));
    f.if(i64.ltU(remainder, divisor), () => {
      f.set(remainder, i64.shl(remainder, 1));
      f.set(exponent, i32.sub(exponent, 1));
    });
    f.set(quotient, 1);
    f.set(remainder, i64.sub(remainder, divisor));
    // The remainder is below the divisor, so below 2^53: it may be shifted by 11. Five digits make 56 bits of quotient.
    for (let digit = 0; digit < 5; digit++) {
      f.set(remainder, i64.shl(remainder, 11));
      f.set(quotient, i64.or(i64.shl(quotient, 11), i64.divU(remainder, divisor)));
      f.set(remainder, i64.remU(remainder, divisor));
    }
    f.push(sign, exponent, i64.or(i64.shl(quotient, 8), i64.extendI32U(i64.ne(remainder, 0))));
  });
}

function isZeroOrInfinite(x: ReturnType<typeof unpackedParameter>) {
  return i32.or(i32.eq(x.exponent, ZERO), i32.eq(x.exponent, INFINITY));
}
