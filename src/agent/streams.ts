/** A command's streams, as the host has them: what is under way never exceeds the window. */
import { ProtocolError, MAX_CHUNK, WINDOW } from "./protocol.ts";

/** Output of a command, for one reader. Whoever reads slowly holds back the command; whoever stops reading throws the rest away. */
export class OutputStream implements AsyncIterable<Uint8Array> {
  readonly #grant: (bytes: number) => void;
  readonly #chunks: Uint8Array[] = [];
  /** What the agent may still send. */
  #credit = WINDOW;
  /** What was taken and is not yet granted again. */
  #taken = 0;
  #discard = false;
  #end: { readonly error?: Error } | undefined;
  #changed = (): void => {};

  /** `grant` tells the agent that it may send so many bytes more. */
  constructor(grant: (bytes: number) => void) {
    this.#grant = grant;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array, void, undefined> {
    try {
      for (;;) {
        const chunk = this.#chunks.shift();
        if (chunk !== undefined) {
          this.#take(chunk.length);
          yield chunk;
        } else if (this.#end === undefined) {
          await new Promise<void>((resolve) => (this.#changed = resolve));
        } else {
          if (this.#end.error !== undefined) throw this.#end.error;
          return;
        }
      }
    } finally {
      this.discard();
    }
  }

  /** Nobody reads this (any more): what comes is dropped. */
  discard(): void {
    this.#discard = true;
    for (const { length } of this.#chunks.splice(0)) this.#take(length);
  }

  /** From the agent. Throws ProtocolError if it sends more than it may. */
  push(bytes: Uint8Array): void {
    this.#credit -= bytes.length;
    if (this.#credit < 0) throw new ProtocolError("more output than was asked for");
    if (this.#discard) return this.#take(bytes.length);
    this.#chunks.push(bytes);
    this.#changed();
  }

  /** No more comes. With an `error`, whoever reads gets that at the end. */
  end(error?: Error): void {
    this.#end ??= error === undefined ? {} : { error };
    this.#changed();
  }

  #take(bytes: number): void {
    this.#taken += bytes;
    if (this.#taken < WINDOW / 2 || this.#end !== undefined) return;
    this.#grant(this.#taken);
    this.#credit += this.#taken;
    this.#taken = 0;
  }
}

/** Input of a command. */
export class InputStream {
  readonly #send: (bytes: Uint8Array) => void;
  #credit = WINDOW;
  #open = true;
  #written: Promise<void> = Promise.resolve();
  #changed = (): void => {};

  /** `send`: no bytes are the end. */
  constructor(send: (bytes: Uint8Array) => void) {
    this.#send = send;
  }

  /** Resolves when all of it is on its way. What comes after the command's end, or after `end`, is dropped. */
  write(bytes: Uint8Array): Promise<void> {
    this.#written = this.#written.then(async () => {
      for (let done = 0; done < bytes.length && this.#open; ) {
        const count = Math.min(bytes.length - done, MAX_CHUNK, this.#credit);
        if (count === 0) {
          await new Promise<void>((resolve) => (this.#changed = resolve));
          continue;
        }
        this.#credit -= count;
        this.#send(bytes.subarray(done, done + count));
        done += count;
      }
    });
    return this.#written;
  }

  /** The command reads an end of file behind what was written. */
  end(): void {
    void this.#written.then(() => {
      if (this.#open) this.#send(new Uint8Array(0));
      this.close();
    });
  }

  /** From the agent: it takes so many bytes more. Throws ProtocolError if that is more than it was sent. */
  grant(bytes: number): void {
    this.#credit += bytes;
    if (this.#credit > WINDOW) throw new ProtocolError("more room than there is");
    this.#changed();
  }

  /** The command has ended. */
  close(): void {
    this.#open = false;
    this.#changed();
  }
}
