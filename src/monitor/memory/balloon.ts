/** A guest's balloon, as the frames behind it: what it has given goes back to the machine, and comes again, as zeros, when it is touched. */
import type { BalloonMemory } from "#devices/virtio/balloon.ts";
import type { GuestMemory } from "./guest-memory.ts";
import { BALLOONED, UNTOUCHED } from "./pmap.ts";

export class Balloon implements BalloonMemory {
  readonly firstPage: number;
  readonly pages: number;
  readonly #memory: GuestMemory;

  constructor(memory: GuestMemory) {
    this.firstPage = memory.pmap.firstPage;
    this.pages = memory.pmap.pages;
    this.#memory = memory;
  }

  inflate(pages: readonly number[]): void {
    this.#memory.vacate(pages, BALLOONED);
    this.#change(pages, UNTOUCHED, BALLOONED);
  }

  deflate(pages: readonly number[]): void {
    this.#change(pages, BALLOONED, UNTOUCHED);
  }

  report(pages: readonly number[]): void {
    this.#memory.vacate(pages, UNTOUCHED);
  }

  deflateAll(): void {
    const { pmap } = this.#memory;
    if (pmap.counts.ballooned === 0) return;
    this.deflate(Array.from({ length: this.pages }, (_, index) => this.firstPage + index));
  }

  #change(pages: readonly number[], from: number, to: number): void {
    const { pmap } = this.#memory;
    for (const page of pages) if (pmap.holds(page) && pmap.frame(page) === from) pmap.set(page, to);
  }
}
