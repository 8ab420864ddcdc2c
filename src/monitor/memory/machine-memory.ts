/** The machine's frames as the monitor on one hart works with them: by number, with their contents. */
import { HostelryError } from "#base/errors.ts";
import { FRAME_SIZE, type Frames, type FrameState } from "#machine/frames.ts";
import type { MemoryMap } from "#machine/layout.ts";
import type { PhysicalMemory } from "#machine/physical-memory.ts";

export class MachineMemory {
  readonly frames: Frames;
  /** Memory as 32-bit words, for tables: see `wordOf`. */
  readonly words: Uint32Array;
  readonly #physical: PhysicalMemory;
  readonly #base: number;

  constructor(frames: Frames, map: MemoryMap, physical: PhysicalMemory) {
    this.frames = frames;
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

  /** A frame of zeros. Throws HostelryError `no-frames`. */
  take(owner: number, state: FrameState): number {
    const frame = this.frames.take(owner, state);
    if (frame < 0) throw outOfFrames();
    this.writable(frame).fill(0);
    return frame;
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
  return new HostelryError("no-frames", "the machine has no free frame left: stop a VM, or serve with more --memory");
}
