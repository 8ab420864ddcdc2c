/** A hart: its state in the machine's memory, seen by name, and the WebAssembly program that runs it. */
import { assert } from "#base/assert.ts";
import { buildHartProgram, type HartImports, type HartProgramOptions } from "./hart/hart-program.ts";
import { interpreterSlot } from "./hart/region-entry.ts";
import { layout, type FieldName, type MemoryMap } from "./layout.ts";

/** A hart's named state, read and written from TypeScript while the hart stands still. */
export class HartState {
  #view: DataView;
  #base: number;

  constructor(memory: { readonly buffer: ArrayBufferLike }, base: number) {
    this.#view = new DataView(memory.buffer);
    this.#base = base;
  }

  /** It is kept elsewhere from now on: a virtual hart's goes into the hart that executes it, and back. */
  place(memory: { readonly buffer: ArrayBufferLike }, base: number): void {
    this.#view = new DataView(memory.buffer);
    this.#base = base;
  }

  get(name: FieldName, index = 0): bigint {
    const { offset, type, count } = layout[name];
    assert(index < count, "no such element of a field", { name, index });
    return type === "i32"
      ? BigInt(this.#view.getUint32(this.#base + offset + index * 4, true))
      : this.#view.getBigUint64(this.#base + offset + index * 8, true);
  }

  set(name: FieldName, value: bigint | number, index = 0): void {
    const { offset, type, count } = layout[name];
    assert(index < count, "no such element of a field", { name, index });
    if (type === "i32") this.#view.setInt32(this.#base + offset + index * 4, Number(BigInt.asIntN(32, BigInt(value))), true);
    else this.#view.setBigUint64(this.#base + offset + index * 8, BigInt.asUintN(64, BigInt(value)), true);
  }

  /** An i32 field, unsigned, without BigInt. */
  number(name: FieldName): number {
    return this.#view.getUint32(this.#base + layout[name].offset, true);
  }

  /** A 64-bit counter as a number (exact below 2^53). */
  counter(name: FieldName, index = 0): number {
    const at = this.#base + layout[name].offset + index * 8;
    return this.#view.getUint32(at, true) + this.#view.getUint32(at + 4, true) * 2 ** 32;
  }

  /** The upper half of a 64-bit field. */
  high(name: FieldName, index = 0): number {
    return this.#view.getUint32(this.#base + layout[name].offset + index * 8 + 4, true);
  }

  /** The lower half of an element of a field of 64-bit ones, as `number` is of a field. */
  low(name: FieldName, index: number): number {
    return this.#view.getUint32(this.#base + layout[name].offset + index * 8, true);
  }

  /** Bytes of a field, from an offset on, into `to`; and the other way. */
  copyBytes(name: FieldName, offset: number, to: Uint8Array): void {
    to.set(new Uint8Array(this.#view.buffer, this.#base + layout[name].offset + offset, to.length));
  }

  setBytes(name: FieldName, offset: number, from: Uint8Array): void {
    new Uint8Array(this.#view.buffer, this.#base + layout[name].offset + offset, from.length).set(from);
  }

  setHalves(name: FieldName, index: number, low: number, high: number): void {
    const at = this.#base + layout[name].offset + index * 8;
    this.#view.setInt32(at, low, true);
    this.#view.setInt32(at + 4, high, true);
  }

  setNumber(name: FieldName, value: number): void {
    this.#view.setUint32(this.#base + layout[name].offset, value >>> 0, true);
  }

  /** Adds to a 64-bit field: an integer of at most 2^52, either way. */
  addNumber(name: FieldName, amount: number): void {
    const at = this.#base + layout[name].offset;
    const sum = this.#view.getUint32(at, true) + amount;
    this.#view.setUint32(at, sum % 2 ** 32, true);
    this.#view.setUint32(at + 4, this.#view.getUint32(at + 4, true) + Math.floor(sum / 2 ** 32), true);
  }
}

export interface HartExports {
  run(state: number): number;
  raise(state: number, pc: bigint, cause: bigint, value: bigint): void;
  /** A trap into VS-mode, whatever is delegated. */
  raiseInVirtual(state: number, pc: bigint, cause: bigint, value: bigint): void;
  reflectInVirtual(state: number, cause: number): void;
  /** V becomes 1, or 0 again: the supervisor's registers are exchanged. Privilege and bank are the caller's to set. */
  enterGuest(state: number): void;
  leaveGuest(state: number): void;
  selectBank(state: number): void;
  /** Of a deprivileged guest: see hart/deprivileged.ts. */
  selectView(state: number): void;
  raiseInGuest(state: number, pc: bigint, cause: bigint, value: bigint): void;
  reflectInGuest(state: number, cause: number): void;
  returnInGuest(state: number): void;
  accessInGuest(state: number, number: number, operation: number, operand: number, writes: number, rd: number): number;
  /** SFENCE.VMA, with `guest` for the virtual machine that hgatp names. */
  flush(state: number, virtual: bigint, asid: number, hasVirtual: number, hasAsid: number, guest: number): void;
  /** HFENCE.GVMA. */
  flushGuests(state: number, guestPhysical: bigint, vmid: number, hasAddress: number, hasVmid: number): void;
  /** A guest's page, which may be read and executed, is about to have another frame than that at `host`. */
  forgetPage(state: number, guestPhysical: bigint, host: number): void;
  /** No write TLB holds the frame at `host`. */
  purgeWritable(state: number, host: number): void;
  flushAll(state: number): void;
  flushJumps(state: number): void;
  codeStore(state: number, host: number, bytes: number): void;
  updateTimer(state: number): void;
  updatePmp(state: number): void;
}

export interface HartHost {
  mmioRead(state: number, address: number, size: number): number;
  mmioWrite(state: number, address: number, size: number): number;
  time(): number;
  codeWritten(state: number, host: number, bytes: number): void;
}

export interface HartInstance {
  readonly exports: HartExports & Record<string, (...operands: never[]) => unknown>;
  readonly regions: WebAssembly.Table;
  readonly imports: HartImports;
}

/** Compiles and instantiates the hart's program over the machine's memory. */
export function instantiateHart(
  memory: WebAssembly.Memory,
  map: MemoryMap,
  host: HartHost,
  options: HartProgramOptions,
): HartInstance {
  const program = buildHartProgram(map, options);
  new Uint8Array(memory.buffer).set(program.csrIndex, map.csrIndex);
  const regions = new WebAssembly.Table({ element: "anyfunc", initial: 1 });
  const instance = new WebAssembly.Instance(new WebAssembly.Module(program.bytes), {
    machine: { memory, regions },
    host: host as unknown as WebAssembly.ModuleImports,
  });
  // Slot 0: calls to code that isn't translated.
  regions.set(interpreterSlot, instance.exports["nested"]);
  return { exports: instance.exports as unknown as HartInstance["exports"], regions, imports: program.imports };
}
