/** One instruction, executed in a mode, from a given state: what came of it. */
import { assert } from "#base/assert.ts";
import { cause, privilege, status } from "#machine/csr-bits.ts";
import { ExitReason } from "#machine/hart/exit-reason.ts";
import { layout, memoryMap, type FieldName } from "#machine/layout.ts";
import type { MachineModel } from "#machine/model.ts";
import { allocate, Processor, type Guest } from "#machine/processor.ts";
import { assemble } from "#riscv/assemble.ts";
import { AddressSpaces, middle, place, ramSize, type Space } from "./address-space.ts";
import { controlFields, significant, type ControlState } from "./control-state.ts";

export type Mode = "user" | "supervisor" | "machine";

/** What a program sees of the machine, but for memory. */
export interface ProgramState {
  readonly x: readonly bigint[];
  readonly f: readonly bigint[];
  readonly frm: number;
  /** Around the middle of the data page. */
  readonly data: Uint8Array;
  /** The size in bytes of an LR of the middle that came before, or 0. */
  readonly reserved: 0 | 4 | 8;
}

export interface Trial {
  readonly word: number;
  readonly mode: Mode;
  readonly program: ProgramState;
  readonly control: ControlState;
  readonly space: Space;
  /** Whether the memory that a program sees is compared; and whether it is looked what becomes of translations. */
  readonly watchesMemory: boolean;
  readonly watchesTranslations: boolean;
}

export type Outcome =
  /** It could not be executed for another reason: memory that it may not access, or an interrupt that came. */
  | { readonly kind: "void" }
  | { readonly kind: "trapped" }
  | {
      readonly kind: "done";
      /** All that a program sees. */
      readonly visible: Buffer;
      /** What control state it changed: names of fields, and `waiting`, `translations`, `guest translations`. */
      readonly effects: readonly string[];
    };

export const dataSize = 8192;

const privileges: Readonly<Record<Mode, number>> = { user: privilege.user, supervisor: privilege.supervisor, machine: privilege.machine };
/** Traps that the instruction itself asks for, or that refuse it. */
const ofInstructions = [
  cause.illegalInstruction, cause.virtualInstruction, cause.breakpoint,
  cause.ecallFromUser, cause.ecallFromSupervisor, cause.ecallFromVirtualSupervisor, cause.ecallFromMachine,
];

/** Where the instruction that probes stands, behind the one that is tried. */
const probeDistance = 64 << 10;
const pointerRegister = 6;
const probeInstruction = assemble("ld x5, 0(x6)");

const quiet: Guest = { mmioRead: () => undefined, mmioWrite: () => false, ticks: () => 1000 };

export class Experiment {
  readonly #processor: Processor;
  readonly #spaces: AddressSpaces;
  readonly #state: Buffer;
  readonly #traps: Buffer;
  readonly #ram: Buffer;

  constructor(model: MachineModel) {
    const map = memoryMap(ramSize, { predecodedPages: 64 });
    const memory = allocate(map);
    this.#processor = new Processor(memory, map, model);
    this.#spaces = new AddressSpaces(memory, map);
    this.#state = Buffer.from(memory.buffer, map.hart, layout.bank.offset);
    this.#traps = Buffer.from(memory.buffer, map.hart + layout.traps.offset, layout.interrupts.offset + 64 * 8 - layout.traps.offset);
    this.#ram = Buffer.from(memory.buffer, map.ram, ramSize);
    for (const at of [place.code, place.code2]) this.#putCode(at + middle + probeDistance, probeInstruction);
    this.#ram.writeBigUInt64LE(1n, place.probe - map.ramBase + middle);
    this.#ram.writeBigUInt64LE(2n, place.probe2 - map.ramBase + middle);
  }

