/** All functions of the F and D extensions that compute, defined into a module. The README of this folder is the way in. */
import type { FunctionReference } from "#wasm/expression.ts";
import type { ModuleBuilder } from "#wasm/module.ts";
import {
  defineAddition,
  defineDivision,
  defineFmaF32,
  defineFmaF64,
  defineMultiplication,
  defineSqrt,
  defineSubtraction,
} from "./arithmetic.ts";
import { defineClassify, defineComparison, defineMinimum } from "./compare.ts";
import {
  defineF32ToF64,
  defineF64ToF32,
  defineFromInteger,
  defineRoundToIntegral,
  defineToInteger,
  defineWordToF64,
  integerTypes,
} from "./convert.ts";
import type { Context } from "./environment.ts";
import { F32, F64 } from "./format.ts";
import { defineSoftOperations, defineUnpackedArithmetic } from "./soft.ts";

type FormatName = "F32" | "F64";
type IntegerName = "I32" | "U32" | "I64" | "U64";

/**
 * The functions and their parameters. `state` is the address of the hart's state, `rm` a rounding mode from 0 to 4, values are
 * bits: an i32 in binary32, an i64 in binary64 and for integers of both widths. NaN boxes are the caller's.
 *
 *   add sub mul div    (state, rm, a, b) → bits
 *   sqrt               (state, rm, a) → bits
 *   fma                (state, rm, a, b, c) → bits of a·b + c
 *   min max            (state, a, b) → bits
 *   eq lt le           (state, a, b) → i32, 0 or 1
 *   class              (a) → i32, the mask of fclass
 *   f32ToF64           (state, a) → bits
 *   f64ToF32           (state, rm, a) → bits
 *   f…ToI32 … f…ToU64  (state, rm, a) → i64, 32-bit results sign-extended
 *   i32ToF64 u32ToF64  (integer) → bits
 *   other …ToF…        (state, rm, integer) → bits; of 32-bit integers the low word counts
 */
export type FloatingPointName =
  | `${"add" | "sub" | "mul" | "div" | "sqrt" | "fma" | "min" | "max" | "eq" | "lt" | "le" | "class"}${FormatName}`
  | "f32ToF64"
  | "f64ToF32"
  | `${Lowercase<FormatName>}To${IntegerName}`
  | `${Lowercase<IntegerName>}To${FormatName}`;

export type FloatingPoint = Readonly<Record<FloatingPointName, FunctionReference>>;

export interface FloatingPointOptions {
  /** Bytes from `state` to the i32 with fflags. */
  readonly fflagsOffset: number;
  /** The host's relaxed `madd` rounds once, as `probeFusedMultiplyAdd` finds out. Default: false. */
  readonly fusedMultiplyAdd?: boolean;
}

export function defineFloatingPoint(module: ModuleBuilder, options: FloatingPointOptions): FloatingPoint {
  const context: Context = { module, fflagsOffset: options.fflagsOffset };
  const exact = defineUnpackedArithmetic(context);
  const softF32 = defineSoftOperations(context, F32, exact);
  const softF64 = defineSoftOperations(context, F64, exact);
  const roundToIntegral = defineRoundToIntegral(context);
  const functions: Record<string, FunctionReference> = {
    fmaF32: defineFmaF32(context, softF32),
    fmaF64: defineFmaF64(context, softF64, options.fusedMultiplyAdd ?? false),
    f32ToF64: defineF32ToF64(context),
    f64ToF32: defineF64ToF32(context, softF64, softF32),
  };

  for (const [format, soft] of [
    [F32, softF32],
    [F64, softF64],
  ] as const) {
    const { name } = format;
    functions[`add${name}`] = defineAddition(context, format, soft);
    functions[`sub${name}`] = defineSubtraction(context, format, soft);
    functions[`mul${name}`] = defineMultiplication(context, format, soft);
    functions[`div${name}`] = defineDivision(context, format, soft);
    functions[`sqrt${name}`] = defineSqrt(context, format, soft);
    functions[`class${name}`] = defineClassify(context, format);
    for (const which of ["min", "max"] as const) functions[which + name] = defineMinimum(context, format, which);
    for (const which of ["eq", "lt", "le"] as const) functions[which + name] = defineComparison(context, format, which);
    for (const integer of integerTypes) {
      functions[`${name.toLowerCase()}To${integer.name}`] = defineToInteger(context, format, integer, roundToIntegral);
      functions[`${integer.name.toLowerCase()}To${name}`] =
        format === F64 && integer.width === 32
          ? defineWordToF64(context, integer)
          : defineFromInteger(context, format, integer, soft);
    }
  }
  return functions as FloatingPoint;
}

