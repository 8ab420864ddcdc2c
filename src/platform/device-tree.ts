/** The device tree of the board: devices describe themselves, this describes what is around them. */
import { cells64, type DeviceTreeNode } from "#base/device-tree.ts";
import type { Saveable } from "#base/saved-state.ts";
import type { DevicePlace, MmioDevice } from "#machine/bus.ts";
import type { Computer } from "#machine/computer.ts";

/** What `chosen` hands to a kernel (Devicetree Specification v0.4, section 3.6, and Linux's own additions). */
export interface Chosen {
  /** The kernel's command line. */
  readonly append: string;
  readonly initrd: { readonly start: number; readonly end: number } | null;
  /** Random bytes for a kernel that has gathered none yet. */
  readonly seed: Uint8Array;
}

export interface Described {
  readonly device: MmioDevice & Saveable;
  readonly place: DevicePlace;
}

export const phandle = { plic: 2, test: 3 } as const;

/** Of a hart's own interrupt controller: 1 for the first, then 4 and so on. */
export const hartPhandle = (hart: number): number => (hart === 0 ? 1 : hart + 3);

const TIMEBASE = 10_000_000;
const CACHE_BLOCK = 64;

const baseIsa = "rv64imafdc";
/** What the instruction table and the hart have beyond it, in the order of the ISA manual's naming rules. */
const extensions = [
  "zicbom", "zicbop", "zicboz", "zicntr", "zicond", "zicsr", "zifencei", "zba", "zbb", "zbs",
  "sstc", "svadu", "svinval", "svnapot", "svpbmt",
] as const;

export function describeBoard(
  devices: readonly Described[],
  powerNodes: readonly DeviceTreeNode[],
  harts: Pick<Computer, "hypervisor" | "tlb"> & { readonly count: number },
  memory: { readonly base: number; readonly size: number },
  chosen: Chosen,
  consolePath: string,
): DeviceTreeNode {
  return {
    name: "",
    properties: { "#address-cells": [2], "#size-cells": [2], compatible: "riscv-virtio", model: "riscv-virtio,hostelry" },
    children: [
      describeChosen(chosen, consolePath),
      {
        name: `memory@${memory.base.toString(16)}`,
        properties: { device_type: "memory", reg: [...cells64(memory.base), ...cells64(memory.size)] },
      },
      {
        name: "cpus",
        properties: { "#address-cells": [1], "#size-cells": [0], "timebase-frequency": [TIMEBASE] },
        children: Array.from({ length: harts.count }, (_, hart) => describeHart(hart, harts)),
      },
      {
        name: "soc",
        properties: { "#address-cells": [2], "#size-cells": [2], compatible: "simple-bus", ranges: true },
        children: devices.map(({ device, place }) => device.deviceTreeNode(place)),
      },
      ...powerNodes,
    ],
  };
}

function describeChosen({ append, initrd, seed }: Chosen, consolePath: string): DeviceTreeNode {
  const initrdCells = initrd === null ? {} : {
    "linux,initrd-start": cells64(initrd.start),
    "linux,initrd-end": cells64(initrd.end),
  };
  return { name: "chosen", properties: { bootargs: append, "stdout-path": consolePath, "rng-seed": seed, ...initrdCells } };
}

function describeHart(hart: number, { hypervisor, tlb }: Pick<Computer, "hypervisor" | "tlb">): DeviceTreeNode {
  const isa = hypervisor ? `${baseIsa}h` : baseIsa;
  return {
    name: `cpu@${hart.toString(16)}`,
    properties: {
      device_type: "cpu",
      reg: [hart],
      status: "okay",
      compatible: "riscv",
      "riscv,isa": [isa, ...extensions].join("_"),
      "riscv,isa-base": "rv64i",
      "riscv,isa-extensions": [...isa.slice("rv64".length), ...extensions],
      "riscv,cbom-block-size": [CACHE_BLOCK],
      "riscv,cbop-block-size": [CACHE_BLOCK],
      "riscv,cboz-block-size": [CACHE_BLOCK],
      "mmu-type": tlb === "software" ? "hostelry,software-tlb" : "riscv,sv57",
    },
    children: [
      {
        name: "interrupt-controller",
        properties: { "#interrupt-cells": [1], "interrupt-controller": true, compatible: "riscv,cpu-intc", phandle: [hartPhandle(hart)] },
      },
    ],
  };
}
