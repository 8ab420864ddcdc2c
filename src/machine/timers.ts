/** What is to happen when the machine's clock stands at some tick: the timers of devices. There are a handful. */

export interface Timer {
  /** Runs out when the clock stands at `ticks` or later. A further call replaces the last. */
  arm(ticks: number): void;
  disarm(): void;
}

interface Entry {
  deadline: number;
  readonly expire: () => void;
}

export class Timers {
  readonly #entries: Entry[] = [];
  /** Told of a deadline that may be nearer than any before. */
  readonly #armed: (ticks: number) => void;

  constructor(armed: (ticks: number) => void) {
    this.#armed = armed;
  }

  create(expire: () => void): Timer {
    const entry: Entry = { deadline: Infinity, expire };
    this.#entries.push(entry);
    return {
      arm: (ticks) => {
        entry.deadline = ticks;
        this.#armed(ticks);
      },
      disarm: () => void (entry.deadline = Infinity),
    };
  }

  /** The nearest deadline; Infinity if there is none. */
  get next(): number {
    return this.#entries.reduce((next, { deadline }) => Math.min(next, deadline), Infinity);
  }

  /** Lets run out what is due. A timer that is armed anew for a time that has come waits for the next call. */
  expire(now: number): void {
    for (const entry of this.#entries.filter(({ deadline }) => deadline <= now)) {
      entry.deadline = Infinity;
      entry.expire();
    }
  }
}
