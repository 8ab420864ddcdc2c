/** A way to virtualize the CPU: what becomes of a guest's coming out to the monitor. */
export interface CpuTechnique {
  /** The hart has left the guest, and says why in its state. Does what is to be done; returns whether the guest is to go on at once. */
  exit(): boolean;
}
