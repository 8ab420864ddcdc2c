/** How much of the machine's memory a VM may take. */
import { FRAME_SIZE } from "#machine/frames.ts";
import type { MmuTechniqueName } from "../cpu/technique.ts";

/** Frames beside a VM's memory, for the tables that map it: a table of 512 entries for each 2 MiB, and those above. */
const TABLES_SHARE = 1 / 256;
const TABLES_MINIMUM = 1 << 20;

/** Shadow tables of a guest with so many pages: about three percent of what it has, and what a fault makes at most before there is room again. */
export const shadowBound = (pages: number): number => Math.ceil(pages / 32) + 128;
const ONE_FAULT = 16;

/** Bytes of the machine's memory that a VM with so many takes at most. */
export function footprint(memory: number, mmu: MmuTechniqueName): number {
  const shadows = mmu === "shadow" ? (shadowBound(memory / FRAME_SIZE) + ONE_FAULT) * FRAME_SIZE : 0;
  return memory + shadows + Math.ceil(Math.max(memory * TABLES_SHARE, TABLES_MINIMUM) / FRAME_SIZE) * FRAME_SIZE;
}
