/**
 * Accesses that go through the same value of a base register share one TLB check: the first checks the span of all, the others use the
 * host address that it found. A block also uses what its only predecessor has checked, and so on upwards: an extended basic block.
 */
import type { Decoded } from "#riscv/table.ts";
import { written } from "./dataflow.ts";
import { staysInRegion, type Block } from "./region.ts";

export interface AccessGroup {
  /** Lowest and highest byte that the group touches, relative to the base register; the span is last - first + 1. */
  first: number;
  last: number;
  /** Checked against the write TLB. */
  writes: boolean;
  /** Blocks may only add writes to a group that they began. */
  readonly block: number;
}

/**
 * How wide a span may get, and what a later block, which may not run, may widen it to. A span that straddles two pages misses for ever: a
 * region to which that happens is translated anew with separate checks.
 */
export interface SpanLimits {
  readonly own: number;
  readonly inherited: number;
}

export const sharedChecks: SpanLimits = { own: 256, inherited: 128 };
export const separateChecks: SpanLimits = { own: 0, inherited: 0 };

const sizes: Readonly<Record<string, number>> = {
  lb: 1, lbu: 1, sb: 1, lh: 2, lhu: 2, sh: 2, lw: 4, lwu: 4, sw: 4, flw: 4, fsw: 4, ld: 8, sd: 8, fld: 8, fsd: 8,
};

/** What is known at a point of the code: which value each register holds, by number, and the group of each value that was used as a base. */
interface Known {
  readonly values: Int32Array;
  readonly groups: Map<number, AccessGroup>;
}

/**
 * For each block, the group of each of its instructions, or undefined for those that don't access memory by base and offset.
 * @param parents the only predecessor of a block, or -1. Parents come before their children in `order`.
 */
export function accessGroups(
  blocks: readonly Block[],
  parents: readonly number[],
  order: readonly number[],
  limits: SpanLimits,
): (AccessGroup | undefined)[][] {
  const result: (AccessGroup | undefined)[][] = blocks.map(() => []);
  const atEnd: (Known | undefined)[] = [];
  let nextValue = 0;
  for (const b of order) {
    const inherited = atEnd[parents[b]!];
    const values = inherited ? inherited.values.slice() : Int32Array.from({ length: 32 }, () => nextValue++);
    const groups = inherited ? new Map(inherited.groups) : new Map<number, AccessGroup>();
    result[b] = blocks[b]!.instructions.map((decoded) => {
      const size = sizes[decoded.instruction.name] ?? 0;
      const group = size > 0 ? join(groups, values[decoded.rs1]!, decoded, size, b, limits) : undefined;
      // A CSR may change what addresses mean.
      if (staysInRegion(decoded.instruction, decoded.imm)) groups.clear();
      if (written(decoded).x !== 0) values[decoded.rd] = nextValue++;
      return group;
    });
    atEnd[b] = { values, groups };
  }
  return result;
}

function join(groups: Map<number, AccessGroup>, value: number, decoded: Decoded, size: number, block: number, limits: SpanLimits): AccessGroup {
  const first = decoded.imm;
  const last = first + size - 1;
  const writes = /^f?s/.test(decoded.instruction.name);
  const group = groups.get(value);
  if (group !== undefined) {
    const own = group.block === block;
    const span = Math.max(group.last, last) - Math.min(group.first, first) + 1;
    const fits = (first >= group.first && last <= group.last) || span <= (own ? limits.own : limits.inherited);
    if (fits && (own || group.writes || !writes)) {
      group.first = Math.min(group.first, first);
      group.last = Math.max(group.last, last);
      group.writes ||= writes;
      return group;
    }
  }
  const begun = { first, last, writes, block };
  groups.set(value, begun);
  return begun;
}
