/** A virtual machine's hart (a vCPU), as its board sees it: state that is on the machine's hart only while that executes it. */
import { StateReader, type Saveable, type SavedState } from "#base/saved-state.ts";
import { beginKernel, clear, COUNTERS, deadlineOf } from "#machine/core-state.ts";
import type { Core } from "#machine/core.ts";
import { interrupt, privilege, virtualBit, virtualInterrupts } from "#machine/csr-bits.ts";
import { FRAME_SIZE } from "#machine/frames.ts";
import { HartState } from "#machine/hart.ts";
import { architecturalFields, architecturalSize, layout } from "#machine/layout.ts";
import type { Processor } from "#machine/processor.ts";
import type { Confinement } from "./confinement.ts";

const INTERRUPT = 1n << 63n;

/** Where a hart's state has the registers of physical memory protection. */
const protection = (["pmpcfg", "pmpaddr"] as const).map((name) => ({ offset: layout[name].offset, size: layout[name].count * 8 }));

/** An access to a CSR, as an instruction has it: `operand` is a register's number, or with bit 5 the value itself. */
export interface CsrAccess {
  readonly csr: number;
  /** 1 write, 2 set, 3 clear. */
  readonly operation: number;
  readonly operand: number;
  readonly writes: boolean;
  readonly rd: number;
}

export class VirtualCore implements Core, Saveable {
  readonly state: HartState;
  readonly #processor: Processor;
  #confinement: Confinement;
  /** Which of the VM's cores the machine's hart executed last: they have their banks in common. */
  readonly #resident: { core?: VirtualCore };
  /** Whose translations the hart may have that are none any more: dropped while something else was executed, or of another VM that had the number before. */
  #stale: "guest" | "all" | undefined = "all";
  /** The state while the hart executes something else. */
  readonly #saved = new Uint8Array(architecturalSize());
  #loaded = false;

