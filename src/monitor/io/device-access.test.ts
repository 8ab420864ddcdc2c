import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { assemble } from "#riscv/assemble.ts";
import { deviceAccess } from "./device-access.ts";

function access(text: string) {
  const bytes = assemble(text);
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  return deviceAccess(bytes.length === 2 ? view.getUint16(0, true) : view.getUint32(0, true));
}

suite("the access of an instruction", () => {
  const cases: readonly [string, ReturnType<typeof deviceAccess>][] = [
    ["lb a5, 0(a4)", { kind: "read", size: 1, signed: true, register: 15, file: "x", base: 14, offset: 0, length: 4 }],
    ["lhu t6, -2(a4)", { kind: "read", size: 2, signed: false, register: 31, file: "x", base: 14, offset: -2, length: 4 }],
    ["lwu x0, 8(a4)", { kind: "read", size: 4, signed: false, register: 0, file: "x", base: 14, offset: 8, length: 4 }],
    ["ld s1, 8(a4)", { kind: "read", size: 8, signed: true, register: 9, file: "x", base: 14, offset: 8, length: 4 }],
    ["sb t6, 3(a0)", { kind: "write", size: 1, signed: false, register: 31, file: "x", base: 10, offset: 3, length: 4 }],
    ["sd x0, 8(a0)", { kind: "write", size: 8, signed: false, register: 0, file: "x", base: 10, offset: 8, length: 4 }],
    ["c.lw a5, 4(s0)", { kind: "read", size: 4, signed: true, register: 15, file: "x", base: 8, offset: 4, length: 2 }],
    ["c.ld s0, 8(a5)", { kind: "read", size: 8, signed: true, register: 8, file: "x", base: 15, offset: 8, length: 2 }],
    ["c.sw s1, 4(s0)", { kind: "write", size: 4, signed: false, register: 9, file: "x", base: 8, offset: 4, length: 2 }],
    ["c.sd a0, 8(a5)", { kind: "write", size: 8, signed: false, register: 10, file: "x", base: 15, offset: 8, length: 2 }],
    ["c.lwsp t6, 4(sp)", { kind: "read", size: 4, signed: true, register: 31, file: "x", base: 2, offset: 4, length: 2 }],
    ["c.sdsp ra, 8(sp)", { kind: "write", size: 8, signed: false, register: 1, file: "x", base: 2, offset: 8, length: 2 }],
    ["amoadd.w a0, a1, (a2)", undefined],
    ["flw fa0, 4(a0)", { kind: "read", size: 4, signed: false, register: 10, file: "f", base: 10, offset: 4, length: 4 }],
    ["c.fld fa0, 0(a0)", { kind: "read", size: 8, signed: false, register: 10, file: "f", base: 10, offset: 0, length: 2 }],
    ["fsd ft1, 8(a0)", { kind: "write", size: 8, signed: false, register: 1, file: "f", base: 10, offset: 8, length: 4 }],
    ["add a0, a1, a2", undefined],
    ["c.add a0, a1", undefined],
    ["c.addi4spn a0, sp, 8", undefined],
  ];
  for (const [text, expected] of cases) test(text, () => assert.deepEqual(access(text), expected));
});
