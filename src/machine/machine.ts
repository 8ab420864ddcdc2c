/**
 * The bare machine: a computer whose hart is the machine's own, and the loop that runs it in slices. What devices there are and what
 * firmware says is its platform's matter.
 */
import type { Doorbell } from "#base/doorbell.ts";
import { BareCore } from "./bare-core.ts";
import { Computer, type ClockMode, type MachineEnd } from "./computer.ts";
import type { HartState } from "./hart.ts";
import { ExitReason } from "./hart/exit-reason.ts";
import type { Outside } from "./inputs.ts";
import { memoryMap } from "./layout.ts";
import { standardModel, type MachineModel } from "./model.ts";
import { allocate, Processor } from "./processor.ts";
import type { MachineStats } from "./stats.ts";

/** What the owner of the machine wants of it. */
export type Command = "run" | "pause" | "stop";

export interface MachineOptions {
  /** Bytes; a multiple of 4096. */
  readonly ramSize: number;
  readonly clock: ClockMode;
  readonly outside: Outside;
  /** Wakes the machine when it waits: for an arrival, or for a command. */
  readonly doorbell: Doorbell;
  /** Whether software is told of the hypervisor extension; true if absent. */
  readonly hypervisor?: boolean;
  /** The standard one if absent. */
  readonly model?: MachineModel;
  /** Asked between slices. */
  readonly command?: () => Command;
}

const TICKS_PER_MILLISECOND = 10_000;

export class Machine {
  readonly processor: Processor;
  readonly computer: Computer;
  readonly #options: MachineOptions;
  #idleSeconds = 0;

  /** Throws HostelryError `memory-size` if the host can't give so much. */
  constructor(options: MachineOptions) {
    this.#options = options;
    const map = memoryMap(options.ramSize);
    this.processor = new Processor(allocate(map), map, options.model);
    const { dma } = this.processor;
    const memory = { base: map.ramBase, size: map.ramSize };
    this.computer = new Computer({ harts: [new BareCore(this.processor)], hypervisor: options.hypervisor ?? true, tlb: (options.model ?? standardModel).tlb, dma, memory }, options.clock, options.outside);
  }

  get state(): HartState {
    return this.processor.state;
  }

  /** Runs until the guest, or the machine's owner, ends it. It can be called again. */
  run(): MachineEnd {
    const { computer, processor } = this;
    computer.begin();
    for (;;) {
      const rings = this.#options.doorbell.rings;
      this.#obey();
      computer.takeArrivals();
      if (computer.ended !== undefined) return computer.ended;
      const reason = processor.run(computer, computer.slice());
      if (reason === ExitReason.firmware) computer.firmwareCall();
      computer.sliceEnded();
      if (reason === ExitReason.wait) this.#idle(rings);
    }
  }

  stats(): MachineStats {
    return this.processor.stats(this.#idleSeconds);
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
    if (wanted === "stop") this.computer.end({ kind: "stopped" });
  }

  /** WFI: until an interrupt that is enabled is pending, or anything has rung since `rings`. */
  #idle(rings: number): void {
    this.computer.wait();
    const ticks = this.computer.turn();
    if (ticks === 0) return;
    const before = performance.now();
    this.#options.doorbell.wait(rings, ticks / TICKS_PER_MILLISECOND);
    this.#idleSeconds += (performance.now() - before) / 1000;
  }
}
