/** The instruction table: every instruction of the machine, once. */
import { assert } from "#base/assert.ts";
import { immediateOf, registerOf, type Encoding } from "./encoding.ts";
import { instruction, type CompressedInstruction, type Instruction } from "./instruction.ts";
import { atomicInstructions } from "./instructions/atomic.ts";
import { bitManipulationInstructions } from "./instructions/bit-manipulation.ts";
import { compressedInstructions } from "./instructions/compressed.ts";
import { floatingPointInstructions } from "./instructions/floating-point.ts";
import { integerInstructions } from "./instructions/integer.ts";
import { multiplyInstructions } from "./instructions/multiply.ts";
import { systemInstructions } from "./instructions/system.ts";

/** What every word that is no instruction decodes to: all-zero bits, which the manual keeps illegal for ever. */
export const illegalInstruction = instruction(
  "illegal",
  "",
  "00000000000000000000000000000000",
  (s) => s.system("illegal"),
  { flow: "system", declared: { traps: "everywhere", sensitive: [] } },
);

/** The index of an instruction in this table is its number in decoded form; 0 is the illegal one. */
export const instructions: readonly Instruction[] = [
  illegalInstruction,
  ...integerInstructions,
  ...multiplyInstructions,
  ...atomicInstructions,
  ...floatingPointInstructions,
  ...bitManipulationInstructions,
  ...systemInstructions,
];

export { compressedInstructions };

const numbers = new Map(instructions.map(({ name }, number) => [name, number]));

export function instructionNumber(name: string): number {
  const number = numbers.get(name);
  assert(number !== undefined, "no such instruction", { name });
  return number;
}

/** A row that a decoder looks for: an encoding, and the instruction that it means. */
export interface DecoderRow {
  readonly encoding: Encoding;
  readonly number: number;
  readonly fixed: CompressedInstruction["fixed"];
}

/** Most specific first, so that the first match is the right one. */
export const decoderRows: readonly DecoderRow[] = [
  ...instructions.slice(1).map(({ encoding }, i) => ({ encoding, number: i + 1, fixed: {} })),
  ...compressedInstructions.map(({ encoding, base, fixed }) => ({
    encoding,
    number: base === undefined ? 0 : instructionNumber(base),
    fixed,
  })),
].sort((a, b) => bitCount(b.encoding.mask) - bitCount(a.encoding.mask));

function bitCount(value: number): number {
  let count = 0;
  for (; value !== 0; value = (value & (value - 1)) >>> 0) count++;
  return count;
}

/**
 * The rows to try for an instruction word: by its low two bits and, for 32-bit instructions, the major opcode (bits 6:2);
 * for 16-bit ones funct3 (bits 15:13).
 */
export function decoderGroup(word: number): number {
  return (word & 3) === 3 ? 32 + ((word >>> 2) & 31) : ((word & 3) << 3) | ((word >>> 13) & 7);
}

/** Indexed by `decoderGroup`. All rows' masks cover the bits that make their group. */
export const decoderGroups: readonly (readonly DecoderRow[])[] = Array.from({ length: 64 }, (_, group) =>
  decoderRows.filter(({ encoding }) => decoderGroup(encoding.match) === group),
);

export interface Decoded {
  /** Index in `instructions`. */
  readonly number: number;
  readonly instruction: Instruction;
  readonly length: 2 | 4;
  readonly rd: number;
  readonly rs1: number;
  readonly rs2: number;
  readonly rs3: number;
  /** Signed 32 bits. */
  readonly imm: number;
}

export function decode(word: number): Decoded {
  for (const row of decoderGroups[decoderGroup(word)]!) {
    const { encoding, number, fixed } = row;
    if (((word & encoding.mask) >>> 0) !== encoding.match) continue;
    const operands = { rd: 0, rs1: 0, rs2: 0, rs3: 0, imm: immediateOf(encoding, word), ...fixed };
    for (const field of encoding.registers) operands[field.operand] = registerOf(field, word);
    return { number, instruction: instructions[number]!, length: encoding.length, ...operands };
  }
  return {
    number: 0,
    instruction: illegalInstruction,
    length: (word & 3) === 3 ? 4 : 2,
    rd: 0,
    rs1: 0,
    rs2: 0,
    rs3: 0,
    imm: 0,
  };
}
