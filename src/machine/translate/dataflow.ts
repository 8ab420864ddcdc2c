/** Which registers a region must load, and which it must store where it leaves: sets of registers as pairs of bit masks. */
import type { Instruction } from "#riscv/instruction.ts";
import type { Decoded } from "#riscv/table.ts";
import type { Block } from "./region.ts";

/** x0 to x31 and f0 to f31, a bit each. x0 is never in a set. */
export interface RegisterSet {
  x: number;
  f: number;
}

type Role = "rd" | "rs1" | "rs2" | "rs3";

interface Operands {
  readonly reads: readonly (readonly [Role, isFloat: boolean])[];
  readonly writes: "x" | "f" | undefined;
}

const operandCache = new Map<Instruction, Operands>();

function operandsOf(instruction: Instruction): Operands {
  let operands = operandCache.get(instruction);
  if (operands === undefined) {
    const reads: [Role, boolean][] = [];
    let writes: "x" | "f" | undefined;
    for (const [, float, role] of instruction.syntax.matchAll(/(f?)(rd|rs[123])\b/g)) {
      if (role === "rd") writes = float ? "f" : "x";
      else reads.push([role as Role, float !== ""]);
    }
    operands = { reads, writes };
    operandCache.set(instruction, operands);
  }
  return operands;
}

/** The register written, as its bit in one of the masks; both 0 if none. */
export function written({ instruction, rd }: Decoded): RegisterSet {
  const { writes } = operandsOf(instruction);
  return { x: writes === "x" ? (1 << rd) & ~1 : 0, f: writes === "f" ? 1 << rd : 0 };
}

/** Instructions the result of which is a sign-extended word whatever the operands are; W instructions are known by their names. */
const alwaysWord = new Set([
  "lui", "lb", "lbu", "lh", "lhu", "lw", "slt", "slti", "sltu", "sltiu", "lr.w", "amoswap.w", "amoadd.w", "amoxor.w", "amoand.w",
  "amoor.w", "amomin.w", "amomax.w", "amominu.w", "amomaxu.w",
]);
const wordInstruction = /^(add|sub|sll|srl|sra|addi|slli|srli|srai|mul|div|divu|rem|remu)w$/;
/** Bit operations: a word if the operands are. */
const bitOperation = new Set(["and", "or", "xor", "andi", "ori", "xori"]);

type Wordness = "always" | "bits" | "add" | "never";
const wordnessCache = new Map<Instruction, Wordness>();

function wordness(instruction: Instruction): Wordness {
  let known = wordnessCache.get(instruction);
  if (known === undefined) {
    const { name } = instruction;
    known =
      alwaysWord.has(name) || wordInstruction.test(name)
        ? "always"
        : bitOperation.has(name)
          ? "bits"
          : name === "add" || name === "addi"
            ? "add"
            : "never";
    wordnessCache.set(instruction, known);
  }
  return known;
}

/** Whether what an instruction writes to rd is a sign-extended word, if those registers are that `words` names. */
function producesWord({ instruction, rs1, rs2, imm }: Decoded, words: number): boolean {
  const isWord = (register: number): boolean => register === 0 || (words & (1 << register)) !== 0;
  const immediate = instruction.syntax.includes("imm");
  switch (wordness(instruction)) {
    case "always":
      return true;
    case "bits":
      return isWord(rs1) && (immediate || isWord(rs2));
    case "add":
      // Moves and constants.
      return immediate ? rs1 === 0 || (imm === 0 && isWord(rs1)) : (rs1 === 0 && isWord(rs2)) || (rs2 === 0 && isWord(rs1));
    case "never":
      return false;
  }
}

export interface BlockFlow {
  /** May differ from what is in memory, at the start of the block. */
  readonly dirtyIn: RegisterSet;
  /** Must be in their locals at the start of the block. */
  readonly liveIn: RegisterSet;
  /** Will be read before they are written. What is dirty but not that is stored where a loop goes back, so that no loop carries it. */
  readonly readIn: RegisterSet;
  /** Integer registers that are held as words at the start of the block. */
  wordsIn: number;
}

/**
 * Forward: which registers may be dirty, and which are words. A call stores them all, and none is dirty behind it. Backward: which are
 * live. Every block may leave the region, and then stores what is dirty, so dirty registers are live.
 */
