/**
 * Arithmetic as instructions use it: a quick path on native floating point in front of the software path.
 *
 * All quick paths ask two questions about the native result, which is rounded in RNE:
 * - Is the operation exact? Then it raises nothing, and its result is right in every mode (but for the sign of a zero sum, which RDN
 *   makes negative).
 * - Is the mode RNE, and are OF, UF, NV and DZ excluded? Then the result is right, and NX alone is due if it is inexact.
 *
 * The proofs of the second are in quick.ts, those of the first in exact.ts and here.
 */
import { call, f32, f64, fusedMultiplyAdd, i32, type Expr, type FunctionReference } from "#wasm/expression.ts";
import type { FunctionBuilder, Local } from "#wasm/function.ts";
import { isInexactAccrued, NX, raise, RDN, RNE, type Context } from "./environment.ts";
import { haveShortSignificands, isExactInF32, isExactSum } from "./exact.ts";
import { F32, F64, type Format } from "./format.ts";
import { isFinite, isNotHalfway, isWellInRange } from "./quick.ts";
import type { SoftOperations } from "./soft.ts";

/** The least normal number of binary64. */
const LEAST_NORMAL = 2 ** -1022;

/** The body of one operation while it is written: operands as values, ways to finish. */
interface Body {
  readonly f: FunctionBuilder;
  readonly state: Local;
  readonly rm: Local;
  /** The operands as native values. */
  readonly x: readonly Local[];
  /** Condition: the mode is RNE. */
  readonly isNearest: Expr;
  finish(value: Expr): void;
  /** Accrues NX, then as `finish`. */
  finishInexact(value: Expr): void;
}

/**
 * (state, rm, operands as bits) → bits: first what `quick` finishes, then the software path on the operands,
 * changed by `soften` where it computes something else with other operands.
 */
function define(
  context: Context,
  format: Format,
  name: string,
  arity: number,
  soft: FunctionReference,
  quick: (body: Body) => void,
  soften: (operands: Expr[]) => Expr[] = (operands) => operands,
): FunctionReference {
  const bits = new Array(arity).fill(format.bitsType);
  return context.module.function(`${name}${format.name}`, ["i32", "i32", ...bits], [format.bitsType], (f) => {
    const [state, rm] = [f.parameter(0), f.parameter(1)];
    const operands = bits.map((_, i) => f.parameter(2 + i));
    const x = operands.map((operand) => {
      const value = f.local(format.floatType);
      f.set(value, format.toFloat(operand));
      return value;
    });
    const finish = (value: Expr) => f.return(format.toBits(value));
    const finishInexact = (value: Expr) => {
      raise(context, f, state, NX);
      finish(value);
    };
    quick({ f, state, rm, x, isNearest: i32.eq(rm, RNE), finish, finishInexact });
    f.push(call(soft, state, rm, ...soften(operands)));
  });
}

export function defineAddition(context: Context, format: Format, soft: SoftOperations): FunctionReference {
  return define(context, format, "add", 2, soft.add, (body) => {
    const result = body.f.local(format.floatType);
    body.f.set(result, format.float.add(body.x[0]!, body.x[1]!));
    finishSum(context, format, body, result, body.x[0]!, body.x[1]!);
  });
}

/** a − b = a + (−b); a NaN stays the same kind of NaN with its sign changed. */
export function defineSubtraction(context: Context, format: Format, soft: SoftOperations): FunctionReference {
  const negate = (operand: Expr) => format.integer.xor(operand, format.signBit);
  return define(
    context,
    format,
    "sub",
    2,
    soft.add,
    (body) => {
      const result = body.f.local(format.floatType);
      body.f.set(result, format.float.sub(body.x[0]!, body.x[1]!));
      finishSum(context, format, body, result, body.x[0]!, format.float.neg(body.x[1]!));
    },
    ([a, b]) => [a!, negate(b!)],
  );
}

/** Finishes with the native sum of a and b, if that is right. A sum cannot underflow: finite is all that it must be. */
function finishSum(context: Context, format: Format, body: Body, sum: Local, a: Expr, b: Expr): void {
  const { f, state, rm, isNearest } = body;
  const exact = isExactSum(format, sum, a, b);
  f.if(i32.and(isNearest, isFinite(format, sum)), () => {
    f.if(i32.eqz(exact), () => raise(context, f, state, NX));
    body.finish(sum);
  });
  const isSignSure = i32.or(i32.ne(rm, RDN), format.float.ne(sum, zero(format)));
  f.if(i32.and(exact, isSignSure), () => body.finish(sum));
}

export function defineMultiplication(context: Context, format: Format, soft: SoftOperations): FunctionReference {
  return define(context, format, "mul", 2, soft.mul, (body) => {
    const { f, state, isNearest } = body;
    const [a, b] = body.x as [Local, Local];
    const result = f.local(format.floatType);
    if (format === F32) {
      // 24 + 24 bits: exact in binary64, which has the exponents for it too. An infinite product is one of infinite operands.
      const product = f.local("f64");
      f.set(product, f64.mul(f64.promoteF32(a), f64.promoteF32(b)));
      f.set(result, f32.demoteF64(product));
      f.if(isExactInF32(product, result), () => body.finish(result));
      f.if(i32.and(isNearest, isWellInRange(F32, result)), () => body.finishInexact(result));
      return;
    }
    f.set(result, f64.mul(a, b));
    f.if(isWellInRange(F64, result), () => {
      f.if(i32.and(isNearest, isInexactAccrued(context, state)), () => body.finish(result));
      f.if(haveShortSignificands(a, b), () => body.finish(result));
    });
    // Zero times a finite number. Zero times infinity is a NaN, which is not equal to zero.
    f.if(i32.and(f64.eq(result, 0), i32.or(f64.eq(a, 0), f64.eq(b, 0))), () => body.finish(result));
  });
}

