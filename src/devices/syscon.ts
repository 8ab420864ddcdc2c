import { cells64 } from "#base/device-tree.ts";
import { StateReader, type Saveable, type SavedState } from "#base/saved-state.ts";
import type { AccessSize, DeviceTreeNode, DevicePlace, MmioDevice } from "#machine/bus.ts";

/*
 * SiFive's test finisher: one register, written once, ends the run.
 *
 *     31           16 15            0
 *     ┌──────────────┬───────────────┐
 *     │     code     │    command    │
 *     └──────────────┴───────────────┘
 */
const Command = { fail: 0x3333, pass: 0x5555, reset: 0x7777 } as const;

/** How the guest asked the machine to end; `code` is a failure's exit status, 0 to 65535. */
export interface PowerRequest {
  readonly kind: "poweroff" | "reboot" | "fail";
  readonly code: number;
}

export class Syscon implements MmioDevice, Saveable {
  readonly name = "test";
  readonly size = 0x1000;
  readonly #onPower: (request: PowerRequest) => void;

  constructor(onPower: (request: PowerRequest) => void) {
    this.#onPower = onPower;
  }

  read(_offset: number, _size: AccessSize): number {
    return 0;
  }

  write(offset: number, size: AccessSize, value: number): void {
    if (offset !== 0 || size === 1) return;
    switch (value & 0xffff) {
      case Command.fail: return this.#onPower({ kind: "fail", code: value >>> 16 });
      case Command.pass: return this.#onPower({ kind: "poweroff", code: 0 });
      case Command.reset: return this.#onPower({ kind: "reboot", code: 0 });
    }
  }

  deviceTreeNode(place: DevicePlace): DeviceTreeNode {
    return {
      name: `test@${place.address.toString(16)}`,
      properties: {
        compatible: ["sifive,test1", "sifive,test0", "syscon"],
        reg: [...cells64(place.address), ...cells64(this.size)],
        phandle: [place.phandle ?? 0],
      },
    };
  }

  /** The nodes that tell a kernel how to use the register, for the tree's root; `phandle` is that of this device's own node. */
  powerNodes(phandle: number): DeviceTreeNode[] {
    const node = (name: string, compatible: string, value: number): DeviceTreeNode => ({
      name,
      properties: { compatible, regmap: [phandle], offset: [0], value: [value] },
    });
    return [node("poweroff", "syscon-poweroff", Command.pass), node("reboot", "syscon-reboot", Command.reset)];
  }

  reset(): void {}

  save(): SavedState {
    return { kind: "syscon", version: 1 };
  }

  restore(state: unknown): void {
    StateReader.open(state, "syscon", 1);
  }
}
