/**
 * The two interchange formats (IEEE 754-2019, section 3.4) and what the generators need to know of them.
 *
 *            sign   exponent field   fraction
 *   binary32   31    30 ..... 23     22 .... 0
 *   binary64   63    62 ..... 52     51 .... 0
 *
 * A function that is written once for both takes a Format and uses its namespaces: `integer` for the bits, `float` for the value.
 */
import { f32, f64, i32, i64, type Expr, type Operand } from "#wasm/expression.ts";

export interface Format {
  readonly name: "F32" | "F64";
  readonly bitsType: "i32" | "i64";
  readonly floatType: "f32" | "f64";
  readonly integer: typeof i32 | typeof i64;
  readonly float: typeof f32 | typeof f64;
  readonly width: 32 | 64;
  /** Bits of the significand with the leading one that is not stored: the standard's p. */
  readonly precision: number;
  readonly fractionBits: number;
  readonly bias: number;
  /** The exponent field of infinities and NaNs: all ones. */
  readonly specialField: number;
  readonly signBit: bigint;
  readonly infinity: bigint;
  /** The top bit of the fraction: set in a quiet NaN, clear in a signaling one. */
  readonly quietBit: bigint;
  /** The one NaN that arithmetic yields (F chapter, "NaN Generation and Propagation"). */
  readonly canonicalNaN: bigint;
  /** The value of some bits, and back. */
  readonly toFloat: (bits: Operand) => Expr;
  readonly toBits: (value: Operand) => Expr;
  /** A value in binary64, which holds each value of both formats exactly. */
  readonly toF64: (value: Expr) => Expr;
}

function format(
  native: Pick<Format, "name" | "bitsType" | "floatType" | "integer" | "float" | "toFloat" | "toBits" | "toF64">,
  width: 32 | 64,
  precision: number,
): Format {
  const fractionBits = precision - 1;
  const specialField = 2 ** (width - precision) - 1;
  const infinity = BigInt(specialField) << BigInt(fractionBits);
  const quietBit = 1n << BigInt(fractionBits - 1);
  return {
    ...native,
    width,
    precision,
    fractionBits,
    bias: specialField >> 1,
    specialField,
    signBit: 1n << BigInt(width - 1),
    infinity,
    quietBit,
    canonicalNaN: infinity | quietBit,
  };
}

export const F32 = format(
  {
    name: "F32",
    bitsType: "i32",
    floatType: "f32",
    integer: i32,
    float: f32,
    toFloat: f32.reinterpretI32,
    toBits: i32.reinterpretF32,
    toF64: f64.promoteF32,
  },
  32,
  24,
);

export const F64 = format(
  {
    name: "F64",
    bitsType: "i64",
    floatType: "f64",
    integer: i64,
    float: f64,
    toFloat: f64.reinterpretI64,
    toBits: i64.reinterpretF64,
    toF64: (value) => value,
  },
  64,
  53,
);

/** The exponent field of some bits, as an i32. */
export function exponentField(format: Format, bits: Expr): Expr {
  const shifted = format.integer.shrU(bits, format.fractionBits);
  return i32.and(format.bitsType === "i64" ? i32.wrap(shifted) : shifted, format.specialField);
}

/**
 * Signaling: the magnitude lies between infinity and the least quiet NaN, both excluded. One subtraction makes that one
 * unsigned comparison.
 */
export function isSignaling(format: Format, bits: Expr): Expr {
  const { integer, signBit, infinity, quietBit } = format;
  return integer.ltU(integer.sub(integer.and(bits, signBit - 1n), infinity + 1n), quietBit - 1n);
}
