/**
 * Bytes from one thread to another, through shared memory, without messages or locks: a thread inside `run` gets no messages. One
 * thread pushes, one shifts.
 *
 *     word 0  bytes pushed so far, modulo 2^32: only the producer writes it
 *     word 1  bytes shifted so far: only the consumer writes it
 *     word 2  1 once it has ended
 *     byte 12 the bytes, at their count modulo the capacity
 */
const PUSHED = 0;
const SHIFTED = 1;
const ENDED = 2;
const HEADER = 12;

export class ByteRing {
  readonly buffer: SharedArrayBuffer;
  readonly capacity: number;
  readonly #words: Int32Array<SharedArrayBuffer>;
  readonly #bytes: Uint8Array;

  /** `capacity` must be a power of two, so that the counts may wrap around. */
  static create(capacity: number): ByteRing {
    return new ByteRing(new SharedArrayBuffer(HEADER + capacity));
  }

  /** A view of the ring that another thread created. */
  constructor(buffer: SharedArrayBuffer) {
    this.buffer = buffer;
    this.capacity = buffer.byteLength - HEADER;
    this.#words = new Int32Array(buffer, 0, 3);
    this.#bytes = new Uint8Array(buffer, HEADER);
  }

  get length(): number {
    return (Atomics.load(this.#words, PUSHED) - Atomics.load(this.#words, SHIFTED)) >>> 0;
  }

  get free(): number {
    return this.capacity - this.length;
  }

  /** Takes as many bytes as fit, from the front; returns how many. Wakes a consumer that waits. */
  push(bytes: Uint8Array): number {
    const pushed = Atomics.load(this.#words, PUSHED);
    const count = Math.min(bytes.length, this.free);
    if (count === 0) return 0;
    const at = (pushed >>> 0) % this.capacity;
    const first = Math.min(count, this.capacity - at);
    this.#bytes.set(bytes.subarray(0, first), at);
    this.#bytes.set(bytes.subarray(first, count), 0);
    Atomics.store(this.#words, PUSHED, (pushed + count) | 0);
    Atomics.notify(this.#words, PUSHED);
    return count;
  }

  /** Returns the oldest bytes, at most `limit`; empty if there are none. Wakes a producer that waits. */
  shift(limit: number = this.capacity): Uint8Array {
    const shifted = Atomics.load(this.#words, SHIFTED);
    const count = Math.min(limit, this.length);
    const bytes = new Uint8Array(count);
    if (count === 0) return bytes;
    const at = (shifted >>> 0) % this.capacity;
    const first = Math.min(count, this.capacity - at);
    bytes.set(this.#bytes.subarray(at, at + first));
    bytes.set(this.#bytes.subarray(0, count - first), first);
    Atomics.store(this.#words, SHIFTED, (shifted + count) | 0);
    Atomics.notify(this.#words, SHIFTED);
    return bytes;
  }

  /** Either side: it is of no more use, and nobody is to wait for the other. */
  end(): void {
    Atomics.store(this.#words, ENDED, 1);
    for (const word of [PUSHED, SHIFTED]) Atomics.notify(this.#words, word);
  }

  get ended(): boolean {
    return Atomics.load(this.#words, ENDED) === 1;
  }

  /** The producer waits, blocking its thread, until there is room. */
  waitForRoom(): void {
    for (;;) {
      const shifted = Atomics.load(this.#words, SHIFTED);
      if (((Atomics.load(this.#words, PUSHED) - shifted) >>> 0) < this.capacity) return;
      Atomics.wait(this.#words, SHIFTED, shifted);
    }
  }

  /** The consumer waits, its thread going on, until there are bytes, or it has ended. */
  async waitForBytes(): Promise<void> {
    await this.#changed(PUSHED, () => this.length > 0);
  }

  /** The producer waits, its thread going on, until there is room, or it has ended. */
  async roomAgain(): Promise<void> {
    await this.#changed(SHIFTED, () => this.free > 0);
  }

  async #changed(word: number, done: () => boolean): Promise<void> {
    for (;;) {
      const seen = Atomics.load(this.#words, word);
      if (done() || this.ended) return;
      await Atomics.waitAsync(this.#words, word, seen).value;
    }
  }
}
