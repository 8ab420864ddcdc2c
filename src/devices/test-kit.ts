/** What the device tests stand in for the machine. */
import { HostelryError } from "#base/errors.ts";
import type { Clock, DmaMemory, InterruptLine, MmioDevice } from "#machine/bus.ts";

export class TestLine implements InterruptLine {
  level = false;
  rises = 0;

  set(level: boolean): void {
    if (level && !this.level) this.rises++;
    this.level = level;
  }
}

export class TestClock implements Clock {
  now = 0;
  epoch = 1_700_000_000_000_000_000n;

  ticks(): number {
    return this.now;
  }

  realTime(): bigint {
    return this.epoch + BigInt(this.now) * 100n;
  }
}

/**
 * Guest-physical memory from `base`. If `scattered`, no two frames are adjacent in the machine, as under a pmap: a view
 * ends at each frame's end.
 */
export class TestMemory implements DmaMemory {
  readonly base: number;
  readonly size: number;
  readonly scattered: boolean;
  readonly #bytes: Uint8Array;

  constructor(base: number, size: number, scattered = false) {
    this.base = base;
    this.size = size;
    this.scattered = scattered;
    this.#bytes = new Uint8Array(new SharedArrayBuffer(2 * size));
  }

  readable(address: number, length: number): Uint8Array {
    return this.#view(address, length);
  }

  writable(address: number, length: number): Uint8Array {
    return this.#view(address, length);
  }

  /** As the guest itself sees it: whole, whatever lies where. */
  get(address: number, length: number): Uint8Array {
    const bytes = new Uint8Array(length);
    for (let done = 0; done < length; ) {
      const view = this.#view(address + done, length - done);
      bytes.set(view, done);
      done += view.length;
    }
    return bytes;
  }

  put(address: number, bytes: Uint8Array): void {
    for (let done = 0; done < bytes.length; ) {
      const view = this.#view(address + done, bytes.length - done);
      view.set(bytes.subarray(done, done + view.length));
      done += view.length;
    }
  }

  u16(address: number): number {
    return new DataView(this.get(address, 2).buffer).getUint16(0, true);
  }

  u32(address: number): number {
    return new DataView(this.get(address, 4).buffer).getUint32(0, true);
  }

  setU16(address: number, value: number): void {
    this.put(address, Uint8Array.of(value, value >> 8));
  }

  setU32(address: number, value: number): void {
    this.put(address, Uint8Array.of(value, value >> 8, value >> 16, value >> 24));
  }

  setU64(address: number, value: number): void {
    this.setU32(address, value % 2 ** 32);
    this.setU32(address + 4, Math.floor(value / 2 ** 32));
  }

  #view(address: number, length: number): Uint8Array {
    const offset = address - this.base;
    if (!(offset >= 0 && length >= 0 && offset + length <= this.size)) {
      throw new HostelryError("dma-out-of-range", `A device reached for ${length} bytes at ${address}, which is no memory.`);
    }
    if (!this.scattered) return this.#bytes.subarray(offset, offset + length);
    const inFrame = offset % 4096;
    const start = 2 * (offset - inFrame) + inFrame;
    return this.#bytes.subarray(start, start + Math.min(length, 4096 - inFrame));
  }
}

/** A saved state as it comes back from a file. */
export function throughJson(state: unknown): unknown {
  return JSON.parse(JSON.stringify(state));
}

/** Deterministic random numbers for fuzzing: xorshift32. */
export class TestRandom {
  #state: number;

  constructor(seed: number) {
    this.#state = seed | 1;
  }

  u32(): number {
    this.#state ^= this.#state << 13;
    this.#state ^= this.#state >>> 17;
    this.#state ^= this.#state << 5;
    return this.#state >>> 0;
  }

  below(limit: number): number {
    return this.u32() % limit;
  }

  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)]!;
  }
}

/** Random accesses all over a device: none may throw, and a read must fit its size. */
export function fuzzRegisters(device: MmioDevice, seed: number, accesses = 20_000): void {
  const random = new TestRandom(seed);
  for (let count = 0; count < accesses; count++) {
    const size = random.pick([1, 2, 4] as const);
    const span = random.pick([0x20, 0x200, device.size]);
    const offset = random.below(Math.floor(Math.min(span, device.size) / size)) * size;
    if (random.below(2) === 0) {
      const value = device.read(offset, size);
      if (!(Number.isInteger(value) && value >= 0 && value < 2 ** (8 * size))) {
        throw new Error(`read(0x${offset.toString(16)}, ${size}) gave ${value} (seed ${seed}, access ${count})`);
      }
    } else {
      const value = random.pick([0, 1, 0xff, 0xffff_ffff, random.u32()]);
      device.write(offset, size, size === 4 ? value : value % 2 ** (8 * size));
    }
  }
}
