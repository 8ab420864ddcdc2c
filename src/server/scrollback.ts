/** The last bytes of a console. */
const CAPACITY = 64 * 1024;
const LINE_FEED = 0x0a;

export class Scrollback {
  readonly #bytes: Uint8Array;
  /** Bytes so far: byte number n stands at n modulo the capacity. */
  #count = 0;

  constructor(capacity = CAPACITY) {
    this.#bytes = new Uint8Array(capacity);
  }

  push(bytes: Uint8Array): void {
    const capacity = this.#bytes.length;
    const kept = bytes.subarray(-capacity);
    const at = (this.#count + bytes.length - kept.length) % capacity;
    const first = Math.min(kept.length, capacity - at);
    this.#bytes.set(kept.subarray(0, first), at);
    this.#bytes.set(kept.subarray(first), 0);
    this.#count += bytes.length;
  }

  /** If some are lost, from the beginning of a line on. */
  bytes(): Uint8Array {
    const at = this.#count % this.#bytes.length;
    if (this.#count <= this.#bytes.length) return this.#bytes.slice(0, this.#count);
    const all = new Uint8Array(this.#bytes.length);
    all.set(this.#bytes.subarray(at));
    all.set(this.#bytes.subarray(0, at), all.length - at);
    return all.subarray(all.indexOf(LINE_FEED) + 1);
  }
}
