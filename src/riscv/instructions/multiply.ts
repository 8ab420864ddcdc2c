/** M: multiplication and division (unprivileged manual, chapter 12). Division by zero and overflow have results, not traps. */
import { conditional, i32, i64, type Expr } from "#wasm/expression.ts";
import type { Local } from "#wasm/function.ts";
import { instruction, type Instruction } from "../instruction.ts";
import type { Semantics } from "../semantics.ts";
import { low, word } from "./integer.ts";

function multiply(name: string, funct3: string, value: (s: Semantics) => Expr): Instruction {
  return instruction(name, "rd, rs1, rs2", `0000001 rs2 rs1 ${funct3} rd 0110011`, (s) => s.setRd(value(s)));
}

function multiplyWord(name: string, funct3: string, value: (s: Semantics) => Expr): Instruction {
  return instruction(name, "rd, rs1, rs2", `0000001 rs2 rs1 ${funct3} rd 0111011`, (s) => s.setRd(word(value(s))));
}

/** The high half of a 128-bit product. In line, since a caller would have to save all that it holds in host registers. */
function highUnsigned({ f }: Semantics, a: Local, b: Local): Expr {
  const half = 0xffffffff;
  const [aLow, bLow] = [f.let(i64.and(a, half)), f.let(i64.and(b, half))];
  const [aHigh, bHigh] = [f.let(i64.shrU(a, 32)), f.let(i64.shrU(b, 32))];
  const cross = f.let(i64.add(i64.mul(aHigh, bLow), i64.shrU(i64.mul(aLow, bLow), 32)));
  const middle = f.let(i64.add(i64.mul(aLow, bHigh), i64.and(cross, half)));
  return i64.add(i64.add(i64.mul(aHigh, bHigh), i64.shrU(cross, 32)), i64.shrU(middle, 32));
}

/** A negative factor counts 2^64 too much in the unsigned product: the other factor comes off the high half. */
function high(s: Semantics, signed: readonly [a: boolean, b: boolean]): Expr {
  const [a, b] = [s.f.let(s.rs1), s.f.let(s.rs2)];
  let result = highUnsigned(s, a, b);
  if (signed[0]) result = i64.sub(result, i64.and(i64.shrS(a, 63), b));
  if (signed[1]) result = i64.sub(result, i64.and(i64.shrS(b, 63), a));
  return result;
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
  multiply("mulh", "001", (s) => high(s, [true, true])),
  multiply("mulhsu", "010", (s) => high(s, [true, false])),
  multiply("mulhu", "011", (s) => high(s, [false, false])),
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
