/**
 * Accesses that are known to lie near each other share one TLB check: the first checks the span of all, the others use the
 * host address that it found. A block also uses what its only predecessor has checked, and so on upwards: an extended basic block.
 */
import type { Decoded } from "#riscv/table.ts";
import { staysInRegion, type Block } from "./region.ts";
import { isExact, KnownValues } from "./values.ts";

export interface AccessGroup {
  /** Lowest and highest byte that the group touches, relative to the root; the span is last - first + 1. */
  first: number;
  last: number;
  /** Checked against the write TLB. */
  writes: boolean;
  /** Blocks may only add writes to a group that they began. */
  readonly block: number;
  /** The register that holds the root and `distance` at the access that begins the group. */
  readonly register: number;
  readonly distance: number;
  /** Offset of the instruction that begins it. */
  readonly offset: number;
}

export interface Access {
  readonly group: AccessGroup;
  /** From the root, or undefined if it isn't always the same. */
  readonly distance: number | undefined;
}

/** How wide a span may get, and what a later block, which may not run, may widen it to; and one by itself, if all of a table is accessed. */
const limits = { own: 256, inherited: 128, table: 2048 };

const sizes: Readonly<Record<string, number>> = {
  lb: 1, lbu: 1, sb: 1, lh: 2, lhu: 2, sh: 2, lw: 4, lwu: 4, sw: 4, flw: 4, fsw: 4, ld: 8, sd: 8, fld: 8, fsd: 8,
};

/** What is known at a point of the code: of registers, and the groups by root. */
interface Known {
  readonly values: KnownValues;
  readonly groups: Map<number, readonly AccessGroup[]>;
}

/**
 * For each block, the group of each of its instructions, or undefined for those that check for themselves.
 * @param parents the only predecessor of a block, or -1. Parents come before their children in `order`.
 * @param separate offsets of instructions the groups of which straddle pages.
 */
export function accessGroups(
  blocks: readonly Block[],
  parents: readonly number[],
  order: readonly number[],
  separate: readonly number[],
): (Access | undefined)[][] {
  const result: (Access | undefined)[][] = blocks.map(() => []);
  const atEnd: (Known | undefined)[] = [];
  const roots = { next: 0 };
  for (const b of order) {
    const inherited = atEnd[parents[b]!];
    const values = new KnownValues(roots, inherited?.values);
    const groups = new Map(inherited?.groups);
    result[b] = blocks[b]!.instructions.map((decoded, i) => {
      const offset = blocks[b]!.offsets[i]!;
      const size = sizes[decoded.instruction.name] ?? 0;
      const access = size > 0 ? join(groups, values, decoded, size, b, offset) : undefined;
      // A CSR may change what addresses mean.
      if (staysInRegion(decoded.instruction, decoded.imm)) groups.clear();
      values.execute(decoded, offset);
      return access !== undefined && separate.includes(access.group.offset) ? undefined : access;
    });
    atEnd[b] = { values, groups };
  }
  return result;
}

function join(
  groups: Map<number, readonly AccessGroup[]>,
  values: KnownValues,
  decoded: Decoded,
  size: number,
  block: number,
  offset: number,
): Access | undefined {
  const base = values.of(decoded.rs1);
  const first = base.low + decoded.imm;
  const last = base.high + decoded.imm + size - 1;
  const writes = /^f?s/.test(decoded.instruction.name);
  const distance = isExact(base) ? first : undefined;
  const others = groups.get(base.root) ?? [];
  const group = others.findLast((other) => fits(other, first, last, writes, block));
  if (group !== undefined) {
    group.first = Math.min(group.first, first);
    group.last = Math.max(group.last, last);
    group.writes ||= writes;
    return { group, distance };
  }
  const register = distance === undefined ? values.near(base.root) : decoded.rs1;
  if (register === undefined || last - first >= limits.table) return undefined;
  const begun = { first, last, writes, block, register, distance: values.of(register).low, offset };
  groups.set(base.root, [...others, begun]);
  return { group: begun, distance };
}

function fits(group: AccessGroup, first: number, last: number, writes: boolean, block: number): boolean {
  const own = group.block === block;
  if (!own && writes && !group.writes) return false;
  if (first >= group.first && last <= group.last) return true;
  return Math.max(group.last, last) - Math.min(group.first, first) < (own ? limits.own : limits.inherited);
}
