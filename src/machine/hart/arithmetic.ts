/** Integer routines that are no single WebAssembly instruction. */
import { call, i64, type FunctionReference } from "#wasm/expression.ts";
import type { ModuleBuilder } from "#wasm/module.ts";

/** The high halves of 128-bit products: both signed, both unsigned, the first signed. */
export function defineArithmetic(module: ModuleBuilder): Record<"mulh" | "mulhu" | "mulhsu", FunctionReference> {
  const mulhu = module.function("mulhu", ["i64", "i64"], ["i64"], (f) => {
    const half = 0xffffffff;
    const [aLow, bLow] = [f.let(i64.and(f.parameter(0), half)), f.let(i64.and(f.parameter(1), half))];
    const [aHigh, bHigh] = [f.let(i64.shrU(f.parameter(0), 32)), f.let(i64.shrU(f.parameter(1), 32))];
    const cross = f.let(i64.add(i64.mul(aHigh, bLow), i64.shrU(i64.mul(aLow, bLow), 32)));
    const middle = f.let(i64.add(i64.mul(aLow, bHigh), i64.and(cross, half)));
    f.push(i64.add(i64.add(i64.mul(aHigh, bHigh), i64.shrU(cross, 32)), i64.shrU(middle, 32)));
  });
  // A negative factor counts 2^64 too much in the unsigned product: the other factor comes off the high half.
  const mulhsu = module.function("mulhsu", ["i64", "i64"], ["i64"], (f) => {
    const [a, b] = [f.parameter(0), f.parameter(1)];
    f.push(i64.sub(call(mulhu, a, b), i64.and(i64.shrS(a, 63), b)));
  });
  const mulh = module.function("mulh", ["i64", "i64"], ["i64"], (f) => {
    const [a, b] = [f.parameter(0), f.parameter(1)];
    f.push(i64.sub(call(mulhsu, a, b), i64.and(i64.shrS(b, 63), a)));
  });
  return { mulh, mulhu, mulhsu };
}
