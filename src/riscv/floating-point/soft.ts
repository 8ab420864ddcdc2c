/**
 * The software path: each operation as unpack, exact arithmetic, round. It is right for every operand, rounding mode and state
 * of the flags, and stands behind the quick paths of arithmetic.ts.
 */
import { call, i64, type FunctionReference } from "#wasm/expression.ts";
import type { FunctionBuilder, Local } from "#wasm/function.ts";
import { defineAdd } from "./add.ts";
import { defineDivide } from "./divide.ts";
import type { Context } from "./environment.ts";
import type { Format } from "./format.ts";
import { defineMultiply } from "./multiply.ts";
import { defineRound } from "./round.ts";
import { defineSquareRoot } from "./square-root.ts";
import { callForUnpacked, defineUnpack, type Unpacked } from "./unpack.ts";
import { defineMultiply128, defineShiftRightSticky128 } from "./wide.ts";

/** What both formats share: arithmetic on unpacked numbers. */
export interface UnpackedArithmetic {
  readonly add: FunctionReference;
  readonly multiply: FunctionReference;
  readonly divide: FunctionReference;
  readonly squareRoot: FunctionReference;
}

/** The operations of one format: (state, rm, operands as bits) → bits. */
export interface SoftOperations {
  readonly unpack: FunctionReference;
  readonly round: FunctionReference;
  readonly add: FunctionReference;
  readonly mul: FunctionReference;
  readonly div: FunctionReference;
  readonly sqrt: FunctionReference;
  readonly fma: FunctionReference;
}

export function defineUnpackedArithmetic(context: Context): UnpackedArithmetic {
  return {
    add: defineAdd(context, defineShiftRightSticky128(context.module)),
    multiply: defineMultiply(context, defineMultiply128(context.module)),
    divide: defineDivide(context),
    squareRoot: defineSquareRoot(context),
  };
}

export function defineSoftOperations(context: Context, format: Format, exact: UnpackedArithmetic): SoftOperations {
  const unpack = defineUnpack(context, format);
  const round = defineRound(context, format);

  /** Unpacks `arity` operands, computes on them, rounds what comes out. */
  function operation(
    name: string,
    arity: number,
    compute: (f: FunctionBuilder, state: Local, rm: Local, operands: readonly Unpacked[]) => Unpacked,
  ): FunctionReference {
    const bits = new Array(arity).fill(format.bitsType);
    return context.module.function(`${name}${format.name}`, ["i32", "i32", ...bits], [format.bitsType], (f) => {
      const [state, rm] = [f.parameter(0), f.parameter(1)];
      const operands = bits.map((_, i) => callForUnpacked(f, unpack, [state, f.parameter(2 + i)]));
      const { sign, exponent, significand } = compute(f, state, rm, operands);
      f.push(call(round, state, rm, sign, exponent, significand));
    });
  }

  const parts = (x: Unpacked) => [x.sign, x.exponent, x.significand];

  function multiplyWide(f: FunctionBuilder, state: Local, a: Unpacked, b: Unpacked) {
    const sign = f.local("i32");
    const exponent = f.local("i32");
    const [high, low] = [f.local("i64"), f.local("i64")];
    f.call(exact.multiply, [state, ...parts(a), ...parts(b)], [sign, exponent, high, low]);
    return { sign, exponent, high, low };
  }

  return {
    unpack,
    round,
    add: operation("softAdd", 2, (f, state, rm, [a, b]) =>
      callForUnpacked(f, exact.add, [state, rm, ...parts(a!), 0, ...parts(b!)]),
    ),
    mul: operation("softMul", 2, (f, state, _rm, [a, b]) => {
      const { sign, exponent, high, low } = multiplyWide(f, state, a!, b!);
      f.set(high, i64.or(high, i64.extendI32U(i64.ne(low, 0))));
      return { sign, exponent, significand: high };
    }),
    div: operation("softDiv", 2, (f, state, _rm, [a, b]) =>
      callForUnpacked(f, exact.divide, [state, ...parts(a!), ...parts(b!)]),
    ),
    sqrt: operation("softSqrt", 1, (f, state, _rm, [a]) => callForUnpacked(f, exact.squareRoot, [state, ...parts(a!)])),
    fma: operation("softFma", 3, (f, state, rm, [a, b, c]) => {
      const { sign, exponent, high, low } = multiplyWide(f, state, a!, b!);
      return callForUnpacked(f, exact.add, [state, rm, sign, exponent, high, low, ...parts(c!)]);
    }),
  };
}
