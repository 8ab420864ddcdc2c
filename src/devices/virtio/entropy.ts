import { StateReader, type SavedState } from "#base/saved-state.ts";
import { slice, totalLength, writableViews } from "../dma.ts";
import type { VirtioDevice, VirtioHost } from "./device.ts";
import type { Chain } from "./queue.ts";

/** A request gets no more than this; the driver asks again. */
const MAX_REQUEST = 64 * 1024;

/** Where randomness comes from: the host's, or a seeded one when a run is to be repeatable. */
export interface EntropySource {
  /** Fills `bytes`, which lie in guest memory: take a copy for functions that want no shared memory. */
  fill(bytes: Uint8Array): void;
}

/** The entropy device: virtio 1.2, section 5.4. Its one queue carries buffers to be filled. */
export class VirtioEntropy implements VirtioDevice {
  readonly deviceId = 4;
  readonly features: readonly number[] = [];
  readonly queueSizes = [16];
  readonly config = new Uint8Array(0);
  readonly #source: EntropySource;
  #host!: VirtioHost;

  constructor(source: EntropySource) {
    this.#source = source;
  }

  attach(host: VirtioHost): void {
    this.#host = host;
  }

  notified(index: number): void {
    const queue = this.#host.queues[index]!;
    queue.drain((chain) => queue.push(chain, this.#fill(chain)));
  }

  reset(): void {}

  save(): SavedState {
    return { kind: "virtio-entropy", version: 1 };
  }

  restore(state: unknown): void {
    StateReader.open(state, "virtio-entropy", 1);
  }

  #fill(chain: Chain): number {
    const segments = slice(chain.writable, 0, MAX_REQUEST);
    for (const view of writableViews(this.#host.memory, segments)) this.#source.fill(view);
    return totalLength(segments);
  }
}
