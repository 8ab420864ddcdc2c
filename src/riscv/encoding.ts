/**
 * Encodings as the RISC-V manual prints them, left to right from the highest bit:
 *
 *   "imm[12|10:5] rs2 rs1 000 imm[4:1|11] 1100011"      beq
 *   "000 uimm[5:4|9:6|2|3] rd' 00"                       c.addi4spn
 *
 * A word of 0s and 1s is fixed; `rd`, `rs1`, `rs2`, `rs3` are registers of 5 bits, with a prime of 3 bits (x8 to x15);
 * `rd/rs1` is one field for two operands; `imm[…]` is signed at its highest bit, `uimm[…]` is not; `csr` (12 bits), `rm` (3 bits) and
 * `zimm` (5 bits) are parts of the immediate too (see `immediateParts`); `-` followed by a number skips that many bits, which are ignored.
 */
import { assert } from "#base/assert.ts";

export type RegisterOperand = "rd" | "rs1" | "rs2" | "rs3";

/** `width` bits at `low` of the instruction, which stand at `shift` of the operand. */
export interface Slice {
  readonly low: number;
  readonly width: number;
  readonly shift: number;
}

export interface RegisterField {
  readonly operand: RegisterOperand;
  readonly low: number;
  /** 3-bit fields name x8 to x15. */
  readonly compressed: boolean;
}

export interface Encoding {
  readonly text: string;
  /** In bytes: 2 or 4. */
  readonly length: 2 | 4;
  /** u32s: an instruction word is of this encoding if `(word & mask) === match`. */
  readonly mask: number;
  readonly match: number;
  readonly registers: readonly RegisterField[];
  readonly immediate: readonly Slice[];
  /** The immediate's sign bit, or -1 if it is unsigned. */
  readonly signBit: number;
}

/** Where the parts of an immediate that aren't one number stand in it. */
export const immediateParts = {
  csr: { shift: 0, width: 12 },
  zimm: { shift: 12, width: 5 },
  rm: { shift: 0, width: 3 },
} as const;

const immediatePattern = /^(u?)imm\[([0-9:|]+)\]$/;

export function parseEncoding(text: string): Encoding {
  const words = text.split(" ");
  const length = words.reduce((sum, word) => sum + widthOf(word), 0) === 16 ? 2 : 4;
  let low = length * 8;
  let mask = 0;
  let match = 0;
  let signBit = -1;
  const registers: RegisterField[] = [];
  const immediate: Slice[] = [];
  for (const word of words) {
    low -= widthOf(word);
    const imm = immediatePattern.exec(word);
    if (/^[01]+$/.test(word)) {
      mask |= ((1 << word.length) - 1) << low;
      match |= Number.parseInt(word, 2) << low;
    } else if (imm) {
      let at = low + widthOf(word);
      for (const [high, shift] of ranges(imm[2]!)) {
        at -= high - shift + 1;
        immediate.push({ low: at, width: high - shift + 1, shift });
        if (imm[1] === "") signBit = Math.max(signBit, high);
      }
    } else if (word in immediateParts) {
      const { shift, width } = immediateParts[word as keyof typeof immediateParts];
      immediate.push({ low, width, shift });
    } else if (!word.startsWith("-")) {
      const compressed = word.endsWith("'");
      for (const operand of word.replaceAll("'", "").split("/")) {
        assert(/^(rd|rs[123])$/.test(operand), "unknown field in an encoding", { text, operand });
        registers.push({ operand: operand as RegisterOperand, low, compressed });
      }
    }
  }
  assert(low === 0, "an encoding must have 16 or 32 bits", { text, low });
  return { text, length, mask: mask >>> 0, match: match >>> 0, registers, immediate, signBit };
}

function widthOf(word: string): number {
  const imm = immediatePattern.exec(word);
  if (imm) return ranges(imm[2]!).reduce((sum, [high, low]) => sum + high - low + 1, 0);
  if (/^[01]+$/.test(word)) return word.length;
  if (word.startsWith("-")) return Number(word.slice(1));
  if (word in immediateParts) return immediateParts[word as keyof typeof immediateParts].width;
  return word.endsWith("'") ? 3 : 5;
}

/** `12|10:5` is [[12, 12], [10, 5]]. */
function ranges(text: string): [high: number, low: number][] {
  return text.split("|").map((range) => {
    const [high, low] = range.split(":").map(Number);
    return [high!, low ?? high!];
  });
}

/** The immediate of an instruction word, as a signed 32-bit number. */
export function immediateOf(encoding: Encoding, word: number): number {
  let value = 0;
  for (const { low, width, shift } of encoding.immediate) {
    value |= ((word >>> low) & (2 ** width - 1)) << shift;
  }
  const unused = 31 - encoding.signBit;
  return encoding.signBit < 0 ? value : (value << unused) >> unused;
}

export function registerOf(field: RegisterField, word: number): number {
  return field.compressed ? ((word >>> field.low) & 7) + 8 : (word >>> field.low) & 31;
}
