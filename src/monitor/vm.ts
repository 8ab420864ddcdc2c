/** A virtual machine: a computer of its own on a hart that it shares, with memory that is frames of the machine's. */
import { HostelryError } from "#base/errors.ts";
import type { SavedState } from "#base/saved-state.ts";
import { Computer, type ClockMode, type MachineEnd } from "#machine/computer.ts";
import { FRAME_SIZE } from "#machine/frames.ts";
import { ExitReason } from "#machine/hart/exit-reason.ts";
import type { Guest, Processor } from "#machine/processor.ts";
import type { Outside } from "#machine/inputs.ts";
import type { TlbKind } from "#machine/model.ts";
import { silenced, type Silenced } from "#machine/silences.ts";
import { Board, type BoardOptions, type BootFiles } from "#platform/board.ts";
import { address } from "#platform/memory-map.ts";
import { BinaryTranslation } from "./cpu/binary-translation.ts";
import { HardwareOnShadow } from "./cpu/hardware-on-shadow.ts";
import { Emulated } from "./cpu/emulated.ts";
import { HardwareTechnique } from "./cpu/hardware.ts";
import { Paravirtual } from "./cpu/paravirtual.ts";
import { guestKnows, techniqueOf, type CpuTechnique, type CpuTechniqueName, type SavedTechnique, type Technique } from "./cpu/technique.ts";
import { TrapAndEmulate } from "./cpu/trap-and-emulate.ts";
import { ExitRecorder, type ExitKind, type SavedExits } from "./exits.ts";
import { Balloon } from "./memory/balloon.ts";
import { GuestMemory, type SavedGuestMemory } from "./memory/guest-memory.ts";
import type { MachineMemory } from "./memory/machine-memory.ts";
import type { ShadowStatistics } from "./memory/shadow.ts";
import { VirtualCore } from "./virtual-core.ts";

export interface VmOptions extends Omit<BoardOptions, "computer" | "balloon"> {
  readonly name: string;
  /** Owner of its frames, and its VMID: from 1 on, of no other VM on this machine. */
  readonly id: number;
  /** vCPUs: 1 to 8. They take turns. */
  readonly cpus: number;
  /** Bytes; a multiple of 4096. */
  readonly memory: number;
  readonly clock: ClockMode;
  /** Whether it has a balloon, which the bare machine has not: so it is unless false. */
  readonly balloon?: boolean;
  /** The usual one if absent. */
  readonly technique?: Technique;
  readonly outside: Outside;
  /** Whether its output has nowhere to go, so that it must wait. */
  readonly congested?: () => boolean;
}

/** A VM that stands still, without its memory's contents: they are in its frames. */
export interface SavedVm {
  readonly computer: SavedState;
  readonly board: SavedState;
  readonly cores: readonly SavedState[];
  readonly memory: SavedGuestMemory;
  readonly exits: SavedExits;
  readonly technique: SavedTechnique | undefined;
  /** Milliseconds. */
  readonly ranFor: number;
  readonly inMonitor: number;
}

export type VmEnd = MachineEnd | { readonly kind: "failed"; readonly code: string; readonly message: string };

const techniques: Readonly<Record<CpuTechniqueName, (vm: VirtualMachine, technique: Technique, saved?: SavedTechnique) => CpuTechnique>> = {
  hardware: (vm, technique) => (technique.mmu === "shadow" ? new HardwareOnShadow(vm, technique) : new HardwareTechnique(vm)),
  emulated: (vm) => new Emulated(vm),
  "trap-and-emulate": (vm, technique) => new TrapAndEmulate(vm, technique),
  "binary-translation": (vm, technique) => new BinaryTranslation(vm, technique),
  paravirtual: (vm, _, saved) => new Paravirtual(vm, saved),
};

const failed = ({ code, message }: HostelryError): VmEnd => ({ kind: "failed", code, message });

/** What `performance.now()` counts from, in milliseconds since the Unix epoch. */
const EPOCH = performance.timeOrigin;

