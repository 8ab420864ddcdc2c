/** What a machine on this host sees of the outside: the host's clock and entropy, and what its owner's thread puts into shared memory. */
import { ByteRing } from "#base/byte-ring.ts";
import { Random } from "#base/random.ts";
import { HostTime } from "#machine/host-time.ts";
import type { Arrival, Outside, Way } from "#machine/inputs.ts";
import { randomBytes } from "node:crypto";
import type { AgentShared } from "./agent-end.ts";
import { Control } from "./machine-config.ts";

const TICKS_PER_MILLISECOND = 10_000;

/** The same in all threads. */
const now = (): number => performance.timeOrigin + performance.now();

/** So much input at a time: a device takes it at once, or most of it. */
const INPUT_CHUNK = 4096;

/** On its way from one thread to another. */
export interface SavedOutside {
  /** Ticks of the guest's clock, and when that was, in milliseconds since the Unix epoch. */
  readonly ticks: number;
  readonly at: number;
  readonly paused: boolean;
  readonly random: readonly number[] | null;
}

export class HostOutside implements Outside {
  readonly #time: HostTime;
  readonly #random: Random | undefined;
  readonly #control: Int32Array;
  readonly #ways: readonly { readonly kind: Way; readonly ring: ByteRing }[];
  #resizes = 0;
  #looks = 0;

  /** With a `seed`, what it gives for entropy is repeatable. */
  constructor(shared: { readonly control: SharedArrayBuffer; readonly input: SharedArrayBuffer; readonly agent?: AgentShared }, seed: number | undefined, saved?: SavedOutside) {
    const elapsed = saved === undefined || saved.paused ? 0 : Math.round((now() - saved.at) * TICKS_PER_MILLISECOND);
    this.#time = new HostTime(undefined, (saved?.ticks ?? 0) + elapsed);
    if (saved?.paused === true) this.#time.pause();
    this.#random = seed === undefined ? undefined : new Random(seed);
    if (saved?.random !== null && saved?.random !== undefined) this.#random?.restore(saved.random);
    this.#control = new Int32Array(shared.control);
    this.#ways = [
      { kind: "console", ring: new ByteRing(shared.input) },
      ...(shared.agent === undefined ? [] : [{ kind: "agent" as const, ring: new ByteRing(shared.agent.input) }]),
    ];
  }

  save(): SavedOutside {
    return { ticks: this.#time.ticks(), at: now(), paused: this.#time.paused, random: this.#random?.save() ?? null };
  }

  ticks(): number {
    return this.#time.ticks();
  }

  realTime(): bigint {
    return this.#time.realTime();
  }

  entropy(length: number): Uint8Array {
    if (this.#random === undefined) return randomBytes(length);
    const bytes = new Uint8Array(length);
    this.#random.fill(bytes);
    return bytes;
  }

  arrival(_instret: number, ready: (way: Way) => boolean): Arrival | undefined {
    const resizes = Atomics.load(this.#control, Control.resizes);
    if (resizes !== this.#resizes) {
      this.#resizes = resizes;
      return { kind: "resize", columns: Atomics.load(this.#control, Control.columns), rows: Atomics.load(this.#control, Control.rows) };
    }
    const looks = Atomics.load(this.#control, Control.looks);
    if (looks !== this.#looks) {
      this.#looks = looks;
      return { kind: "balloon", target: Atomics.load(this.#control, Control.balloon) };
    }
    for (const { kind, ring } of this.#ways) if (ring.length > 0 && ready(kind)) return { kind, bytes: ring.shift(INPUT_CHUNK) };
    return undefined;
  }

  pause(): void {
    this.#time.pause();
  }

  resume(): void {
    this.#time.resume();
  }
}
