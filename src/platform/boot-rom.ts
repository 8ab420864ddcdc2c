import type { AccessSize, DeviceTreeNode, MmioDevice } from "#machine/bus.ts";

const SIZE = 0xf000;

/** Memory that only the board can write: what firmware finds at power-on. No kernel looks for it, so the device tree is not told. */
export class BootRom implements MmioDevice {
  readonly name = "rom";
  readonly size = SIZE;
  readonly #bytes = new Uint8Array(SIZE);

  put(bytes: Uint8Array): void {
    this.#bytes.fill(0);
    this.#bytes.set(bytes);
  }

  read(offset: number, size: AccessSize): number {
    let value = 0;
    for (let byte = size - 1; byte >= 0; byte--) value = value * 256 + this.#bytes[offset + byte]!;
    return value;
  }

  write(): void {}

  deviceTreeNode(): DeviceTreeNode {
    return { name: "rom", properties: { status: "disabled" } };
  }

  reset(): void {}
}
