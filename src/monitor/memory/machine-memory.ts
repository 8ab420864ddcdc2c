/** The machine's frames as the monitor on one hart works with them: by number, with their contents. */
import { HostelryError } from "#base/errors.ts";
import { FRAME_SIZE, type Frames, type FrameState } from "#machine/frames.ts";
import type { MemoryMap } from "#machine/layout.ts";
import type { PhysicalMemory } from "#machine/physical-memory.ts";
import { noStore, type BackingStore } from "./swap.ts";

/** Sees to it that there are free frames; VMs are known to it by their numbers. */
export interface Reclaimer {
  /** Before something is done for this VM, if there are few; `urgent` if hardly any. */
  makeRoom(owner: number, urgent: boolean): void;
  /** While something is done for it, and there is none: others have to give some. Returns whether they have. Throws HostelryError `swap` if they could not. */
  takeFromOthers(owner: number): boolean;
}

/** What is done for a VM at a time takes fewer frames, nearly always. */
const RESERVE = 128;

export class MachineMemory {
  readonly frames: Frames;
  /** Where pages go that there are no frames for. */
  readonly store: BackingStore;
  reclaimer: Reclaimer | undefined;
  /** Memory as 32-bit words, for tables: see `wordOf`. */
  readonly words: Uint32Array;
  readonly #physical: PhysicalMemory;
  readonly #base: number;

  constructor(frames: Frames, map: MemoryMap, physical: PhysicalMemory, store: BackingStore = noStore) {
    this.frames = frames;
    this.store = store;
    this.#base = map.ramBase;
    this.#physical = physical;
    this.words = physical.words;
  }

  /** Where a frame begins in `words`. Frames that may hold code are written there only after `written`. */
  wordOf(frame: number): number {
    return this.#physical.firstWord + frame * (FRAME_SIZE / 4);
  }

  /** Where a frame is in the linear memory: its address. */
  hostOf(frame: number): number {
    return 4 * this.wordOf(frame);
  }

  /** A frame of zeros. Throws HostelryError `no-frames`, or `swap`. */
  take(owner: number, state: FrameState): number {
    let frame = this.frames.take(owner, state);
    if (frame < 0 && this.reclaimer?.takeFromOthers(owner) === true) frame = this.frames.take(owner, state);
    if (frame < 0) throw outOfFrames();
    this.writable(frame).fill(0);
    return frame;
  }

  /** Before something is done for a VM. */
  makeRoom(owner: number): void {
    const { available } = this.frames;
    if (available < RESERVE) this.reclaimer?.makeRoom(owner, available < RESERVE / 4);
  }

  /** Whether there are not as many free frames as to use some for what may not be needed. */
  get isShort(): boolean {
    return this.frames.available < RESERVE / 2;
  }

  isZero(frame: number): boolean {
    const first = this.wordOf(frame);
    for (let at = first; at < first + FRAME_SIZE / 4; at++) if (this.words[at] !== 0) return false;
    return true;
  }

  /** Four frames of zeros in a row: the first. Throws HostelryError `no-frames`. */
  takeRoot(owner: number): number {
    const first = this.frames.takeRoot(owner);
    if (first < 0) throw outOfFrames();
    for (let frame = first; frame < first + 4; frame++) this.writable(frame).fill(0);
    return first;
  }

  release(frame: number): void {
    this.frames.release(frame);
  }

  /** The frame's physical page number. */
  pageNumber(frame: number): number {
    return this.#base / FRAME_SIZE + frame;
  }

  /** What a frame holds, to be read; `count` frames that follow each other. */
  readable(frame: number, count = 1): Uint8Array {
    return this.#physical.readable(this.#base + frame * FRAME_SIZE, count * FRAME_SIZE);
  }

  /** The same, to be written: what was decoded or translated of it is gone. */
  writable(frame: number, count = 1): Uint8Array {
    return this.#physical.writable(this.#base + frame * FRAME_SIZE, count * FRAME_SIZE);
  }

  /** Before a frame that may hold code is written in `words`. */
  written(frame: number): void {
    this.#physical.written(this.#base + frame * FRAME_SIZE, FRAME_SIZE);
  }
}

function outOfFrames(): HostelryError {
  return new HostelryError("no-frames", "the machine has no free frame left: stop a VM, or serve with more --memory or --swap");
}
