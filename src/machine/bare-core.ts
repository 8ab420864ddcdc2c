/** The machine's own hart as the core of the bare machine: M-mode is there, and firmware of the guest's or the built-in one. */
import { beginKernel, clear, COUNTERS, deadlineOf, ENVIRONMENT, openMemory } from "./core-state.ts";
import type { Core } from "./core.ts";
import { envcfg, interrupt, privilege } from "./csr-bits.ts";
import type { HartState } from "./hart.ts";
import { layout } from "./layout.ts";
import type { Processor } from "./processor.ts";

/** All exceptions but ecall from S-mode, which comes here, and from M-mode. */
const DELEGATED_EXCEPTIONS = 0xf0_b5ffn;
const DELEGATED_INTERRUPTS =
  (1n << BigInt(interrupt.supervisorSoftware)) | (1n << BigInt(interrupt.supervisorTimer)) | (1n << BigInt(interrupt.supervisorExternal));

export class BareCore implements Core {
  readonly state: HartState;
  readonly #processor: Processor;
  readonly #lines: Int32Array;

  constructor(processor: Processor) {
    const { map, memory } = processor;
    this.#processor = processor;
    this.state = processor.state;
    this.#lines = new Int32Array(memory.buffer, map.hart + layout.lines.offset, 1);
    this.reset();
  }

  setLine(number: number, level: boolean): void {
    if (level) Atomics.or(this.#lines, 0, 1 << number);
    else Atomics.and(this.#lines, 0, ~(1 << number));
  }

  interruptPending(): boolean {
    this.#processor.hart.exports.updateTimer(this.#processor.map.hart);
    return ((Atomics.load(this.#lines, 0) | Number(this.state.get("mip"))) & Number(this.state.get("mie"))) !== 0;
  }

  /** The guest's comparator counts too: its time is `htimedelta` ahead. */
  supervisorDeadline(): number {
    const { state } = this;
    const stce = 1n << BigInt(envcfg.stce);
    const sstc = state.get("menvcfg") & stce;
    const of = (enabled: bigint, number: number, deadline: bigint): number =>
      enabled !== 0n && this.#enabled(number) ? deadlineOf(deadline) : Infinity;
    const guestDeadline = state.get("vstimecmp") - state.get("htimedelta");
    return Math.min(
      of(sstc, interrupt.supervisorTimer, state.get("stimecmp")),
      of(sstc & state.get("henvcfg"), interrupt.virtualSupervisorTimer, BigInt.asUintN(64, guestDeadline)),
    );
  }

  machineTimerEnabled(): boolean {
    return this.#enabled(interrupt.machineTimer);
  }

  /** M-mode, and all else zero. */
  reset(): void {
    clear(this.state);
    this.state.set("privilege", privilege.machine);
    this.#processor.contextChanged();
  }

  /** ECALLs of the kernel come to the built-in firmware. */
  enterSupervisor(pc: bigint, a0: bigint, a1: bigint): void {
    const { state } = this;
    state.set("firmware", 1);
    state.set("medeleg", DELEGATED_EXCEPTIONS);
    state.set("mideleg", DELEGATED_INTERRUPTS);
    state.set("mcounteren", COUNTERS);
    // Linux's vDSO reads the time in U-mode, and leaves it to firmware to allow that.
    state.set("scounteren", COUNTERS);
    state.set("menvcfg", ENVIRONMENT);
    openMemory(state);
    beginKernel(state, privilege.supervisor, pc, a0, a1);
    this.#processor.contextChanged();
  }

  setSupervisorTimer(ticks: bigint): void {
    this.state.set("stimecmp", ticks);
  }

  raiseSupervisorSoftware(): void {
    this.state.set("mip", this.state.get("mip") | (1n << BigInt(interrupt.supervisorSoftware)));
  }

  flushTranslations(): void {
    const { hart, map } = this.#processor;
    hart.exports.flushAll(map.hart);
  }

  #enabled(number: number): boolean {
    return (Number(this.state.get("mie")) & (1 << number)) !== 0;
  }
}
