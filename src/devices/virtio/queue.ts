import { HostelryError } from "#base/errors.ts";
import type { SavedValue, StateReader } from "#base/saved-state.ts";
import type { DmaMemory } from "#machine/bus.ts";
import type { Segment } from "../dma.ts";
import { RingWindow } from "./ring-window.ts";

/*
 * The split virtqueue: virtio 1.2, section 2.7. Little-endian, n = queue size.
 *
 *   descriptor table   16n bytes     address u64 │ length u32 │ flags u16 │ next u16
 *   available ring     6 + 2n        flags u16 │ idx u16 │ head u16 × n │ used_event u16
 *   used ring          6 + 8n        flags u16 │ idx u16 │ (head u32 │ length u32) × n │ avail_event u16
 *
 * The driver owns the first two, the device the third. The indices count up without end, modulo 2^16.
 */
const DESCRIPTOR_SIZE = 16;
const DescriptorFlag = { next: 1, writable: 2, indirect: 4 } as const;
const AvailableFlag = { noInterrupt: 1 } as const;
const INDEX = 2;
const RING = 4;

/** Section 2.7.5.3.1 says "no longer than the queue", but Linux makes longer indirect ones. A bound all the same. */
const MAX_INDIRECT = 1024;

/** Section 2.7.5: a chain's buffers are no longer than this in total. */
const MAX_CHAIN_BYTES = 2 ** 32;

/** A chain of descriptors as the driver made it available: what the device may read, then what it may write. */
export interface Chain {
  /** Names the chain in the used ring. */
  readonly head: number;
  readonly readable: readonly Segment[];
  readonly writable: readonly Segment[];
  /** The rings that it came through. Once the queue is set up anew, the driver has forgotten it. */
  readonly rings: object;
}

export interface QueueState {
  readonly size: number;
  readonly ready: boolean;
  /** Low and high words of the addresses of descriptor table, available ring and used ring. */
  readonly addresses: readonly number[];
  readonly nextAvailable: number;
  readonly used: number;
  readonly signalled: number;
}

/**
 * The device's side of a queue. What the driver has put into memory is not to be trusted: what is broken in it is thrown as
 * HostelryError `virtio-bad-queue`, which the transport turns into DEVICE_NEEDS_RESET.
 */
export class VirtQueue {
  readonly maxSize: number;
  readonly #memory: DmaMemory;
  readonly #interrupt: () => void;
  /** What the driver has negotiated. */
  indirectDescriptors = false;
  eventIndex = false;
  /** The size that the driver has chosen. */
  size: number;
  /** Low and high words of the addresses of descriptor table, available ring and used ring. */
  readonly addresses = new Uint32Array(6);
  #rings: Rings | undefined;
  /** Of the next head to take from the available ring. */
  #nextAvailable = 0;
  /** The driver's index as last read: heads up to it need no further look. */
  #seenAvailable = 0;
  /** Of the next entry to write into the used ring. */
  #used = 0;
  /** `#used` when the driver was last told. */
  #signalled = 0;

  constructor(memory: DmaMemory, maxSize: number, interrupt: () => void) {
    this.#memory = memory;
    this.maxSize = maxSize;
    this.size = maxSize;
    this.#interrupt = interrupt;
  }

  get ready(): boolean {
    return this.#rings !== undefined;
  }

  /** The driver has said where the rings are, and now that they are ready. Throws if they can't be. */
  enable(): void {
    this.#open();
    this.#nextAvailable = this.#seenAvailable = this.#used = this.#signalled = 0;
  }

  disable(): void {
    this.#rings = undefined;
  }

  reset(): void {
    this.disable();
    this.indirectDescriptors = this.eventIndex = false;
    this.size = this.maxSize;
    this.addresses.fill(0);
  }

  /** Lets go of all views into memory. The transport does so whenever the device returns. */
  release(): void {
    this.#rings?.descriptors.close();
    this.#rings?.available.close();
    this.#rings?.used.close();
  }

