/** What differs between the hart of the bare machine and a virtual one's, as their surroundings see it. */
import type { HartState } from "./hart.ts";

/** A computer's hart, as its devices and its firmware reach it. */
export interface Core {
  /** The hart's state, wherever it is kept just now. */
  readonly state: HartState;
  /** A line into the hart; `number` is the interrupt's in mip. */
  setLine(number: number, level: boolean): void;
  /** Whether WFI has nothing to wait for. */
  interruptPending(): boolean;
  /** When the supervisor's timer ends a WFI, as its comparator has it, in ticks of the CSR time; Infinity if it doesn't. */
  supervisorDeadline(): number;
  /** Whether the machine timer's interrupt ends a WFI. */
  machineTimerEnabled(): boolean;
  /** The hart as after power-on; instructions are counted on. */
  reset(): void;
  /** A kernel is to begin in supervisor mode, with translation and interrupts off. What its firmware would have set up, is. */
  enterSupervisor(pc: bigint, a0: bigint, a1: bigint): void;
  /** The supervisor's timer interrupt is pending from `ticks` on, and not before. */
  setSupervisorTimer(ticks: bigint): void;
  /** Makes the supervisor's software interrupt pending. */
  raiseSupervisorSoftware(): void;
  /** No translation of addresses made so far holds. */
  flushTranslations(): void;
}
