/** From the interpreter into translated code: may the region that begins here be entered in the present context? */
import { i32, type FunctionReference } from "#wasm/expression.ts";
import type { Signature } from "#wasm/function.ts";
import type { Decoder } from "./decode.ts";
import type { Program } from "./program.ts";

export interface RegionEntry {
  /** (state, pc, region record) → slot of the function table, or 0. */
  readonly enter: FunctionReference;
  /** (state, pc, budget, nesting) → (pc, budget). */
  readonly signature: Signature;
}

export function defineRegionEntry({ module }: Program, _decoder: Decoder): RegionEntry {
  const enter = module.function("enterRegion", ["i32", "i64", "i32"], ["i32"], (f) => {
    f.push(i32.const(0));
  });
  return { enter, signature: module.signature(["i32", "i64", "i32", "i32"], ["i64", "i32"]) };
}
