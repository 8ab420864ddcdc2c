/** Zba, Zbb, Zbs (unprivileged manual, chapter 28) and Zicond (chapter 11). */
import { i32, i64, select, type Expr } from "#wasm/expression.ts";
import { instruction, type Instruction } from "../instruction.ts";
import type { Semantics } from "../semantics.ts";
import { low, word } from "./integer.ts";

type Value = (s: Semantics) => Expr;

const register = (name: string, funct7: string, funct3: string, value: Value): Instruction =>
  instruction(name, "rd, rs1, rs2", `${funct7} rs2 rs1 ${funct3} rd 0110011`, (s) => s.setRd(value(s)));

const registerWord = (name: string, funct7: string, funct3: string, value: Value): Instruction =>
  instruction(name, "rd, rs1, rs2", `${funct7} rs2 rs1 ${funct3} rd 0111011`, (s) => s.setRd(value(s)));

const unary = (name: string, high: string, funct3: string, value: Value): Instruction =>
  instruction(name, "rd, rs1", `${high} rs1 ${funct3} rd 0010011`, (s) => s.setRd(value(s)));

const unaryWord = (name: string, high: string, funct3: string, value: Value): Instruction =>
  instruction(name, "rd, rs1", `${high} rs1 ${funct3} rd 0011011`, (s) => s.setRd(value(s)));

const immediate = (name: string, funct6: string, funct3: string, value: Value): Instruction =>
  instruction(name, "rd, rs1, uimm", `${funct6} uimm[5:0] rs1 ${funct3} rd 0010011`, (s) => s.setRd(value(s)));

const unsignedWord = (value: Expr): Expr => i64.and(value, 0xffffffff);
const invert = (value: Expr): Expr => i64.xor(value, -1);
const bit = (index: Expr): Expr => i64.shl(1, index);
const shiftAdd = (amount: number, base: (s: Semantics) => Expr) => (s: Semantics) =>
  i64.add(i64.shl(base(s), amount), s.rs2);

function pick(comparison: (a: Expr, b: Expr) => Expr): Value {
  return (s) => select(comparison(s.rs1, s.rs2), s.rs1, s.rs2);
}

/** Sets every byte that isn't zero to 0xff: the high bit of each byte is gathered, then spread over the byte. */
function orCombine(s: Semantics): Expr {
  const x = s.f.let(s.rs1);
  const low7 = 0x7f7f7f7f7f7f7f7fn;
  const high = s.f.let(i64.and(i64.or(i64.add(i64.and(x, low7), low7), x), 0x8080808080808080n));
  return i64.or(high, i64.sub(high, i64.shrU(high, 7)));
}

/** Swaps neighbours of 8, 16 and 32 bits. */
function byteReverse(s: Semantics): Expr {
  const x = s.f.let(s.rs1);
  const swap = (shift: number, mask: bigint): void =>
    s.f.set(x, i64.or(i64.and(i64.shrU(x, shift), mask), i64.shl(i64.and(x, mask), shift)));
  swap(8, 0x00ff00ff00ff00ffn);
  swap(16, 0x0000ffff0000ffffn);
  return i64.rotl(x, 32);
}

