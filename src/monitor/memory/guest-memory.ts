/** A VM's physical memory: frames come when pages are first touched, by the guest or by a device. */
import type { DmaMemory } from "#machine/bus.ts";
import { FRAME_SIZE } from "#machine/frames.ts";
import { outOfRange } from "#machine/physical-memory.ts";
import type { MachineMemory } from "./machine-memory.ts";
import { GStageTables, type SavedTables } from "./nested.ts";
import { Pmap, UNTOUCHED, type NoFrame } from "./pmap.ts";

/** A VM's memory where it stands: its frames hold the contents. */
export interface SavedGuestMemory {
  readonly frames: Int32Array;
  readonly tables: SavedTables;
}

export class GuestMemory implements DmaMemory {
  readonly pmap: Pmap;
  readonly tables: GStageTables;
  readonly base: number;
  readonly size: number;
  readonly machine: MachineMemory;
  readonly owner: number;
  /** Told of a page that is about to be written by anyone but the guest's own instructions. */
  written: ((page: number) => void) | undefined;
  /** Told of pages whose frames are about to go: no table but the G-stage's may lead to them any more, and no hart may know of them. */
  vacated: ((pages: readonly number[]) => void) | undefined;
  /** Pages that keep their frames, whatever becomes of the balloon. */
  isFixed: ((page: number) => boolean) | undefined;
  readonly #entry: [low: number, high: number] = [0, 0];

  /** New, or `saved`. Throws HostelryError `no-frames` if not even the root of its tables can be had. */
  constructor(memory: MachineMemory, owner: number, range: { readonly base: number; readonly size: number }, saved?: SavedGuestMemory) {
    this.base = range.base;
    this.size = range.size;
    this.machine = memory;
    this.owner = owner;
    this.pmap = new Pmap(range.base / FRAME_SIZE, saved?.frames ?? range.size / FRAME_SIZE);
    this.tables = new GStageTables(memory, owner, saved?.tables);
  }

  save(): SavedGuestMemory {
    return { frames: this.pmap.save(), tables: this.tables.save() };
  }

  /** It is another hart's from now on: what this one has decoded and translated of it is gone, since it will not hear of changes. */
  forget(): void {
    for (const [, frame] of this.pmap.entries()) this.machine.writable(frame);
  }

  /** The frame behind a page, which gets one if it has none. Throws HostelryError `no-frames`. */
  touch(page: number): number {
    const present = this.pmap.frame(page);
    if (present >= 0) return present;
    const frame = this.machine.take(this.owner, "private");
    this.pmap.set(page, frame);
    this.tables.map(page, frame, "read-write");
    return frame;
  }

  /** Pages lose their frames, and with them what they hold. Left out are those that aren't memory, have none, or keep them. */
  vacate(pages: readonly number[], left: NoFrame): void {
    const [vacant, frames]: [number[], number[]] = [[], []];
    for (const page of pages) {
      const frame = this.pmap.holds(page) ? this.pmap.frame(page) : UNTOUCHED;
      if (frame < 0 || this.isFixed?.(page) === true) continue;
      this.pmap.set(page, left);
      this.tables.unmap(page);
      vacant.push(page);
      frames.push(frame);
    }
    if (vacant.length > 0) this.vacated?.(vacant);
    for (const frame of frames) {
      // Whoever has it next may be on another hart, and this one would not hear that it holds other code.
      this.machine.writable(frame);
      this.machine.release(frame);
    }
  }

  readable(address: number, length: number): Uint8Array {
    return this.#view(address, length, (frame) => this.machine.readable(frame));
  }

  writable(address: number, length: number): Uint8Array {
    this.written?.(Math.floor(address / FRAME_SIZE));
    return this.#view(address, length, (frame) => this.machine.writable(frame));
  }

  /** An entry of a page table of the guest's own, as two halves: the same pair each time. */
  tableEntry(page: number, index: number): readonly [low: number, high: number] {
    const { words } = this.machine;
    const at = this.machine.wordOf(this.touch(page)) + 2 * index;
    this.#entry[0] = words[at]!;
    this.#entry[1] = words[at + 1]!;
    return this.#entry;
  }

  setTableEntryLow(page: number, index: number, low: number): void {
    const frame = this.touch(page);
    this.machine.written(frame);
    this.machine.words[this.machine.wordOf(frame) + 2 * index] = low;
  }

  /** Gives every frame back. */
  release(): void {
    for (const [page, frame] of this.pmap.entries()) {
      this.pmap.set(page, UNTOUCHED);
      this.machine.release(frame);
    }
    this.tables.release();
  }

  /** Up to the end of the page: the next page's frame is somewhere else. */
  #view(address: number, length: number, contents: (frame: number) => Uint8Array): Uint8Array {
    const offset = address - this.base;
    if (!(offset >= 0 && length >= 0 && offset + length <= this.size)) {
      throw outOfRange(address, length);
    }
    if (length === 0) return new Uint8Array(0);
    const inPage = address % FRAME_SIZE;
    return contents(this.touch(Math.floor(address / FRAME_SIZE))).subarray(inPage, Math.min(inPage + length, FRAME_SIZE));
  }
}
