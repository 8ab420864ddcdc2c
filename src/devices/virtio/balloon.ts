/**
 * The memory balloon: virtio 1.2, section 5.5. The driver takes pages from its own kernel and names them in the inflate queue: the machine may have
 * what is behind them. In the deflate queue it names those that it wants back. Pages that its kernel has free anyway, it reports.
 */
import { StateReader, type SavedState } from "#base/saved-state.ts";
import { gather, readableViews, slice, type Segment } from "../dma.ts";
import type { VirtioDevice, VirtioHost } from "./device.ts";
import type { Chain, VirtQueue } from "./queue.ts";

/** The guest's memory by page numbers (address / 4096). Pages that aren't there, or are in that state already, are left as they are. */
export interface BalloonMemory {
  readonly firstPage: number;
  readonly pages: number;
  /** What they hold is gone, and they are not to be used. */
  inflate(pages: readonly number[]): void;
  /** They may be used again. */
  deflate(pages: readonly number[]): void;
  /** What they hold is gone; they may be used at any time. */
  report(pages: readonly number[]): void;
  /** Whoever inflated is gone: all pages may be used again. */
  deflateAll(): void;
}

/** Section 5.5.6.4: what a driver says of its guest, by tag. Bytes, or counts of events since its boot. */
export const balloonStatistics = [
  "swappedIn", "swappedOut", "majorFaults", "minorFaults", "free", "total", "available", "caches", "hugePagesTaken", "hugePagesMissed",
] as const;
export type BalloonStatistics = { readonly [Name in (typeof balloonStatistics)[number]]?: number | undefined };

/** Section 5.5.3. That the guest says it before it uses a page of the balloon again (MUST_TELL_HOST) is not asked for: a page is given when it is touched. */
const Feature = { statistics: 1, deflateOnOutOfMemory: 2, pageReporting: 5 } as const;
/** Section 5.5.4: u32 each. */
const Config = { wanted: 0, actual: 4, size: 8 } as const;

const PAGE = 4096;
const QUEUE_SIZE = 128;
const INFLATE = 0;
const DEFLATE = 1;
const STATISTICS = 2;
/** With the queue of hints, which isn't offered, reporting has number 4. But Linux leaves out the numbers of queues that it doesn't use. */
const QUEUES = 5;

/** Page numbers in a chain beyond this count are ignored; Linux gives 256. */
const MAX_NUMBERS = 1024;
/** A tag in 16 bits, a value in 64. */
const STATISTIC_SIZE = 10;
const MAX_STATISTICS = 64;

export class VirtioBalloon implements VirtioDevice {
  readonly deviceId = 5;
  readonly features: readonly number[] = Object.values(Feature);
  readonly queueSizes: readonly number[] = Array.from({ length: QUEUES }, () => QUEUE_SIZE);
  readonly config = new Uint8Array(Config.size);
  readonly #memory: BalloonMemory;
  readonly #view = new DataView(this.config.buffer);
  #host!: VirtioHost;
  /** The driver's buffer for statistics: to be given back when they are wanted anew. */
  #held: Chain | undefined;
  /** Its head, between `restore` and `resumed`. */
  #saved: readonly number[] = [];
  #statistics: BalloonStatistics | undefined;

  constructor(memory: BalloonMemory) {
    this.#memory = memory;
  }

  attach(host: VirtioHost): void {
    this.#host = host;
  }

  /** Pages that are wanted in the balloon. */
  get target(): number {
    return this.#view.getUint32(Config.wanted, true);
  }

  set target(pages: number) {
    if (pages === this.target) return;
    this.#view.setUint32(Config.wanted, pages, true);
    this.#host.configChanged();
  }

  /** What the guest said last, if it ever did. */
  get statistics(): BalloonStatistics | undefined {
    return this.#statistics;
  }

