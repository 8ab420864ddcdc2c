/** The machine's swap file: as long as its slots are, sparse, and without a name as soon as it is open, so that nothing of it stays. */
import { HostelryError } from "#base/errors.ts";
import { FRAME_SIZE } from "#machine/frames.ts";
import { swapFailed, SwapSlots, type BackingStore, type SharedSlots } from "#monitor/memory/swap.ts";
import { closeSync, constants, ftruncateSync, mkdirSync, openSync, readvSync, unlinkSync, writevSync } from "node:fs";
import { dirname } from "node:path";
import { transfer } from "./block-file.ts";

/** For harts: a file's number holds in all threads of a process. */
export interface SharedSwap {
  readonly file: number;
  readonly slots: SharedSlots;
}

export class SwapFile implements BackingStore {
  readonly shared: SharedSwap;
  readonly #slots: SwapSlots;

  /** Over the file that another thread created; `part` of it is tried first, 0 to 1. */
  constructor(shared: SharedSwap, part = 0) {
    this.shared = shared;
    this.#slots = new SwapSlots(shared.slots, Math.floor(part * shared.slots.total));
  }

  /** A new one of `size` bytes, for its owner's eyes only. Throws HostelryError `swap`. */
  static create(path: string, size: number): SwapFile {
    let file;
    try {
      mkdirSync(dirname(path), { recursive: true });
      file = openSync(path, constants.O_RDWR | constants.O_CREAT | constants.O_EXCL, 0o600);
      unlinkSync(path);
      ftruncateSync(file, size);
    } catch (error) {
      if (file !== undefined) closeSync(file);
      throw new HostelryError("swap", `the swap file ${path} can't be made: ${(error as Error).message}; give another as --swap-file, or --swap 0 for none`);
    }
    return new SwapFile({ file, slots: SwapSlots.create(Math.floor(size / FRAME_SIZE)).shared });
  }

  take(): number {
    return this.#slots.take();
  }

  release(slot: number): void {
    this.#slots.release(slot);
  }

  /** Bytes: all, and those that hold pages. */
  get total(): number {
    return this.shared.slots.total * FRAME_SIZE;
  }

  get used(): number {
    return this.#slots.used * FRAME_SIZE;
  }

  write(slot: number, pages: readonly Uint8Array[]): void {
    attempt("written to", () => transfer(pages, slot * FRAME_SIZE, (views, position) => writevSync(this.shared.file, views, position)));
  }

  read(slot: number, pages: readonly Uint8Array[]): void {
    attempt("read from", () => transfer(pages, slot * FRAME_SIZE, (views, position) => readvSync(this.shared.file, views, position)));
  }

  close(): void {
    closeSync(this.shared.file);
  }
}

function attempt(doing: string, transferring: () => void): void {
  try {
    transferring();
  } catch (error) {
    throw swapFailed(doing, (error as Error).message);
  }
}
