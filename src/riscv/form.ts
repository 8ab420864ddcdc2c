/**
 * How instructions are written: a form for each row of the table and for each compressed row. A compressed instruction's syntax
 * follows from that of the instruction that it stands for: what is fixed disappears (but for sp, which is spelt out), what shares a
 * field is written once.
 */
import type { Encoding } from "./encoding.ts";
import type { CompressedInstruction, Instruction } from "./instruction.ts";
import { compressedInstructions, instructionNumber, instructions } from "./table.ts";

/** An operand as it is written: `rd`, `frs1`, `imm`, `imm(rs1)`, `(rs1)`, `csr`, `sp`, `imm(sp)`. */
export type WrittenOperand = string;

export interface Form {
  readonly name: string;
  readonly encoding: Encoding;
  readonly operands: readonly WrittenOperand[];
  /** The instruction's number in the table. */
  readonly number: number;
  /** Whether a rounding mode may be written behind the operands. */
  readonly rounds: boolean;
  /** Whether `.aq` and `.rl` may be written behind the name: bits 26 and 25. */
  readonly orders: boolean;
}

const splitOperands = (syntax: string): string[] => (syntax === "" ? [] : syntax.split(", "));

const sp = 2;

function compressedOperands({ encoding, fixed }: CompressedInstruction, base: Instruction): string[] {
  const written = splitOperands(base.syntax).flatMap((operand) => {
    if (fixed.imm !== undefined && operand.startsWith("imm")) return operand === "imm(rs1)" ? ["rs1"] : [];
    const register = /r(?:d|s[123])/.exec(operand)?.[0] as keyof typeof fixed | undefined;
    if (register === undefined || fixed[register] === undefined) return [operand];
    return fixed[register] === sp ? [operand.replace(register, "sp")] : [];
  });
  const fieldOf = (operand: string): number | string =>
    encoding.registers.find((field) => field.operand === operand)?.low ?? operand;
  return written.filter((operand, i) => written.findIndex((other) => fieldOf(other) === fieldOf(operand)) === i);
}

function form(name: string, encoding: Encoding, operands: readonly string[], number: number): Form {
  const fields = encoding.text.split(" ");
  return { name, encoding, operands, number, rounds: fields.includes("rm"), orders: fields[1] === "-2" };
}

export const forms: readonly Form[] = [
  ...instructions.slice(1).map(({ name, encoding, syntax }, i) => form(name, encoding, splitOperands(syntax), i + 1)),
  ...compressedInstructions.flatMap((row) => {
    if (row.base === undefined) return [];
    const number = instructionNumber(row.base);
    return [form(row.name, row.encoding, compressedOperands(row, instructions[number]!), number)];
  }),
];

export const roundingModeNames: readonly (string | undefined)[] = ["rne", "rtz", "rdn", "rup", "rmm", undefined, undefined, "dyn"];

/** Bits of FENCE's predecessor and successor sets, highest first. */
export const fenceSet = "iorw";

/** Suffixes of an atomic instruction by its aq and rl bits. */
export const orderSuffixes = ["", ".rl", ".aq", ".aqrl"] as const;

/** What LUI and AUIPC write is the upper 20 bits, not the value that they make. */
export const writesUpper = (name: string): boolean => /^(c\.)?lui$|^auipc$/.test(name);
