import { HostelryError } from "#base/errors.ts";
import { StateReader, type Saveable, type SavedState } from "#base/saved-state.ts";
import { ByteQueue } from "../byte-queue.ts";
import { gather, readableViews, slice, totalLength, writableViews } from "../dma.ts";
import type { VirtioHost } from "./device.ts";

/** Input that waits for the driver's buffers; beyond it, input waits at its source. */
const INPUT_SIZE = 64 * 1024;

/** The longest output in one buffer. Linux sends no more than 32 KiB; a hostile driver must not fill our memory. */
const MAX_OUTPUT = 1024 * 1024;

export interface ConsoleBackend {
  /** Output of the guest; the bytes are the back end's to keep. After false, no more comes until `resume()`. */
  write(bytes: Uint8Array): boolean;
  /** After `receive` refused some bytes: there is room again. */
  ready?(): void;
}

/** One port of a console device: bytes in and bytes out, through a queue each. */
export class ConsolePort implements Saveable {
  readonly #backend: ConsoleBackend;
  readonly #queues: { readonly receive: number; readonly transmit: number };
  readonly #input = new ByteQueue(INPUT_SIZE);
  #host!: VirtioHost;
  #refused = false;
  #held = false;

  /** `queues`: their numbers. */
  constructor(backend: ConsoleBackend, queues: { readonly receive: number; readonly transmit: number }) {
    this.#backend = backend;
    this.#queues = queues;
  }

  attach(host: VirtioHost): void {
    this.#host = host;
  }

  /** Bytes for the guest. Returns how many were taken; after fewer than all, `ready` says when there is room. */
  receive(bytes: Uint8Array): number {
    const taken = this.#input.push(bytes);
    if (taken < bytes.length) this.#refused = true;
    this.#host.run(() => this.fillBuffers());
    return taken;
  }

  /** The back end, which had answered `write` with false, can take more. */
  resume(): void {
    this.#held = false;
    this.#host.run(() => this.transmit());
  }

  /** Forgets the input that waits. */
  clear(): void {
    this.#input.clear();
    this.#askForMore();
  }

  fillBuffers(): void {
    const queue = this.#host.queues[this.#queues.receive]!;
    queue.drain((chain) => {
      const segments = slice(chain.writable, 0, this.#input.length);
      for (const view of writableViews(this.#host.memory, segments)) this.#input.shift(view);
      queue.push(chain, totalLength(segments));
    }, () => this.#input.length > 0);
    this.#askForMore();
  }

  transmit(): void {
    const queue = this.#host.queues[this.#queues.transmit]!;
    queue.drain((chain) => {
      const length = totalLength(chain.readable);
      if (length > MAX_OUTPUT) throw new HostelryError("virtio-bad-request", `A driver sent ${length} bytes to a console at once; ${MAX_OUTPUT} may be.`);
      this.#held = !this.#backend.write(gather(readableViews(this.#host.memory, chain.readable)));
      queue.push(chain, 0);
    }, () => !this.#held);
  }

  save(): SavedState {
    return { kind: "console-port", version: 1, input: this.#input.toArray(), refused: this.#refused };
  }

  restore(state: unknown): void {
    const from = StateReader.open(state, "console-port", 1);
    const [input, refused] = [from.uints("input", 8, { atMost: INPUT_SIZE }), from.flag("refused")];
    this.#input.assign(input);
    this.#refused = refused;
  }

  #askForMore(): void {
    if (!this.#refused || this.#input.free < INPUT_SIZE / 2) return;
    this.#refused = false;
    this.#backend.ready?.();
  }
}
