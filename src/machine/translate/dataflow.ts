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

export interface BlockFlow {
  /** May differ from what is in memory, at the start of the block. */
  readonly dirtyIn: RegisterSet;
  /** Must be in their locals at the start of the block. */
  readonly liveIn: RegisterSet;
}

/**
 * Forward: which registers may be dirty. A call stores them all, and none is dirty behind it. Backward: which are live. Every block
 * may leave the region, and then stores what is dirty, so dirty registers are live.
 */
export function analyze(blocks: readonly Block[], successors: readonly (readonly number[])[], order: readonly number[]): BlockFlow[] {
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
  const flows = blocks.map(() => ({ dirtyIn: { x: 0, f: 0 }, liveIn: { x: 0, f: 0 } }));
  const keepsLocals = (b: number): boolean => blocks[b]!.end.kind !== "call";
  for (let changed = true; changed; ) {
    changed = false;
    for (const b of order) {
      if (!keepsLocals(b)) continue;
      const { dirtyIn } = flows[b]!;
      for (const s of successors[b]!) {
        const into = flows[s]!.dirtyIn;
        const x = into.x | dirtyIn.x | defined[b]!.x;
        const f = into.f | dirtyIn.f | defined[b]!.f;
        if (x !== into.x || f !== into.f) {
          into.x = x;
          into.f = f;
          changed = true;
        }
      }
    }
  }
  for (let changed = true; changed; ) {
    changed = false;
    for (let i = order.length - 1; i >= 0; i--) {
      const b = order[i]!;
      const { dirtyIn, liveIn } = flows[b]!;
      let x = exposed[b]!.x | dirtyIn.x;
      let f = exposed[b]!.f | dirtyIn.f;
      if (keepsLocals(b)) {
        for (const s of successors[b]!) {
          x |= flows[s]!.liveIn.x & ~defined[b]!.x;
          f |= flows[s]!.liveIn.f & ~defined[b]!.f;
        }
      }
      if (x !== liveIn.x || f !== liveIn.f) {
        liveIn.x = x;
        liveIn.f = f;
        changed = true;
      }
    }
  }
  return flows;
}