export const bitManipulationInstructions: readonly Instruction[] = [
  // Zba
  registerWord("add.uw", "0000100", "000", (s) => i64.add(unsignedWord(s.rs1), s.rs2)),
  register("sh1add", "0010000", "010", shiftAdd(1, (s) => s.rs1)),
  register("sh2add", "0010000", "100", shiftAdd(2, (s) => s.rs1)),
  register("sh3add", "0010000", "110", shiftAdd(3, (s) => s.rs1)),
  registerWord("sh1add.uw", "0010000", "010", shiftAdd(1, (s) => unsignedWord(s.rs1))),
  registerWord("sh2add.uw", "0010000", "100", shiftAdd(2, (s) => unsignedWord(s.rs1))),
  registerWord("sh3add.uw", "0010000", "110", shiftAdd(3, (s) => unsignedWord(s.rs1))),
  instruction("slli.uw", "rd, rs1, uimm", "000010 uimm[5:0] rs1 001 rd 0011011", (s) =>
    s.setRd(i64.shl(unsignedWord(s.rs1), s.imm)),
  ),
  // Zbb
  register("andn", "0100000", "111", (s) => i64.and(s.rs1, invert(s.rs2))),
  register("orn", "0100000", "110", (s) => i64.or(s.rs1, invert(s.rs2))),
  register("xnor", "0100000", "100", (s) => invert(i64.xor(s.rs1, s.rs2))),
  unary("clz", "011000000000", "001", (s) => i64.clz(s.rs1)),
  unary("ctz", "011000000001", "001", (s) => i64.ctz(s.rs1)),
  unary("cpop", "011000000010", "001", (s) => i64.popcnt(s.rs1)),
  unary("sext.b", "011000000100", "001", (s) => i64.extend8S(s.rs1)),
  unary("sext.h", "011000000101", "001", (s) => i64.extend16S(s.rs1)),
  unaryWord("clzw", "011000000000", "001", (s) => word(i32.clz(low(s.rs1)))),
  unaryWord("ctzw", "011000000001", "001", (s) => word(i32.ctz(low(s.rs1)))),
  unaryWord("cpopw", "011000000010", "001", (s) => word(i32.popcnt(low(s.rs1)))),
  instruction("zext.h", "rd, rs1", "0000100 00000 rs1 100 rd 0111011", (s) => s.setRd(i64.and(s.rs1, 0xffff))),
  register("max", "0000101", "110", pick(i64.gtS)),
  register("maxu", "0000101", "111", pick(i64.gtU)),
  register("min", "0000101", "100", pick(i64.ltS)),
  register("minu", "0000101", "101", pick(i64.ltU)),
  register("rol", "0110000", "001", (s) => i64.rotl(s.rs1, s.rs2)),
  register("ror", "0110000", "101", (s) => i64.rotr(s.rs1, s.rs2)),
  immediate("rori", "011000", "101", (s) => i64.rotr(s.rs1, s.imm)),
  registerWord("rolw", "0110000", "001", (s) => word(i32.rotl(low(s.rs1), low(s.rs2)))),
  registerWord("rorw", "0110000", "101", (s) => word(i32.rotr(low(s.rs1), low(s.rs2)))),
  instruction("roriw", "rd, rs1, uimm", "0110000 uimm[4:0] rs1 101 rd 0011011", (s) =>
    s.setRd(word(i32.rotr(low(s.rs1), low(s.imm)))),
  ),
  unary("orc.b", "001010000111", "101", orCombine),
  unary("rev8", "011010111000", "101", byteReverse),
  // Zbs
  register("bclr", "0100100", "001", (s) => i64.and(s.rs1, invert(bit(s.rs2)))),
  register("bext", "0100100", "101", (s) => i64.and(i64.shrU(s.rs1, s.rs2), 1)),
  register("binv", "0110100", "001", (s) => i64.xor(s.rs1, bit(s.rs2))),
  register("bset", "0010100", "001", (s) => i64.or(s.rs1, bit(s.rs2))),
  immediate("bclri", "010010", "001", (s) => i64.and(s.rs1, invert(bit(s.imm)))),
  immediate("bexti", "010010", "101", (s) => i64.and(i64.shrU(s.rs1, s.imm), 1)),
  immediate("binvi", "011010", "001", (s) => i64.xor(s.rs1, bit(s.imm))),
  immediate("bseti", "001010", "001", (s) => i64.or(s.rs1, bit(s.imm))),
  // Zicond
  register("czero.eqz", "0000111", "101", (s) => select(i64.eqz(s.rs2), i64.const(0), s.rs1)),
  register("czero.nez", "0000111", "111", (s) => select(i64.eqz(s.rs2), s.rs1, 0)),
];
