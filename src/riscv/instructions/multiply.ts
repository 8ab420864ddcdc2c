/** M: multiplication and division (unprivileged manual, chapter 12). Division by zero and overflow have results, not traps. */
import { conditional, i32, i64, type Expr } from "#wasm/expression.ts";
import { instruction, type Instruction } from "../instruction.ts";
import type { Semantics } from "../semantics.ts";
import { low, word } from "./integer.ts";

function multiply(name: string, funct3: string, value: (s: Semantics) => Expr): Instruction {
  return instruction(name, "rd, rs1, rs2", `0000001 rs2 rs1 ${funct3} rd 0110011`, (s) => s.setRd(value(s)));
}

function multiplyWord(name: string, funct3: string, value: (s: Semantics) => Expr): Instruction {
  return instruction(name, "rd, rs1, rs2", `0000001 rs2 rs1 ${funct3} rd 0111011`, (s) => s.setRd(word(value(s))));
}

type Integer = typeof i32 | typeof i64;

/** WebAssembly traps where RISC-V gives a result: the divisor 0, and the one signed overflow. */
function signedDivision(int: Integer, s: Semantics, a: Expr, b: Expr, kind: "quotient" | "remainder"): Expr {
  const dividend = s.f.let(a);
  const divisor = s.f.let(b);
  const unusual = int.leU(int.add(divisor, 1), 1); // -1 or 0
  if (kind === "quotient") {
    return conditional(
      unusual,
      conditional(int.eqz(divisor), int.const(-1), int.sub(0, dividend)),
      int.divS(dividend, divisor),
    );
  }
  // WebAssembly's own remainder is 0 for the overflow.
  return conditional(int.eqz(divisor), dividend, int.remS(dividend, divisor));
}

function unsignedDivision(int: Integer, s: Semantics, a: Expr, b: Expr, kind: "quotient" | "remainder"): Expr {
  const dividend = s.f.let(a);
  const divisor = s.f.let(b);
  return kind === "quotient"
    ? conditional(int.eqz(divisor), int.const(-1), int.divU(dividend, divisor))
    : conditional(int.eqz(divisor), dividend, int.remU(dividend, divisor));
}

export const multiplyInstructions: readonly Instruction[] = [
  multiply("mul", "000", (s) => i64.mul(s.rs1, s.rs2)),
  multiply("mulh", "001", (s) => s.routine("mulh", s.rs1, s.rs2)),
  multiply("mulhsu", "010", (s) => s.routine("mulhsu", s.rs1, s.rs2)),
  multiply("mulhu", "011", (s) => s.routine("mulhu", s.rs1, s.rs2)),
  multiply("div", "100", (s) => signedDivision(i64, s, s.rs1, s.rs2, "quotient")),
  multiply("divu", "101", (s) => unsignedDivision(i64, s, s.rs1, s.rs2, "quotient")),
  multiply("rem", "110", (s) => signedDivision(i64, s, s.rs1, s.rs2, "remainder")),
  multiply("remu", "111", (s) => unsignedDivision(i64, s, s.rs1, s.rs2, "remainder")),
  multiplyWord("mulw", "000", (s) => i32.mul(low(s.rs1), low(s.rs2))),
  multiplyWord("divw", "100", (s) => signedDivision(i32, s, low(s.rs1), low(s.rs2), "quotient")),
  multiplyWord("divuw", "101", (s) => unsignedDivision(i32, s, low(s.rs1), low(s.rs2), "quotient")),
  multiplyWord("remw", "110", (s) => signedDivision(i32, s, low(s.rs1), low(s.rs2), "remainder")),
  multiplyWord("remuw", "111", (s) => unsignedDivision(i32, s, low(s.rs1), low(s.rs2), "remainder")),
];