export function analyze(
  blocks: readonly Block[],
  successors: readonly (readonly number[])[],
  order: readonly number[],
  isBackEdge: (from: number, to: number) => boolean,
): BlockFlow[] {
  const { exposed, defined } = summarize(blocks);
  const flows = blocks.map((): BlockFlow => ({
    dirtyIn: { x: 0, f: 0 },
    liveIn: { x: 0, f: 0 },
    readIn: { x: 0, f: 0 },
    wordsIn: -1 & ~1,
  }));
  const keepsLocals = (b: number): boolean => blocks[b]!.end.kind !== "call";
  const backward = (name: "readIn" | "liveIn", atStart: (b: number) => RegisterSet): void => {
    for (let changed = true; changed; ) {
      changed = false;
      for (let i = order.length - 1; i >= 0; i--) {
        const b = order[i]!;
        const into = flows[b]![name];
        let { x, f } = atStart(b);
        if (keepsLocals(b)) {
          for (const s of successors[b]!) {
            x |= flows[s]![name].x & ~defined[b]!.x;
            f |= flows[s]![name].f & ~defined[b]!.f;
          }
        }
        if (x !== into.x || f !== into.f) {
          into.x = x;
          into.f = f;
          changed = true;
        }
      }
    }
  };

  backward("readIn", (b) => exposed[b]!);
  for (let changed = true; changed; ) {
    changed = false;
    for (const b of order) {
      if (!keepsLocals(b)) continue;
      const { dirtyIn } = flows[b]!;
      for (const s of successors[b]!) {
        const { dirtyIn: into, readIn } = flows[s]!;
        const kept = isBackEdge(b, s) ? readIn : { x: -1, f: -1 };
        const x = into.x | ((dirtyIn.x | defined[b]!.x) & kept.x);
        const f = into.f | ((dirtyIn.f | defined[b]!.f) & kept.f);
        if (x !== into.x || f !== into.f) {
          into.x = x;
          into.f = f;
          changed = true;
        }
      }
    }
  }
  backward("liveIn", (b) => ({ x: exposed[b]!.x | flows[b]!.dirtyIn.x, f: exposed[b]!.f | flows[b]!.dirtyIn.f }));
  findWords(blocks, successors, order, flows);
  return flows;
}

/** Of each block, the registers that it reads before it writes them, and those that it writes. */
function summarize(blocks: readonly Block[]): { exposed: RegisterSet[]; defined: RegisterSet[] } {
  const exposed: RegisterSet[] = [];
  const defined: RegisterSet[] = [];
  for (const block of blocks) {
    const uses = { x: 0, f: 0 };
    const definitions = { x: 0, f: 0 };
    for (const decoded of block.instructions) {
      for (const [role, isFloat] of operandsOf(decoded.instruction).reads) {
        const bit = 1 << decoded[role];
        if (isFloat) uses.f |= bit & ~definitions.f;
        else uses.x |= bit & ~definitions.x & ~1;
      }
      const { x, f } = written(decoded);
      definitions.x |= x;
      definitions.f |= f;
    }
    exposed.push(uses);
    defined.push(definitions);
  }
  return { exposed, defined };
}

/** Optimistic: all are words until a predecessor says otherwise. Where registers come from memory, nothing is known of them. */
function findWords(
  blocks: readonly Block[],
  successors: readonly (readonly number[])[],
  order: readonly number[],
  flows: readonly BlockFlow[],
): void {
  flows[order[0]!]!.wordsIn = 0;
  for (let changed = true; changed; ) {
    changed = false;
    for (const b of order) {
      let words = flows[b]!.wordsIn;
      for (const decoded of blocks[b]!.instructions) {
        const { x } = written(decoded);
        if (x !== 0) words = producesWord(decoded, words) ? words | x : words & ~x;
      }
      if (blocks[b]!.end.kind === "call") words = 0;
      for (const s of successors[b]!) {
        const into = flows[s]!.wordsIn & words;
        if (into !== flows[s]!.wordsIn) {
          flows[s]!.wordsIn = into;
          changed = true;
        }
      }
    }
  }
}
