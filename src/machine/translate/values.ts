/**
 * What is known of a register: that its value lies in a range beyond some other value, its root. So accesses are seen to lie near each other: those of an
 * array by a pointer that moves, those of a table by a byte.
 */
import type { Decoded } from "#riscv/table.ts";
import { written } from "./dataflow.ts";

/** Root + low to root + high, modulo 2^64, both ends included. */
export interface Value {
  readonly root: number;
  readonly low: number;
  readonly high: number;
}

/** The root of plain numbers, and that of addresses relative to the region's head. */
const NUMBER = 0;
const HEAD = 1;

/** Bounds of the ranges, so that sums and shifts of them stay exact, and words are what their sign extensions are. */
const widest = 2 ** 31;

const isNumber = ({ root }: Value): boolean => root === NUMBER;
export const isExact = ({ low, high }: Value): boolean => low === high;
const number = (low: number, high: number): Value => ({ root: NUMBER, low, high });

function sum(a: Value, b: Value): Value | undefined {
  if (isNumber(b)) return { root: a.root, low: a.low + b.low, high: a.high + b.high };
  return isNumber(a) ? sum(b, a) : undefined;
}

/** Shifts of what isn't known leave few bits. */
function shiftedRight(a: Value, shift: number, bits: number): Value | undefined {
  if (isNumber(a) && a.low >= 0) return number(Math.floor(a.low / 2 ** shift), Math.floor(a.high / 2 ** shift));
  return bits - shift < 32 ? number(0, 2 ** (bits - shift) - 1) : undefined;
}

type Rule = (a: Value, b: Value, imm: number, offset: number) => Value | undefined;

/** Of numbers only, as words are cut off at 32 bits. */
const ofNumbers = (rule: Rule): Rule => (a, b, imm, offset) => (isNumber(a) && isNumber(b) ? rule(a, b, imm, offset) : undefined);
const flag: Rule = () => number(0, 1);
const shiftAdd = (shift: number): Rule => (a, b) => (isNumber(a) ? sum(b, number(a.low * 2 ** shift, a.high * 2 ** shift)) : undefined);
const negated = ({ low, high }: Value): Value => number(-high, -low);

/** By the first operand, the second or x0, the immediate, and the offset of the instruction. Others make values of which nothing is known. */
const rules: Readonly<Record<string, Rule>> = {
  addi: (a, _, imm) => sum(a, number(imm, imm)),
  addiw: ofNumbers((a, _, imm) => sum(a, number(imm, imm))),
  add: sum,
  addw: ofNumbers(sum),
  sub: (a, b) => (isNumber(b) ? sum(a, negated(b)) : undefined),
  subw: ofNumbers((a, b) => sum(a, negated(b))),
  andi: (_a, _b, imm) => (imm >= 0 ? number(0, imm) : undefined),
  slli: (a, _, imm) => (isNumber(a) ? number(a.low * 2 ** imm, a.high * 2 ** imm) : undefined),
  slliw: (a, _, imm) => (isNumber(a) ? number(a.low * 2 ** imm, a.high * 2 ** imm) : undefined),
  srli: (a, _, imm) => shiftedRight(a, imm, 64),
  srliw: (a, _, imm) => shiftedRight(a, imm, 32),
  sh1add: shiftAdd(1),
  sh2add: shiftAdd(2),
  sh3add: shiftAdd(3),
  lui: (_a, _b, imm) => number(imm, imm),
  auipc: (_a, _b, imm, offset) => ({ root: HEAD, low: offset + imm, high: offset + imm }),
  lb: () => number(-0x80, 0x7f),
  lbu: () => number(0, 0xff),
  lh: () => number(-0x8000, 0x7fff),
  lhu: () => number(0, 0xffff),
  slt: flag,
  slti: flag,
  sltu: flag,
  sltiu: flag,
};

/** What is known of each register, as instructions go by. */
export class KnownValues {
  readonly #values: Value[];
  readonly #fresh: () => Value;

  /** @param roots counts the roots of a region. */
  constructor(roots: { next: number }, from?: KnownValues) {
    this.#fresh = () => ({ root: HEAD + ++roots.next, low: 0, high: 0 });
    this.#values = from === undefined ? Array.from({ length: 32 }, (_, i) => (i === 0 ? number(0, 0) : this.#fresh())) : from.#values.slice();
  }

  of(register: number): Value {
    return this.#values[register]!;
  }

  /** A register that holds the root and a known distance. */
  near(root: number): number | undefined {
    const register = this.#values.findIndex((value) => value.root === root && isExact(value));
    return register < 0 ? undefined : register;
  }

  execute(decoded: Decoded, offset: number): void {
    if (written(decoded).x === 0) return;
    const { instruction, rd, rs1, rs2, imm } = decoded;
    const value = rules[instruction.name]?.(this.of(rs1), this.of(rs2), imm, offset);
    const fits = value !== undefined && value.low >= -widest && value.high < widest;
    this.#values[rd] = fits ? value : this.#fresh();
  }
}
