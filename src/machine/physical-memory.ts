/** The machine's memory as a device's DMA sees it. */
import { HostelryError } from "#base/errors.ts";
import type { DmaMemory } from "./bus.ts";
import { frame, frameFlags, type MemoryMap } from "./layout.ts";

export class PhysicalMemory implements DmaMemory {
  readonly #bytes: Uint8Array;
  readonly #frames: DataView;
  readonly #map: MemoryMap;
  /** Told of each frame with decoded instructions that is about to be written: host address and length within the frame. */
  readonly #codeStore: (host: number, length: number) => void;

  constructor(memory: WebAssembly.Memory, map: MemoryMap, codeStore: (host: number, length: number) => void) {
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
    const host = this.#host(address, length);
    const { ram } = this.#map;
    for (let at = host; at < host + length; at = (at & -4096) + 4096) {
      const flags = this.#frames.getUint32(((at - ram) >>> 12) * frame.size + frame.flags, true);
      const inFrame = Math.min((at & -4096) + 4096, host + length) - at;
      if (flags & frameFlags.code) this.#codeStore(at, inFrame);
    }
    return this.#bytes.subarray(host, host + length);
  }

  #host(address: number, length: number): number {
    const offset = address - this.#map.ramBase;
    if (!(offset >= 0 && length >= 0 && offset + length <= this.#map.ramSize)) {
      throw new HostelryError(
        "dma-out-of-range",
        `a device was told to use ${length} bytes at 0x${address.toString(16)}, which is not all memory`,
      );
    }
    return this.#map.ram + offset;
  }
}
