/** The physical address space outside memory: which device answers where. */
import { assert } from "#base/assert.ts";
import type { AccessSize, MmioDevice } from "./bus.ts";

export interface Mapping {
  readonly address: number;
  readonly device: MmioDevice;
}

export class DeviceBus {
  readonly #mappings: Mapping[] = [];
  #last: Mapping | undefined;

  map(address: number, device: MmioDevice): void {
    const end = address + device.size;
    const clash = this.#mappings.find((other) => address < other.address + other.device.size && other.address < end);
    assert(clash === undefined, "two devices at one address", { device: device.name, other: clash?.device.name, address });
    this.#mappings.push({ address, device });
    this.#mappings.sort((a, b) => a.address - b.address);
  }

  get mappings(): readonly Mapping[] {
    return this.#mappings;
  }

  /** The device at an address, or undefined. Accesses come in runs to one device, so the last is tried first. */
  find(address: number): Mapping | undefined {
    const holds = ({ address: start, device }: Mapping): boolean => address >= start && address < start + device.size;
    if (this.#last !== undefined && holds(this.#last)) return this.#last;
    this.#last = this.#mappings.find(holds);
    return this.#last;
  }

  /** The value of a register as two u32, low first; undefined if no device answers. */
  read(address: number, size: number): readonly [number, number] | undefined {
    const mapping = this.find(address);
    if (mapping === undefined) return undefined;
    const { device } = mapping;
    const offset = address - mapping.address;
    if (size === 8) return [device.read(offset, 4), device.read(offset + 4, 4)];
    return [device.read(offset, size as AccessSize), 0];
  }

  /** Returns whether a device answered. */
  write(address: number, size: number, low: number, high: number): boolean {
    const mapping = this.find(address);
    if (mapping === undefined) return false;
    const { device } = mapping;
    const offset = address - mapping.address;
    if (size === 8) {
      device.write(offset, 4, low);
      device.write(offset + 4, 4, high);
    } else device.write(offset, size as AccessSize, size === 4 ? low : low & (2 ** (size * 8) - 1));
    return true;
  }
}
