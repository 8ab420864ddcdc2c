import assert from "node:assert/strict";
import { test } from "node:test";
import { Syscon, type PowerRequest } from "./syscon.ts";

function setUp() {
  const requests: PowerRequest[] = [];
  return { requests, syscon: new Syscon((request) => void requests.push(request)) };
}

test("a guest powers off, reboots, or fails with a status", () => {
  const { requests, syscon } = setUp();
  syscon.write(0, 4, 0x5555);
  syscon.write(0, 2, 0x7777);
  syscon.write(0, 4, 0xfffe_3333);
  assert.deepEqual(requests, [
    { kind: "poweroff", code: 0 },
    { kind: "reboot", code: 0 },
    { kind: "fail", code: 0xfffe },
  ]);
});

test("anything else does nothing", () => {
  const { requests, syscon } = setUp();
  syscon.write(0, 4, 0x5554);
  syscon.write(0, 1, 0x55);
  syscon.write(4, 4, 0x5555);
  assert.equal(syscon.read(0, 4), 0);
  assert.deepEqual(requests, []);
});

test("its nodes give Linux what syscon-poweroff and syscon-reboot need", () => {
  const { syscon } = setUp();
  assert.equal(syscon.deviceTreeNode({ address: 0x10_0000, phandle: 6 }).name, "test@100000");
  assert.deepEqual(syscon.powerNodes(6)[0]?.properties, { compatible: "syscon-poweroff", regmap: [6], offset: [0], value: [0x5555] });
});
