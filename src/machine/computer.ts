/**
 * What a board is built around: bus, clocks, timers, interrupt lines, memory, harts. Of the bare machine, or of a virtual one: which of them is
 * known to the `Core` alone. Its harts take turns. Nothing here runs code; whoever does asks `slice` for how long, and `turn` for whose turn is next.
 */
import { assert } from "#base/assert.ts";
import { StateReader, type Saveable, type SavedState } from "#base/saved-state.ts";
import type { Clock, DmaMemory, InterruptLine } from "./bus.ts";
import type { Core } from "./core.ts";
import { interrupt } from "./csr-bits.ts";
import { DeviceBus } from "./device-bus.ts";
import { Inputs, type Arrival, type Outside, type Way } from "./inputs.ts";
import type { TlbKind } from "./model.ts";
import type { Guest } from "./processor.ts";
import { Timers, type Timer } from "./timers.ts";

/** `host`: the guest's time is the host's. `instructions`: an instruction takes 10 ns, and waiting takes none of the host's time. */
export type ClockMode = "host" | "instructions";

/** Why a computer stopped. */
export type MachineEnd =
  | { readonly kind: "poweroff" }
  | { readonly kind: "reboot" }
  /** The guest ended with a status of its own: an integer below 2^47. */
  | { readonly kind: "fail"; readonly code: number }
  /** The guest's kernel gave up. */
  | { readonly kind: "crash" }
  /** Its owner wanted it. */
  | { readonly kind: "stopped" };

/** The platform, as the machine sees it. */
export interface Surroundings {
  /** The hart executed ECALL in S-mode, and the built-in firmware is to answer: x10 to x17 hold its arguments, pc is the ECALL's. */
  firmwareCall(): void;
  arrived(input: Arrival): void;
  /** Whether the last arrival by this way has been taken wholly, so that the next may come. */
  ready(way: Way): boolean;
  /** The hart stands still for a moment: what has gathered for the outside can go there. */
  sliceEnded(): void;
}

/** At 100 to 1000 million instructions a second, the worst latency of an input or a command is 1 to 10 ms. */
export const USUAL_SLICE = 1_000_000;

/** With `--clock instructions`: 10 MHz at 10 ns an instruction. */
export const INSTRUCTIONS_PER_TICK = 10;

/** With the host's clock, what a tick is worth, roughly: a slice that should last until a deadline is cut by it. */
const ROUGH_INSTRUCTIONS_PER_TICK = 100;

/** 2026-01-01T00:00:00Z in nanoseconds: when every machine with the instruction clock is switched on. */
const INSTRUCTION_CLOCK_EPOCH = 1_767_225_600_000_000_000n;

export interface ComputerParts {
  readonly harts: readonly Core[];
  /** Whether the harts have the hypervisor extension. */
  readonly hypervisor: boolean;
  /** Who fills their TLBs; hardware if absent. */
  readonly tlb?: TlbKind;
  /** Memory as devices see it, and whoever loads a program. */
  readonly dma: DmaMemory;
  /** Physical address and bytes of memory. */
  readonly memory: { readonly base: number; readonly size: number };
}

/** What a hart is doing: nothing, since nobody has started it; waiting since it executed WFI; or what there is to do. */
const activities = ["stopped", "waiting", "running"] as const;
type HartActivity = (typeof activities)[number];

export class Computer implements Guest, Saveable {
  readonly harts: readonly Core[];
  readonly hypervisor: boolean;
  readonly tlb: TlbKind;
  readonly dma: DmaMemory;
  readonly memory: { readonly base: number; readonly size: number };
  readonly clockMode: ClockMode;
  readonly bus = new DeviceBus();
  readonly inputs: Inputs;
  readonly clock: Clock;
  readonly timers: Timers;
  /** The longest that the hart runs without a look at what has come, in instructions. */
  longestSlice = USUAL_SLICE;
  #surroundings: Surroundings | undefined;
  readonly #ready = (way: Way): boolean => this.#surroundings!.ready(way);
  /** mtime less the clock's ticks. */
  #mtimeOffset = 0;
  /** Of each hart: mtimecmp, in ticks of mtime. */
  readonly #timecmp: number[];
  readonly #machineTimerPending: boolean[];
  readonly #activity: HartActivity[];
  /** Whose turn it is. */
  #current = 0;
  #end: MachineEnd | undefined;
  /** Whether the slice may be shortened now: the hart looks at its budget again only after a store to a device. */
  #inStore = false;

