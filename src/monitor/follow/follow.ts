/** A flow followed instruction by instruction: on the bare machine, and in a virtual machine, with what the monitor does in between. */
import { assert } from "#base/assert.ts";
import { Doorbell } from "#base/doorbell.ts";
import { HostelryError } from "#base/errors.ts";
import type { HartState } from "#machine/hart.ts";
import { Frames } from "#machine/frames.ts";
import type { Outside } from "#machine/inputs.ts";
import { memoryMap } from "#machine/layout.ts";
import { Machine } from "#machine/machine.ts";
import { allocate, Processor, type Guest } from "#machine/processor.ts";
import { Board } from "#platform/board.ts";
import { address } from "#platform/memory-map.ts";
import { disassemble } from "#riscv/disassemble.ts";
import type { Technique } from "../cpu/technique.ts";
import type { ExitKind } from "../exits.ts";
import { footprint } from "../memory/footprint.ts";
import { MachineMemory } from "../memory/machine-memory.ts";
import { VirtualMachine } from "../vm.ts";
import { privilegeOf, registersOf, type Privilege, type Registers } from "./registers.ts";
import type { Scene } from "./scene.ts";

export type Actor = "process" | "OS" | "VMM";

export interface Change {
  readonly register: string;
  readonly from: bigint;
  readonly to: bigint;
}

export interface Step {
  readonly actor: Actor;
  /** Which of the guest's instructions it belongs to, from 0 on. */
  readonly index: number;
  readonly pc: bigint;
  readonly instruction: string;
  /** Before it. */
  readonly privilege: Privilege;
  /** Of an instruction: whether it came out to the monitor, or the machine itself trapped; of the monitor's work, why it was called. */
  readonly event: "done" | "trap" | ExitKind;
  /** But for the pc, unless it is other than that of the next instruction. */
  readonly changes: readonly Change[];
}

const MEMORY = 4 << 20;
const FEW_PREDECODED_PAGES = { predecodedPages: 64 };
/** More than any scene takes. */
const MOST_INSTRUCTIONS = 100_000;

/** The same at any time and place: nothing comes in. */
const nowhere: Outside = {
  ticks: () => 0,
  realTime: () => 0n,
  entropy: (length) => new Uint8Array(length),
  arrival: () => undefined,
};
const surroundings = { drives: [], output: () => {}, terminal: { columns: 80, rows: 24 }, warn: () => {} };

export function followBare(scene: Scene): Step[] {
  const machine = new Machine({ model: scene.model, ramSize: MEMORY, clock: "instructions", outside: nowhere, doorbell: new Doorbell() });
  const { computer, processor, state } = machine;
  new Board({ ...surroundings, computer }).boot(kernelOf(scene));
  return new Follower(scene, state, () => {
    processor.run(computer, 1);
    return [];
  }).follow();
}

/** Throws HostelryError `technique` if that can't run the scene. */
export function followVm(scene: Scene, technique: Technique): Step[] {
  const map = memoryMap(footprint(MEMORY, technique.mmu), FEW_PREDECODED_PAGES);
  const processor = new Processor(allocate(map), map, scene.model);
  const memory = new MachineMemory(Frames.create(map.ramSize / 4096), map, processor.dma);
  const vm = new VirtualMachine(processor, memory, { ...surroundings, name: "followed", id: 1, cpus: 1, memory: MEMORY, clock: "instructions", balloon: false, technique, outside: nowhere });
  vm.boot(kernelOf(scene));
  vm.core.load();
  vm.computer.begin();
  const exits: ExitSeen[] = [];
  const guest: Guest = {
    mmioRead: (at, size) => vm.mmioRead(at, size),
    mmioWrite: (at, size, low, high) => vm.mmioWrite(at, size, low, high),
    ticks: () => vm.ticks(),
    exit: () => {
      const before = registersOf(vm.core.state);
      const reason = vm.exit();
      const { kind } = vm.exits.trace(vm.exits.total - 1).exits[0]!;
      exits.push({ kind, before, after: registersOf(vm.core.state), privilege: privilegeOf(vm.core.state) });
      return reason;
    },
  };
  return new Follower(scene, vm.core.state, () => {
    processor.run(guest, 1);
    if (vm.ended !== undefined) throw new HostelryError("technique", `by ${technique.cpu}, ${scene.title} can't be followed: choose another technique`);
    return exits.splice(0);
  }).follow();
}

const kernelOf = ({ bytes }: Scene) => ({ kernel: { format: "raw" as const, bytes }, append: "" });

/** What the monitor did, in one go. */
interface ExitSeen {
  readonly kind: ExitKind;
  readonly before: Registers;
  readonly after: Registers;
  /** After it. */
  readonly privilege: Privilege;
}

class Follower {
  readonly #scene: Scene;
  readonly #state: HartState;
  /** Executes an instruction, or what a trap makes of it. */
  readonly #step: () => ExitSeen[];
  #index = 0;

  constructor(scene: Scene, state: HartState, step: () => ExitSeen[]) {
    this.#scene = scene;
    this.#state = state;
    this.#step = step;
  }

  follow(): Step[] {
    const { begin, end } = this.#scene;
    for (let count = 0; this.#state.get("pc") !== begin; count++) {
      assert(count < MOST_INSTRUCTIONS, "a scene that never begins", { begin });
      this.#step();
    }
    const steps: Step[] = [];
    while (this.#state.get("pc") !== end) {
      assert(steps.length < MOST_INSTRUCTIONS, "a scene that never ends", { end });
      steps.push(...this.#next());
    }
    return steps;
  }

  #next(): Step[] {
    const [before, privilege] = [registersOf(this.#state), privilegeOf(this.#state)];
    const pc = before.get("pc")!;
    const word = this.#word(pc);
    const exits = this.#step();
    const after = registersOf(this.#state);
    const about = { index: this.#index, pc, instruction: disassemble(word, { pc }) };
    const actor = privilege.virtual === "U" ? "process" : "OS";
    const instruction = (event: "done" | "trap", from: Registers): Step =>
      ({ ...about, actor, privilege, event, changes: changesOf(from, after, pc) });
    if (exits.length === 0) {
      this.#index++;
      const isTrap = privilegeOf(this.#state).virtual !== privilege.virtual && actor === "process";
      return [instruction(isTrap ? "trap" : "done", before)];
    }
    const steps: Step[] = [{ ...about, actor, privilege, event: "trap", changes: [] }];
    for (const { kind, before: from, after: to } of exits) steps.push({ ...about, actor: "VMM", privilege, event: kind, changes: changesOf(from, to, pc) });
    const last = exits.at(-1)!;
    // What it only made possible, the hart has done since.
    const isDone = last.after.get("pc") === pc && after.get("pc") !== pc;
    if (isDone) steps.push(instruction("done", last.after));
    if (after.get("pc") !== pc) this.#index++;
    return steps;
  }

  #word(pc: bigint): number {
    const { bytes, processBase } = this.#scene;
    const at = Number(pc) - (Number(pc) >= address.memory ? address.memory : processBase);
    assert(at >= 0 && at + 4 <= bytes.length, "a scene beyond its program", { pc });
    return new DataView(bytes.buffer, bytes.byteOffset).getInt32(at, true);
  }
}

const LENGTH = 4n;

function changesOf(before: Registers, after: Registers, pc: bigint): Change[] {
  return [...after]
    .map(([register, to]) => ({ register, from: before.get(register) ?? 0n, to }))
    .filter(({ register, from, to }) => from !== to && !(register === "pc" && to === pc + LENGTH));
}
