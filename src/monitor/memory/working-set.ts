/**
 * How much of its memory a VM uses, by sampling (Waldspurger 2002, section 5.3): in each period some pages, chosen at random, lose their translations, and those
 * of them that are touched are counted. The part of them is an estimate of the part of all: of n pages, its standard deviation is at most 1 / (2 √n).
 *
 * The estimate follows a growing working set at once, and a shrinking one slowly: it is the largest of a slow and a fast moving average over the periods, and
 * of the fast one as it would be if the period were over now.
 */
import { assert } from "#base/assert.ts";

export interface SamplingSettings {
  /** In a period; and its length, in seconds of the VM's time. */
  readonly samplePages: number;
  readonly samplePeriod: number;
}

export interface SavedWorkingSet {
  /** Null before the first period is over. */
  readonly averages: { readonly slow: number; readonly fast: number } | null;
  readonly sampled: number;
  readonly touched: number;
}

/** How much of a new period's part goes into the averages. The paper doesn't say. */
const SLOW = 1 / 8;
const FAST = 1 / 2;

export class WorkingSet {
  #averages: SavedWorkingSet["averages"];
  /** In this period. */
  #sampled: number;
  #touched: number;

  constructor({ averages, sampled, touched }: SavedWorkingSet = { averages: null, sampled: 0, touched: 0 }) {
    this.#averages = averages;
    this.#sampled = sampled;
    this.#touched = touched;
  }

  save(): SavedWorkingSet {
    return { averages: this.#averages, sampled: this.#sampled, touched: this.#touched };
  }

  /** A period begins, with so many pages without a translation. */
  begin(sampled: number): void {
    this.#sampled = sampled;
    this.#touched = 0;
  }

  /** One of them was touched for the first time. */
  touched(): void {
    this.#touched++;
    assert(this.#touched <= this.#sampled, "more pages were touched than sampled", { touched: this.#touched, sampled: this.#sampled });
  }

  /** The period is over. */
  end(): void {
    const part = this.#part;
    if (part === undefined) return;
    const { slow, fast } = this.#averages ?? { slow: part, fast: part };
    this.#averages = { slow: average(slow, part, SLOW), fast: average(fast, part, FAST) };
    this.begin(0);
  }

  /** The part of its memory that it uses: 0 to 1. Until something is known, all. */
  get estimate(): number {
    if (this.#averages === null) return 1;
    const { slow, fast } = this.#averages;
    return Math.max(slow, fast, average(fast, this.#part ?? fast, FAST));
  }

  get #part(): number | undefined {
    return this.#sampled === 0 ? undefined : this.#touched / this.#sampled;
  }
}

/** Numbers below `limit`, `count` of them and each at most once: all sets of so many are as likely (Floyd's algorithm). */
export function sample(count: number, limit: number, random: { u32(): number }): number[] {
  const chosen = new Set<number>();
  for (let last = Math.max(limit - count, 0); last < limit; last++) {
    const number = Math.floor((random.u32() / 2 ** 32) * (last + 1));
    chosen.add(chosen.has(number) ? last : number);
  }
  return [...chosen];
}

const average = (before: number, now: number, gain: number): number => before + gain * (now - before);
