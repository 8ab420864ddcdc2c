/** Frames beside a VM's memory, for the tables that map it: a table of 512 entries for each 2 MiB, and those above. */
const TABLES_SHARE = 1 / 256;
const TABLES_MINIMUM = 1 << 20;

/** Bytes of the machine's memory that a VM with so many takes at most. */
export function footprint(memory: number): number {
  return memory + Math.ceil(Math.max(memory * TABLES_SHARE, TABLES_MINIMUM) / 4096) * 4096;
}
