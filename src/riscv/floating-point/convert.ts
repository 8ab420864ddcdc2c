/** Conversions between formats, and between numbers and integers (F chapter, "Conversion and Move Instructions"). */
import { call, conditional, f32, f64, i32, i64, select, type Expr, type FunctionReference } from "#wasm/expression.ts";
import type { FunctionBuilder, Local } from "#wasm/function.ts";
import { NV, NX, raise, RDN, RMM, RNE, RTZ, type Context } from "./environment.ts";
import { isExactInF32 } from "./exact.ts";
import { F32, F64, isSignaling, type Format } from "./format.ts";
import { isWellInRange } from "./quick.ts";
import type { SoftOperations } from "./soft.ts";
import { callForUnpacked } from "./unpack.ts";

/** (state, bits) → bits: always exact; a NaN becomes the canonical one. */
export function defineF32ToF64(context: Context): FunctionReference {
  return context.module.function("f32ToF64", ["i32", "i32"], ["i64"], (f) => {
    const [state, bits] = [f.parameter(0), f.parameter(1)];
    const value = f.local("f32");
    f.set(value, F32.toFloat(bits));
    f.if(f32.eq(value, value), () => f.return(F64.toBits(f64.promoteF32(value))));
    f.if(isSignaling(F32, bits), () => raise(context, f, state, NV));
    f.push(i64.const(F64.canonicalNaN));
  });
}

/** (state, rm, bits) → bits. Native in RNE, and in every mode if the value is a number of binary32; quick.ts has the proof. */
export function defineF64ToF32(context: Context, from: SoftOperations, to: SoftOperations): FunctionReference {
  return context.module.function("f64ToF32", ["i32", "i32", "i64"], ["i32"], (f) => {
    const [state, rm, bits] = [f.parameter(0), f.parameter(1), f.parameter(2)];
    const value = f.local("f64");
    const result = f.local("f32");
    f.set(value, F64.toFloat(bits));
    f.set(result, f32.demoteF64(value));
    f.if(isExactInF32(value, result), () => f.return(F32.toBits(result)));
    f.if(i32.and(i32.eq(rm, RNE), isWellInRange(F32, result)), () => {
      raise(context, f, state, NX);
      f.return(F32.toBits(result));
    });
    const { sign, exponent, significand } = callForUnpacked(f, from.unpack, [state, bits]);
    f.push(call(to.round, state, rm, sign, exponent, significand));
  });
}

export interface IntegerType {
  readonly name: "I32" | "U32" | "I64" | "U64";
  readonly width: 32 | 64;
  readonly signed: boolean;
}

export const integerTypes: readonly IntegerType[] = [
  { name: "I32", width: 32, signed: true },
  { name: "U32", width: 32, signed: false },
  { name: "I64", width: 64, signed: true },
  { name: "U64", width: 64, signed: false },
];

/** (rm, value) → the value rounded to an integral number, still in binary64. NaN and infinities stay what they are. */
export function defineRoundToIntegral(context: Context): FunctionReference {
  return context.module.function("roundToIntegral", ["i32", "f64"], ["f64"], (f) => {
    const [rm, value] = [f.parameter(0), f.parameter(1)];
    const truncated = f.local("f64");
    f.if(i32.eq(rm, RTZ), () => f.return(f64.trunc(value)));
    f.if(i32.eq(rm, RNE), () => f.return(f64.nearest(value)));
    f.if(i32.eq(rm, RMM), () => {
      // The fraction is exact, as its bits are some of the value's. If there is one, the integer is small enough to add 1.
      f.set(truncated, f64.trunc(value));
      const isHalfOrMore = f64.ge(f64.abs(f64.sub(value, truncated)), 0.5);
      f.return(select(isHalfOrMore, f64.add(truncated, f64.copysign(1, value)), truncated));
    });
    f.push(conditional(i32.eq(rm, RDN), f64.floor(value), f64.ceil(value)));
  });
}

