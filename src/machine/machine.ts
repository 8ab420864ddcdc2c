/**
 * A machine: memory, a hart, a bus for devices, clocks, and the loop that runs the hart in slices. What devices there are and what
 * firmware says is its platform's matter.
 */
import type { Doorbell } from "#base/doorbell.ts";
import { HostelryError } from "#base/errors.ts";
import { probeFusedMultiplyAdd } from "#riscv/floating-point/fused-multiply-add.ts";
import type { Clock, InterruptLine } from "./bus.ts";
import { envcfg, interrupt } from "./csr-bits.ts";
import { DeviceBus } from "./device-bus.ts";
import { instantiateHart, HartState, type HartInstance } from "./hart.ts";
import { ExitReason } from "./hart/interpreter.ts";
import { Inputs, type Arrival, type Outside } from "./inputs.ts";
import { architecturalFields, frame, layout, memoryMap, type FieldName, type MemoryMap } from "./layout.ts";
import { PhysicalMemory } from "./physical-memory.ts";
import { machineStats, TierTimes, type MachineStats } from "./stats.ts";
import { Timers, type Timer } from "./timers.ts";
import type { HartProgramOptions } from "./hart/hart-program.ts";
import type { Translator } from "./translator.ts";

/** `host`: the guest's time is the host's. `instructions`: an instruction takes 10 ns, and waiting takes none of the host's time. */
export type ClockMode = "host" | "instructions";

/** What the owner of the machine wants of it. */
export type Command = "run" | "pause" | "stop";

export interface MachineOptions {
  /** Bytes; a multiple of 4096. */
  readonly ramSize: number;
  readonly clock: ClockMode;
  readonly outside: Outside;
  /** Wakes the machine when it waits: for an arrival, or for a command. */
  readonly doorbell: Doorbell;
  /** Asked between slices. */
  readonly command?: () => Command;
}

/** The platform, as the machine sees it. */
export interface Surroundings {
  /** The hart executed ECALL in S-mode, and the built-in firmware is to answer: x10 to x17 hold its arguments, pc is the ECALL's. */
  firmwareCall(): void;
  arrived(input: Arrival): void;
  /** Whether the last arrival has been taken wholly, so that the next may come. */
  ready(): boolean;
  /** The hart stands still for a moment: what has gathered for the outside can go there. */
  sliceEnded(): void;
}

/** Why the machine stopped running. */
export type MachineEnd =
  | { readonly kind: "poweroff" }
  | { readonly kind: "reboot" }
  /** The guest ended with a status of its own: 0 to 65535. */
  | { readonly kind: "fail"; readonly code: number }
  /** The guest's kernel gave up. */
  | { readonly kind: "crash" }
  /** Its owner wanted it. */
  | { readonly kind: "stopped" };

/**
 * The longest that the hart runs without a look at what has come: at 100 to 1000 million instructions a second, the worst latency of
 * an input or a command is 1 to 10 ms.
 */
const SLICE = 1_000_000;

/** With `--clock instructions`: 10 MHz at 10 ns an instruction. */
const INSTRUCTIONS_PER_TICK = 10;

/** With the host's clock, what a tick is worth, roughly: a slice that should last until a deadline is cut by it. */
const ROUGH_INSTRUCTIONS_PER_TICK = 100;

/** 2026-01-01T00:00:00Z in nanoseconds: when every machine with the instruction clock is switched on. */
const INSTRUCTION_CLOCK_EPOCH = 1_767_225_600_000_000_000n;

const TICKS_PER_MILLISECOND = 10_000;

/** A deadline of so many ticks, 28 years, or more is none. */
const NEVER = 2 ** 53;

/** What a reset leaves as it is: what counts the run, and what is no state of the hart's. */
const KEPT_OVER_RESET: readonly FieldName[] = ["instretTarget", "budget", "instructionsPerTick", "timeOffset"];

