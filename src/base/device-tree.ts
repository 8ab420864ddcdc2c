/**
 * A device tree as a value: what devices write, and what the images floor turns into the flattened form that firmware hands
 * to a kernel. Terms are those of the Devicetree Specification v0.4.
 */

/** A property's value: cells (big-endian u32), strings (each NUL-terminated), raw bytes, or nothing. */
export type DeviceTreeValue = readonly number[] | readonly string[] | string | Uint8Array | true;

export interface DeviceTreeNode {
  /** With the unit address if it has one: `serial@10000000`. The root's is empty. */
  readonly name: string;
  /** A u64 is two cells, high first. */
  readonly properties: Readonly<Record<string, DeviceTreeValue>>;
  readonly children?: readonly DeviceTreeNode[];
}

/** An address or a size as the two cells that `#address-cells = <2>` and `#size-cells = <2>` ask for. */
export function cells64(value: number): [high: number, low: number] {
  return [Math.floor(value / 2 ** 32), value >>> 0];
}
