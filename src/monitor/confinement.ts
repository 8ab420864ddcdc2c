/**
 * How a guest's state stands on the machine's hart, so that it gets nowhere beyond its VM. A virtual hart's state has one form that belongs to
 * no technique (V = 1, its supervisor registers in their own places): in that it is saved, moved and handed from one technique to another.
 */
import { cause, hypervisorStatus, privilege, rewriting, sstatusMask, status, userStatusMask, virtualBit, virtualInterrupts } from "#machine/csr-bits.ts";
import { COUNTERS, ENVIRONMENT, openMemory } from "#machine/core-state.ts";
import type { HartState } from "#machine/hart.ts";
import type { FieldName } from "#machine/layout.ts";

export interface Confinement {
  /** The hart's routine for a trap into the guest's kernel. */
  readonly raise: "raiseInVirtual" | "raiseInGuest";
  /** That for the exception that has come out. */
  readonly reflect: "reflectInVirtual" | "reflectInGuest";
  /** From the common form to that which the hart executes. */
  enter(state: HartState): void;
  /** And back. */
  leave(state: HartState): void;
  /** The hart begins anew, as after power-on. */
  reset?(): void;
}

const bit = (...numbers: readonly number[]): bigint => numbers.reduce((all, number) => all | (1n << BigInt(number)), 0n);

/** What a guest's kernel handles itself. Not: its system calls to us, faults of the second stage, and what is only there for a hypervisor. */
const OWN_EXCEPTIONS = bit(
  cause.instructionMisaligned, cause.instructionAccess, cause.illegalInstruction, cause.breakpoint, cause.loadMisaligned, cause.loadAccess,
  cause.storeMisaligned, cause.storeAccess, cause.ecallFromUser, cause.instructionPage, cause.loadPage, cause.storePage,
);
const FLOAT = 3n << BigInt(status.fs);

/** Whatever the technique: what a guest can't reach, and is the same for each. */
function confine(state: HartState, hgatp: bigint): void {
  state.setNumber("privilege", state.number("privilege") & 1 ? privilege.virtualSupervisor : privilege.virtualUser);
  state.setNumber("monitored", 1);
  state.setNumber("emulated", 0);
  state.setNumber("firmware", 0);
  state.setNumber("reservation", 0);
  state.set("stimecmp", -1n);
  state.set("medeleg", -1n);
  state.set("mideleg", BigInt(virtualInterrupts));
  state.set("hedeleg", OWN_EXCEPTIONS);
  state.set("hideleg", BigInt(virtualInterrupts));
  state.set("mcounteren", COUNTERS);
  state.set("hcounteren", COUNTERS);
  state.set("menvcfg", ENVIRONMENT);
  state.set("henvcfg", ENVIRONMENT);
  state.set("hgatp", hgatp);
  state.set("hstatus", 0n);
  // Of these lines and enables there are only the guest's.
  state.set("mie", state.get("mie") & BigInt(virtualInterrupts));
  state.set("mip", state.get("mip") & BigInt(virtualInterrupts));
  // Floating point is on for HS-mode, where the monitor stands: so the guest's own switch is the one that counts.
  state.set("parkedStatus", FLOAT);
  // All of the machine's memory: which of it is the guest's is for the tables to say that the monitor makes.
  openMemory(state);
}

/** In VS-mode and VU-mode, over the G-stage tables that `hgatp` names. */
export class HardwareConfinement implements Confinement {
  readonly raise = "raiseInVirtual";
  readonly reflect = "reflectInVirtual";
  readonly #hgatp: bigint;
  readonly #emulated: boolean;

  constructor(hgatp: bigint, emulated: boolean) {
    this.#hgatp = hgatp;
    this.#emulated = emulated;
  }

