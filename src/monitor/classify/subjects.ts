/** What is classified: each instruction of the table, and each kind of access to each CSR; and how to make random ones of them. */
import { declareCsr } from "#riscv/csr-classes.ts";
import { csrNumbers } from "#riscv/csr-names.ts";
import type { Declaration } from "#riscv/declaration.ts";
import type { RegisterOperand } from "#riscv/encoding.ts";
import type { Instruction } from "#riscv/instruction.ts";
import { decode, instructionNumber, instructions } from "#riscv/table.ts";
import type { Dice } from "./dice.ts";

export interface Subject {
  /** `sfence.vma`; `csrr satp` reads only, by any instruction that can, and `csrrw satp` writes too, by register or immediate. */
  readonly name: string;
  readonly declared: Declaration;
  /** Whether it is a fence or what may be one: its effect is on translations that the hart has cached. */
  readonly fences: boolean;
  /** An instruction word of it, its operands chosen at random. */
  readonly word: (dice: Dice) => number;
}

/** Of families that are numbered through, the first and the last. */
const family = /^(hpmcounter|mhpmcounter|mhpmevent|pmpcfg|pmpaddr)(\d+)$/;
const ends: ReadonlySet<string> = new Set(["3", "31", "0", "14", "63"]);
const csrs = [...csrNumbers].filter(([name]) => {
  const member = family.exec(name);
  return member === null || ends.has(member[2]!);
});

const operations = ["csrrw", "csrrs", "csrrc"] as const;

/** All of them; a compressed instruction is the one that it stands for. `declare` replaces declarations, for tests. */
export function subjects(declare: (name: string, declared: Declaration) => Declaration = (_, declared) => declared): Subject[] {
  const subject = (name: string, declared: Declaration, rest: Omit<Subject, "name" | "declared">): Subject =>
    ({ name, declared: declare(name, declared), ...rest });
  return [
    ...instructions
      .filter(({ name }) => !name.startsWith("csrr"))
      .map((instruction) => subject(instruction.name, instruction.declared, {
        fences: instruction.flow === "system",
        word: (dice) => randomWord(instruction, dice),
      })),
    ...csrs.flatMap(([name, number]) => [
      subject(`csrr ${name}`, declareCsr(number, "read"), { fences: false, word: (dice) => csrRead(number, dice) }),
      ...operations.map((operation) =>
        subject(`${operation} ${name}`, declareCsr(number, "write"), { fences: false, word: (dice) => csrWrite(operation, number, dice) })),
    ]),
  ];
}

function csrRead(number: number, dice: Dice): number {
  const name = dice.pick(["csrrs", "csrrc", "csrrsi", "csrrci"]);
  return csrWord(name, number, dice.below(32), 0);
}

function csrWrite(operation: string, number: number, dice: Dice): number {
  const name = dice.pick([operation, `${operation}i`]);
  return csrWord(name, number, dice.below(32), 1 + dice.below(31));
}

function csrWord(name: string, number: number, rd: number, operand: number): number {
  const { match } = instructions[instructionNumber(name)]!.encoding;
  return match | (number << 20) | (operand << 15) | (rd << 7);
}

/** Whether rs1 is an address in memory. */
export const pointsToMemory = ({ syntax }: Instruction): boolean => syntax.endsWith("(rs1)");

/** A fence's operands, each of which may be absent: x0. */
const mayBeAbsent = ({ syntax }: Instruction): boolean => syntax === "rs1, rs2";

function randomWord(instruction: Instruction, dice: Dice): number {
  const { encoding } = instruction;
  if (instruction.name === "illegal") return 0;
  for (;;) {
    let word = encoding.match | (dice.u32() & ~encoding.mask);
    const put = (operand: RegisterOperand, value: number): void => {
      const field = encoding.registers.find((register) => register.operand === operand);
      if (field !== undefined) word = (word & ~(31 << field.low)) | (value << field.low);
    };
    if (pointsToMemory(instruction)) put("rs1", 1 + dice.below(31));
    if (mayBeAbsent(instruction)) {
      for (const operand of ["rs1", "rs2"] as const) put(operand, dice.oneIn(2) ? 0 : 1 + dice.below(31));
    }
    // A rounding mode that there is.
    if (encoding.text.includes(" rm ")) word = (word & ~(7 << 12)) | (dice.pick([0, 1, 2, 3, 4, 7]) << 12);
    // Another instruction may have an encoding within this one's.
    if (decode(word).instruction === instruction) return word;
  }
}
