import { HostelryError } from "#base/errors.ts";

/** Bytes that arrive piece by piece, in order: a file, a download, a decompressor's output. */
export type ByteStream = AsyncIterable<Uint8Array>;

/** Reads counted numbers of bytes from a stream. `what` names the stream in errors. */
export class ByteReader {
  readonly #source: AsyncIterator<Uint8Array>;
  readonly #what: string;
  #pending: Uint8Array = new Uint8Array(0);

  constructor(stream: ByteStream, what: string) {
    this.#source = stream[Symbol.asyncIterator]();
    this.#what = what;
  }

  /** True when no byte is left. */
  async atEnd(): Promise<boolean> {
    return !(await this.#refill());
  }

  /** Exactly `length` bytes, as a copy of its own. Throws HostelryError `truncated` if the stream ends before. */
  async exactly(length: number): Promise<Uint8Array> {
    const bytes = new Uint8Array(length);
    let filled = 0;
    for await (const piece of this.pieces(length)) {
      bytes.set(piece, filled);
      filled += piece.length;
    }
    return bytes;
  }

  /** The next `length` bytes as they come. The pieces are views: valid until the next one is asked for. */
  async *pieces(length: number): AsyncGenerator<Uint8Array> {
    for (let left = length; left > 0; ) {
      if (!(await this.#refill())) {
        throw new HostelryError("truncated", `${this.#what} is cut short: ${left} more bytes expected`);
      }
      const piece = this.#pending.subarray(0, left);
      this.#pending = this.#pending.subarray(piece.length);
      left -= piece.length;
      yield piece;
    }
  }

  async skip(length: number): Promise<void> {
    for await (const _ of this.pieces(length));
  }

  /** Reads and drops what is left, so that the source ends in its own way (and checks its own trailer). */
  async drain(): Promise<void> {
    while (await this.#refill()) this.#pending = new Uint8Array(0);
  }

  /** Tells the source that nothing more will be read. */
  async close(): Promise<void> {
    await this.#source.return?.();
  }

  async #refill(): Promise<boolean> {
    while (this.#pending.length === 0) {
      const next = await this.#source.next();
      if (next.done === true) return false;
      this.#pending = next.value;
    }
    return true;
  }
}

/** All bytes of a stream. Throws HostelryError `too-large` past `limit` bytes: a small archive can unpack to a huge one. */
export async function readAll(stream: ByteStream, limit: number, what: string): Promise<Uint8Array> {
  const pieces: Uint8Array[] = [];
  let length = 0;
  for await (const piece of stream) {
    length += piece.length;
    if (length > limit) throw new HostelryError("too-large", `${what} unpacks to more than ${limit} bytes: refused`);
    pieces.push(piece.slice());
  }
  return concatenate(pieces, length);
}

export function concatenate(pieces: readonly Uint8Array[], length: number): Uint8Array {
  const whole = new Uint8Array(length);
  let offset = 0;
  for (const piece of pieces) {
    whole.set(piece, offset);
    offset += piece.length;
  }
  return whole;
}

/** A stream of bytes already in memory. */
export async function* streamOf(...pieces: readonly Uint8Array[]): AsyncGenerator<Uint8Array> {
  yield* pieces;
}

/** The same bytes as a web stream, each piece with a buffer of its own, since web streams take ownership. */
export function toReadable(stream: ByteStream): ReadableStream<Uint8Array<ArrayBuffer>> {
  const source = stream[Symbol.asyncIterator]();
  return new ReadableStream<Uint8Array<ArrayBuffer>>({
    async pull(controller) {
      const next = await source.next();
      if (next.done === true) controller.close();
      else controller.enqueue(new Uint8Array(next.value));
    },
    async cancel() {
      await source.return?.();
    },
  });
}
