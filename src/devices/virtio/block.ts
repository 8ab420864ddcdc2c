import { AssertionError } from "#base/assert.ts";
import { HostelryError } from "#base/errors.ts";
import { StateReader, type SavedState } from "#base/saved-state.ts";
import { gather, readableViews, scatter, slice, totalLength, writableViews, type Segment } from "../dma.ts";
import type { VirtioDevice, VirtioHost } from "./device.ts";
import type { Chain } from "./queue.ts";

/*
 * The block device: virtio 1.2, section 5.2. A request is one chain:
 *
 *   readable   type u32 │ reserved u32 │ sector u64 │ data to write, or ranges
 *   writable   data read │ status u8
 */
export const SECTOR_SIZE = 512;
const HEADER_SIZE = 16;
const RANGE_SIZE = 16;
const ID_SIZE = 20;

const Feature = { segmentMax: 2, readOnly: 5, blockSize: 6, flush: 9, discard: 13, writeZeroes: 14 } as const;
const RequestType = { read: 0, write: 1, flush: 4, getId: 8, discard: 11, writeZeroes: 13 } as const;
const Status = { ok: 0, ioError: 1, unsupported: 2 } as const;
type Status = (typeof Status)[keyof typeof Status];

/** struct virtio_blk_config, section 5.2.4; the fields that our features make valid. */
const Config = {
  capacity: 0, segmentMax: 12, blockSize: 20,
  maxDiscardSectors: 36, maxDiscardSegments: 40, discardAlignment: 44,
  maxWriteZeroesSectors: 48, maxWriteZeroesSegments: 52, writeZeroesMayUnmap: 56,
  size: 60,
} as const;

const QUEUE_SIZE = 256;
/** A request's data segments: what a chain holds beside header and status. */
const SEGMENT_MAX = QUEUE_SIZE - 2;
const MAX_RANGES = 64;
/** 2 GiB a range. */
const MAX_RANGE_SECTORS = 2 ** 22;
/** No kernel asks for this much at once; a hostile one would have us copy for minutes, or take as much memory. */
const MAX_DATA = 64 * 1024 * 1024;
/** With this much on its way, further requests wait in the ring. */
const MAX_IN_FLIGHT = 64 * 1024 * 1024;

/** What a disk does; `Result` says when. Sectors are of 512 bytes. A failure is thrown, or rejects; the guest sees an I/O error. */
interface BlockOperations<Result> {
  /** Fills `into`, buffer after buffer, from `sector` on. Together the buffers are a multiple of 512 bytes; one alone need not be. */
  read(sector: number, into: readonly Uint8Array[]): Result;
  write(sector: number, from: readonly Uint8Array[]): Result;
  /** Puts all completed writes where they survive the host's crash. */
  flush(): Result;
  /** The content of these sectors is no longer needed, and now undefined. */
  discard?(sector: number, count: number): Result;
  /** These sectors read as zeroes from now on. If `mayUnmap`, their space may be given back. */
  writeZeroes?(sector: number, count: number, mayUnmap: boolean): Result;
}

interface BlockProperties {
  readonly sectors: number;
  readonly readOnly: boolean;
  /** The serial number that the guest sees; 20 ASCII characters at most. */
  readonly id: string;
}

/** A disk whose operations are done when they return. Its buffers are windows into guest memory (shared memory): no copy is made. */
export interface ImmediateBlockBackend extends BlockProperties, BlockOperations<void> {
  readonly kind: "immediate";
}

/**
 * A disk that takes its time, as in a browser. Its buffers are its own until the promise settles: never guest memory, which may
 * be gone by then. Operations may finish in any order, but take effect in the order of the calls where they overlap.
 */
export interface DeferredBlockBackend extends BlockProperties, BlockOperations<Promise<void>> {
  readonly kind: "deferred";
}

export type BlockBackend = ImmediateBlockBackend | DeferredBlockBackend;

