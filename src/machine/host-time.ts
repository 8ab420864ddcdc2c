/** The host's clocks as the guest is to see them: without the time in which its machine was paused. */

const NANOSECONDS_PER_TICK = 100n;
const TICKS_PER_MILLISECOND = 10_000;

export class HostTime {
  readonly #now: () => number;
  /** What `now` said when the guest's clock stood at 0. */
  #start: number;
  #pausedAt: number | undefined;

  /** `now`: milliseconds of a clock that never goes back. The guest's clock stands at `ticks`. */
  constructor(now: () => number = () => performance.now(), ticks = 0) {
    this.#now = now;
    this.#start = now() - ticks / TICKS_PER_MILLISECOND;
  }

  /** Ticks of 100 ns. */
  ticks(): number {
    return Math.floor(((this.#pausedAt ?? this.#now()) - this.#start) * TICKS_PER_MILLISECOND);
  }

  /** Nanoseconds since the Unix epoch: this clock goes on while the machine is paused, as the world's does. */
  realTime(): bigint {
    return BigInt(Math.round((performance.timeOrigin + performance.now()) * TICKS_PER_MILLISECOND)) * NANOSECONDS_PER_TICK;
  }

  get paused(): boolean {
    return this.#pausedAt !== undefined;
  }

  pause(): void {
    this.#pausedAt ??= this.#now();
  }

  resume(): void {
    if (this.#pausedAt === undefined) return;
    this.#start += this.#now() - this.#pausedAt;
    this.#pausedAt = undefined;
  }
}
