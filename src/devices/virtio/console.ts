import { HostelryError } from "#base/errors.ts";
import { StateReader, type SavedState } from "#base/saved-state.ts";
import { ByteQueue } from "../byte-queue.ts";
import { gather, readableViews, slice, totalLength, writableViews } from "../dma.ts";
import type { VirtioDevice, VirtioHost } from "./device.ts";

/* The console device with its one port: virtio 1.2, section 5.3. */
const Feature = { size: 0, emergencyWrite: 2 } as const;
const RECEIVE = 0;
const TRANSMIT = 1;

/** struct virtio_console_config: cols u16 │ rows u16 │ max_nr_ports u32 │ emerg_wr u32. */
const Config = { columns: 0, rows: 2, emergencyWrite: 8, size: 12 } as const;

/** Input that waits for the driver's buffers; beyond it, input waits at its source. */
const INPUT_SIZE = 64 * 1024;

/** The longest output in one buffer. Linux sends no more than 32 KiB; a hostile driver must not fill our memory. */
const MAX_OUTPUT = 1024 * 1024;

export interface ConsoleBackend {
  /** Output of the guest; the bytes are the back end's to keep. After false, no more comes until `VirtioConsole.resume()`. */
  write(bytes: Uint8Array): boolean;
  /** After `receive` refused some bytes: there is room again. */
  ready?(): void;
}

export class VirtioConsole implements VirtioDevice {
  readonly deviceId = 3;
  readonly features = [Feature.size, Feature.emergencyWrite];
  readonly queueSizes = [64, 64];
  readonly config = new Uint8Array(Config.size);
  readonly #backend: ConsoleBackend;
  readonly #input = new ByteQueue(INPUT_SIZE);
  #host!: VirtioHost;
  #refused = false;
  #held = false;

  constructor(backend: ConsoleBackend, columns = 80, rows = 24) {
    this.#backend = backend;
    this.#setSize(columns, rows);
  }

  /** Bytes for the guest. Returns how many were taken; after fewer than all, `ready` says when there is room. */
  receive(bytes: Uint8Array): number {
    const taken = this.#input.push(bytes);
    if (taken < bytes.length) this.#refused = true;
    this.#host.run(() => this.#fillBuffers());
    return taken;
  }

  /** The back end, which had answered `write` with false, can take more. */
  resume(): void {
    this.#held = false;
    this.#host.run(() => this.#transmit());
  }

  /** The terminal has a new size. */
  resize(columns: number, rows: number): void {
    this.#setSize(columns, rows);
    this.#host.configChanged();
  }

  attach(host: VirtioHost): void {
    this.#host = host;
  }

  notified(queue: number): void {
    if (queue === RECEIVE) this.#fillBuffers();
    else this.#transmit();
  }

  /** Section 5.3.5: a byte without any queue, from a kernel that is starting or dying. */
  writeConfig(offset: number, _size: number, value: number): void {
    if (offset === Config.emergencyWrite) this.#backend.write(Uint8Array.of(value & 0xff));
  }

  reset(): void {}

  resumed(): void {
    this.#transmit();
    this.#fillBuffers();
  }

  save(): SavedState {
    return { kind: "virtio-console", version: 1, input: this.#input.toArray() };
  }

  /** The size stays that of the terminal that is here now. */
  restore(state: unknown): void {
    this.#input.assign(StateReader.open(state, "virtio-console", 1).uints("input", 8, { atMost: INPUT_SIZE }));
  }

  #fillBuffers(): void {
    const queue = this.#host.queues[RECEIVE]!;
    queue.drain((chain) => {
      const segments = slice(chain.writable, 0, this.#input.length);
      for (const view of writableViews(this.#host.memory, segments)) this.#input.shift(view);
      queue.push(chain, totalLength(segments));
    }, () => this.#input.length > 0);
    this.#askForMore();
  }

  #askForMore(): void {
    if (!this.#refused || this.#input.free < INPUT_SIZE / 2) return;
    this.#refused = false;
    this.#backend.ready?.();
  }

  #transmit(): void {
    const queue = this.#host.queues[TRANSMIT]!;
    queue.drain((chain) => {
      const length = totalLength(chain.readable);
      if (length > MAX_OUTPUT) throw new HostelryError("virtio-bad-request", `A driver sent ${length} bytes to a console at once; ${MAX_OUTPUT} may be.`);
      this.#held = !this.#backend.write(gather(readableViews(this.#host.memory, chain.readable)));
      queue.push(chain, 0);
    }, () => !this.#held);
  }

  #setSize(columns: number, rows: number): void {
    const view = new DataView(this.config.buffer);
    view.setUint16(Config.columns, columns, true);
    view.setUint16(Config.rows, rows, true);
  }
}
