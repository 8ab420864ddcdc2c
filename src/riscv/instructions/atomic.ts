/** A: atomic memory operations (unprivileged manual, chapter 13). The aq and rl bits are ignored: every access is sequentially consistent. */
import { i32, i64, select, type Expr } from "#wasm/expression.ts";
import { instruction, type Instruction } from "../instruction.ts";
import { low } from "./integer.ts";

type Update = (old: Expr, operand: Expr) => Expr;

/** Both widths of one operation. A comparing 32-bit operation compares the low halves, so that the update works on what it is given. */
function atomic(name: string, funct5: string, update: Update, updateWord: Update = update): Instruction[] {
  return [
    instruction(`${name}.w`, "rd, rs2, (rs1)", `${funct5} -2 rs2 rs1 010 rd 0101111`, (s) =>
      s.setRd(s.readModifyWrite("i32", s.rs1, (old) => updateWord(old, s.rs2))),
    ),
    instruction(`${name}.d`, "rd, rs2, (rs1)", `${funct5} -2 rs2 rs1 011 rd 0101111`, (s) =>
      s.setRd(s.readModifyWrite("i64", s.rs1, (old) => update(old, s.rs2))),
    ),
  ];
}

function pick(comparison: (a: Expr, b: Expr) => Expr): Update {
  return (old, operand) => select(comparison(old, operand), old, operand);
}

function pickWord(comparison: (a: Expr, b: Expr) => Expr): Update {
  return (old, operand) => select(comparison(low(old), low(operand)), old, operand);
}

export const atomicInstructions: readonly Instruction[] = [
  instruction("lr.w", "rd, (rs1)", "00010 -2 00000 rs1 010 rd 0101111", (s) =>
    s.setRd(s.loadReserved("i32", s.rs1)),
  ),
  instruction("lr.d", "rd, (rs1)", "00010 -2 00000 rs1 011 rd 0101111", (s) =>
    s.setRd(s.loadReserved("i64", s.rs1)),
  ),
  instruction("sc.w", "rd, rs2, (rs1)", "00011 -2 rs2 rs1 010 rd 0101111", (s) =>
    s.setRd(s.storeConditional("i32", s.rs1, s.rs2)),
  ),
  instruction("sc.d", "rd, rs2, (rs1)", "00011 -2 rs2 rs1 011 rd 0101111", (s) =>
    s.setRd(s.storeConditional("i64", s.rs1, s.rs2)),
  ),
  ...atomic("amoswap", "00001", (_old, operand) => operand),
  ...atomic("amoadd", "00000", i64.add),
  ...atomic("amoxor", "00100", i64.xor),
  ...atomic("amoand", "01100", i64.and),
  ...atomic("amoor", "01000", i64.or),
  ...atomic("amomin", "10000", pick(i64.ltS), pickWord(i32.ltS)),
  ...atomic("amomax", "10100", pick(i64.gtS), pickWord(i32.gtS)),
  ...atomic("amominu", "11000", pick(i64.ltU), pickWord(i32.ltU)),
  ...atomic("amomaxu", "11100", pick(i64.gtU), pickWord(i32.gtU)),
];

