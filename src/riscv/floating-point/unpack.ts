/**
 * The unpacked form, in which the exact arithmetic of this folder works, whatever the format:
 *
 *   sign         i32   0 or 1
 *   exponent     i32   e
 *   significand  i64   m, its leading one at bit 63
 *
 *   value = (−1)^sign · m/2^63 · 2^e,   1 ≤ m/2^63 < 2
 *
 * Subnormal numbers are normalized. What isn't a nonzero finite number has an exponent that no number reaches, chosen so that
 * comparing exponents sorts: ZERO (with m = 0) below all numbers, INFINITY above them, NAN on top.
 *
 * An operand has at most 53 significant bits, so its lowest 11 are zero. A result may end in a **sticky** bit: bit 0 is then
 * the OR of itself and of all bits that were cut off below it, which is all that rounding has to know of them.
 */
import { i32, i64 } from "#wasm/expression.ts";
import type { FunctionBuilder, Local } from "#wasm/function.ts";
import type { FunctionReference, Operand, ValueType } from "#wasm/expression.ts";
import { NV, raise, type Context } from "./environment.ts";
import { exponentField, type Format } from "./format.ts";

export const ZERO = -0x8000;
export const INFINITY = 0x8000;
export const NAN = 0x8001;

/** The significand 1.0: also what infinities and NaNs carry, so that only zeros have m = 0. */
export const ONE = 1n << 63n;

export const unpackedTypes: readonly ValueType[] = ["i32", "i32", "i64"];

export interface Unpacked {
  readonly sign: Local;
  readonly exponent: Local;
  readonly significand: Local;
}

/** The three parameters from the i-th on. */
export function unpackedParameter(f: FunctionBuilder, i: number): Unpacked {
  return { sign: f.parameter(i), exponent: f.parameter(i + 1), significand: f.parameter(i + 2) };
}

/** Calls a function that returns the unpacked form. */
export function callForUnpacked(f: FunctionBuilder, target: FunctionReference, operands: readonly Operand[]): Unpacked {
  const result = { sign: f.local("i32"), exponent: f.local("i32"), significand: f.local("i64") };
  f.call(target, operands, [result.sign, result.exponent, result.significand]);
  return result;
}

/** (state, bits) → sign, exponent, significand. A signaling NaN raises NV here, as it does in every operation. */
export function defineUnpack(context: Context, format: Format): FunctionReference {
  return context.module.function(`unpack${format.name}`, ["i32", format.bitsType], unpackedTypes, (f) => {
    const state = f.parameter(0);
    const bits = f.parameter(1);
    const sign = f.local("i32");
    const field = f.local("i32");
    const fraction = f.local("i64");
    const leadingZeros = f.local("i64");
    const wide = format.bitsType === "i64" ? bits : i64.extendI32U(bits);

    f.set(sign, i32.wrap(i64.shrU(wide, format.width - 1)));
    f.set(field, exponentField(format, bits));
    // Sign and exponent fall off the top: the first bit of the fraction comes to bit 63.
    f.set(fraction, i64.shl(wide, 64 - format.fractionBits));

    f.if(i32.eq(field, format.specialField), () => {
      f.if(i64.eqz(fraction), () => f.return(sign, INFINITY, ONE));
      f.if(i64.geS(fraction, 0), () => raise(context, f, state, NV));
      f.return(0, NAN, ONE);
    });
    f.if(i32.eqz(field), () => {
      f.if(i64.eqz(fraction), () => f.return(sign, ZERO, 0));
      // A subnormal is fraction/2^64 · 2^(1 − bias): its leading one goes to bit 63, which counts as 2^0.
      f.set(leadingZeros, i64.clz(fraction));
      f.return(sign, i32.sub(-format.bias, i32.wrap(leadingZeros)), i64.shl(fraction, leadingZeros));
    });
    f.push(sign, i32.sub(field, format.bias), i64.or(ONE, i64.shrU(fraction, 1)));
  });
}
