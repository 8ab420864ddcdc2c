/** A way to virtualize the CPU: how the guest is confined, and what becomes of its coming out to the monitor. */
import type { Confinement } from "../confinement.ts";

/** Each is a file of this folder. */
export const cpuTechniques = ["hardware", "trap-and-emulate"] as const;
export type CpuTechniqueName = (typeof cpuTechniques)[number];

/** How guest-physical addresses become the machine's. */
export const mmuTechniques = ["nested", "shadow"] as const;
export type MmuTechniqueName = (typeof mmuTechniques)[number];

export interface CpuTechnique {
  readonly confinement: Confinement;
  /** The hart has left the guest, and says why in its state. Does what is to be done; returns 0 if the guest is to go on at once, else an ExitReason. */
  exit(): number;
  /** Gives back what it has taken of the machine. */
  release(): void;
}
