/** Samples one VM's memory where it runs: hides pages, sees which are used, and keeps the estimate. See working-set.ts. */
import type { GuestMemory } from "./guest-memory.ts";
import { sample, WorkingSet, type SamplingSettings, type SavedWorkingSet } from "./working-set.ts";

export class Sampler {
  readonly #memory: GuestMemory;
  readonly #random: { u32(): number };
  readonly #set: WorkingSet;
  /** Of this period's sample: hidden pages; and those that had no frame. */
  readonly #hidden = new Set<number>();
  #absent: readonly number[] = [];
  #due: number | undefined;

  /** New, or `saved`, when another hart had the VM. */
  constructor(memory: GuestMemory, random: { u32(): number }, saved?: SavedWorkingSet) {
    this.#memory = memory;
    this.#random = random;
    this.#set = new WorkingSet(saved);
    memory.used = (page) => void (this.#hidden.delete(page) && this.#set.touched());
  }

  /** What is known from periods that are over. */
  save(): SavedWorkingSet {
    return { ...this.#set.save(), sampled: 0, touched: 0 };
  }

  /** The part of the VM's memory that it uses: 0 to 1. */
  get estimate(): number {
    return this.#set.estimate;
  }

  /** To be called between slices; `now` in milliseconds. */
  attend(now: number, { samplePages, samplePeriod }: SamplingSettings): void {
    if (this.#due !== undefined && now < this.#due) return;
    this.#end();
    this.#begin(samplePages);
    this.#due = now + 1000 * samplePeriod;
  }

  #begin(count: number): void {
    const { pmap } = this.#memory;
    const pages = sample(count, pmap.pages, this.#random).map((index) => pmap.firstPage + index);
    this.#absent = pages.filter((page) => pmap.frame(page) < 0);
    for (const page of pages) if (this.#memory.isMovable(page)) this.#hidden.add(page);
    this.#memory.hide([...this.#hidden]);
    this.#set.begin(this.#absent.length + this.#hidden.size);
  }

  /** A page that got its first frame has been used, unless that was ahead of its use. What is still hidden stays so: it costs nothing. */
  #end(): void {
    const { pmap } = this.#memory;
    for (const page of this.#absent) if (pmap.frame(page) >= 0 && !pmap.isHidden(page)) this.#set.touched();
    this.#set.end();
    this.#hidden.clear();
  }
}
