/** A virtual machine's hart (a vCPU), as its board sees it: state that is on the machine's hart only while that executes it. */
import { StateReader, type Saveable, type SavedState } from "#base/saved-state.ts";
import { beginKernel, clear, COUNTERS, deadlineOf, ENVIRONMENT, openMemory } from "#machine/core-state.ts";
import type { Core } from "#machine/core.ts";
import { cause, interrupt, privilege, status, virtualInterrupts } from "#machine/csr-bits.ts";
import { HartState } from "#machine/hart.ts";
import { architecturalFields, architecturalSize, layout } from "#machine/layout.ts";
import type { Processor } from "#machine/processor.ts";

const bit = (...numbers: readonly number[]): bigint => numbers.reduce((all, number) => all | (1n << BigInt(number)), 0n);

/** What a guest's kernel handles itself. Not: its system calls to us, faults of the second stage, and what is only there for a hypervisor. */
const OWN_EXCEPTIONS = bit(
  cause.instructionMisaligned, cause.instructionAccess, cause.illegalInstruction, cause.breakpoint, cause.loadMisaligned, cause.loadAccess,
  cause.storeMisaligned, cause.storeAccess, cause.ecallFromUser, cause.instructionPage, cause.loadPage, cause.storePage,
);

export class VirtualCore implements Core, Saveable {
  readonly state: HartState;
  readonly #processor: Processor;
  readonly #hgatp: bigint;
  /** The state while the hart executes something else. */
  readonly #saved = new Uint8Array(architecturalSize());
  #loaded = false;

  constructor(processor: Processor, hgatp: bigint) {
    this.#processor = processor;
    this.state = new HartState(this.#saved, 0);
    this.#hgatp = hgatp;
    this.reset();
  }

  /** The machine switch: the hart is this one's from now on. */
  load(): void {
    if (this.#loaded) return;
    const { memory, map } = this.#processor;
    new Uint8Array(memory.buffer).set(this.#saved, map.hart);
    this.state.place(memory, map.hart);
    this.#loaded = true;
    this.#processor.contextChanged();
  }

  /** The hart is to execute something else. */
  unload(): void {
    if (!this.#loaded) return;
    const { memory, map } = this.#processor;
    this.#saved.set(new Uint8Array(memory.buffer, map.hart, this.#saved.length));
    this.state.place(this.#saved, 0);
    // What another VM does may be what breaks a reservation.
    this.state.setNumber("reservation", 0);
    this.#loaded = false;
  }

  /** All architectural state, by name. */
  save(): SavedState {
    const fields = architecturalFields.map((name) => [name, Array.from({ length: layout[name].count }, (_, index) => `${this.state.get(name, index)}`)]);
    return { kind: "virtual-core", version: 1, fields: Object.fromEntries(fields) };
  }

  /** What is the monitor's to say stays as this core has it: that it is a guest, and where its memory is. */
  restore(state: unknown): void {
    const fields = StateReader.open(state, "virtual-core", 1).object("fields");
    const values = architecturalFields.map((name) => [name, fields.bigints(name, layout[name].count)] as const);
    for (const [name, elements] of values) elements.forEach((value, index) => this.state.set(name, value, index));
    this.#confine();
  }

  /** Of the lines into a hart, VS-mode has the supervisor's external interrupt; the machine's end nowhere. */
  setLine(number: number, level: boolean): void {
    if (number !== interrupt.supervisorExternal) return;
    const line = 1 << interrupt.virtualSupervisorExternal;
    const pending = this.state.number("mip");
    this.state.setNumber("mip", level ? pending | line : pending & ~line);
  }

  /** But for the timer's, whose deadline says it. */
  interruptPending(): boolean {
    const { state } = this;
    return (state.number("mip") & state.number("mie") & virtualInterrupts) !== 0;
  }

  supervisorDeadline(): number {
    return this.#timerEnabled() ? deadlineOf(this.state.get("vstimecmp")) : Infinity;
  }

  machineTimerEnabled(): boolean {
    return false;
  }

  /** VS-mode, and all else zero, but for what keeps it a virtual hart. */
  reset(): void {
    const { state } = this;
    clear(state);
    state.setNumber("privilege", privilege.virtualSupervisor);
    state.set("scounteren", COUNTERS);
    this.#confine();
    if (this.#loaded) this.#processor.contextChanged();
  }

  /** What makes it a guest, and none of which it can reach. */
  #confine(): void {
    const { state } = this;
    state.setNumber("privilege", state.number("privilege") & 1 ? privilege.virtualSupervisor : privilege.virtualUser);
    state.setNumber("monitored", 1);
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
    state.set("hgatp", this.#hgatp);
    // Floating point is on for HS-mode, where the monitor stands: so the guest's own switch is the one that counts.
    state.set("parkedStatus", 3n << BigInt(status.fs));
    // All of the machine's memory: which of it is the guest's is for its G-stage tables to say.
    openMemory(state);
  }

  enterSupervisor(pc: bigint, a0: bigint, a1: bigint): void {
    beginKernel(this.state, privilege.virtualSupervisor, pc, a0, a1);
    if (this.#loaded) this.#processor.contextChanged();
  }

  setSupervisorTimer(ticks: bigint): void {
    this.state.set("vstimecmp", ticks);
    // The slice goes on: what was pending is not any more.
    const { hart, map } = this.#processor;
    if (this.#loaded) hart.exports.updateTimer(map.hart);
  }

  raiseSupervisorSoftware(): void {
    this.state.setNumber("mip", this.state.number("mip") | (1 << interrupt.virtualSupervisorSoftware));
  }

  flushTranslations(): void {
    const { hart, map } = this.#processor;
    hart.exports.flushAll(map.hart);
  }

  /**
   * A trap into the guest's kernel, at the instruction that came out. Nothing retires, but as on the bare machine it takes one of the slice: a guest
   * whose trap vector faults must come to the slice's end all the same. Returns whether it has not.
   */
  raise(reason: number, value: bigint): boolean {
    const { hart, map } = this.#processor;
    const { state } = this;
    hart.exports.raise(map.hart, state.get("pc"), BigInt(reason), value);
    const budget = state.number("budget");
    if (budget === 0) return false;
    state.setNumber("budget", budget - 1);
    state.addNumber("instretTarget", -1);
    return budget > 1;
  }

  /** The instruction that came out has been done in the hart's place: it counts as any other. */
  retire(length: number): void {
    const { state } = this;
    state.addNumber("pc", length);
    state.setNumber("budget", state.number("budget") - 1);
  }

  #timerEnabled(): boolean {
    return (this.state.number("mie") & (1 << interrupt.virtualSupervisorTimer)) !== 0;
  }
}
