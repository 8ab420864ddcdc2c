import type { Saveable } from "#base/saved-state.ts";
import type { DmaMemory } from "#machine/bus.ts";
import type { VirtQueue } from "./queue.ts";

/** Feature bits that are the transport's, not a device's: virtio 1.2, section 6. */
export const TransportFeature = { indirectDescriptors: 28, eventIndex: 29, version1: 32 } as const;

/** A virtio device behind any transport: what virtio 1.2 says in chapters 2, 3 and 5. */
export interface VirtioDevice extends Saveable {
  /** Chapter 5: 2 block, 3 console, 4 entropy. */
  readonly deviceId: number;
  /** Numbers of the device's own feature bits that it offers. */
  readonly features: readonly number[];
  /** The largest size of each queue: a power of two. */
  readonly queueSizes: readonly number[];
  /** The configuration space as the driver reads it, little-endian. */
  readonly config: Uint8Array;
  /** Called once, before anything else. */
  attach(host: VirtioHost): void;
  /** The driver has set DRIVER_OK: the queues may be used from now on. */
  started?(): void;
  /** The driver has made buffers available in a queue. */
  notified(queue: number): void;
  writeConfig?(offset: number, size: 1 | 2 | 4, value: number): void;
  /** Back to the state before the driver; requests in flight are forgotten. */
  reset(): void;
  /** After `restore` of this device and its queues: takes up what was in flight. */
  resumed?(): void;
}

/** What a device gets from its transport. */
export interface VirtioHost {
  readonly memory: DmaMemory;
  readonly queues: readonly VirtQueue[];
  /** Whether the driver has accepted a feature. */
  negotiated(feature: number): boolean;
  /**
   * Runs `action`, unless the driver is not there or the device needs a reset. A HostelryError in it (a hostile ring) makes
   * the device need a reset. All that a device does of itself, not called by the transport, goes through here.
   */
  run(action: () => void): void;
  /** `config` has changed. */
  configChanged(): void;
}
