/**
 * Lets counts of executions go that grew over too long a time. Where a hart mostly rests, what it does a few times a second comes to the count of what is
 * hot as well, some minutes later; translating that would cost more than executing it for an hour.
 */

/** Counts grow for so long at least, in milliseconds. */
const PERIOD = 10_000;
/** Who executes for more of the time is not resting. */
const RESTING = 0.1;

export class Cooling {
  readonly #forget: () => void;
  #since = 0;
  #executedBefore = 0;

  /** `forget` sets the counts to zero. */
  constructor(forget: () => void) {
    this.#forget = forget;
  }

  /** To be called now and then: at `now`, the hart has executed for so long; both in milliseconds. */
  look(now: number, executed: number): void {
    const elapsed = now - this.#since;
    if (elapsed < PERIOD) return;
    if (executed - this.#executedBefore < elapsed * RESTING) this.#forget();
    this.#since = now;
    this.#executedBefore = executed;
  }
}
