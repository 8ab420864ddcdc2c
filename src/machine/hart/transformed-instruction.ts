/**
 * What htinst and mtinst tell of a load, store or atomic that faulted (H extension, "Transformed Instruction or Pseudoinstruction"): the instruction
 * without its address, which tval has, but with how far behind its first byte the fault is.
 */
import { i32, select, type Expr, type FunctionReference } from "#wasm/expression.ts";
import type { FunctionBuilder } from "#wasm/function.ts";
import type { Program } from "./program.ts";

const opcode = { load: 0x03, loadFloat: 0x07, store: 0x23, storeFloat: 0x27, atomic: 0x2f, system: 0x73 } as const;
/** rd, funct3 and opcode; rs2, funct3 and opcode; all but rs1. */
const kept = { load: 0x0000_7fff, store: 0x01f0_707f, atomic: ~(31 << 15) } as const;

/** (bits of the instruction i32, offset of the fault i32) → i32, 0 for any other instruction. */
export function defineTransform({ module }: Program): FunctionReference {
  return module.function("transform", ["i32", "i32"], ["i32"], (f) => {
    const [word, offset] = [f.parameter(0), f.parameter(1)];
    const compressed = f.let(i32.ne(i32.and(word, 3), 3));
    f.if(compressed, () => f.set(word, expand(f, word)));
    const mask = f.let(i32.const(0));
    const byOpcode: readonly [number, number][] = [
      [opcode.load, kept.load],
      [opcode.loadFloat, kept.load],
      [opcode.store, kept.store],
      [opcode.storeFloat, kept.store],
      [opcode.atomic, kept.atomic],
      [opcode.system, kept.atomic],
    ];
    for (const [code, bits] of byOpcode) f.if(i32.eq(i32.and(word, 127), code), () => f.set(mask, bits));
    f.if(i32.eqz(mask), () => f.return(0));
    const transformed = i32.or(i32.and(word, mask), i32.shl(offset, 15));
    // Bit 1 tells whether the instruction is compressed.
    f.push(i32.xor(transformed, i32.shl(compressed, 1)));
  });
}

/**
 * The load or store that a compressed one stands for, without its address. funct3 is 1, 2, 3 for FLD, LW, LD, and 4 more for stores, both in
 * quadrant 0 (registers of 3 bits) and in 2 (relative to sp).
 */
function expand(f: FunctionBuilder, word: Expr): Expr {
  const funct3 = f.let(i32.and(i32.shrU(word, 13), 7));
  const isStore = f.let(i32.shrU(funct3, 2));
  const isDouble = i32.eq(i32.and(funct3, 3), 1);
  const size = select(i32.eq(i32.and(funct3, 3), 2), i32.const(2), 3);
  const low = f.let(i32.and(i32.shrU(word, 2), 31));
  const register = f.let(
    select(
      i32.and(word, 3),
      select(isStore, low, i32.and(i32.shrU(word, 7), 31)),
      i32.add(i32.and(low, 7), 8),
    ),
  );
  const code = i32.add(select(isStore, i32.const(opcode.store), opcode.load), i32.shl(isDouble, 2));
  return i32.or(
    i32.or(code, i32.shl(size, 12)),
    select(isStore, i32.shl(register, 20), i32.shl(register, 7)),
  );
}
