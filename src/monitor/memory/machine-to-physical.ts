/**
 * The machine-to-physical table of a paravirtual guest, which finds frame numbers in its page tables: the page behind each frame of the machine,
 * 4 bytes each, 0 for those that are not its. The guest sees it at the top of each view, read-only; of the table's own pages there are those that it needs.
 */
import { FRAME_SIZE } from "#machine/frames.ts";
import { pte } from "./guest-walk.ts";
import type { MachineMemory } from "./machine-memory.ts";

/** The last entry of a root. */
export const MONITOR_SLOT = 511;

const ENTRIES = 512;
/** Frames that a page of the table tells of. */
const FRAMES = FRAME_SIZE / 4;
const POINTER = pte.valid;
const LEAF = pte.valid | pte.read | pte.user | pte.accessed;

export class MachineToPhysical {
  readonly #machine: MachineMemory;
  readonly #owner: number;
  /** The page table of level 1, for the roots' last entries. */
  readonly #root: number;
  /** Every frame that this takes. */
  readonly #frames: number[];

  /** Throws HostelryError `no-frames`. */
  constructor(machine: MachineMemory, owner: number) {
    this.#machine = machine;
    this.#owner = owner;
    this.#frames = [];
    this.#root = this.#take();
  }

  /** What the last entry of each root is to hold: its lower half, the upper is 0. */
  get entry(): number {
    return this.#pointer(this.#root, POINTER);
  }

  /** Throws HostelryError `no-frames`. */
  set(frame: number, page: number): void {
    const table = this.#next(this.#root, Math.floor(frame / FRAMES / ENTRIES), POINTER);
    const part = this.#next(table, Math.floor(frame / FRAMES) % ENTRIES, LEAF);
    this.#machine.words[this.#machine.wordOf(part) + (frame % FRAMES)] = page;
  }

  release(): void {
    for (const frame of this.#frames.splice(0)) this.#machine.release(frame);
  }

  #next(table: number, index: number, flags: number): number {
    const { words } = this.#machine;
    const at = this.#machine.wordOf(table) + 2 * index;
    if (words[at] === 0) words[at] = this.#pointer(this.#take(), flags);
    return (words[at]! >>> 10) - this.#machine.pageNumber(0);
  }

  #take(): number {
    const frame = this.#machine.take(this.#owner, "page-table");
    this.#frames.push(frame);
    return frame;
  }

  #pointer(frame: number, flags: number): number {
    return (this.#machine.pageNumber(frame) << 10) | flags;
  }
}
