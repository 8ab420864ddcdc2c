/** The exact product of two unpacked numbers. */
import { i32, i64, type FunctionReference } from "#wasm/expression.ts";
import { NV, raise, type Context } from "./environment.ts";
import { INFINITY, NAN, ONE, unpackedParameter, unpackedTypes, ZERO } from "./unpack.ts";

/** (state, a, b) → sign, exponent, significand of 128 bits in two halves: leading one at bit 127, nothing lost. */
export function defineMultiply(context: Context, multiply128: FunctionReference): FunctionReference {
  return context.module.function(
    "multiply",
    ["i32", ...unpackedTypes, ...unpackedTypes],
    ["i32", "i32", "i64", "i64"],
    (f) => {
      const state = f.parameter(0);
      const a = unpackedParameter(f, 1);
      const b = unpackedParameter(f, 4);
      const [high, low] = [f.local("i64"), f.local("i64")];

      f.if(i32.or(i32.geS(a.exponent, INFINITY), i32.geS(b.exponent, INFINITY)), () => {
        f.if(i32.or(i32.eq(a.exponent, NAN), i32.eq(b.exponent, NAN)), () => f.return(0, NAN, ONE, 0));
        f.if(i32.or(i64.eqz(a.significand), i64.eqz(b.significand)), () => {
          raise(context, f, state, NV);
          f.return(0, NAN, ONE, 0);
        });
        f.return(i32.xor(a.sign, b.sign), INFINITY, ONE, 0);
      });
      f.call(multiply128, [a.significand, b.significand], [high, low]);
      f.if(i64.eqz(high), () => f.return(i32.xor(a.sign, b.sign), ZERO, 0, 0));

      // 1 ≤ a, b < 2, so 1 ≤ a·b < 4: the leading one is at bit 127, which then counts as 2^1, or one below.
      f.set(a.exponent, i32.add(i32.add(a.exponent, b.exponent), 1));
      f.if(i64.geS(high, 0), () => {
        f.set(high, i64.or(i64.shl(high, 1), i64.shrU(low, 63)));
        f.set(low, i64.shl(low, 1));
        f.set(a.exponent, i32.sub(a.exponent, 1));
      });
      f.push(i32.xor(a.sign, b.sign), a.exponent, high, low);
    },
  );
}