export class VirtualMachine implements Guest {
  readonly name: string;
  readonly id: number;
  readonly computer: Computer;
  readonly cores: readonly VirtualCore[];
  readonly board: Board;
  readonly memory: GuestMemory;
  /** Who fills its TLB: as on the machine. */
  readonly tlb: TlbKind;
  readonly exits = new ExitRecorder(EPOCH + performance.now());
  #technique: Technique;
  #cpu!: CpuTechnique;
  readonly #congested: () => boolean;
  #failure: VmEnd | undefined;
  /** When it came out last: by `performance.now()`. */
  #exitedAt = 0;
  /** On the hart, and in the monitor for its sake: milliseconds. */
  #ranFor = 0;
  #inMonitor = 0;

  /** A new one, to be booted; or one that another hart had. Throws HostelryError `no-frames` if the machine has none for its tables. */
  constructor(processor: Processor, machine: MachineMemory, options: VmOptions, saved?: SavedVm) {
    this.name = options.name;
    this.id = options.id;
    this.tlb = processor.model.tlb;
    this.#technique = this.#fitting(options.technique ?? techniqueOf({}));
    if (options.cpus > 1 && this.#technique.cpu === "paravirtual") {
      throw new HostelryError("one-hart", `a paravirtual VM has one hart, and not ${options.cpus}: leave out --cpus, or choose another technique`);
    }
    this.memory = new GuestMemory(machine, options.id, { base: address.memory, size: options.memory }, saved?.memory);
    try {
      this.#cpu = techniques[this.#technique.cpu](this, this.#technique, saved?.technique);
      const resident = {};
      this.cores = Array.from({ length: options.cpus }, () => new VirtualCore(processor, this.#cpu.confinement, resident));
      this.computer = new Computer({ harts: this.cores, hypervisor: false, tlb: this.tlb, dma: this.memory, memory: this.memory }, options.clock, options.outside);
      this.memory.forgetting = {
        pages: (pages) => {
          this.#cpu.forget(pages);
          processor.hart.exports.flushGuests(processor.map.hart, 0n, this.id, 0, 1);
        },
        frame: (page, before, after) => {
          this.#cpu.moved(page);
          this.core.moved(BigInt(page) * 4096n, machine.hostOf(before), machine.hostOf(after));
        },
      };
      this.memory.isReserved = (frame) => this.cores.some((core) => core.reserves(machine.hostOf(frame)));
      const { balloon = true, ...wired } = options;
      this.board = new Board({ ...wired, computer: this.computer, ...(balloon ? { balloon: new Balloon(this.memory) } : {}) });
      this.#cpu.wired?.();
      this.#congested = options.congested ?? (() => false);
    } catch (error) {
      // What was saved is its owner's still.
      if (saved === undefined) this.#giveBack();
      throw error;
    }
    if (saved !== undefined) this.#restore(saved);
  }

  /** To be taken between slices. The VM is not to run here again. */
  save(): SavedVm {
    for (const core of this.cores) core.unload();
    const cores = this.cores.map((core) => core.save());
    const technique = this.#cpu.save?.();
    this.#cpu.release();
    return {
      computer: this.computer.save(),
      board: this.board.save(),
      cores,
      memory: this.memory.save(),
      exits: this.exits.save(),
      technique,
      ranFor: this.#ranFor,
      inMonitor: this.#inMonitor,
    };
  }

  #restore(saved: SavedVm): void {
    this.cores.forEach((core, index) => core.restore(saved.cores[index]));
    // Before the board, whose devices say how their time lies to the clock.
    this.computer.restore(saved.computer);
    this.board.restore(saved.board);
    this.exits.restore(saved.exits);
    this.#ranFor = saved.ranFor;
    this.#inMonitor = saved.inMonitor;
  }

  boot(files: BootFiles): void {
    this.board.boot(files);
  }

  /** The vCPU whose turn it is. */
  get core(): VirtualCore {
    return this.cores[this.computer.currentHart]!;
  }

  /** How it ended, if it did. */
  get ended(): VmEnd | undefined {
    return this.#failure ?? (this.memory.failure && failed(this.memory.failure)) ?? this.computer.ended;
  }

  mmioRead(physical: number, size: number): readonly [number, number] | undefined {
    return this.computer.mmioRead(physical, size);
  }

  mmioWrite(physical: number, size: number, low: number, high: number): boolean {
    return this.computer.mmioWrite(physical, size, low, high);
  }

  ticks(): number {
    return this.computer.ticks();
  }

  readonly #handleExit = (): number => this.#cpu.exit();

  /** What a guest does wrong is its own fault; what it needs and can't have ends it. Neither reaches another VM. */
  exit(): number {
    const before = performance.now();
    this.#exitedAt = before;
    const reason = this.#guarded(this.#handleExit) ?? ExitReason.exit;
    this.#inMonitor += performance.now() - before;
    return reason === 0 && this.ended !== undefined ? ExitReason.exit : reason;
  }

  /** Takes what has arrived. */
  takeArrivals(): void {
    this.#guarded(() => this.computer.takeArrivals());
  }

  sliceEnded(): void {
    this.#guarded(() => this.computer.sliceEnded());
  }

  /** Nothing else is being done for the guest meanwhile. */
  #guarded<T>(action: () => T): T | undefined {
    try {
      this.memory.settle();
      return action();
    } catch (error) {
      if (!(error instanceof HostelryError)) throw error;
      this.#failure = failed(error);
      return undefined;
    }
  }