  /** The next chain that the driver has made available, if there is one. */
  pop(): Chain | undefined {
    const rings = this.#rings;
    if (rings === undefined || !this.#hasAvailable(rings)) return undefined;
    const head = rings.available.u16(RING + 2 * (this.#nextAvailable % this.size));
    this.#nextAvailable = (this.#nextAvailable + 1) & 0xffff;
    return this.chain(head);
  }

  /** The chain that begins at a descriptor: for one that was popped before the state was saved. */
  chain(head: number): Chain {
    const rings = this.#rings;
    if (rings === undefined) throw bad("it is not ready");
    const walk = new ChainWalk(this.#memory, this.indirectDescriptors);
    walk.walk(rings.descriptors, this.size, head);
    return { head, rings, readable: walk.readable, writable: walk.writable };
  }

  /** Whether the driver still waits for a chain: it may have reset the queue while a request took its time. */
  owns(chain: Chain): boolean {
    return chain.rings === this.#rings;
  }

  /** Gives a chain back to the driver, after `written` bytes from the beginning of its writable buffers were written. */
  push(chain: Chain, written: number): void {
    const rings = this.#rings;
    if (rings === undefined || !this.owns(chain)) return;
    const entry = RING + 8 * (this.#used % this.size);
    rings.used.setU32(entry, chain.head);
    rings.used.setU32(entry + 4, written);
    this.#used = (this.#used + 1) & 0xffff;
    rings.used.storeIndex(INDEX, this.#used);
  }

  /**
   * Hands available chains to `handle` as long as any are `wanted`, then tells the driver of those that were pushed. If it ran
   * out of chains, the driver will notify the device of the next; if it stopped wanting them, it must call this again itself.
   */
  drain(handle: (chain: Chain) => void, wanted: () => boolean = () => true): void {
    do {
      while (wanted()) {
        const chain = this.pop();
        if (chain === undefined) break;
        handle(chain);
      }
    } while (wanted() && this.#askForNotification());
    this.signal();
  }

  /** Interrupts the driver if chains were pushed since the last time and it wants to know (section 2.7.7). */
  signal(): void {
    const rings = this.#rings;
    if (rings === undefined || this.#used === this.#signalled) return;
    const before = this.#signalled;
    this.#signalled = this.#used;
    if (this.eventIndex) {
      // Tell if the used index has passed `used_event` since the last time.
      const event = rings.available.loadIndex(RING + 2 * this.size);
      if (((this.#used - event - 1) & 0xffff) >= ((this.#used - before) & 0xffff)) return;
    } else if (rings.available.loadIndex(0) & AvailableFlag.noInterrupt) {
      return;
    }
    this.#interrupt();
  }

  save(): { readonly [name in keyof QueueState]: SavedValue } {
    return {
      size: this.size,
      ready: this.ready,
      addresses: [...this.addresses],
      nextAvailable: this.#nextAvailable,
      used: this.#used,
      signalled: this.#signalled,
    };
  }

  readState(from: StateReader): QueueState {
    return {
      size: from.uint("size", 32),
      ready: from.flag("ready"),
      addresses: from.uints("addresses", 32, 6),
      nextAvailable: from.uint("nextAvailable", 16),
      used: from.uint("used", 16),
      signalled: from.uint("signalled", 16),
    };
  }

  /** Takes over a state that was read; the negotiated features must be set. Throws if its rings can't be. */
  assign(state: QueueState): void {
    this.disable();
    this.size = state.size;
    this.addresses.set(state.addresses);
    if (state.ready) this.#open();
    this.#nextAvailable = this.#seenAvailable = state.nextAvailable;
    this.#used = state.used;
    this.#signalled = state.signalled;
  }

  #open(): void {
    const size = this.size;
    if (size === 0 || size > this.maxSize || (size & (size - 1)) !== 0) {
      throw bad(`its size is ${size}, which is not a power of two up to ${this.maxSize}`);
    }
    const [descriptors, available, used] = [this.#address(0), this.#address(1), this.#address(2)];
    // Section 2.7: the least alignment of each part.
    if (descriptors % 16 !== 0 || available % 2 !== 0 || used % 4 !== 0) throw bad("its rings are not aligned");
    const event = this.eventIndex ? 2 : 0;
    this.#rings = {
      descriptors: new RingWindow(this.#memory, "readable", descriptors, DESCRIPTOR_SIZE * size),
      available: new RingWindow(this.#memory, "readable", available, RING + 2 * size + event),
      used: new RingWindow(this.#memory, "writable", used, RING + 8 * size + event),
    };
  }

  #address(part: number): number {
    return this.addresses[2 * part]! + this.addresses[2 * part + 1]! * 2 ** 32;
  }

  #hasAvailable(rings: Rings): boolean {
    if (this.#nextAvailable !== this.#seenAvailable) return true;
    const index = rings.available.loadIndex(INDEX);
    // Counted from the used index, this bounds what is in flight too.
    const outstanding = (index - this.#used) & 0xffff;
    if (outstanding > this.size || outstanding < ((this.#nextAvailable - this.#used) & 0xffff)) {
      throw bad(`its available index ${index} is not within ${this.size} of the used index ${this.#used}`);
    }
    this.#seenAvailable = index;
    return index !== this.#nextAvailable;
  }

  /** Section 2.7.10: asks to be told of the next chain. Returns whether one has come meanwhile. */
  #askForNotification(): boolean {
    const rings = this.#rings;
    if (rings === undefined || !this.eventIndex) return false;
    rings.used.storeIndex(RING + 8 * this.size, this.#nextAvailable);
    return this.#hasAvailable(rings);
  }
}

interface Rings {
  readonly descriptors: RingWindow;
  readonly available: RingWindow;
  readonly used: RingWindow;
}

/** Collects one chain's buffers. Visits no more descriptors than their table has, so a loop ends. */
class ChainWalk {
  readonly readable: Segment[] = [];
  readonly writable: Segment[] = [];
  readonly #memory: DmaMemory;
  readonly #mayBeIndirect: boolean;
  #bytes = 0;

  constructor(memory: DmaMemory, mayBeIndirect: boolean) {
    this.#memory = memory;
    this.#mayBeIndirect = mayBeIndirect;
  }

  walk(table: RingWindow, count: number, head: number): void {
    this.#walkTable(table, count, head, this.#mayBeIndirect);
  }

  #walkTable(table: RingWindow, count: number, first: number, mayBeIndirect: boolean): void {
    let index = first;
    for (let visited = 0; visited < count; visited++) {
      if (index >= count) throw bad(`it names descriptor ${index} of ${count}`);
      const at = DESCRIPTOR_SIZE * index;
      const address = table.u64(at);
      const length = table.u32(at + 8);
      const flags = table.u16(at + 12);
      if (flags & DescriptorFlag.indirect) {
        if (!mayBeIndirect) throw bad("it has an indirect descriptor where none may be");
        if (flags & DescriptorFlag.next) throw bad("it has an indirect descriptor that goes on");
        return this.#walkIndirect(address, length);
      }
      this.#add({ address, length }, (flags & DescriptorFlag.writable) !== 0);
      if ((flags & DescriptorFlag.next) === 0) return;
      index = table.u16(at + 14);
    }
    throw bad("its descriptors form a loop");
  }

  #walkIndirect(address: number, length: number): void {
    const count = length / DESCRIPTOR_SIZE;
    if (!Number.isInteger(count) || count === 0 || count > MAX_INDIRECT) {
      throw bad(`it has an indirect table of ${length} bytes`);
    }
    if (address % DESCRIPTOR_SIZE === 0) {
      return this.#walkTable(new RingWindow(this.#memory, "readable", address, length), count, 0, false);
    }
    // The specification asks for no alignment of this table, and a field of it might lie across two frames: take a copy.
    const copy = new Uint8Array(length);
    for (let done = 0; done < length; ) {
      const part = this.#memory.readable(address + done, length - done);
      copy.set(part, done);
      done += part.length;
    }
    const own: DmaMemory = { readable: (from, size) => copy.subarray(from, from + size), writable: () => copy };
    this.#walkTable(new RingWindow(own, "readable", 0, length), count, 0, false);
  }

  #add(segment: Segment, writable: boolean): void {
    this.#bytes += segment.length;
    if (this.#bytes > MAX_CHAIN_BYTES) throw bad("it has a chain of more than 2^32 bytes");
    if (!writable && this.writable.length > 0) throw bad("it has a readable buffer after a writable one");
    (writable ? this.writable : this.readable).push(segment);
  }
}

function bad(what: string): HostelryError {
  return new HostelryError("virtio-bad-queue", `A driver broke its virtqueue: ${what}. The device waits for a reset.`);
}
