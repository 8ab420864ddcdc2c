/** The board's one console, though the guest has several ways to it: the UART, the virtio console, firmware's debug console, and a ring that it shares with a monitor. */
import { StateReader, type Saveable, type SavedState } from "#base/saved-state.ts";

/** What the guest's way into the console takes: how many of the bytes. */
type Receiver = (bytes: Uint8Array) => number;

const WAYS = ["uart", "virtio", "firmware", "ring"] as const;
type Way = (typeof WAYS)[number];

/** More input than this is not taken at a time. */
const MAX_INPUT = 1 << 16;

/** More than this is not kept back for the end of a slice. */
const GATHER = 4096;

const NOTHING = new Uint8Array(0);

/** How Linux begins to die, on any of its consoles. */
const PANIC = "Kernel panic - not syncing";

export class Console implements Saveable {
  readonly #write: (bytes: Uint8Array) => void;
  readonly #receivers: Partial<Record<Way, Receiver>> = {};
  /** Input goes where output last came from: the guest that talks to the UART also listens to it. */
  #way: Way = "uart";
  #input: Uint8Array = NOTHING;
  readonly #gathered = new Uint8Array(GATHER);
  #length = 0;
  #panicMatched = 0;
  /** Whether the output has told of a kernel's panic since the last reset. */
  panicked = false;

  /** `write` gets the guest's output; the bytes are its to keep. It may block. */
  constructor(write: (bytes: Uint8Array) => void) {
    this.#write = write;
  }

  connect(way: Way, receiver: Receiver): void {
    this.#receivers[way] = receiver;
  }

  output(way: Way, bytes: Uint8Array): void {
    for (const byte of bytes) this.#watch(byte);
    for (let done = 0; done < bytes.length; ) {
      if (this.#length === GATHER) this.flush();
      const part = bytes.subarray(done, done + GATHER - this.#length);
      this.#gathered.set(part, this.#length);
      this.#length += part.length;
      done += part.length;
    }
    if (way !== this.#way) {
      this.#way = way;
      this.deliver();
    }
  }

  flush(): void {
    if (this.#length === 0) return;
    this.#write(this.#gathered.slice(0, this.#length));
    this.#length = 0;
  }

  /** Whether all input has found its way, so that there may be more. */
  get ready(): boolean {
    return this.#input.length === 0;
  }

  input(bytes: Uint8Array): void {
    this.#input = bytes;
    this.deliver();
  }

  /** The way in may have room again. */
  deliver(): void {
    const receive = this.#receivers[this.#way];
    if (receive === undefined || this.#input.length === 0) return;
    // What has been offered is gone before the receiver can ask for more.
    const offered = this.#input;
    this.#input = NOTHING;
    const taken = receive(offered);
    this.#input = offered.subarray(taken);
  }

  /** For firmware, which is asked and is not told: moves input into `into`, returns how many bytes. */
  take(into: Uint8Array): number {
    const count = Math.min(into.length, this.#input.length);
    into.set(this.#input.subarray(0, count));
    this.#input = this.#input.subarray(count);
    return count;
  }

  /** What has gathered for the outside is not of the console's state: flush first. */
  save(): SavedState {
    return { kind: "console", version: 1, way: WAYS.indexOf(this.#way), input: [...this.#input], panicked: this.panicked, panicMatched: this.#panicMatched };
  }

  restore(state: unknown): void {
    const from = StateReader.open(state, "console", 1);
    const [way, input] = [WAYS[from.uint("way", 8)] ?? "uart", from.uints("input", 8, { atMost: MAX_INPUT })];
    const [panicked, panicMatched] = [from.flag("panicked"), from.uint("panicMatched", 5)];
    this.#way = way;
    this.#input = Uint8Array.from(input);
    this.panicked = panicked;
    this.#panicMatched = panicMatched % PANIC.length;
  }

  reset(): void {
    this.#way = "uart";
    this.panicked = false;
    this.#panicMatched = 0;
    this.deliver();
  }

  /** No letter but the first is a K, so a failed match can only begin again at its last letter. */
  #watch(byte: number): void {
    if (byte === PANIC.charCodeAt(this.#panicMatched)) this.#panicMatched++;
    else this.#panicMatched = byte === PANIC.charCodeAt(0) ? 1 : 0;
    if (this.#panicMatched < PANIC.length) return;
    this.panicked = true;
    this.#panicMatched = 0;
  }
}
