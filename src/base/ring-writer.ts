/** Bytes into a ring, all of them and in order, however long its reader takes: for a thread that must not block. */
import type { ByteRing } from "./byte-ring.ts";

export class RingWriter {
  readonly #ring: ByteRing;
  /** Tells the reader that there is something. */
  readonly #wake: () => void;
  #written: Promise<void> = Promise.resolve();

  constructor(ring: ByteRing, wake: () => void) {
    this.#ring = ring;
    this.#wake = wake;
  }

  /** Resolves when all of it is in the ring, or nobody is to read it any more. */
  write(bytes: Uint8Array): Promise<void> {
    this.#written = this.#written.then(async () => {
      for (let done = 0; done < bytes.length && !this.#ring.ended; ) {
        done += this.#ring.push(bytes.subarray(done));
        this.#wake();
        if (done < bytes.length) await this.#ring.roomAgain();
      }
    });
    return this.#written;
  }
}
