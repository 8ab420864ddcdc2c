/** What a machine on this host sees of the outside: the host's clock and entropy, and what its owner's thread puts into shared memory. */
import { ByteRing } from "#base/byte-ring.ts";
import { Random } from "#base/random.ts";
import { HostTime } from "#machine/host-time.ts";
import type { Arrival, Outside } from "#machine/inputs.ts";
import { randomBytes } from "node:crypto";
import { Control } from "./machine-config.ts";

/** So much input at a time: a device takes it at once, or most of it. */
const INPUT_CHUNK = 4096;

export class HostOutside implements Outside {
  readonly #time = new HostTime();
  readonly #random: Random | undefined;
  readonly #control: Int32Array;
  readonly #input: ByteRing;
  #resizes = 0;

  /** With a `seed`, what it gives for entropy is repeatable. */
  constructor(shared: { readonly control: SharedArrayBuffer; readonly input: SharedArrayBuffer }, seed: number | undefined) {
    this.#random = seed === undefined ? undefined : new Random(seed);
    this.#control = new Int32Array(shared.control);
    this.#input = new ByteRing(shared.input);
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

  arrival(): Arrival | undefined {
    const resizes = Atomics.load(this.#control, Control.resizes);
    if (resizes !== this.#resizes) {
      this.#resizes = resizes;
      return { kind: "resize", columns: Atomics.load(this.#control, Control.columns), rows: Atomics.load(this.#control, Control.rows) };
    }
    const bytes = this.#input.shift(INPUT_CHUNK);
    return bytes.length === 0 ? undefined : { kind: "console", bytes };
  }

  pause(): void {
    this.#time.pause();
  }

  resume(): void {
    this.#time.resume();
  }
}
