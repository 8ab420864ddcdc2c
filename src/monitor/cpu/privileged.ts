/** Privileged instructions, as a monitor does them for a guest's kernel that may not: what each is to be, by its name. */
import type { HartState } from "#machine/hart.ts";
import { decode } from "#riscv/table.ts";
import type { CsrAccess } from "../virtual-core.ts";

/** What a kernel in S-mode would have executed. */
export type Privileged =
  | { readonly kind: "csr"; readonly csr: number; readonly operation: number; readonly operand: number; readonly writes: boolean; readonly rd: number }
  | { readonly kind: "sret" | "wait" | "nothing" }
  /** SFENCE.VMA and its like: registers with the address and the ASID, 0 for all. */
  | { readonly kind: "fence"; readonly address: number; readonly asid: number };

/** The hart's numbers for what is done to a CSR, and the bit of an operand that is no register. */
const operations: Readonly<Record<string, number>> = { csrrw: 1, csrrs: 2, csrrc: 3, csrrwi: 1, csrrsi: 2, csrrci: 3 };
const IMMEDIATE = 32;
const FLOAT_CSRS: ReadonlySet<number> = new Set([1, 2, 3]);

/** What an access to a CSR that holds `old` writes; undefined if it doesn't write. */
export function writtenBy({ operation, operand, writes }: CsrAccess, state: HartState, old: bigint): bigint | undefined {
  if (!writes) return undefined;
  const value = operand & IMMEDIATE ? BigInt(operand & 31) : state.get("x", operand);
  return operation === operations["csrrw"] ? value : operation === operations["csrrs"] ? old | value : old & ~value;
}

const cache = new Map<number, Privileged | undefined>();

/** By the instruction's bits; undefined if it is none of S-mode's. */
export function privileged(word: number): Privileged | undefined {
  if (!cache.has(word)) {
    // A kernel has a few hundred; a guest that makes up others must not fill the host.
    if (cache.size > 8192) cache.clear();
    cache.set(word, decoded(word));
  }
  return cache.get(word);
}

/** Whether it is illegal only where floating point is off. */
export function needsFloat(word: number): boolean {
  const { instruction, imm } = decode(word);
  return instruction.declared.traps === "mstatus.FS" || (instruction.name in operations && FLOAT_CSRS.has(imm & 0xfff));
}

function decoded(word: number): Privileged | undefined {
  const { instruction, rs1, rs2, imm } = decode(word);
  const operation = operations[instruction.name];
  if (operation !== undefined) {
    const isImmediate = instruction.name.endsWith("i");
    const operand = (word >>> 15) & 31;
    return {
      kind: "csr",
      csr: imm & 0xfff,
      operation,
      operand: isImmediate ? operand | IMMEDIATE : operand,
      writes: operation === 1 || operand !== 0,
      rd: (word >>> 7) & 31,
    };
  }
  switch (instruction.name) {
    case "sret":
      return { kind: "sret" };
    case "wfi":
      return { kind: "wait" };
    case "sfence.vma":
    case "sinval.vma":
      return { kind: "fence", address: rs1, asid: rs2 };
    case "sfence.w.inval":
    case "sfence.inval.ir":
      return { kind: "nothing" };
    default:
      return undefined;
  }
}
