/** The machine's memory as a device's DMA sees it. */
import { HostelryError } from "#base/errors.ts";
import type { DmaMemory } from "./bus.ts";
import { frame, frameFlags, type MemoryMap } from "./layout.ts";

export class PhysicalMemory implements DmaMemory {
  /** All of it, and before it all else in the linear memory, as words; the index of the first that is memory. */
  readonly words: Uint32Array;
  readonly firstWord: number;
  readonly #bytes: Uint8Array;
  readonly #frames: DataView;
  readonly #map: MemoryMap;
  /** Told of each frame with decoded instructions that is about to be written: host address and length within the frame. */
  readonly #codeStore: (host: number, length: number) => void;

  constructor(memory: WebAssembly.Memory, map: MemoryMap, codeStore: (host: number, length: number) => void) {
    this.words = new Uint32Array(memory.buffer);
    this.firstWord = map.ram / 4;
    this.#bytes = new Uint8Array(memory.buffer);
    this.#frames = new DataView(memory.buffer, map.frames, (map.ramSize / 4096) * frame.size);
    this.#map = map;
    this.#codeStore = codeStore;
  }

  readable(address: number, length: number): Uint8Array {
    const host = this.#host(address, length);
    return this.#bytes.subarray(host, host + length);
  }

  writable(address: number, length: number): Uint8Array {
    this.written(address, length);
    return this.readable(address, length);
  }

  /** It is about to be written, as words: what was decoded or translated of it is gone. */
  written(address: number, length: number): void {
    const host = this.#host(address, length);
    const { ram } = this.#map;
    // Host addresses may have bit 31 set, so no bitwise operators on them.
    for (let at = host, next; at < host + length; at = next) {
      const flags = this.#frames.getUint32(Math.floor((at - ram) / 4096) * frame.size + frame.flags, true);
      next = Math.min(at - (at % 4096) + 4096, host + length);
      if (flags & frameFlags.code) this.#codeStore(at, next - at);
    }
  }

  #host(address: number, length: number): number {
    const offset = address - this.#map.ramBase;
    if (!(offset >= 0 && length >= 0 && offset + length <= this.#map.ramSize)) {
      throw outOfRange(address, length);
    }
    return this.#map.ram + offset;
  }
}

/** A device was told nonsense by its driver. */
export function outOfRange(address: number, length: number): HostelryError {
  return new HostelryError("dma-out-of-range", `a device was told to use ${length} bytes at 0x${address.toString(16)}, which is not all memory`);
}
