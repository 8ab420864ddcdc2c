/** The monitor on one hart: which of its VMs runs, until when, and what wakes those that wait. */
import type { Doorbell } from "#base/doorbell.ts";
import { ExitReason } from "#machine/hart/exit-reason.ts";
import type { Processor } from "#machine/processor.ts";
import { Scheduler, type Allotment } from "./scheduler.ts";
import type { VirtualCore } from "./virtual-core.ts";
import type { VirtualMachine, VmEnd } from "./vm.ts";

export interface HartMonitorOptions {
  readonly processor: Processor;
  /** Wakes the hart when all of its VMs wait. */
  readonly doorbell: Doorbell;
  /** Called where the hart stands still; returns false when it is to come to its end. */
  readonly attend: () => boolean;
  /** Milliseconds after which `attend` wants to be called again, though all VMs wait. */
  readonly patience?: () => number;
  /** A VM is off. It is not released yet. */
  readonly ended: (vm: VirtualMachine, end: VmEnd) => void;
}

/** Where several want the hart, slices are so many times as long: whoever has his turn finds caches full of the others' work. */
const CROWDED = 5;

const TICKS_PER_MILLISECOND = 10_000;

/** Milliseconds after which a VM whose output is not being read is tried again. */
const CONGESTED_WAIT = 5;

export class HartMonitor {
  readonly #processor: Processor;
  readonly #options: HartMonitorOptions;
  readonly #scheduler = new Scheduler<VirtualMachine>();
  /** When a waiting VM's timer goes off, in milliseconds of `performance.now()`. */
  readonly #deadlines = new Map<VirtualMachine, number>();
  /** Whose state the hart has. */
  #loaded: VirtualCore | undefined;

  constructor(options: HartMonitorOptions) {
    this.#processor = options.processor;
    this.#options = options;
  }

  get vms(): readonly VirtualMachine[] {
    return [...this.#scheduler.items];
  }

  /** A booted VM runs from now on. */
  start(vm: VirtualMachine, allotment: Allotment): void {
    vm.computer.begin();
    this.#scheduler.add(vm, allotment, performance.now());
  }

  /** It doesn't run any more, and all of its state is its own again. */
  stop(vm: VirtualMachine): void {
    this.#scheduler.remove(vm);
    this.#deadlines.delete(vm);
    this.#load(undefined);
  }

  set(vm: VirtualMachine, allotment: Allotment): void {
    this.#scheduler.set(vm, allotment);
  }

  /** Milliseconds, rounded, in which it had something to do since it was started, whether it had the hart or not. */
  wantedFor(vm: VirtualMachine): number {
    return Math.round(this.#scheduler.awakeFor(vm, performance.now()));
  }

  /** Runs VMs until `attend` says that it is enough. */
  run(): void {
    for (;;) {
      const rings = this.#options.doorbell.rings;
      if (!this.#options.attend()) return;
      const now = performance.now();
      this.#wake(now);
      const next = this.#scheduler.next(now);
      if ("run" in next) this.#turn(next.run, now);
      else this.#wait(rings, next.at - now);
    }
  }

  /** Those that sleep, and for whom something has come. What has come for the others is found when it is their turn. */
  #wake(now: number): void {
    for (const vm of this.#scheduler.items) if (!this.#scheduler.awake(vm) && this.#attends(vm, now)) this.#sleepOrWake(vm, now);
  }

  #turn(vm: VirtualMachine, now: number): void {
    if (this.#attends(vm, now)) this.#runSlice(vm);
  }

  /** It takes what has come for it, unless its output must go first: then it sleeps. */
  #attends(vm: VirtualMachine, now: number): boolean {
    const { congested } = vm;
    if (congested) this.#sleepUntil(vm, now, now + CONGESTED_WAIT);
    else vm.takeArrivals();
    return !congested;
  }

  #runSlice(vm: VirtualMachine): void {
    const processor = this.#processor;
    this.#load(vm.core);
    if (vm.ended === undefined) {
      const before = performance.now();
      const reason = processor.run(vm, vm.computer.slice(vm.computer.longestSlice * (this.#scheduler.crowd > 1 ? CROWDED : 1)));
      vm.sliceEnded();
      const now = performance.now();
      vm.ran(now - before);
      this.#scheduler.ran(vm, now - before, now);
      if (reason === ExitReason.wait) vm.computer.wait();
      if (reason !== ExitReason.exit) vm.record(reason === ExitReason.wait ? "wait" : "slice", 0, now);
      this.#sleepOrWake(vm, now);
    }
    if (vm.ended !== undefined) this.#finish(vm, vm.ended);
  }

  /** Its next vCPU has the VM's turn; or the VM sleeps, if all wait. */
  #sleepOrWake(vm: VirtualMachine, now: number): void {
    const ticks = vm.ended === undefined ? vm.computer.turn() : 0;
    if (ticks > 0) this.#sleepUntil(vm, now, now + ticks / TICKS_PER_MILLISECOND);
    else this.#scheduler.wake(vm, now);
  }

  #sleepUntil(vm: VirtualMachine, now: number, deadline: number): void {
    this.#deadlines.set(vm, deadline);
    this.#scheduler.sleep(vm, now);
  }

  #wait(rings: number, milliseconds: number): void {
    const now = performance.now();
    let patience = Math.min(milliseconds, this.#options.patience?.() ?? Infinity);
    for (const vm of this.#scheduler.items) if (!this.#scheduler.awake(vm)) patience = Math.min(patience, this.#deadlines.get(vm)! - now);
    if (patience > 0) this.#options.doorbell.wait(rings, patience);
  }

  #finish(vm: VirtualMachine, end: VmEnd): void {
    this.stop(vm);
    this.#options.ended(vm, end);
  }

  /** The machine switch. */
  #load(core: VirtualCore | undefined): void {
    if (this.#loaded === core) return;
    this.#loaded?.unload();
    core?.load();
    this.#loaded = core;
  }
}