/**
 * (state, rm, bits) → i64; a result of 32 bits, signed or not, is sign-extended. The value is rounded first. If the integer is not
 * in the range of the type, then NV alone is raised and the result is the nearer end of the range; for a NaN it is the
 * upper one.
 */
export function defineToInteger(
  context: Context,
  format: Format,
  { name, width, signed }: IntegerType,
  roundToIntegral: FunctionReference,
): FunctionReference {
  const least = signed ? -(2n ** BigInt(width - 1)) : 0n;
  /** One beyond the greatest: a power of two, so a number of binary64, which the greatest itself needn't be. */
  const beyond = least + 2n ** BigInt(width);

  return context.module.function(
    `${format.name.toLowerCase()}To${name}`,
    ["i32", "i32", format.bitsType],
    ["i64"],
    (f) => {
      const [state, rm] = [f.parameter(0), f.parameter(1)];
      const [value, integral] = [f.local("f64"), f.local("f64")];
      f.set(value, format.toF64(format.toFloat(f.parameter(2))));
      f.set(integral, call(roundToIntegral, rm, value));
      f.if(i32.and(f64.ge(integral, Number(least)), f64.lt(integral, Number(beyond))), () => {
        f.if(f64.ne(integral, value), () => raise(context, f, state, NX));
        f.return(truncated(width, signed, integral));
      });
      raise(context, f, state, NV);
      const end = (x: bigint) => i64.const(BigInt.asIntN(width, x));
      f.push(select(f64.lt(value, 0), end(least), end(beyond - 1n)));
    },
  );
}

/** An integral value within the range, as an integer. */
function truncated(width: 32 | 64, signed: boolean, value: Expr): Expr {
  if (width === 64) return signed ? i64.truncSatF64S(value) : i64.truncSatF64U(value);
  return i64.extendI32S(signed ? i32.truncSatF64S(value) : i32.truncSatF64U(value));
}

/** (integer) → bits: a word is always a number of binary64. */
export function defineWordToF64(context: Context, { name, signed }: IntegerType): FunctionReference {
  return context.module.function(`${name.toLowerCase()}ToF64`, ["i64"], ["i64"], (f) => {
    const word = i32.wrap(f.parameter(0));
    f.push(F64.toBits(signed ? f64.convertI32S(word) : f64.convertI32U(word)));
  });
}

/** (state, rm, integer) → bits. */
export function defineFromInteger(
  context: Context,
  format: Format,
  { name, width, signed }: IntegerType,
  { round }: SoftOperations,
): FunctionReference {
  return context.module.function(
    `${name.toLowerCase()}To${format.name}`,
    ["i32", "i32", "i64"],
    [format.bitsType],
    (f) => {
      const [state, rm, integer] = [f.parameter(0), f.parameter(1), f.parameter(2)];
      const sign = f.local("i32");
      const leadingZeros = f.local("i64");
      if (width === 32) f.set(integer, signed ? i64.extend32S(integer) : i64.and(integer, 0xffffffffn));

      finishSmall(f, format, integer, signed);
      if (signed) {
        f.set(sign, i64.ltS(integer, 0));
        f.if(sign, () => f.set(integer, i64.sub(0, integer)));
      }
      f.set(leadingZeros, i64.clz(integer));
      const exponent = i32.sub(63, i32.wrap(leadingZeros));
      f.push(call(round, state, rm, sign, exponent, i64.shl(integer, leadingZeros)));
    },
  );
}

/** Up to 2^p every integer is a number of the format: converted natively. */
function finishSmall(f: FunctionBuilder, format: Format, integer: Local, signed: boolean): void {
  const { float, precision } = format;
  const limit = 1n << BigInt(precision);
  const isSmall = signed ? i64.leU(i64.add(integer, limit), 2n * limit) : i64.leU(integer, limit);
  f.if(isSmall, () => f.return(format.toBits(signed ? float.convertI64S(integer) : float.convertI64U(integer))));
}
