/** A backing store that a test can look into, and break. */
import { swapFailed, SwapSlots, type BackingStore } from "#monitor/memory/swap.ts";

export class TestStore implements BackingStore {
  readonly slots: SwapSlots;
  readonly pages = new Map<number, Uint8Array>();
  /** What fails from now on. */
  readonly broken = { read: false, write: false };

  constructor(slots: number) {
    this.slots = SwapSlots.create(slots);
  }

  take(): number {
    return this.slots.take();
  }

  release(slot: number): void {
    this.slots.release(slot);
    this.pages.delete(slot);
  }

  write(slot: number, pages: readonly Uint8Array[]): void {
    if (this.broken.write) throw swapFailed("written to", "it is broken");
    pages.forEach((page, i) => this.pages.set(slot + i, page.slice()));
  }

  read(slot: number, pages: readonly Uint8Array[]): void {
    if (this.broken.read) throw swapFailed("read from", "it is broken");
    pages.forEach((page, i) => page.set(this.pages.get(slot + i)!));
  }
}
