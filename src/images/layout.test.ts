import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { dynamicFirmwareInfo } from "./firmware.ts";
import type { Kernel } from "./kernel.ts";
import { layOut } from "./layout.ts";

const BASE = 0x80000000;
const MIB = 1 << 20;

function image(memorySize: number): Kernel {
  return { format: "image", bytes: new Uint8Array(16), textOffset: 2 * MIB, memorySize };
}

function memory(size: number): { base: number; size: number } {
  return { base: BASE, size };
}

describe("layOut", () => {
  it("puts the kernel at 2 MiB and initrd and device tree at the end", () => {
    const layout = layOut({ kernel: image(30 * MIB), initrd: new Uint8Array(5000), deviceTreeSize: 3000 }, memory(128 * MIB));
    assert.equal(layout.entry, BASE + 2 * MIB);
    assert.equal(layout.kernelEntry, BASE + 2 * MIB);
    assert.equal(layout.deviceTree, BASE + 126 * MIB);
    assert.deepEqual(layout.initrd, { start: BASE + 126 * MIB - 8192, end: BASE + 126 * MIB - 8192 + 5000 });
    assert.deepEqual(layout.segments.map(({ address, memorySize }) => [address, memorySize]), [[BASE + 2 * MIB, 30 * MIB], [BASE + 126 * MIB - 8192, 5000]]);
  });

  it("starts in the firmware if there is one, which finds the kernel behind it", () => {
    const firmware: Kernel = { format: "raw", bytes: new Uint8Array(MIB) };
    const layout = layOut({ firmware, kernel: image(MIB), deviceTreeSize: 1 }, memory(64 * MIB));
    assert.deepEqual([layout.entry, layout.kernelEntry, layout.initrd], [BASE, BASE + 2 * MIB, null]);
    const alone = layOut({ firmware, deviceTreeSize: 1 }, memory(64 * MIB));
    assert.deepEqual([alone.entry, alone.kernelEntry], [BASE, null]);
  });

  it("keeps initrd and device tree below 4 GiB in a larger machine", () => {
    const layout = layOut({ kernel: image(MIB), initrd: new Uint8Array(1), deviceTreeSize: 1 }, memory(8 * 1024 * MIB));
    assert.equal(layout.deviceTree, 2 ** 32 - 2 * MIB);
  });

  it("says how much memory it takes, and that much does", () => {
    const files = { kernel: image(30 * MIB), initrd: new Uint8Array(10 * MIB), deviceTreeSize: 3000 };
    for (const size of [MIB, 16 * MIB, 40 * MIB]) {
      assert.throws(() => layOut(files, memory(size)), { code: "does-not-fit", message: /--memory 46M/ });
    }
    layOut(files, memory(46 * MIB));
  });

  it("never overlaps anything, whatever the sizes", () => {
    for (let kernel = 1; kernel < 64; kernel += 7) {
      for (let initrd = 0; initrd < 64; initrd += 5) {
        const files = { kernel: image(kernel * MIB + 1), initrd: new Uint8Array(initrd * 100_003), deviceTreeSize: 5000 };
        try {
          const { segments, deviceTree } = layOut(files, memory(48 * MIB));
          const ranges = [...segments.map(({ address, memorySize }) => [address, address + memorySize]), [deviceTree, deviceTree + 5000]];
          ranges.sort(([one], [other]) => one - other);
          ranges.forEach(([start], index) => assert.ok(index === 0 || start >= ranges[index - 1][1]));
          assert.ok(ranges[0][0] >= BASE && ranges.at(-1)![1] <= BASE + 48 * MIB);
        } catch (error) {
          assert.equal((error as { code?: string }).code, "does-not-fit");
        }
      }
    }
  });

  it("refuses programs linked to where no memory is, or into each other", () => {
    const at = (address: number): Kernel => ({ format: "elf", entry: address, segments: [{ address, bytes: new Uint8Array(1), memorySize: MIB }], symbols: new Map() });
    assert.throws(() => layOut({ kernel: at(0x1000), deviceTreeSize: 1 }, memory(64 * MIB)), { code: "does-not-fit", message: /below the memory/ });
    assert.throws(() => layOut({ kernel: at(BASE + 512 * MIB), deviceTreeSize: 1 }, memory(64 * MIB)), { code: "does-not-fit", message: /too small/ });
    assert.throws(() => layOut({ firmware: at(BASE + 1.5 * MIB), kernel: image(MIB), deviceTreeSize: 1 }, memory(64 * MIB)), { code: "does-not-fit", message: /firmware ends at/ });
    assert.equal(layOut({ kernel: at(BASE), deviceTreeSize: 1 }, memory(64 * MIB)).entry, BASE);
  });
});

it("dynamicFirmwareInfo tells OpenSBI where to go next", () => {
  const words = new BigUint64Array(dynamicFirmwareInfo(0x80200000, "supervisor").buffer);
  assert.deepEqual([...words], [0x4942534fn, 2n, 0x80200000n, 1n, 0n, 0n]);
});
