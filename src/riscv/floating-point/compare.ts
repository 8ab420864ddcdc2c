/** Comparisons, minimum and maximum, classification (F chapter, "Compare Instructions", "Classify Instruction"). */
import { conditional, i32, select, type Expr, type FunctionReference } from "#wasm/expression.ts";
import type { FunctionBuilder, Local } from "#wasm/function.ts";
import { NV, raise, type Context } from "./environment.ts";
import { exponentField, isSignaling, type Format } from "./format.ts";

/** (state, a, b) → 0 or 1. A NaN compares false; feq raises NV for signaling NaNs only, flt and fle for any. */
export function defineComparison(context: Context, format: Format, name: "eq" | "lt" | "le"): FunctionReference {
  return context.module.function(`${name}${format.name}`, ["i32", format.bitsType, format.bitsType], ["i32"], (f) => {
    const { state, a, b, x, y } = operands(f, format);
    f.if(format.float[name](x, y), () => f.return(1));
    const isInvalid = name === "eq" ? isEitherSignaling(format, a, b) : isEitherNaN(format, x, y);
    f.if(isInvalid, () => raise(context, f, state, NV));
    f.push(i32.const(0));
  });
}

/**
 * (state, a, b) → bits: minimumNumber and maximumNumber of IEEE 754-2019, section 9.6. Without a NaN that is WebAssembly's, for
 * which −0 < +0 as well. A NaN yields to a number, even a signaling one, which still raises NV.
 */
export function defineMinimum(context: Context, format: Format, name: "min" | "max"): FunctionReference {
  const types = ["i32", format.bitsType, format.bitsType] as const;
  return context.module.function(`${name}${format.name}`, types, [format.bitsType], (f) => {
    const { state, a, b, x, y } = operands(f, format);
    f.if(i32.eqz(isEitherNaN(format, x, y)), () => f.return(format.toBits(format.float[name](x, y))));
    f.if(isEitherSignaling(format, a, b), () => raise(context, f, state, NV));
    f.if(format.float.eq(x, x), () => f.return(a));
    f.if(format.float.eq(y, y), () => f.return(b));
    f.push(format.integer.const(format.canonicalNaN));
  });
}

/**
 * (bits) → mask with one bit set:
 *
 *   0 −∞   1 −normal   2 −subnormal   3 −0   4 +0   5 +subnormal   6 +normal   7 +∞   8 signaling NaN   9 quiet NaN
 */
export function defineClassify(context: Context, format: Format): FunctionReference {
  const { integer, signBit, infinity } = format;
  return context.module.function(`class${format.name}`, [format.bitsType], ["i32"], (f) => {
    const bits = f.parameter(0);
    const magnitude = f.local(format.bitsType);
    const field = f.local("i32");
    const rank = f.local("i32");
    f.set(magnitude, integer.and(bits, signBit - 1n));
    f.set(field, exponentField(format, bits));
    f.if(integer.gtU(magnitude, infinity), () => f.return(select(isSignaling(format, bits), i32.const(1 << 8), 1 << 9)));
    // How far from zero: 0 zero, 1 subnormal, 2 normal, 3 infinite.
    f.set(
      rank,
      conditional(
        i32.eq(field, format.specialField),
        i32.const(3),
        select(field, i32.const(2), integer.ne(magnitude, 0)),
      ),
    );
    const isNegative = integer.ltS(bits, 0);
    f.push(i32.shl(1, select(isNegative, i32.sub(3, rank), i32.add(4, rank))));
  });
}

function operands(f: FunctionBuilder, format: Format) {
  const [state, a, b] = [f.parameter(0), f.parameter(1), f.parameter(2)];
  const [x, y] = [f.local(format.floatType), f.local(format.floatType)];
  f.set(x, format.toFloat(a));
  f.set(y, format.toFloat(b));
  return { state, a, b, x, y };
}

function isEitherNaN({ float }: Format, x: Local, y: Local): Expr {
  return i32.or(float.ne(x, x), float.ne(y, y));
}

function isEitherSignaling(format: Format, a: Local, b: Local): Expr {
  return i32.or(isSignaling(format, a), isSignaling(format, b));
}
