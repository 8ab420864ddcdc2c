import { assert } from "#base/assert.ts";
import type { DmaMemory } from "#machine/bus.ts";

/**
 * A structure in guest memory, read and written by field. Holds on to the view of the part last used, so that a walk along
 * a ring costs one DMA request for the whole ring where memory is contiguous. Fields are aligned to their size.
 */
export class RingWindow {
  readonly #memory: DmaMemory;
  readonly #access: "readable" | "writable";
  readonly #address: number;
  readonly #length: number;
  #view: DataView = new DataView(new ArrayBuffer(0));
  #words: Uint16Array = new Uint16Array(0);
  #start = 0;
  #end = 0;

  constructor(memory: DmaMemory, access: "readable" | "writable", address: number, length: number) {
    this.#memory = memory;
    this.#access = access;
    this.#address = address;
    this.#length = length;
  }

  /** Lets go of the view, which is stale once the device has returned. */
  close(): void {
    this.#start = this.#end = 0;
  }

  u16(offset: number): number {
    const at = this.#at(offset, 2);
    return this.#view.getUint16(at, true);
  }

  u32(offset: number): number {
    const at = this.#at(offset, 4);
    return this.#view.getUint32(at, true);
  }

  /** An address or a length: not exact beyond 2^53, which is no memory. */
  u64(offset: number): number {
    return this.u32(offset) + this.u32(offset + 4) * 2 ** 32;
  }

  setU32(offset: number, value: number): void {
    const at = this.#at(offset, 4);
    this.#view.setUint32(at, value, true);
  }

  /** An index that orders the rest: no later read is done before it (section 2.7.13). The structure must be aligned to 2. */
  loadIndex(offset: number): number {
    const at = this.#at(offset, 2);
    return Atomics.load(this.#words, at >> 1);
  }

  /** The same for writing: all earlier writes are seen before it, and it is before all later reads. */
  storeIndex(offset: number, value: number): void {
    const at = this.#at(offset, 2);
    Atomics.store(this.#words, at >> 1, value);
  }

  /** Where the field is in the view. Call it first: it may take another view. */
  #at(offset: number, size: number): number {
    if (offset < this.#start || offset + size > this.#end) this.#open(offset, size);
    return offset - this.#start;
  }

  #open(offset: number, size: number): void {
    assert(offset >= 0 && offset + size <= this.#length, "a field lies outside its structure", { offset, size, length: this.#length });
    const part = this.#memory[this.#access](this.#address + offset, this.#length - offset);
    assert(part.length >= size, "memory gave less than an aligned field", { length: part.length, size });
    this.#view = new DataView(part.buffer, part.byteOffset, part.length);
    if (part.byteOffset % 2 === 0) this.#words = new Uint16Array(part.buffer, part.byteOffset, part.length >> 1);
    this.#start = offset;
    this.#end = offset + part.length;
  }
}
