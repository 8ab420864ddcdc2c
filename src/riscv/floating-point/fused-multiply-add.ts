/** Whether the host's relaxed `madd` rounds once: the standard leaves it to the host, per instruction and for good. */
import { fusedMultiplyAdd, i64 } from "#wasm/expression.ts";
import { ModuleBuilder } from "#wasm/module.ts";
import { F64 } from "./format.ts";

/** The host's, as far as it is used here: no library of types that we compile against has it. */
declare const WebAssembly: {
  validate(bytes: Uint8Array<ArrayBuffer>): boolean;
  Module: new (bytes: Uint8Array<ArrayBuffer>) => object;
  Instance: new (module: object) => { readonly exports: Record<string, unknown> };
};

/**
 * True if `fusedMultiplyAdd` is there and rounds once in binary64, in which case software may rely on it. Compiles a module of some
 * hundred bytes: call it once, at start.
 */
export function probeFusedMultiplyAdd(): boolean {
  const module = new ModuleBuilder();
  const types = ["i64", "i64", "i64"] as const;
  const fma = module.function("fma", types, ["i64"], (f) => {
    const [a, b, c] = types.map((_, i) => F64.toFloat(f.parameter(i)));
    f.push(i64.reinterpretF64(fusedMultiplyAdd("f64", a!, b!, c!)));
  });
  module.export("fma", fma);
  const bytes = module.encode();
  if (!WebAssembly.validate(bytes)) return false;
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(bytes));
  const run = exports["fma"] as (a: bigint, b: bigint, c: bigint) => bigint;
  // (1 + 2^-52)² − (1 + 2^-51) = 2^-104, which is lost if the product is rounded first; and its negative, with a negated.
  const [a, c] = [0x3ff0000000000001n, 0xbff0000000000002n];
  const [fused, negated] = [0x3970000000000000n, 0xb970000000000000n];
  const flip = (bits: bigint) => BigInt.asUintN(64, bits ^ F64.signBit);
  return (
    BigInt.asUintN(64, run(a, a, c)) === fused && BigInt.asUintN(64, run(flip(a), a, flip(c))) === negated
  );
}
