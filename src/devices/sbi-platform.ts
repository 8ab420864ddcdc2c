import type { DmaMemory } from "#machine/bus.ts";

/** What the SBI acts through: all that it can do to the machine. Harts are counted from 0 and all are there. */
export interface SbiPlatform {
  readonly hartCount: number;
  readonly memory: DmaMemory;
  /** Whether the harts have the hypervisor extension, and so its fences. */
  readonly hypervisor: boolean;
  readonly identity: SbiIdentity;
  /** The supervisor timer interrupt of the hart: pending from `time` (ticks, unsigned 64 bits) on, and not before. */
  setTimer(hart: number, time: bigint): void;
  /** Makes the supervisor software interrupt of the hart pending. */
  sendIpi(hart: number): void;
  /** When it returns, the harts have done the fence, or will before their next instruction. */
  remoteFence(harts: readonly number[], fence: Fence): void;
  hartState(hart: number): HartState;
  /** Starts a stopped hart in S-mode at the physical address, with satp = 0, interrupts off, a0 = hart, a1 = opaque. */
  startHart(hart: number, address: bigint, opaque: bigint): void;
  /** Stops the calling hart. The call does not return to the guest. */
  stopHart(hart: number): void;
  /** Halts the calling hart until an interrupt is pending. */
  suspendHart(hart: number, suspend: HartSuspend): void;
  systemReset(reset: SystemReset): void;
  /** Output to the debug console; the bytes are the callee's to keep. */
  consoleWrite(bytes: Uint8Array): void;
  /** Moves input of the debug console into `into`, as much as there is and fits, without waiting; returns how many bytes. */
  consoleRead(into: Uint8Array): number;
}

/** What the base extension tells. */
export interface SbiIdentity {
  /** A number by which kernels know the implementation's quirks; one that nobody has taken has none. */
  readonly implementationId: number;
  readonly implementationVersion: number;
  readonly mvendorid: bigint;
  readonly marchid: bigint;
  readonly mimpid: bigint;
}

/** SBI 2.0, section 9, table of hart states; a state's place in the list is its number. */
export const HART_STATES = ["started", "stopped", "start-pending", "stop-pending", "suspended", "suspend-pending", "resume-pending"] as const;
export type HartState = (typeof HART_STATES)[number];

/** A retentive suspension returns to the call; the other goes on at `address` as a hart that starts does. */
export type HartSuspend =
  | { readonly kind: "retentive" }
  | { readonly kind: "non-retentive"; readonly address: bigint; readonly opaque: bigint };

export interface SystemReset {
  readonly kind: "shutdown" | "cold-reboot" | "warm-reboot";
  readonly reason: "none" | "system-failure";
}

/** Addresses that a fence covers: `size` bytes from `start`, or all. */
export type FenceRange = { readonly start: bigint; readonly size: bigint } | "all";

/** A fence for other harts. `id` is the ASID of an sfence.vma or hfence.vvma, the VMID of an hfence.gvma; without it, all. */
export type Fence =
  | { readonly kind: "fence.i" }
  | { readonly kind: "sfence.vma" | "hfence.gvma" | "hfence.vvma"; readonly range: FenceRange; readonly id?: bigint };