interface Request {
  readonly chain: Chain;
  readonly type: number;
  readonly sector: number;
  /** Data from the driver, after the header. */
  readonly output: readonly Segment[];
  /** Room for data to the driver, before the status. */
  readonly input: readonly Segment[];
  /** Puts data that came late into guest memory. */
  deliver?: () => void;
}

export class VirtioBlock implements VirtioDevice {
  readonly deviceId = 2;
  readonly features: readonly number[];
  readonly queueSizes = [QUEUE_SIZE];
  readonly config: Uint8Array;
  readonly #backend: BlockBackend;
  readonly #onError: (error: unknown) => void;
  /** Chains whose requests wait for a deferred back end. */
  readonly #inFlight = new Set<Chain>();
  #bytesInFlight = 0;
  /** Heads of chains that were in flight when the state was saved. */
  #interrupted: readonly number[] = [];
  #host!: VirtioHost;

  /** `onError` hears the back end's failures, of which the guest learns only that they were. */
  constructor(backend: BlockBackend, onError: (error: unknown) => void = () => {}) {
    this.#backend = backend;
    this.#onError = onError;
    this.features = featuresOf(backend);
    this.config = configOf(backend);
  }

  /** Whether no request waits for the back end. */
  get idle(): boolean {
    return this.#inFlight.size === 0;
  }

  attach(host: VirtioHost): void {
    this.#host = host;
  }

  notified(index: number): void {
    this.#host.queues[index]!.drain((chain) => this.#begin(chain), () => this.#bytesInFlight < MAX_IN_FLIGHT);
  }

  reset(): void {
    this.#forget();
    this.#interrupted = [];
  }

  /** Requests in flight are begun anew: doing a read, a write or a flush twice is as doing it once. */
  resumed(): void {
    const queue = this.#host.queues[0]!;
    const heads = this.#interrupted;
    this.#interrupted = [];
    for (const head of heads) this.#begin(queue.chain(head));
    this.notified(0);
  }

  save(): SavedState {
    const heads = [...this.#inFlight].map((chain) => chain.head);
    return { kind: "virtio-block", version: 1, sectors: this.#backend.sectors, inFlight: [...this.#interrupted, ...heads] };
  }

  restore(state: unknown): void {
    const from = StateReader.open(state, "virtio-block", 1);
    const sectors = from.uint("sectors", 53);
    const inFlight = from.uints("inFlight", 16, { atMost: QUEUE_SIZE });
    if (sectors !== this.#backend.sectors) {
      throw new HostelryError("bad-snapshot", `The snapshot can't be restored: its disk had ${sectors} sectors and this one has ${this.#backend.sectors}. Give the machine the same disk.`);
    }
    this.#forget();
    this.#interrupted = inFlight;
  }

  #forget(): void {
    this.#inFlight.clear();
    this.#bytesInFlight = 0;
  }

  #begin(chain: Chain): void {
    const request = this.#parse(chain);
    const outcome = this.#perform(request);
    if (typeof outcome === "number") return this.#complete(request, outcome);
    const bytes = totalLength(request.input) + totalLength(request.output);
    this.#inFlight.add(chain);
    this.#bytesInFlight += bytes;
    void outcome.then((status) => {
      // A reset has forgotten it.
      if (!this.#inFlight.delete(chain)) return;
      this.#bytesInFlight -= bytes;
      this.#host.run(() => {
        if (this.#host.queues[0]!.owns(chain)) this.#complete(request, status);
        this.notified(0);
      });
    });
  }

