/**
 * What the machine asks of a device, and what it offers one. A device imports this file and nothing else of the machine:
 * it sees offsets, never addresses, and does not know where it stands.
 */

import type { DeviceTreeNode } from "#base/device-tree.ts";

export type { DeviceTreeNode, DeviceTreeValue } from "#base/device-tree.ts";

export type AccessSize = 1 | 2 | 4;

/** A device with registers in the physical address space. */
export interface MmioDevice {
  /** Short name, as in the device tree: `serial`, `plic`, `virtio_mmio`. */
  readonly name: string;
  /** Bytes of address space that its registers take. */
  readonly size: number;
  /** Returns the register at `offset` as an unsigned number below 2^(8·size). 8-byte accesses arrive as two of 4, low half first. */
  read(offset: number, size: AccessSize): number;
  write(offset: number, size: AccessSize, value: number): void;
  /** The device's own node of the device tree. The bus gives the place, since the device does not know it. */
  deviceTreeNode(place: DevicePlace): DeviceTreeNode;
  /** Back to the state after power-on. */
  reset(): void;
}

/** Where the platform put a device: only for its device tree node. */
export interface DevicePlace {
  readonly address: number;
  /** The interrupt source number at the platform's interrupt controller, if it has one. */
  readonly interrupt?: number;
  /** phandle of the platform's interrupt controller. */
  readonly interruptParent?: number;
  /** The node's own phandle, if other nodes refer to it: the interrupt controller's, the syscon's. */
  readonly phandle?: number;
  /** For interrupt controllers: phandles of the harts' own controllers (`riscv,cpu-intc`), in hart order. */
  readonly hartControllers?: readonly number[];
}

/** A level-triggered interrupt line from a device to an interrupt controller, or from a controller to a hart. */
export interface InterruptLine {
  set(level: boolean): void;
}

/**
 * Guest-physical memory as a device's DMA sees it. The views are windows into the memory itself, not copies, and become
 * stale when the device returns: take a new one each time. They lie on shared memory, so some platform functions
 * (TextDecoder, for one) need a copy first.
 *
 * Guest-physical memory is contiguous, the machine frames behind it need not be. So a view may be shorter than asked (never
 * empty, unless `length` is 0), ending where the next frame is not adjacent; the device asks again for the rest. What lies
 * within one aligned 4 KiB frame always comes whole. `src/devices/dma.ts` has the loops.
 */
export interface DmaMemory {
  /**
   * Up to `length` bytes from `address`, to be read only. Throws HostelryError `dma-out-of-range` if the `length` bytes do not
   * lie wholly in memory; `address` may be any number that two u32 make, and so be beyond 2^53 and not exact.
   */
  readable(address: number, length: number): Uint8Array;
  /** The same, to be written: tells the machine that these frames change (translated code in them is dropped). */
  writable(address: number, length: number): Uint8Array;
}

/** The machine's time. */
export interface Clock {
  /** Ticks of the 10 MHz time base (`mtime`) since power-on: an integer. */
  ticks(): number;
  /** Nanoseconds since the Unix epoch, for a real-time clock. Deterministic when the instruction clock is in use. */
  realTime(): bigint;
}