  /** Its kernel calls the SBI. */
  hypercall(): void {
    this.record("hypercall", this.core.state.low("x", 17));
    this.computer.firmwareCall();
  }

  get technique(): Technique {
    return this.#technique;
  }

  get shadow(): ShadowStatistics | null {
    return this.#cpu.statistics();
  }

  get silenced(): Silenced[] {
    return silenced(this.cores.map(({ state }) => state));
  }

  /** To be called between slices: it goes on in another way, and its guest notices nothing. Throws HostelryError `no-frames` or `technique`, and it is as before. */
  setTechnique(technique: Technique): void {
    this.#fitting(technique);
    if (technique.cpu !== this.#technique.cpu && (guestKnows(technique) || guestKnows(this.#technique))) {
      throw new HostelryError("technique", "a guest knows whether it is paravirtual, so that a running VM can't become it or cease to be it: stop it first");
    }
    const cpu = techniques[technique.cpu](this, technique);
    for (const core of this.cores) {
      core.confine(cpu.confinement);
      core.flushGuest({});
    }
    this.#cpu.release();
    this.#technique = technique;
    this.#cpu = cpu;
  }

  /** Throws HostelryError `technique` if the machine can't do it. */
  #fitting(technique: Technique): Technique {
    if (this.tlb === "hardware" || technique.mmu === "shadow" && technique.cpu !== "hardware") return technique;
    throw new HostelryError("technique", `by ${technique.cpu} the guest's page tables are walked, and this machine's VMs fill their TLBs: choose trap-and-emulate or binary-translation`);
  }

  get congested(): boolean {
    return this.#congested();
  }

  /** Of the hart's time, in the guest and in the monitor for its sake. */
  get seconds(): { readonly guestSeconds: number; readonly monitorSeconds: number } {
    return { guestSeconds: (this.#ranFor - this.#inMonitor) / 1000, monitorSeconds: this.#inMonitor / 1000 };
  }

  /** It had the hart for so many milliseconds. */
  ran(milliseconds: number): void {
    this.#ranFor += milliseconds;
  }

  /** An exit; `at` by `performance.now()`. */
  record(kind: ExitKind, detail: number, at = this.#exitedAt): void {
    const { state } = this.core;
    this.exits.record(kind, EPOCH + at, state.number("pc"), state.high("pc"), detail);
  }

  /** Gives every frame back. */
  release(): void {
    for (const core of this.cores) core.unload();
    this.#giveBack();
  }

  #giveBack(): void {
    // There is none if the VM could not be made.
    (this.#cpu as CpuTechnique | undefined)?.release();
    this.memory.release();
  }
}

/** Gives back the frames of a VM that was saved, and goes on nowhere. */
export function abandon(machine: MachineMemory, id: number, { memory, technique }: SavedVm): void {
  new GuestMemory(machine, id, { base: address.memory, size: memory.frames.length * FRAME_SIZE }, memory).release();
  for (const [frame] of technique?.direct.copies ?? []) machine.release(frame);
}
