/** The shape of a row of the instruction table. */
import { innocuous, type Declaration } from "./declaration.ts";
import { parseEncoding, type Encoding, type RegisterOperand } from "./encoding.ts";
import type { Semantics } from "./semantics.ts";

/** How control leaves the instruction: decides where a block of code ends. */
export type Flow = "next" | "branch" | "jump" | "jump-register" | "system";

export interface Instruction {
  /** `addi`. */
  readonly name: string;
  /** Operands as an assembler takes them: `rd, rs1, imm`, `rd, imm(rs1)`. An f before a register's name means a floating-point register. */
  readonly syntax: string;
  readonly encoding: Encoding;
  readonly flow: Flow;
  /** Of an instruction that accesses a CSR, what holds for any; the rest is the CSR's (see csr-classes.ts). */
  readonly declared: Declaration;
  readonly semantics: (s: Semantics) => void;
}

/** A 16-bit instruction stands for a 32-bit one, some operands of which are fixed. */
export interface CompressedInstruction {
  readonly name: string;
  readonly encoding: Encoding;
  /** The instruction that it stands for, or undefined for a reserved encoding. */
  readonly base: string | undefined;
  readonly fixed: Partial<Record<RegisterOperand | "imm", number>>;
}

const usesFloat = /\bfr(d|s[123])\b/;
/** FS becomes dirty by it, which changes nothing of what the machine may do. */
const float: Declaration = { traps: "mstatus.FS", sensitive: [] };

export function instruction(
  name: string,
  syntax: string,
  encoding: string,
  semantics: (s: Semantics) => void,
  options: { flow?: Flow; declared?: Declaration } = {},
): Instruction {
  return {
    name,
    syntax,
    encoding: parseEncoding(encoding),
    flow: options.flow ?? "next",
    declared: options.declared ?? (usesFloat.test(syntax) ? float : innocuous),
    semantics,
  };
}

export function compressed(
  name: string,
  encoding: string,
  base: string | undefined,
  fixed: CompressedInstruction["fixed"] = {},
): CompressedInstruction {
  return { name, encoding: parseEncoding(encoding), base, fixed };
}
