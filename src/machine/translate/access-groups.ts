/**
 * Accesses of one block that go through the same value of a base register share one TLB check: the first checks the span of all, the others use
 * the host address that it found.
 */
import type { Decoded } from "#riscv/table.ts";
import { written } from "./dataflow.ts";
import { staysInRegion, type Block } from "./region.ts";

export interface AccessGroup {
  /** Lowest and highest byte that the group touches, relative to the base register; the span is last - first + 1. */
  first: number;
  last: number;
  writes: boolean;
}

/** A group whose span is wider than this is likely to straddle two pages, and would then miss for ever. */
const spanLimit = 256;

const sizes: Record<string, number> = {
  lb: 1, lbu: 1, sb: 1, lh: 2, lhu: 2, sh: 2, lw: 4, lwu: 4, sw: 4, flw: 4, fsw: 4, ld: 8, sd: 8, fld: 8, fsd: 8,
};

export function accessSize({ instruction }: Decoded): number {
  return sizes[instruction.name] ?? 0;
}

/** The group of each instruction of the block, or undefined for those that don't access memory by base and offset. */
export function accessGroups(block: Block): (AccessGroup | undefined)[] {
  const versions = new Uint32Array(32);
  const groups = new Map<number, AccessGroup>();
  let epoch = 0;
  return block.instructions.map((decoded) => {
    const size = accessSize(decoded);
    let group: AccessGroup | undefined;
    if (size > 0) {
      const writes = decoded.instruction.name.startsWith("s") || decoded.instruction.name.startsWith("fs");
      const id = (epoch + versions[decoded.rs1]!) * 32 + decoded.rs1;
      group = groups.get(id);
      const own = { first: decoded.imm, last: decoded.imm + size - 1, writes };
      if (group === undefined || Math.max(group.last, own.last) - Math.min(group.first, own.first) >= spanLimit) {
        group = own;
        groups.set(id, group);
      } else {
        group.first = Math.min(group.first, own.first);
        group.last = Math.max(group.last, own.last);
        group.writes ||= writes;
      }
    }
    // A CSR may change what addresses mean.
    if (staysInRegion(decoded.instruction, decoded.imm)) epoch += 1 << 16;
    const { x } = written(decoded);
    if (x !== 0) versions[decoded.rd]!++;
    return group;
  });
}
