/**
 * The one gate for all that is not deterministic: the host's time, entropy, what is typed or sent. What passes is stamped with the count of
 * retired instructions, so that recording it is recording the run: given the same inputs again, the machine does the same again.
 */
import { HostelryError } from "#base/errors.ts";

/** Ways in for bytes: each takes the next when it has taken the last wholly. */
export type Way = "console" | "agent";

/** Comes when it pleases. The machine takes it between slices. */
export type Arrival =
  | { readonly kind: "console"; readonly bytes: Uint8Array }
  | { readonly kind: "agent"; readonly bytes: Uint8Array }
  | { readonly kind: "resize"; readonly columns: number; readonly rows: number }
  /** Somebody looks at the guest's memory: so many pages are wanted in its balloon, and it is to say how it fares. */
  | { readonly kind: "balloon"; readonly target: number };

/** The answer to a question that the machine asked. */
export type Answer =
  /** The host's clock, in ticks of 100 ns since power-on. */
  | { readonly kind: "ticks"; readonly ticks: number }
  /** Nanoseconds since the Unix epoch. */
  | { readonly kind: "real-time"; readonly nanoseconds: bigint }
  | { readonly kind: "entropy"; readonly bytes: Uint8Array };

export type Input = Arrival | Answer;
const answers: readonly Input["kind"][] = ["ticks", "real-time", "entropy"] satisfies Answer["kind"][];

export interface StampedInput {
  /** Instructions that the hart had retired. */
  readonly instret: number;
  readonly input: Input;
}

/** Where inputs come from: the host, or a recording. */
export interface Outside {
  ticks(): number;
  realTime(): bigint;
  entropy(length: number): Uint8Array;
  /** The next input that has arrived by now and can be taken, if any. */
  arrival(instret: number, ready: (way: Way) => boolean): Arrival | undefined;
  /** The machine stands still, at its owner's wish, and the time that passes is not to be the guest's. */
  pause?(): void;
  resume?(): void;
}

export class Inputs {
  readonly #outside: Outside;
  readonly #instret: () => number;
  /** Hears of every input. */
  recorder: ((stamped: StampedInput) => void) | undefined;

  constructor(outside: Outside, instret: () => number) {
    this.#outside = outside;
    this.#instret = instret;
  }

  ticks(): number {
    const ticks = this.#outside.ticks();
    if (this.recorder !== undefined) this.#record({ kind: "ticks", ticks });
    return ticks;
  }

  realTime(): bigint {
    const nanoseconds = this.#outside.realTime();
    this.#record({ kind: "real-time", nanoseconds });
    return nanoseconds;
  }

  /** Fills `bytes`, which may lie in guest memory. */
  fill(bytes: Uint8Array): void {
    const drawn = this.#outside.entropy(bytes.length);
    this.#record({ kind: "entropy", bytes: drawn });
    bytes.set(drawn);
  }

  arrival(ready: (way: Way) => boolean): Arrival | undefined {
    const input = this.#outside.arrival(this.#instret(), ready);
    if (input !== undefined) this.#record(input);
    return input;
  }

  #record(input: Input): void {
    this.recorder?.({ instret: this.#instret(), input });
  }
}

/** The outside as it was. Throws HostelryError `replay-diverged` if the machine asks what it had not asked then. */
export class Recording implements Outside {
  readonly #inputs: readonly StampedInput[];
  #next = 0;

  constructor(inputs: readonly StampedInput[]) {
    this.#inputs = inputs;
  }

  /** Whether all of it has been played. */
  get finished(): boolean {
    return this.#next === this.#inputs.length;
  }

  ticks(): number {
    return this.#answer("ticks").ticks;
  }

  realTime(): bigint {
    return this.#answer("real-time").nanoseconds;
  }

  entropy(length: number): Uint8Array {
    const { bytes } = this.#answer("entropy");
    if (bytes.length !== length) throw this.#diverged(`${length} bytes of entropy`);
    return bytes;
  }

  arrival(instret: number): Arrival | undefined {
    const next = this.#inputs[this.#next];
    if (next === undefined || next.instret !== instret) return undefined;
    if (!isArrival(next.input)) return undefined;
    this.#next++;
    return next.input;
  }

  #answer<Kind extends Answer["kind"]>(kind: Kind): Answer & { readonly kind: Kind } {
    const input = this.#inputs[this.#next]?.input;
    if (input?.kind !== kind) throw this.#diverged(kind);
    this.#next++;
    return input as Answer & { readonly kind: Kind };
  }

  #diverged(wanted: string): HostelryError {
    const recorded = this.#inputs[this.#next]?.input.kind ?? "nothing more";
    return new HostelryError(
      "replay-diverged",
      `The replay left the recorded run: it asks for ${wanted}, the recording has ${recorded}. Replay with the version and the image of the recording.`,
    );
  }
}

function isArrival(input: Input): input is Arrival {
  return !answers.includes(input.kind);
}