  try(trial: Trial): Outcome {
    const { mode, space, word } = trial;
    const { state } = this.#processor;
    const where = this.#spaces.where(mode === "machine" ? "inPlace" : space);
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32LE(word >>> 0);
    this.#putCode(where.code + middle, bytes);
    this.#putData(where.data, trial.program.data);
    this.#putState(trial, where.data);
    // A guest's data that is somewhere else is other data.
    if (trial.watchesMemory) this.#putData(place.data3, trial.program.data.map((byte) => byte ^ 0xff));
    this.#processor.contextChanged();
    const before = Buffer.from(this.#state);

    this.#spaces.setProbe(place.probe);
    if (trial.watchesTranslations) {
      this.#probe("own", before);
      this.#probe("guest", before);
      this.#spaces.setProbe(place.probe2);
    }
    this.#spaces.setProgramMode(space, mode === "user" ? "user" : "supervisor");
    this.#traps.fill(0);
    const reason = this.#processor.run(quiet, 1);
    const outcome = this.#judge();
    if (outcome !== "done") return { kind: outcome };
    const effects = this.#changed(before);
    if (reason === ExitReason.wait) effects.push("waiting");
    const visible = this.#visible(where.data, trial.watchesMemory);
    if (trial.watchesTranslations) {
      const after = Buffer.from(this.#state);
      if (this.#probe("own", before) === 2n) effects.push("translations");
      if (this.#probe("guest", before) === 2n) effects.push("guest translations");
      this.#state.set(after);
    }
    assert(state.number("fault") === 0, "a fault was left behind", { word });
    return { kind: "done", visible, effects };
  }

  #putCode(physical: number, bytes: Uint8Array): void {
    const { map, hart } = this.#processor;
    const at = physical - map.ramBase;
    this.#ram.set(bytes, at);
    hart.exports.codeStore(map.hart, map.ram + at, bytes.length);
  }

  #putData(page: number, data: Uint8Array): void {
    const { map, hart } = this.#processor;
    const at = page + middle - dataSize / 2 - map.ramBase;
    this.#ram.set(data, at);
    for (let frame = 0; frame < dataSize; frame += 4096) hart.exports.codeStore(map.hart, map.ram + at + frame, 4096);
  }

  #putState({ mode, program, control }: Trial, data: number): void {
    const { state, map } = this.#processor;
    this.#state.fill(0);
    for (const [name, value] of control) {
      if (typeof value === "bigint") state.set(name, value);
      else value.forEach((element, i) => state.set(name, element, i));
    }
    state.setNumber("privilege", privileges[mode]);
    state.set("pc", BigInt(place.code + middle));
    program.x.forEach((value, i) => state.set("x", value, i));
    program.f.forEach((value, i) => state.set("f", value, i));
    state.setNumber("frm", program.frm);
    if (program.reserved !== 0) {
      const at = data + middle - map.ramBase;
      state.setNumber("reservation", map.ram + at);
      state.set("reservationValue", program.reserved === 8 ? this.#ram.readBigUInt64LE(at) : this.#ram.readInt32LE(at));
    }
  }

  /** What the address of the probe leads to for the supervisor, or for the one of the guest: 1 or 2, by its page. */
  #probe(whose: "own" | "guest", from: Buffer): bigint {
    const { state, map, hart } = this.#processor;
    this.#state.set(from);
    this.#spaces.setProgramMode("inPlace", "supervisor");
    this.#spaces.setProgramMode("moved", "supervisor");
    state.set("pc", BigInt(place.code + middle + probeDistance));
    state.set("x", BigInt(place.probe + middle), pointerRegister);
    // Without SUM, so that what is cached of both stands in other places than what the instruction itself may need.
    const sum = 1n << BigInt(status.sum);
    state.set("parkedStatus", state.get("parkedStatus") & ~sum);
    const mstatus = state.get("mstatus") & ~(sum | (1n << BigInt(status.sie)) | (1n << BigInt(status.mie)));
    const asGuest = (1n << BigInt(status.mprv)) | (1n << BigInt(status.mpv)) | (1n << BigInt(status.mpp));
    state.set("mstatus", whose === "own" ? mstatus : (mstatus & ~(3n << BigInt(status.mpp))) | asGuest);
    state.set("mie", 0);
    state.setNumber("privilege", whose === "own" ? privilege.supervisor : privilege.machine);
    hart.exports.selectBank(map.hart);
    this.#processor.run(quiet, 1);
    const value = state.get("x", 5);
    this.#state.set(from);
    hart.exports.selectBank(map.hart);
    return value;
  }

  #judge(): Outcome["kind"] {
    const count = (at: number): bigint => this.#traps.readBigUInt64LE(at);
    if (ofInstructions.some((number) => count(number * 8) !== 0n)) return "trapped";
    return this.#traps.every((byte) => byte === 0) ? "done" : "void";
  }

  #changed(before: Buffer): string[] {
    return controlFields.filter((name) => {
      const { offset, type, count } = layout[name];
      const size = type === "i32" ? 4 : 8;
      if (before.compare(this.#state, offset, offset + size * count, offset, offset + size * count) === 0) return false;
      return count > 1 || significant(name, read(before, name)) !== significant(name, read(this.#state, name));
    });
  }

  #visible(data: number, withMemory: boolean): Buffer {
    const field = (name: FieldName, skip = 0): Buffer => {
      const { offset, type, count } = layout[name];
      return this.#state.subarray(offset + skip * 8, offset + (type === "i32" ? 4 : 8) * count);
    };
    const registers = [field("x", 1).subarray(0, 31 * 8), field("f"), field("pc"), field("fflags"), field("frm")];
    const { ramBase } = this.#processor.map;
    const window = (page: number): Buffer => this.#ram.subarray(page + middle - dataSize / 2 - ramBase, page + middle + dataSize / 2 - ramBase);
    return Buffer.concat(withMemory ? [...registers, window(data), window(place.data3)] : registers);
  }
}

function read(state: Buffer, name: FieldName): bigint {
  const { offset, type } = layout[name];
  return type === "i32" ? BigInt(state.readUInt32LE(offset)) : state.readBigUInt64LE(offset);
}