  /** Has the guest say it anew. */
  askForStatistics(): void {
    this.#host.run(() => {
      const queue = this.#host.queues[STATISTICS]!;
      const held = this.#held;
      this.#held = undefined;
      if (held !== undefined) queue.push(held, 0);
      queue.signal();
    });
  }

  /** Linux gives the buffer for statistics before it is ready. */
  started(): void {
    this.notified(STATISTICS);
  }

  notified(index: number): void {
    const queue = this.#host.queues[index]!;
    if (index === INFLATE) this.#memory.inflate(this.#numbers(queue));
    else if (index === DEFLATE) this.#memory.deflate(this.#numbers(queue));
    else if (index === STATISTICS && this.#host.negotiated(Feature.statistics)) queue.drain((chain) => this.#hold(queue, chain));
    else if (this.#host.negotiated(Feature.pageReporting)) this.#memory.report(this.#ranges(queue));
  }

  /** What the driver says that it has is for other drivers to read. */
  writeConfig(offset: number, size: number, value: number): void {
    if (offset === Config.actual && size === 4) this.#view.setUint32(offset, value, true);
  }

  reset(): void {
    this.#view.setUint32(Config.actual, 0, true);
    this.#held = this.#statistics = undefined;
    this.#memory.deflateAll();
  }

  resumed(): void {
    const [head] = this.#saved;
    if (head !== undefined) this.#hold(this.#host.queues[STATISTICS]!, this.#host.queues[STATISTICS]!.chain(head));
    this.#saved = [];
  }

  save(): SavedState {
    return { kind: "virtio-balloon", version: 1, target: this.target, actual: this.#view.getUint32(Config.actual, true), held: this.#held === undefined ? [] : [this.#held.head] };
  }

  restore(state: unknown): void {
    const from = StateReader.open(state, "virtio-balloon", 1);
    const [target, actual, held] = [from.uint("target", 32), from.uint("actual", 32), from.uints("held", 16, { atMost: 1 })];
    this.#view.setUint32(Config.wanted, target, true);
    this.#view.setUint32(Config.actual, actual, true);
    this.#held = this.#statistics = undefined;
    this.#saved = held;
  }

  /** There is one such buffer, says section 5.5.6.3; of several, the last is kept. */
  #hold(queue: VirtQueue, chain: Chain): void {
    if (this.#held !== undefined) queue.push(this.#held, 0);
    this.#held = chain;
    const view = this.#contents(chain, STATISTIC_SIZE * MAX_STATISTICS);
    const found: { -readonly [Name in keyof BalloonStatistics]: number } = {};
    for (let at = 0; at + STATISTIC_SIZE <= view.byteLength; at += STATISTIC_SIZE) {
      const name = balloonStatistics[view.getUint16(at, true)];
      if (name !== undefined) found[name] = Number(view.getBigUint64(at + 2, true));
    }
    this.#statistics = found;
  }

  /** Page numbers from all chains of a queue. They are given back before any page is: the rings may lie in one. */
  #numbers(queue: VirtQueue): number[] {
    const numbers: number[] = [];
    queue.drain((chain) => {
      const view = this.#contents(chain, 4 * MAX_NUMBERS);
      for (let at = 0; at + 4 <= view.byteLength; at += 4) numbers.push(view.getUint32(at, true));
      queue.push(chain, 0);
    });
    return numbers;
  }

  /** Pages that lie wholly in the buffers of all chains of a queue: no more than there are in memory, whatever the driver says. */
  #ranges(queue: VirtQueue): number[] {
    const { firstPage, pages } = this.#memory;
    const numbers: number[] = [];
    const add = ({ address, length }: Segment): void => {
      const end = Math.min(Math.floor((address + length) / PAGE), firstPage + pages);
      for (let page = Math.max(Math.ceil(address / PAGE), firstPage); page < end && numbers.length < pages; page++) numbers.push(page);
    };
    queue.drain((chain) => {
      chain.writable.forEach(add);
      queue.push(chain, 0);
    });
    return numbers;
  }

  #contents(chain: Chain, most: number): DataView {
    return new DataView(gather(readableViews(this.#host.memory, slice(chain.readable, 0, most))).buffer);
  }
}
