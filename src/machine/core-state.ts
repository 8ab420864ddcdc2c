/** What the bare machine's core and a virtual one have in common: a hart after power-on, and the state in which a kernel begins. */
import { envcfg } from "./csr-bits.ts";
import type { HartState } from "./hart.ts";
import { architecturalFields, layout, type FieldName } from "./layout.ts";

/** A deadline of so many ticks, 28 years, or more is none. */
const NEVER = 2n ** 53n;

/** What a comparator holds, as a deadline; Infinity if it never comes. */
export const deadlineOf = (comparator: bigint): number => (comparator < NEVER ? Number(comparator) : Infinity);

/** cycle, time, instret: bits of mcounteren and its like. */
export const COUNTERS = 7n;

/** menvcfg and henvcfg: Sstc, Svpbmt, Svadu, and all cache operations with `cbo.inval` as itself. */
export const ENVIRONMENT =
  (1n << BigInt(envcfg.stce)) | (1n << BigInt(envcfg.pbmte)) | (1n << BigInt(envcfg.adue)) |
  (1n << BigInt(envcfg.cbze)) | (1n << BigInt(envcfg.cbcfe)) | (3n << BigInt(envcfg.cbie));

/** What a reset leaves as it is: what counts the run, and what is no state of the hart's. */
const KEPT_OVER_RESET: readonly FieldName[] = ["instretTarget", "budget", "instructionsPerTick", "timeOffset"];

/** All architectural state zero; no timer is set. */
export function clear(state: HartState): void {
  for (const name of architecturalFields.filter((field) => !KEPT_OVER_RESET.includes(field))) {
    for (let index = 0; index < layout[name].count; index++) state.set(name, 0, index);
  }
  state.set("stimecmp", -1n);
  state.set("vstimecmp", -1n);
}

/** One PMP region of a naturally aligned power of two: all of the address space, readable, writable and executable. */
export function openMemory(state: HartState): void {
  state.set("pmpaddr", (1n << 54n) - 1n);
  state.set("pmpcfg", 0x1fn);
}

/** A kernel is next, at `pc`, in a supervisor's privilege: translation and interrupts off. */
export function beginKernel(state: HartState, privilege: number, pc: bigint, a0: bigint, a1: bigint): void {
  state.set("pc", pc);
  state.setNumber("privilege", privilege);
  state.set("mstatus", 0);
  state.setNumber("guestFloat", 0);
  state.set("satp", 0);
  state.set("x", a0, 10);
  state.set("x", a1, 11);
}
