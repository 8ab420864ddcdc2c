/** A word that wakes a thread: whoever has something for it rings. A ring between looking and waiting is not lost. */
export class Doorbell {
  readonly buffer: SharedArrayBuffer;
  readonly #word: Int32Array<SharedArrayBuffer>;

  /** `buffer`: of the doorbell that another thread created. */
  constructor(buffer: SharedArrayBuffer = new SharedArrayBuffer(4)) {
    this.buffer = buffer;
    this.#word = new Int32Array(buffer, 0, 1);
  }

  /** Take this before looking for work, and give it to `wait` if there was none. */
  get rings(): number {
    return Atomics.load(this.#word, 0);
  }

  ring(): void {
    Atomics.add(this.#word, 0, 1);
    Atomics.notify(this.#word, 0);
  }

  /** Blocks the thread until someone has rung since `rings` was `seen`, or for so many milliseconds. */
  wait(seen: number, milliseconds = Infinity): void {
    Atomics.wait(this.#word, 0, seen, milliseconds);
  }
}