  constructor({ harts, hypervisor, tlb = "hardware", dma, memory }: ComputerParts, clockMode: ClockMode, outside: Outside) {
    this.harts = harts;
    this.hypervisor = hypervisor;
    this.tlb = tlb;
    this.dma = dma;
    this.memory = memory;
    this.clockMode = clockMode;
    this.#timecmp = harts.map(() => Infinity);
    this.#machineTimerPending = harts.map(() => false);
    this.#activity = harts.map((_, hart) => (hart === 0 ? "running" : "stopped"));
    this.inputs = new Inputs(outside, () => this.instret);
    this.clock = clockMode === "host" ? this.#hostClock() : this.#instructionClock();
    this.timers = new Timers((deadline) => this.#shortenSliceTo(deadline));
    if (clockMode === "instructions") for (const { state } of harts) state.setNumber("instructionsPerTick", INSTRUCTIONS_PER_TICK);
  }

  /** The hart whose turn it is, and its number. */
  get core(): Core {
    return this.harts[this.#current]!;
  }

  get currentHart(): number {
    return this.#current;
  }

  attach(surroundings: Surroundings): void {
    this.#surroundings = surroundings;
  }

  /** Instructions that the harts have retired since power-on. */
  get instret(): number {
    const { state } = this.core;
    return state.counter("instretTarget") - state.number("budget");
  }

  /** mtime and the CSR `time`, in ticks. */
  get mtime(): number {
    return this.clock.ticks() + this.#mtimeOffset;
  }

  /** Ticks of the host's clock, for the hart's own reading of time. */
  ticks(): number {
    return this.inputs.ticks();
  }

  /** An interrupt line into a hart: `number` is the interrupt's in mip. */
  line(hart: number, number: number): InterruptLine {
    return { set: (level) => this.harts[hart]!.setLine(number, level) };
  }

  createTimer(expire: () => void): Timer {
    return this.timers.create(expire);
  }

  /** The hart's machine timer interrupt is to be pending while mtime ≥ `ticks`. */
  setTimecmp(hart: number, ticks: number): void {
    this.#timecmp[hart] = ticks;
    this.#updateMachineTimer(hart);
    this.#shortenSliceTo(ticks - this.#mtimeOffset);
  }

  /** mtime, and with it the CSR `time`, are now the clock's ticks + `offset`. */
  setMtimeOffset(offset: number): void {
    this.core.state.addNumber("timeOffset", offset - this.#mtimeOffset);
    this.#mtimeOffset = offset;
    this.#timecmp.forEach((ticks, hart) => this.setTimecmp(hart, ticks));
    // The supervisor's timer is looked at when a slice begins.
    this.#shortenSlice(0);
  }

  mmioRead(address: number, size: number): readonly [number, number] | undefined {
    return this.bus.read(address, size);
  }

  mmioWrite(address: number, size: number, low: number, high: number): boolean {
    this.#inStore = true;
    const answered = this.bus.write(address, size, low, high);
    this.#inStore = false;
    return answered;
  }

  firmwareCall(): void {
    this.#surroundings!.firmwareCall();
  }

  /** Stops, at the end of the instruction that is being executed. */
  end(end: MachineEnd): void {
    this.#end ??= end;
    this.#shortenSlice(0);
  }

  /** How it ended, if it did. */
  get ended(): MachineEnd | undefined {
    return this.#end;
  }

  /** It is to run (again). */
  begin(): void {
    this.#end = undefined;
  }

  /** Takes what has arrived. */
  takeArrivals(): void {
    for (let input; (input = this.inputs.arrival(this.#ready)) !== undefined; ) this.#surroundings!.arrived(input);
  }

  /** How many instructions the hart may run now, `most` at most. */
  slice(most: number = this.longestSlice): number {
    return Math.min(most, this.#instructionsUntil(this.#updateTimers()));
  }

  sliceEnded(): void {
    this.#surroundings!.sliceEnded();
  }

  /** What is neither the harts' own nor the devices'. To be taken between slices. */
  save(): SavedState {
    return {
      kind: "computer",
      version: 1,
      mtimeOffset: `${this.#mtimeOffset}`,
      timecmp: this.#timecmp.map((ticks) => (ticks === Infinity ? "-1" : `${ticks}`)),
      activity: this.#activity.map((activity) => activities.indexOf(activity)),
      current: this.#current,
    };
  }

  restore(state: unknown): void {
    const from = StateReader.open(state, "computer", 1);
    const harts = this.harts.length;
    const [mtimeOffset, current] = [Number(from.bigint("mtimeOffset")), from.uint("current", 4) % harts];
    const timecmp = from.bigints("timecmp", harts).map((ticks) => (ticks < 0n ? Infinity : Number(ticks)));
    const activity = from.uints("activity", 2, harts).map((index) => activities[index] ?? "stopped");
    this.#mtimeOffset = mtimeOffset;
    this.#current = current;
    for (let hart = 0; hart < harts; hart++) {
      this.#timecmp[hart] = timecmp[hart]!;
      this.#activity[hart] = activity[hart]!;
      this.#machineTimerPending[hart] = false;
      this.#updateMachineTimer(hart);
    }
  }

  /** As after power-on: hart 0 is to begin, and starts the others. */
  reset(): void {
    this.harts.forEach((core, hart) => {
      core.reset();
      this.#activity[hart] = hart === 0 ? "running" : "stopped";
    });
    this.#pass(0);
  }

  /** A hart that is stopped begins, in the state that it has; one that runs comes to its end. */
  startHart(hart: number): void {
    this.#activity[hart] = "running";
  }

  stopHart(hart: number): void {
    this.#activity[hart] = "stopped";
  }

  isStarted(hart: number): boolean {
    return this.#activity[hart] !== "stopped";
  }

  /** The hart whose turn it is has executed WFI. */
  wait(): void {
    if (this.isStarted(this.#current)) this.#activity[this.#current] = "waiting";
  }

  /**
   * Gives the turn to the next hart that can go on, and returns 0; if all wait, returns in how many ticks to ask again, Infinity if only an input
   * can wake one. By the instruction clock the time until then is over as soon as this is asked.
   */
  turn(): number {
    for (;;) {
      this.#updateTimers();
      const ready = this.#nextReady();
      if (ready !== undefined) this.#pass(ready);
      if (ready !== undefined || this.#end !== undefined) return 0;
      const hart = Math.min(...this.harts.map((_, index) => this.#deadline(index)));
      const ticks = Math.max(Math.min(this.timers.next, hart - this.#mtimeOffset) - this.clock.ticks(), 0);
      if (this.clockMode === "host" || ticks === Infinity) return Math.max(ticks, 1);
      this.core.state.addNumber("timeOffset", ticks);
    }
  }

  #nextReady(): number | undefined {
    for (let step = 1; step <= this.harts.length; step++) {
      const hart = (this.#current + step) % this.harts.length;
      if (this.#activity[hart] === "waiting" && (this.harts[hart]!.interruptPending() || this.#deadline(hart) <= this.mtime)) this.#activity[hart] = "running";
      if (this.#activity[hart] === "running") return hart;
    }
    return undefined;
  }

  /** When a timer ends the hart's WFI, in ticks of mtime. */
  #deadline(hart: number): number {
    if (this.#activity[hart] !== "waiting") return Infinity;
    const core = this.harts[hart]!;
    return Math.min(core.machineTimerEnabled() ? this.#timecmp[hart]! : Infinity, core.supervisorDeadline());
  }

  /** What the harts have in common goes from hand to hand: the count of instructions, and the time that is made of it. What each has retired stays its own. */
  #pass(hart: number): void {
    if (hart === this.#current) return;
    const [from, to] = [this.core.state, this.harts[hart]!.state];
    const elapsed = from.get("instretTarget") - to.get("instretTarget");
    for (const offset of ["instretOffset", "cycleOffset"] as const) to.set(offset, to.get(offset) - elapsed);
    to.set("instretTarget", from.get("instretTarget"));
    to.set("timeOffset", from.get("timeOffset"));
    assert(from.number("budget") === 0, "a hart lost its turn within a slice", { hart });
    this.#current = hart;
  }

  /** Raises and lowers what the clock decides; returns the next deadline, in ticks of the clock. */
  #updateTimers(): number {
    const next = this.timers.next;
    if (next !== Infinity) this.timers.expire(this.clock.ticks());
    let deadline = this.timers.next;
    for (let hart = 0; hart < this.harts.length; hart++) {
      this.#updateMachineTimer(hart);
      const pending = this.#timecmp[hart] !== Infinity && this.#machineTimerPending[hart];
      if (!pending) deadline = Math.min(deadline, this.#timecmp[hart]! - this.#mtimeOffset);
    }
    return deadline;
  }

  #updateMachineTimer(hart: number): void {
    const pending = this.#timecmp[hart] !== Infinity && this.mtime >= this.#timecmp[hart]!;
    if (pending === this.#machineTimerPending[hart]) return;
    this.#machineTimerPending[hart] = pending;
    this.harts[hart]!.setLine(interrupt.machineTimer, pending);
  }

  /** How many instructions bring the clock to `deadline`: exactly with the instruction clock, roughly with the host's. */
  #instructionsUntil(deadline: number): number {
    if (deadline === Infinity) return Infinity;
    const ticks = Math.max(deadline - this.clock.ticks(), 1);
    if (this.clockMode === "host") return ticks * ROUGH_INSTRUCTIONS_PER_TICK;
    return ticks * INSTRUCTIONS_PER_TICK - (this.instret % INSTRUCTIONS_PER_TICK);
  }

  #shortenSliceTo(deadline: number): void {
    if (this.#inStore) this.#shortenSlice(this.#instructionsUntil(deadline));
  }

  #shortenSlice(instructions: number): void {
    const { state } = this.core;
    const budget = state.number("budget");
    if (!this.#inStore || instructions >= budget + state.number("reserve")) return;
    state.setNumber("reserve", Math.max(instructions - budget, 0));
    if (instructions >= budget) return;
    state.addNumber("instretTarget", instructions - budget);
    state.setNumber("budget", instructions);
  }

  #hostClock(): Clock {
    // The state's offset holds what mtime adds; nothing is ever skipped.
    return { ticks: () => this.inputs.ticks(), realTime: () => this.inputs.realTime() };
  }

  #instructionClock(): Clock {
    const ticks = (): number => {
      const offset = Number(BigInt.asIntN(64, this.core.state.get("timeOffset")));
      return Math.floor(this.instret / INSTRUCTIONS_PER_TICK) + offset - this.#mtimeOffset;
    };
    return { ticks, realTime: () => INSTRUCTION_CLOCK_EPOCH + BigInt(ticks()) * 100n };
  }
}
