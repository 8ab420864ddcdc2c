import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "node:test";
import { cells64, type DeviceTreeNode } from "#base/device-tree.ts";
import { cellsOf, decodeDeviceTree, encodeDeviceTree, stringsOf } from "./device-tree.ts";

const tree: DeviceTreeNode = {
  name: "",
  properties: { "#address-cells": [2], "#size-cells": [2], compatible: ["riscv-virtio", "simple"], model: "hostelry" },
  children: [
    { name: "chosen", properties: { bootargs: "console=ttyS0", "rng-seed": new Uint8Array([1, 2, 3]) } },
    {
      name: "memory@80000000",
      properties: { device_type: "memory", reg: [...cells64(0x8000_0000), ...cells64(0x1_8000_0000)], "dma-coherent": true },
    },
  ],
};

test("a tree comes back as it was written", () => {
  const root = decodeDeviceTree(encodeDeviceTree(tree));
  assert.equal(root.name, "");
  assert.deepEqual(stringsOf(root.properties["compatible"]), ["riscv-virtio", "simple"]);
  assert.deepEqual(root.children?.map((child) => child.name), ["chosen", "memory@80000000"]);
  assert.deepEqual(root.children[0]?.properties["rng-seed"], new Uint8Array([1, 2, 3]));
  const memory = root.children[1]?.properties;
  assert.deepEqual(cellsOf(memory?.["reg"]), [0, 0x8000_0000, 1, 0x8000_0000]);
  assert.deepEqual(memory?.["dma-coherent"], new Uint8Array(0));
});

test("a tree larger than the writer's first buffer comes back", () => {
  const children = Array.from({ length: 500 }, (_, index) => ({ name: `node@${index}`, properties: { [`p${index}`]: [index] } }));
  const root = decodeDeviceTree(encodeDeviceTree({ name: "", properties: {}, children }));
  assert.equal(root.children?.length, 500);
  assert.deepEqual(cellsOf(root.children[499]?.properties["p499"]), [499]);
});

test("a cell that is no u32 is our own bug", () => {
  for (const cell of [-1, 2 ** 32, 0.5]) {
    assert.throws(() => encodeDeviceTree({ name: "", properties: { reg: [cell] } }), /not a u32/);
  }
});

test("broken blobs are refused by name, wherever they are cut or bent", () => {
  const blob = encodeDeviceTree(tree);
  for (let length = 0; length < blob.length; length++) {
    assert.throws(() => decodeDeviceTree(blob.subarray(0, length)), { code: "bad-device-tree" });
  }
  for (let at = 0; at < blob.length; at++) {
    const bent = blob.slice();
    bent[at]! ^= 0xff;
    try {
      decodeDeviceTree(bent);
    } catch (error) {
      assert.equal((error as { code?: string }).code, "bad-device-tree", `byte ${at}: ${error}`);
    }
  }
});

const dtc = spawnSync("dtc", ["--version"]).error === undefined;

test("dtc reads what we write", { skip: dtc ? false : "dtc is not installed (Debian: device-tree-compiler)" }, () => {
  const run = spawnSync("dtc", ["-I", "dtb", "-O", "dts"], { input: encodeDeviceTree(tree) });
  assert.equal(run.status, 0, run.stderr.toString());
  const source = run.stdout.toString();
  assert.match(source, /^\/dts-v1\/;/);
  assert.match(source, /compatible = "riscv-virtio(\\0|", ")simple";/);
  assert.match(source, /rng-seed = \[01 02 03\];/);
  assert.match(source, /memory@80000000 \{/);
  assert.match(source, /reg = <0x0*0 0x80000000 0x0*1 0x80000000>;/);
  assert.match(source, /dma-coherent;/);
});
