/**
 * Bytes on their way to a guest that takes them when it pleases: a bounded first-in, first-out buffer. What does not fit is
 * refused, so that a paste of a megabyte waits at its source instead of being lost or piling up here.
 */
export class ByteQueue {
  readonly capacity: number;
  readonly #bytes: Uint8Array;
  #head = 0;
  #length = 0;

  constructor(capacity: number) {
    this.capacity = capacity;
    this.#bytes = new Uint8Array(capacity);
  }

  get length(): number {
    return this.#length;
  }

  get free(): number {
    return this.capacity - this.#length;
  }

  /** Takes as many bytes as fit, from the front; returns how many. */
  push(bytes: Uint8Array): number {
    const count = Math.min(bytes.length, this.free);
    const tail = (this.#head + this.#length) % this.capacity;
    const first = Math.min(count, this.capacity - tail);
    this.#bytes.set(bytes.subarray(0, first), tail);
    this.#bytes.set(bytes.subarray(first, count), 0);
    this.#length += count;
    return count;
  }

  /** Moves the oldest bytes into `into`, as many as there are and fit; returns how many. */
  shift(into: Uint8Array): number {
    const count = Math.min(into.length, this.#length);
    const first = Math.min(count, this.capacity - this.#head);
    into.set(this.#bytes.subarray(this.#head, this.#head + first));
    into.set(this.#bytes.subarray(0, count - first), first);
    this.#head = (this.#head + count) % this.capacity;
    this.#length -= count;
    return count;
  }

  clear(): void {
    this.#head = 0;
    this.#length = 0;
  }

  /** The bytes in order, oldest first, left where they are. */
  toArray(): number[] {
    return Array.from({ length: this.#length }, (_, index) => this.#bytes[(this.#head + index) % this.capacity]!);
  }

  /** Replaces the content; `bytes` must fit. */
  assign(bytes: readonly number[]): void {
    this.clear();
    this.push(Uint8Array.from(bytes));
  }
}