  /** `resident` is one object for all cores of a VM. */
  constructor(processor: Processor, confinement: Confinement, resident: { core?: VirtualCore } = {}) {
    this.#processor = processor;
    this.#resident = resident;
    this.state = new HartState(this.#saved, 0);
    this.#confinement = confinement;
    this.#begin();
  }

  /** The guest is confined in another way from now on, and notices nothing. */
  confine(confinement: Confinement): void {
    this.#confinement.leave(this.state);
    this.#confinement = confinement;
    this.#entered();
  }

  /** The machine switch: the hart is this one's from now on. */
  load(): void {
    if (this.#loaded) return;
    const { memory, map, hart } = this.#processor;
    const bytes = new Uint8Array(memory.buffer, map.hart, this.#saved.length);
    const isProtectedAlike = protection.every(({ offset, size }) => {
      for (let at = offset; at < offset + size; at++) if (bytes[at] !== this.#saved[at]) return false;
      return true;
    });
    bytes.set(this.#saved);
    this.state.place(memory, map.hart);
    this.#loaded = true;
    // Banks know which VM's they are, but not which vCPU's, nor by which protection of memory they were filled.
    if (isProtectedAlike) hart.exports.selectBank(map.hart);
    else this.#processor.contextChanged();
    if (this.#stale === "all") this.flushTranslations();
    else if (this.#stale === "guest" || this.#resident.core !== this) this.flushGuest({});
    this.#stale = undefined;
    this.#resident.core = this;
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
    this.#confinement.leave(this.state);
    const fields = architecturalFields.map((name) => [name, Array.from({ length: layout[name].count }, (_, index) => `${this.state.get(name, index)}`)]);
    this.#entered();
    return { kind: "virtual-core", version: 1, fields: Object.fromEntries(fields) };
  }

  /** What is the monitor's to say stays as this core has it: that it is a guest, and where its memory is. */
  restore(state: unknown): void {
    const fields = StateReader.open(state, "virtual-core", 1).object("fields");
    const values = architecturalFields.map((name) => [name, fields.bigints(name, layout[name].count)] as const);
    for (const [name, elements] of values) elements.forEach((value, index) => this.state.set(name, value, index));
    this.#entered();
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
    this.#confinement.leave(this.state);
    this.#confinement.reset?.();
    this.#begin();
  }

  #begin(): void {
    const { state } = this;
    clear(state);
    state.setNumber("privilege", privilege.virtualSupervisor);
    state.set("scounteren", COUNTERS);
    this.#entered();
  }

  enterSupervisor(pc: bigint, a0: bigint, a1: bigint): void {
    this.#confinement.leave(this.state);
    beginKernel(this.state, privilege.virtualSupervisor, pc, a0, a1);
    this.#entered();
  }

  /** From the common form of a virtual hart's state. */
  #entered(): void {
    this.#confinement.enter(this.state);
    if (this.#loaded) this.#processor.contextChanged();
    else this.#stale ??= "guest";
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

  /** Nothing that the hart knows, of whatever guest, lets it write to the frame at this host address. */
  purgeWritable(host: number): void {
    const { hart, map } = this.#processor;
    hart.exports.purgeWritable(map.hart, host);
  }

  /** A page of the guest's, which could only be read and executed, has another frame, given by the host addresses of both. */
  moved(guestPhysical: bigint, before: number, after: number): void {
    const { hart, map } = this.#processor;
    hart.exports.forgetPage(map.hart, guestPhysical, before);
    // What it has reserved is the guest's address, and that is the same.
    if (this.reserves(before)) this.state.setNumber("reservation", (this.state.number("reservation") - before + after) | 0);
  }

  /** Whether it has reserved something in the frame at this host address. */
  reserves(host: number): boolean {
    const offset = (this.state.number("reservation") >>> 0) - host;
    return this.#loaded && offset >= 0 && offset < FRAME_SIZE;
  }

  /** Whether the hart is this one's. */
  get isLoaded(): boolean {
    return this.#loaded;
  }

  /**
   * The hart forgets a virtual page of all the guest's address spaces; all pages of one, by the ASID that the hart has for it; or all of the guest's.
   * If it executes something else, when this one has it again.
   */
  flushGuest({ virtual, asid }: { readonly virtual?: bigint; readonly asid?: number }): void {
    if (!this.#loaded) {
      this.#stale ??= "guest";
      return;
    }
    const { hart, map } = this.#processor;
    hart.exports.flush(map.hart, virtual ?? 0n, asid ?? 0, Number(virtual !== undefined), Number(asid !== undefined), 1);
  }

  /**
   * A trap into the guest's kernel, at the instruction that came out. Nothing retires, but as on the bare machine it takes one of the slice: a guest
   * whose trap vector faults must come to the slice's end all the same. Returns whether it has not.
   */
  raise(reason: number, value: bigint): boolean {
    const { hart, map } = this.#processor;
    const { state } = this;
    hart.exports[this.#confinement.raise](map.hart, state.get("pc"), BigInt(reason), value);
    return this.spend();
  }

  /** The same for the exception that has come out, or one of another number in its place, with its tval. */
  reflect(reason: number): boolean {
    const { hart, map } = this.#processor;
    hart.exports[this.#confinement.reflect](map.hart, reason);
    return this.spend();
  }

  /** Takes one of the slice, though nothing retires. Returns whether it has not come to its end. */
  spend(): boolean {
    const { state } = this;
    const budget = state.number("budget");
    if (budget === 0) return false;
    state.setNumber("budget", budget - 1);
    state.addNumber("instretTarget", -1);
    return budget > 1;
  }

  /** The instruction that came out has been done in the hart's place: it counts as any other. */
  retire(length: number, count = 1): void {
    const { state } = this;
    state.addNumber("pc", length);
    state.setNumber("budget", state.number("budget") - count);
  }

  /** What follows is for the kernel of a deprivileged guest. An interrupt into it, by the number that it has there: */
  interrupt(number: number): void {
    const { hart, map } = this.#processor;
    hart.exports.raiseInGuest(map.hart, this.state.get("pc"), INTERRUPT | BigInt(number), 0n);
  }

  /** its SRET; */
  returnFromTrap(): void {
    this.#processor.hart.exports.returnInGuest(this.#processor.map.hart);
  }

  /** an access to one of its registers; false if that is illegal; */
  accessCsr({ csr, operation, operand, writes, rd }: CsrAccess): boolean {
    const { hart, map } = this.#processor;
    return hart.exports.accessInGuest(map.hart, csr, operation, operand, Number(writes), rd) === 0;
  }

  /** its views are others. */
  selectView(): void {
    const { hart, map } = this.#processor;
    if (this.state.number("privilege") & virtualBit) {
      this.state.set("satp", this.state.get("views"));
      hart.exports.selectBank(map.hart);
    } else hart.exports.selectView(map.hart);
  }

  /** See Processor. */
  callOutAt(host: number, on: boolean): void {
    this.#processor.callOutAt(host, on);
  }

  /** Runs `body` with a budget of one instruction. */
  single(body: () => void): void {
    const { state } = this;
    const held = state.number("budget") - 1;
    state.setNumber("budget", 1);
    state.addNumber("instretTarget", -held);
    body();
    state.setNumber("budget", state.number("budget") + held);
    state.addNumber("instretTarget", held);
  }

  /** The hart goes on with this core: an ExitReason. */
  run(): number {
    return this.#processor.hart.exports.run(this.#processor.map.hart);
  }

  #timerEnabled(): boolean {
    return (this.state.number("mie") & (1 << interrupt.virtualSupervisorTimer)) !== 0;
  }
}