export class Machine {
  readonly map: MemoryMap;
  readonly memory: WebAssembly.Memory;
  readonly state: HartState;
  readonly hart: HartInstance;
  readonly programOptions: HartProgramOptions = { fusedMultiplyAdd: probeFusedMultiplyAdd() };
  readonly bus = new DeviceBus();
  /** Memory as devices see it, and whoever loads a program. */
  readonly dma: PhysicalMemory;
  readonly inputs: Inputs;
  readonly clock: Clock;
  readonly timers: Timers;
  translator: Translator | undefined;
  readonly #options: MachineOptions;
  readonly #view: DataView;
  readonly #lines: Int32Array;
  #surroundings: Surroundings | undefined;
  /** mtime less the clock's ticks. */
  #mtimeOffset = 0;
  /** mtimecmp, in ticks of mtime. */
  #timecmp = Infinity;
  #end: MachineEnd | undefined;
  /** Whether the slice may be shortened now: the hart looks at its budget again only after a store to a device. */
  #inStore = false;
  #executingSeconds = 0;
  #idleSeconds = 0;
  readonly #tiers = new TierTimes();

  /** Throws HostelryError `memory-size` if the host can't give so much. */
  constructor(options: MachineOptions) {
    this.#options = options;
    const map = memoryMap(options.ramSize);
    this.map = map;
    this.memory = allocate(map);
    this.state = new HartState(this.memory, map.hart);
    this.#view = new DataView(this.memory.buffer);
    this.#lines = new Int32Array(this.memory.buffer, map.hart + layout.lines.offset, 1);
    this.inputs = new Inputs(options.outside, () => this.instret);
    this.clock = options.clock === "host" ? this.#hostClock() : this.#instructionClock();
    this.timers = new Timers((deadline) => this.#shortenSliceTo(deadline));
    this.hart = instantiateHart(this.memory, map, {
      mmioRead: (_, address, size) => this.#mmioRead(address >>> 0, size),
      mmioWrite: (_, address, size) => this.#mmioWrite(address >>> 0, size),
      time: () => this.inputs.ticks(),
      codeWritten: (_, host, bytes) => this.translator?.codeWritten?.(host, bytes),
    }, this.programOptions);
    this.dma = new PhysicalMemory(this.memory, map, (host, bytes) => this.hart.exports.codeStore(map.hart, host, bytes));
    if (options.clock === "instructions") this.state.setNumber("instructionsPerTick", INSTRUCTIONS_PER_TICK);
    this.state.set("predecodeNext", map.predecode);
    this.resetHart();
  }

  attach(surroundings: Surroundings): void {
    this.#surroundings = surroundings;
  }

  /** Instructions that the hart has retired since power-on. */
  get instret(): number {
    return this.state.counter("instretTarget") - this.state.number("budget");
  }

  /** mtime and the CSR `time`, in ticks. */
  get mtime(): number {
    return this.clock.ticks() + this.#mtimeOffset;
  }

  /** An interrupt line into the hart: `number` is the interrupt's in mip. */
  line(number: number): InterruptLine {
    const bit = 1 << number;
    return { set: (level) => void (level ? Atomics.or(this.#lines, 0, bit) : Atomics.and(this.#lines, 0, ~bit)) };
  }

  createTimer(expire: () => void): Timer {
    return this.timers.create(expire);
  }

  /** The hart's machine timer interrupt is to be pending while mtime ≥ `ticks`. */
  setTimecmp(ticks: number): void {
    this.#timecmp = ticks;
    this.#updateMachineTimer();
    this.#shortenSliceTo(ticks - this.#mtimeOffset);
  }

  /** mtime, and with it the CSR `time`, are now the clock's ticks + `offset`. */
  setMtimeOffset(offset: number): void {
    this.state.addNumber("timeOffset", offset - this.#mtimeOffset);
    this.#mtimeOffset = offset;
    this.setTimecmp(this.#timecmp);
    // The supervisor's timer is looked at when a slice begins.
    this.#shortenSlice(0);
  }

  /** The hart as after power-on: M-mode, and all else zero. */
  resetHart(): void {
    for (const name of architecturalFields.filter((field) => !KEPT_OVER_RESET.includes(field))) {
      for (let index = 0; index < layout[name].count; index++) this.state.set(name, 0, index);
    }
    this.state.set("privilege", 3);
    this.state.set("stimecmp", -1n);
    this.contextChanged();
  }

  /** To be called when privilege, satp, mstatus or the PMP's registers were set from here. */
  contextChanged(): void {
    this.hart.exports.updatePmp(this.map.hart);
    this.hart.exports.selectBank(this.map.hart);
  }

  /** Makes `run` return, at the end of the instruction that is being executed. */
  end(end: MachineEnd): void {
    this.#end ??= end;
    this.#shortenSlice(0);
  }

  /** Runs until the guest, or the machine's owner, ends it. It can be called again. */
  run(): MachineEnd {
    this.#end = undefined;
    for (;;) {
      const rings = this.#options.doorbell.rings;
      this.#between();
      if (this.#end !== undefined) return this.#end;
      if (this.#runSlice() === ExitReason.wait) this.#idle(rings);
    }
  }

  stats(): MachineStats {
    const { state, map } = this;
    return machineStats({
      state,
      map,
      instructions: this.instret,
      executingSeconds: this.#executingSeconds,
      idleSeconds: this.#idleSeconds,
      tiers: this.#tiers,
      translator: this.translator?.stats?.(),
    });
  }

  /** Where the hart stands still: commands, arrivals, translations. */
  #between(): void {
    this.#obey();
    while (this.#surroundings!.ready()) {
      const input = this.inputs.arrival();
      if (input === undefined) break;
      this.#surroundings!.arrived(input);
    }
    this.translator?.poll();
  }

  #obey(): void {
    const { command, doorbell, outside } = this.#options;
    if (command === undefined) return;
    let wanted = command();
    if (wanted === "pause") {
      outside.pause?.();
      while (wanted === "pause") {
        const rings = doorbell.rings;
        wanted = command();
        if (wanted === "pause") doorbell.wait(rings);
      }
      outside.resume?.();
    }
    if (wanted === "stop") this.end({ kind: "stopped" });
  }

  #runSlice(): number {
    const { state, hart, map } = this;
    const deadline = this.#updateTimers();
    const budget = Math.min(SLICE, this.#instructionsUntil(deadline));
    state.addNumber("instretTarget", budget);
    state.setNumber("budget", budget);
    hart.exports.updateTimer(map.hart);
    const before = performance.now();
    const counted = this.#tiers.begin(state, this.instret);
    const reason = hart.exports.run(map.hart);
    const seconds = (performance.now() - before) / 1000;
    state.addNumber("instretTarget", -state.number("budget"));
    state.setNumber("budget", 0);
    this.#executingSeconds += seconds;
    this.#tiers.end(counted, state, this.instret, seconds);
    if (reason === ExitReason.firmware) this.#surroundings!.firmwareCall();
    this.#surroundings!.sliceEnded();
    return reason;
  }

  /** WFI: until an interrupt that is enabled is pending, or anything has rung since `rings`. */
  #idle(rings: number): void {
    this.#updateTimers();
    this.hart.exports.updateTimer(this.map.hart);
    if (this.#interruptPending() || this.#end !== undefined) return;
    const deadline = Math.min(this.timers.next, this.#machineDeadline(), this.#supervisorDeadline());
    const ticks = deadline - this.clock.ticks();
    if (ticks <= 0) return;
    if (this.#options.clock === "instructions" && ticks !== Infinity) {
      this.state.addNumber("timeOffset", ticks);
      return;
    }
    const before = performance.now();
    this.#options.doorbell.wait(rings, ticks / TICKS_PER_MILLISECOND);
    this.#idleSeconds += (performance.now() - before) / 1000;
  }

  #interruptPending(): boolean {
    return ((Atomics.load(this.#lines, 0) | Number(this.state.get("mip"))) & Number(this.state.get("mie"))) !== 0;
  }

  /** Raises and lowers what the clock decides; returns the next deadline, in ticks of the clock. */
  #updateTimers(): number {
    const next = this.timers.next;
    if (next !== Infinity) this.timers.expire(this.clock.ticks());
    this.#updateMachineTimer();
    const pending = this.#timecmp !== Infinity && this.#machineTimerPending;
    return Math.min(this.timers.next, pending ? Infinity : this.#timecmp - this.#mtimeOffset);
  }

  #machineTimerPending = false;

  #updateMachineTimer(): void {
    const pending = this.#timecmp !== Infinity && this.mtime >= this.#timecmp;
    if (pending === this.#machineTimerPending) return;
    this.#machineTimerPending = pending;
    this.line(interrupt.machineTimer).set(pending);
  }

  /** When the machine timer wakes the hart, in ticks of the clock. */
  #machineDeadline(): number {
    return this.#enabled(interrupt.machineTimer) ? this.#timecmp - this.#mtimeOffset : Infinity;
  }

  /** When the supervisor timer of Sstc wakes the hart, in ticks of the clock. */
  #supervisorDeadline(): number {
    const sstc = ((this.state.get("menvcfg") >> BigInt(envcfg.stce)) & 1n) === 1n;
    const stimecmp = this.state.counter("stimecmp");
    const comes = sstc && this.#enabled(interrupt.supervisorTimer) && stimecmp < NEVER;
    return comes ? stimecmp - this.#mtimeOffset : Infinity;
  }

  #enabled(number: number): boolean {
    return (Number(this.state.get("mie")) & (1 << number)) !== 0;
  }

  /** How many instructions bring the clock to `deadline`: exactly with the instruction clock, roughly with the host's. */
  #instructionsUntil(deadline: number): number {
    if (deadline === Infinity) return Infinity;
    const ticks = Math.max(deadline - this.clock.ticks(), 1);
    if (this.#options.clock === "host") return ticks * ROUGH_INSTRUCTIONS_PER_TICK;
    return ticks * INSTRUCTIONS_PER_TICK - (this.instret % INSTRUCTIONS_PER_TICK);
  }

  #shortenSliceTo(deadline: number): void {
    if (this.#inStore) this.#shortenSlice(this.#instructionsUntil(deadline));
  }

  #shortenSlice(instructions: number): void {
    const budget = this.state.number("budget");
    if (!this.#inStore || instructions >= budget) return;
    this.state.addNumber("instretTarget", instructions - budget);
    this.state.setNumber("budget", instructions);
  }

  #mmioRead(address: number, size: number): number {
    const value = this.bus.read(address, size);
    if (value === undefined) return 1;
    const at = this.map.hart + layout.mmioValue.offset;
    this.#view.setUint32(at, value[0], true);
    this.#view.setUint32(at + 4, value[1], true);
    return 0;
  }

  #mmioWrite(address: number, size: number): number {
    const at = this.map.hart + layout.mmioValue.offset;
    this.#inStore = true;
    const answered = this.bus.write(address, size, this.#view.getUint32(at, true), this.#view.getUint32(at + 4, true));
    this.#inStore = false;
    return answered ? 0 : 1;
  }

  #hostClock(): Clock {
    // The state's offset holds what mtime adds; nothing is ever skipped.
    return { ticks: () => this.inputs.ticks(), realTime: () => this.inputs.realTime() };
  }

  #instructionClock(): Clock {
    const ticks = (): number => {
      const offset = Number(BigInt.asIntN(64, this.state.get("timeOffset")));
      return Math.floor(this.instret / INSTRUCTIONS_PER_TICK) + offset - this.#mtimeOffset;
    };
    return { ticks, realTime: () => INSTRUCTION_CLOCK_EPOCH + BigInt(ticks()) * 100n };
  }
}


/** wasm's own limit. */
const MAX_PAGES = 65536;

function allocate(map: MemoryMap): WebAssembly.Memory {
  const mib = map.ramSize / 2 ** 20;
  if (map.pages > MAX_PAGES) {
    // Each frame takes an entry of the table of frames beside itself.
    const share = 4096 / (4096 + frame.size);
    const most = Math.floor(((MAX_PAGES - memoryMap(0).pages) * 65536 * share) / 2 ** 20);
    throw new HostelryError("memory-size", `a memory of ${mib}M is more than this machine can have: give at most ${most}M`);
  }
  try {
    return new WebAssembly.Memory({ initial: map.pages, maximum: map.pages, shared: true });
  } catch {
    throw new HostelryError("memory-size", `the host refuses a memory of ${mib}M: give less, or raise its limit on address space (ulimit -v)`);
  }
}