  /** Section 2.7.4: nothing may be assumed of how a request is cut into buffers. */
  #parse(chain: Chain): Request {
    const writable = totalLength(chain.writable);
    const header = gather(readableViews(this.#host.memory, slice(chain.readable, 0, HEADER_SIZE)));
    if (header.length < HEADER_SIZE || writable < 1) {
      throw new HostelryError("virtio-bad-request", "A driver sent a block request without header or status. The device waits for a reset.");
    }
    const view = new DataView(header.buffer);
    return {
      chain,
      type: view.getUint32(0, true),
      sector: u64(view, 8),
      output: slice(chain.readable, HEADER_SIZE, Infinity),
      input: slice(chain.writable, 0, writable - 1),
    };
  }

  #perform(request: Request): Status | Promise<Status> {
    switch (request.type) {
      case RequestType.read: return this.#read(request);
      case RequestType.write: return this.#write(request);
      case RequestType.flush: return this.#attempt(() => this.#backend.flush());
      case RequestType.getId: return this.#getId(request);
      case RequestType.discard: return this.#discard(request);
      case RequestType.writeZeroes: return this.#writeZeroes(request);
      default: return Status.unsupported;
    }
  }

  #complete(request: Request, status: Status): void {
    if (status === Status.ok) request.deliver?.();
    const { memory, queues } = this.#host;
    const length = totalLength(request.input);
    writableViews(memory, slice(request.chain.writable, length, 1))[0]![0] = status;
    // Section 2.7.8.2: what comes before the status may not have been written, so then nothing is said to have been.
    const written = status === Status.ok || length === 0 ? length + 1 : 0;
    queues[0]!.push(request.chain, written);
  }

  #read(request: Request): Status | Promise<Status> {
    const backend = this.#backend;
    const { sector, input } = request;
    const length = totalLength(input);
    if (!this.#holds(sector, length)) return Status.ioError;
    if (backend.kind === "immediate") {
      const views = writableViews(this.#host.memory, input);
      return this.#attempt(() => backend.read(sector, views));
    }
    const buffer = new Uint8Array(length);
    request.deliver = () => scatter(buffer, writableViews(this.#host.memory, input));
    return this.#attempt(() => backend.read(sector, [buffer]));
  }

  #write(request: Request): Status | Promise<Status> {
    const { sector, output } = request;
    if (this.#backend.readOnly || !this.#holds(sector, totalLength(output))) return Status.ioError;
    const views = readableViews(this.#host.memory, output);
    const buffers = this.#backend.kind === "immediate" ? views : [gather(views)];
    return this.#written(this.#attempt(() => this.#backend.write(sector, buffers)));
  }

  /** Section 5.2.6.2: a driver that does not flush gets what it wrote made safe before it hears that it is done. */
  #written(outcome: Status | Promise<Status>): Status | Promise<Status> {
    if (this.#host.negotiated(Feature.flush)) return outcome;
    const flush = (status: Status) => (status === Status.ok ? this.#attempt(() => this.#backend.flush()) : status);
    return typeof outcome === "number" ? flush(outcome) : outcome.then(flush);
  }

  #getId(request: Request): Status {
    const id = new Uint8Array(ID_SIZE);
    new TextEncoder().encodeInto(this.#backend.id, id);
    const views = writableViews(this.#host.memory, slice(request.input, 0, ID_SIZE));
    scatter(id.subarray(0, totalLength(views)), views);
    return totalLength(views) === ID_SIZE ? Status.ok : Status.ioError;
  }

  #discard(request: Request): Status | Promise<Status> {
    const backend = this.#backend;
    if (!this.#host.negotiated(Feature.discard) || backend.discard === undefined) return Status.unsupported;
    return this.#forRanges(request, 0, (range) => backend.discard?.(range.sector, range.count));
  }

  #writeZeroes(request: Request): Status | Promise<Status> {
    const backend = this.#backend;
    if (!this.#host.negotiated(Feature.writeZeroes) || backend.writeZeroes === undefined) return Status.unsupported;
    const zero = (range: Range) => backend.writeZeroes?.(range.sector, range.count, (range.flags & RangeFlag.unmap) !== 0);
    return this.#written(this.#forRanges(request, RangeFlag.unmap, zero));
  }

  /** Section 5.2.6.2: an unknown flag is unsupported, a range that does not fit an error. All ranges are looked at before any is touched. */
  #forRanges(request: Request, knownFlags: number, operation: (range: Range) => void | Promise<void>): Status | Promise<Status> {
    const length = totalLength(request.output);
    if (this.#backend.readOnly || length === 0 || length % RANGE_SIZE !== 0 || length > MAX_RANGES * RANGE_SIZE) return Status.ioError;
    const ranges = readRanges(gather(readableViews(this.#host.memory, request.output)));
    if (ranges.some((range) => (range.flags & ~knownFlags) !== 0)) return Status.unsupported;
    if (!ranges.every((range) => range.count <= MAX_RANGE_SECTORS && range.sector + range.count <= this.#backend.sectors)) return Status.ioError;
    return this.#attempt(() => {
      const pending = ranges.map(operation).filter((result) => result !== undefined);
      return pending.length > 0 ? Promise.all(pending).then(() => {}) : undefined;
    });
  }

  #holds(sector: number, length: number): boolean {
    return length % SECTOR_SIZE === 0 && length <= MAX_DATA && sector + length / SECTOR_SIZE <= this.#backend.sectors;
  }

  #attempt(operation: () => void | Promise<void>): Status | Promise<Status> {
    try {
      const pending = operation();
      return pending === undefined ? Status.ok : pending.then(() => Status.ok, (error: unknown) => this.#failed(error));
    } catch (error) {
      return this.#failed(error);
    }
  }

  #failed(error: unknown): Status {
    if (error instanceof AssertionError) throw error;
    this.#onError(error);
    return Status.ioError;
  }
}

/** struct virtio_blk_discard_write_zeroes: sector u64 │ num_sectors u32 │ flags u32. */
interface Range {
  readonly sector: number;
  readonly count: number;
  readonly flags: number;
}

const RangeFlag = { unmap: 1 } as const;

function readRanges(bytes: Uint8Array): Range[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  return Array.from({ length: bytes.length / RANGE_SIZE }, (_, index) => {
    const at = RANGE_SIZE * index;
    return { sector: u64(view, at), count: view.getUint32(at + 8, true), flags: view.getUint32(at + 12, true) };
  });
}

/** Not exact beyond 2^53, which is beyond any disk. */
function u64(view: DataView, offset: number): number {
  return view.getUint32(offset, true) + view.getUint32(offset + 4, true) * 2 ** 32;
}

function featuresOf(backend: BlockBackend): number[] {
  const features: number[] = [Feature.segmentMax, Feature.blockSize, Feature.flush];
  if (backend.readOnly) features.push(Feature.readOnly);
  if (!backend.readOnly && backend.discard !== undefined) features.push(Feature.discard);
  if (!backend.readOnly && backend.writeZeroes !== undefined) features.push(Feature.writeZeroes);
  return features;
}

function configOf(backend: BlockBackend): Uint8Array {
  const view = new DataView(new ArrayBuffer(Config.size));
  view.setUint32(Config.capacity, backend.sectors % 2 ** 32, true);
  view.setUint32(Config.capacity + 4, Math.floor(backend.sectors / 2 ** 32), true);
  view.setUint32(Config.segmentMax, SEGMENT_MAX, true);
  view.setUint32(Config.blockSize, SECTOR_SIZE, true);
  view.setUint32(Config.maxDiscardSectors, MAX_RANGE_SECTORS, true);
  view.setUint32(Config.maxDiscardSegments, MAX_RANGES, true);
  view.setUint32(Config.discardAlignment, 1, true);
  view.setUint32(Config.maxWriteZeroesSectors, MAX_RANGE_SECTORS, true);
  view.setUint32(Config.maxWriteZeroesSegments, MAX_RANGES, true);
  view.setUint8(Config.writeZeroesMayUnmap, 1);
  return new Uint8Array(view.buffer);
}
