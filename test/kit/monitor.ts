/** A machine with the monitor, on this thread, for tests that run guests in VMs. */
import assert from "node:assert/strict";
import { Doorbell } from "#base/doorbell.ts";
import { Random } from "#base/random.ts";
import { Frames } from "#machine/frames.ts";
import { HostTime } from "#machine/host-time.ts";
import type { Arrival, Outside } from "#machine/inputs.ts";
import { memoryMap } from "#machine/layout.ts";
import { standardModel, type MachineModel } from "#machine/model.ts";
import { allocate, Processor } from "#machine/processor.ts";
import { RegionCompiler } from "#machine/translate/compile.ts";
import { ImmediateCompiler, TranslationRegistry, type RegistryOptions } from "#machine/translate/registry.ts";
import { techniqueOf, type TechniqueOptions } from "#monitor/cpu/technique.ts";
import { HartMonitor } from "#monitor/hart-monitor.ts";
import { MachineMemory } from "#monitor/memory/machine-memory.ts";
import { Paging } from "#monitor/memory/paging.ts";
import type { BackingStore } from "#monitor/memory/swap.ts";
import type { Allotment } from "#monitor/scheduler.ts";
import { VirtualMachine, type SavedVm, type VmEnd, type VmOptions } from "#monitor/vm.ts";
import { address } from "#platform/memory-map.ts";
import type { BootFiles } from "#platform/board.ts";
import { assemble } from "#riscv/assemble.ts";

const MIB = 1 << 20;

export class QuietHost implements Outside {
  readonly arrivals: Arrival[] = [];
  readonly #time = new HostTime();
  ticks = (): number => this.#time.ticks();
  realTime = (): bigint => this.#time.realTime();
  entropy = (length: number): Uint8Array => new Uint8Array(length).fill(0x5a);
  arrival = (): Arrival | undefined => this.arrivals.shift();
}

export interface TestVm {
  readonly vm: VirtualMachine;
  readonly host: QuietHost;
  readonly output: () => string;
  /** Undefined while it runs. */
  readonly end: () => VmEnd | undefined;
  readonly x: (index: number) => bigint;
}

export type TestVmOptions = Partial<VmOptions> & TechniqueOptions;

export interface TestMonitorOptions {
  readonly memory?: number;
  readonly translate?: boolean;
  /** Limits of its translator, for instance. */
  readonly registry?: RegistryOptions;
  /** The standard machine if absent. */
  readonly model?: MachineModel;
  /** With one, its VMs are paged. */
  readonly store?: BackingStore;
}

export class TestMonitor {
  readonly processor: Processor;
  readonly frames: Frames;
  readonly memory: MachineMemory;
  readonly monitor: HartMonitor;
  readonly translations: TranslationRegistry | undefined;
  readonly #ends = new Map<VirtualMachine, VmEnd>();
  #until: () => boolean = () => false;
  #deadline = Infinity;
  #nextId = 1;
  /** At the clock, for its paging, which doesn't wait. */
  #looks = 0;
  /** By their numbers: one that was saved has its number again where it goes on. */
  readonly #vms = new Map<number, VirtualMachine>();

  constructor({ memory = 64 * MIB, translate = false, registry = {}, model = standardModel, store }: TestMonitorOptions = {}) {
    const map = memoryMap(memory);
    const linear = allocate(map);
    this.processor = new Processor(linear, map, model);
    if (translate) {
      const compiler = new RegionCompiler(linear.buffer, map, this.processor.hart.imports, this.processor.programOptions);
      const port = new ImmediateCompiler((requests) => compiler.compile(requests), () => 0);
      this.translations = new TranslationRegistry(linear, map, this.processor.state, this.processor.hart, port, { patience: 0, ...registry });
      this.processor.translator = this.translations;
    }
    this.frames = Frames.create(memory / 4096);
    this.memory = new MachineMemory(this.frames, map, this.processor.dma, store);
    if (store !== undefined) this.memory.reclaimer = new Paging({ guests: () => Array.from(this.#vms.values(), ({ memory }) => memory), random: new Random(1), now: () => (this.#looks += 1000) });
    this.monitor = new HartMonitor({
      processor: this.processor,
      doorbell: new Doorbell(),
      attend: () => !this.#until() && performance.now() < this.#deadline,
      ended: (vm, end) => void this.#ends.set(vm, end),
    });
  }

  /** A VM that is booted, but not started; without files, it is as after power-on, or as it was saved. */
  create(files: BootFiles | string | undefined, options: TestVmOptions = {}, saved?: SavedVm): TestVm {
    const { cpu, mmu, shadow, rewrite, onIllegal, ...rest } = options;
    const host = new QuietHost();
    let output = "";
    const vm = new VirtualMachine(this.processor, this.memory, {
      name: `vm${this.#nextId}`,
      id: this.#nextId++,
      cpus: 1,
      memory: 4 * MIB,
      clock: "instructions",
      // So that it is as the bare machine.
      balloon: false,
      outside: host,
      drives: [],
      output: (bytes) => void (output += Buffer.from(bytes).toString("latin1")),
      terminal: { columns: 80, rows: 24 },
      warn: () => {},
      technique: techniqueOf({ cpu, mmu, shadow, rewrite, onIllegal }),
      ...rest,
    }, saved);
    this.#vms.set(vm.id, vm);
    if (typeof files === "string") vm.boot({ kernel: { format: "raw", bytes: assemble(files, { base: address.memory }) }, append: "" });
    else if (files !== undefined) vm.boot(files);
    return { vm, host, output: () => output, end: () => this.#ends.get(vm), x: (index) => vm.cores[0]!.state.get("x", index) };
  }

  start(vm: TestVm, allotment: Allotment = { shares: 1, cap: 1 }): void {
    this.monitor.start(vm.vm, allotment);
  }

  /** Runs what is started, until `until`, or for so many milliseconds at most. */
  run(until: () => boolean, milliseconds = 10_000): void {
    this.#until = until;
    this.#deadline = performance.now() + milliseconds;
    this.monitor.run();
  }

  /** Runs one guest program to its end. */
  runToEnd(source: string, options: TestVmOptions = {}): TestVm {
    const vm = this.create(source, options);
    this.start(vm);
    this.run(() => vm.end() !== undefined);
    assert.ok(vm.end() !== undefined, "the guest did not come to its end");
    return vm;
  }
}

/** Ends the guest with the status in a0. */
export const EXIT = `
  li   t5, ${address.test}
  slli t6, a0, 16
  li   t4, 0x3333
  or   t6, t6, t4
  sw   t6, 0(t5)
  stay: j stay
`;
