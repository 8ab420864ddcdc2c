/** Memory with the runtime, page tables and scenarios; and what differs between two memories afterwards. */
import { assemble } from "#riscv/assemble.ts";
import { RAM } from "../kit/hart.ts";
import type { Scenario } from "./generate.ts";
import { codeSize, countAt, handler, inputs, operands, outputs, patches, place, runtime, scenario } from "./runtime.ts";

export const memorySize = 16 << 20;

/** Of stage 1, for hosts and guests alike: the same pages at their own addresses for supervisors, and `userDistance` above for users. */
export const userDistance = 0x40000000;
const table = (n: number): number => place.tables + n * 4096;
export const tables = {
  root: table(0), middle: table(1), userMiddle: table(2),
  code: table(3), data: table(4), userCode: table(5), userData: table(6), rest: table(7),
  guestRoot: table(8), guestMiddle: table(12), guestCode: table(13), guestData: table(14),
} as const;

export const dataPages = 16;
const entry = (physical: number, flags: bigint): bigint => (BigInt(physical / 4096) << 10n) | flags;
export const leafOf = (page: number, flags: bigint): bigint => entry(place.data + page * 4096, flags);

export const satpOf = (mode: bigint, asid = 0n): bigint => (mode << 60n) | (asid << 44n) | (mode === 0n ? 0n : BigInt(tables.root / 4096));
export const hgatpOf = (mode: bigint, vmid = 0n): bigint => (mode << 60n) | (vmid << 44n) | (mode === 0n ? 0n : BigInt(tables.guestRoot / 4096));

export function buildImage(scenarios: readonly Scenario[]): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(place.scenarios - RAM + scenarios.length * scenario.size);
  const view = new DataView(bytes.buffer);
  const put = (address: number, value: bigint): void => view.setBigUint64(address - RAM, BigInt.asUintN(64, value), true);
  bytes.set(runtime);
  put(countAt, BigInt(scenarios.length));
  put(tables.root + 2 * 8, entry(tables.middle, 1n));
  put(tables.root + 3 * 8, entry(tables.userMiddle, 1n));
  put(tables.middle, entry(tables.code, 1n));
  put(tables.middle + 8, entry(tables.data, 1n));
  put(tables.userMiddle, entry(tables.userCode, 1n));
  put(tables.userMiddle + 8, entry(tables.userData, 1n));
  put(tables.guestRoot + 2 * 8, entry(tables.guestMiddle, 1n));
  put(tables.guestMiddle, entry(tables.guestCode, 1n));
  put(tables.guestMiddle + 8, entry(tables.guestData, 1n));
  for (let i = 0; i < 512; i++) {
    put(tables.code + i * 8, entry(RAM + i * 4096, 0xcfn));
    put(tables.userCode + i * 8, entry(RAM + i * 4096, 0xdfn));
    put(tables.guestCode + i * 8, entry(RAM + i * 4096, 0xdfn));
    if (i >= dataPages) continue;
    put(tables.data + i * 8, leafOf(i, 0xcfn));
    put(tables.userData + i * 8, leafOf(i, 0xdfn));
    put(tables.guestData + i * 8, leafOf(i, 0xdfn));
  }
  for (const address of Object.values(handler)) bytes.set(assemble("ecall\nj .", { base: address }), address - RAM);
  for (let at = 0; at < dataPages * 4096; at += 8) put(place.data + at, BigInt(at) * 0x9e3779b97f4a7c15n);
  scenarios.forEach((one, i) => {
    const code = assemble([...one.code, "ecall", "j ."].join("\n"), { base: place.code + i * codeSize });
    if (code.length > codeSize) throw new Error("a scenario's code is too long");
    bytes.set(code, place.code + i * codeSize - RAM);
    const at = place.scenarios + i * scenario.size;
    inputs.forEach((name, n) => put(at + scenario.inputs + 8 * n, one.inputs[name]));
    operands.forEach((_, n) => put(at + scenario.operands + 8 * n, one.operands[n]!));
    for (let n = 0; n < patches; n++) {
      put(at + scenario.patches + 16 * n, BigInt(one.patches[n]!.address));
      put(at + scenario.patches + 16 * n + 8, one.patches[n]!.value);
    }
    for (let n = 0; n < outputs.length; n++) put(at + scenario.outputs + 8 * n, 0x5a5a5a5a5a5a5a5an);
  });
  return bytes;
}

export interface Result {
  readonly outputs: Readonly<Record<(typeof outputs)[number], bigint>>;
  readonly results: readonly bigint[];
}

export function resultOf(memory: Uint8Array, index: number): Result {
  const view = new DataView(memory.buffer, memory.byteOffset, memory.length);
  const at = place.scenarios - RAM + index * scenario.size;
  const read = (offset: number): bigint => view.getBigUint64(at + offset, true);
  return {
    outputs: Object.fromEntries(outputs.map((name, n) => [name, read(scenario.outputs + 8 * n)])) as Result["outputs"],
    results: operands.map((_, n) => read(scenario.results + 8 * n)),
  };
}