  enter(state: HartState): void {
    confine(state, this.#hgatp);
    state.setNumber("emulated", Number(this.#emulated));
  }

  leave(): void {}
}

const VTVM = 1n << BigInt(hypervisorStatus.vtvm);
const PAGE_FAULTS = bit(cause.instructionPage, cause.loadPage, cause.storePage);
/** hgatp without a mode and a root: guest-physical addresses are the machine's. */
const VMID = 0x3fffn << 44n;

/** In VS-mode and VU-mode without a second stage, as early VT-x had none: satp names shadow tables, and the guest's own stands in vsatp's parked field. */
export class ShadowedHardwareConfinement implements Confinement {
  readonly raise = "raiseInVirtual";
  readonly reflect = "reflectInVirtual";
  readonly #hgatp: bigint;
  readonly #nowhere: () => bigint;

  /** Of hgatp only the VMID counts. `nowhere` is what satp is to hold until the guest's address space is there. */
  constructor(hgatp: bigint, nowhere: () => bigint) {
    this.#hgatp = hgatp & VMID;
    this.#nowhere = nowhere;
  }

  enter(state: HartState): void {
    confine(state, this.#hgatp);
    state.set("hedeleg", OWN_EXCEPTIONS & ~PAGE_FAULTS);
    state.set("hstatus", VTVM);
    state.set("parkedSatp", state.get("satp"));
    leadTo(state, this.#nowhere());
  }

  leave(state: HartState): void {
    state.set("satp", state.get("parkedSatp"));
    state.set("parkedSatp", 0n);
  }
}

/** Whatever the hart accesses, it walks these tables. */
function leadTo(state: HartState, satp: bigint): void {
  for (const view of [0, 1, 2]) state.set("views", satp, view);
  state.set("satp", satp);
}

/** The registers that stand elsewhere in a deprivileged guest, and where. */
const places: readonly (readonly [own: FieldName, parked: FieldName])[] = [
  ["stvec", "parkedStvec"],
  ["sscratch", "parkedSscratch"],
  ["sepc", "parkedSepc"],
  ["scause", "parkedScause"],
  ["stval", "parkedStval"],
  ["satp", "parkedSatp"],
  ["scounteren", "virtualScounteren"],
  ["senvcfg", "virtualSenvcfg"],
];

/** Kernel and programs in U-mode (see hart/deprivileged.ts). */
export class UserModeConfinement implements Confinement {
  readonly raise = "raiseInGuest";
  readonly reflect = "reflectInGuest";
  readonly #hgatp: bigint;
  readonly #rewrites: keyof typeof rewriting;
  /** What satp is to hold until the guest's address space is there. */
  readonly #nowhere: () => bigint;

  /** Of hgatp only the VMID counts. */
  constructor(hgatp: bigint, rewrites: keyof typeof rewriting, nowhere: () => bigint) {
    this.#hgatp = hgatp;
    this.#rewrites = rewrites;
    this.#nowhere = nowhere;
  }

  enter(state: HartState): void {
    confine(state, this.#hgatp);
    const isKernel = state.number("privilege") === privilege.virtualSupervisor;
    const guest = (state.get("mstatus") & sstatusMask & ~FLOAT) | ownFloat(state);
    for (const [own, parked] of places) state.set(parked, state.get(own));
    state.set("parkedStatus", guest);
    state.set("mstatus", guest & userStatusMask);
    state.setNumber("virtualPrivilege", Number(isKernel));
    const rewrites = rewriting[this.#rewrites];
    state.setNumber("rewrites", rewrites);
    state.setNumber("privilege", isKernel && rewrites !== rewriting.none ? privilege.rewrittenKernel : privilege.user);
    state.set("scounteren", isKernel ? COUNTERS : state.get("virtualScounteren"));
    state.set("senvcfg", isKernel ? ENVIRONMENT & 0xffffffffn : state.get("virtualSenvcfg"));
    leadTo(state, this.#nowhere());
  }

  leave(state: HartState): void {
    const guest = (state.get("parkedStatus") & ~userStatusMask) | (state.get("mstatus") & userStatusMask);
    const float = Number((guest & FLOAT) >> BigInt(status.fs));
    for (const [own, parked] of places) {
      state.set(own, state.get(parked));
      state.set(parked, 0n);
    }
    state.setNumber("guestFloat", float);
    // On for both worlds, or not; dirty only where it was used since: see `guestFloat` in layout.ts.
    const on = float === 0 ? 0n : 1n << BigInt(status.fs);
    state.set("mstatus", (guest & ~FLOAT) | on);
    state.setNumber("privilege", state.number("virtualPrivilege") | virtualBit);
    state.setNumber("rewrites", rewriting.none);
  }
}

/** vsstatus.FS where V = 1: see `guestFloat` in layout.ts. */
function ownFloat(state: HartState): bigint {
  const used = (state.get("mstatus") & FLOAT) === FLOAT;
  return used ? FLOAT : BigInt(state.number("guestFloat")) << BigInt(status.fs);
}
