/** When pages are looked at for others like them: at a bounded rate, little at a time, and less the less is found. */
import type { Sharing } from "./sharing.ts";

/** Pages at a time: a fifth of a millisecond of the hart. */
const BATCH = 64;
/** It goes at its full rate as long as so many of the pages that it looks at find others like them; and never at less than this part of it. */
const WORTHWHILE = 1 / 50;
const SLOWEST = 1 / 16;
/** Batches over which that is averaged. */
const MEMORY = 64;
/**
 * Guests that wait wake now and then, and a little is looked at then; it is at higher rates than this, in pages a second, that it wakes up by itself: so often,
 * in milliseconds, or for each full batch.
 */
const QUIET = 1000;
const WHILE_IDLE = 50;
const LITTLE = 16;

export class Scanner {
  readonly #sharing: Sharing;
  /** Pages a second. */
  #rate: number;
  /** Of pages looked at, the part that found others like them. */
  #yield = 1;
  /** When it looked last, and when it was asked to. */
  #last = 0;
  #called = 0;

  constructor(sharing: Sharing, rate: number) {
    this.#sharing = sharing;
    this.#rate = rate;
  }

  setRate(pagesPerSecond: number): void {
    this.#rate = pagesPerSecond;
  }

  /** There is something new to look at. */
  hasten(): void {
    this.#yield = 1;
  }

  /** Looks at what is due at `now`, in milliseconds. */
  step(now: number): void {
    const due = Math.floor(((now - this.#last) / 1000) * this.#rate * this.#eagerness);
    const waited = now - this.#called > WHILE_IDLE && this.#rate <= QUIET;
    this.#called = now;
    if (due < BATCH && now - this.#last < WHILE_IDLE) return;
    this.#last = now;
    if (due === 0) return;
    const { looked, merged } = this.#sharing.scan(Math.min(due, waited ? LITTLE : BATCH));
    if (looked > 0) this.#yield += (merged / looked - this.#yield) / MEMORY;
    else this.#yield -= this.#yield / MEMORY;
  }

  /** Milliseconds after which `step` should be called again, though nothing else is to be done. */
  get patience(): number {
    return this.#rate > QUIET && this.#sharing.pages > 0 && this.#eagerness > SLOWEST ? Math.min(WHILE_IDLE, Math.ceil((1000 * BATCH) / this.#rate)) : Infinity;
  }

  get #eagerness(): number {
    return Math.max(SLOWEST, Math.min(1, this.#yield / WORTHWHILE));
  }
}