/** A quotient is exact if multiplying it by the divisor gives the dividend. */
export function defineDivision(context: Context, format: Format, soft: SoftOperations): FunctionReference {
  const { float } = format;
  return define(context, format, "div", 2, soft.div, (body) => {
    const { f, state, isNearest } = body;
    const [a, b] = body.x as [Local, Local];
    const result = f.local(format.floatType);
    f.set(result, float.div(a, b));
    f.if(isWellInRange(format, result), () => {
      if (format === F32) {
        f.if(f64.eq(f64.mul(f64.promoteF32(result), f64.promoteF32(b)), f64.promoteF32(a)), () => body.finish(result));
        f.if(isNearest, () => body.finishInexact(result));
        return;
      }
      f.if(i32.and(isNearest, isInexactAccrued(context, state)), () => body.finish(result));
      // result·b and a are both numbers of 53 bits then, and |result·b − a| ≤ 2^-53·|result·b|, as the result is a/b rounded. Two
      // such numbers that differ are farther apart, unless result·b is a power of two and a the next number below it: but then
      // b is a power of two, by which the quotient is exact. So they don't differ.
      f.if(haveShortSignificands(result, b), () => body.finish(result));
    });
    // Zero divided by anything but zero and NaN, which would give a NaN.
    f.if(i32.and(float.eq(result, zero(format)), float.eq(a, zero(format))), () => body.finish(result));
  });
}

/** A root is exact if its square is the radicand. */
export function defineSqrt(context: Context, format: Format, soft: SoftOperations): FunctionReference {
  return define(context, format, "sqrt", 1, soft.sqrt, (body) => {
    const { f, state, isNearest } = body;
    const a = body.x[0]!;
    const result = f.local(format.floatType);
    f.set(result, format.float.sqrt(a));
    // Not a NaN.
    f.if(format.float.eq(result, result), () => {
      if (format === F32) {
        f.if(f64.eq(f64.mul(f64.promoteF32(result), f64.promoteF32(result)), f64.promoteF32(a)), () => body.finish(result));
        f.if(isNearest, () => body.finishInexact(result));
        return;
      }
      f.if(i32.and(isNearest, isInexactAccrued(context, state)), () => body.finish(result));
      // The square is exact if it is short, and isn't rounded once more as a subnormal.
      const isSquareExact = i32.and(haveShortSignificands(result, result), f64.ge(a, LEAST_NORMAL));
      f.if(i32.and(isSquareExact, f64.eq(f64.mul(result, result), a)), () => body.finish(result));
    });
  });
}

/** a·b + c, rounded once. */
export function defineFmaF32(context: Context, soft: SoftOperations): FunctionReference {
  return define(context, F32, "fma", 3, soft.fma, (body) => {
    const { f, state, rm, isNearest } = body;
    const [product, sum, addend] = [f.local("f64"), f.local("f64"), f.local("f64")];
    const result = f.local("f32");
    const isSumExact = f.local("i32");
    f.set(product, f64.mul(f64.promoteF32(body.x[0]!), f64.promoteF32(body.x[1]!)));
    f.set(addend, f64.promoteF32(body.x[2]!));
    f.set(sum, f64.add(product, addend));
    f.set(result, f32.demoteF64(sum));
    f.set(isSumExact, isExactSum(F64, sum, product, addend));
    const isExact = i32.and(isSumExact, isExactInF32(sum, result));

    // The second rounding, to binary32, is right if the first lost nothing or stopped at no halfway case: see quickFmaF32.
    f.if(i32.and(i32.and(isNearest, isWellInRange(F32, result)), i32.or(isSumExact, isNotHalfway(sum))), () => {
      f.if(i32.eqz(isExact), () => raise(context, f, state, NX));
      body.finish(result);
    });
    const isSignSure = i32.or(i32.ne(rm, RDN), f64.ne(sum, 0));
    f.if(i32.and(isExact, isSignSure), () => body.finish(result));
  });
}

/** a·b + c, rounded once, by the host's own instruction if it has one (`fused`) or if the product alone is exact. */
export function defineFmaF64(context: Context, soft: SoftOperations, fused: boolean): FunctionReference {
  return define(context, F64, "fma", 3, soft.fma, (body) => {
    const { f, state, isNearest } = body;
    const [a, b, c] = body.x as [Local, Local, Local];
    const [product, result] = [f.local("f64"), f.local("f64")];
    if (fused) {
      f.if(i32.and(isNearest, isInexactAccrued(context, state)), () => {
        f.set(result, fusedMultiplyAdd("f64", a, b, c));
        f.if(isWellInRange(F64, result), () => body.finish(result));
      });
    }
    f.set(product, f64.mul(a, b));
    f.if(i32.and(haveShortSignificands(a, b), isWellInRange(F64, product)), () => {
      f.set(result, f64.add(product, c));
      finishSum(context, F64, body, result, product, c);
    });
  });
}

/** Zero as a value: there are constants of f64 only. */
function zero(format: Format): Expr {
  return format === F64 ? f64.const(0) : f32.reinterpretI32(0);
}
