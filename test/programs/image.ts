/** Memory with the runtime, page tables and programs; and what differs between two memories afterwards. */
import { assembleWithSymbols } from "#riscv/assemble.ts";
import { RAM } from "../kit/hart.ts";
import { textOf, type Program } from "./generate.ts";
import { aliasDistance, endCode, page, record, regionsAt, regionSize, runtime, trapLimit } from "./runtime.ts";

const tables = { root: RAM + 0x2000, middle: RAM + 0x3000, leaf: RAM + 0x4000 } as const;
/** Pages that the leaf tables map: 4 MiB. */
const leafTables = 2;
export const programLimit = Math.floor((leafTables * 2 ** 21 - (regionsAt - RAM)) / regionSize);

const flags = { pointer: 1, read: 2, write: 4, execute: 8, user: 16, accessed: 64, dirty: 128 } as const;

const regionOf = (index: number): number => regionsAt + index * regionSize;

export function buildImage(programs: readonly Program[]): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(regionOf(programs.length) - RAM);
  const view = new DataView(bytes.buffer);
  bytes.set(runtime);
  const entry = (table: number, index: number, physical: number, bits: number): void =>
    view.setBigUint64(table - RAM + index * 8, (BigInt(physical / 4096) << 10n) | BigInt(bits), true);
  for (const address of [RAM, RAM + aliasDistance]) entry(tables.root, address / 2 ** 30, tables.middle, flags.pointer);
  for (let i = 0; i < leafTables; i++) entry(tables.middle, i, tables.leaf + i * 4096, flags.pointer);

  programs.forEach((program, index) => {
    const region = regionOf(index);
    const { x, f, fcsr, mode, paging, codeAlias, dataAlias } = program;
    const code = region + page.code * 4096 + (codeAlias ? aliasDistance : 0);
    const assembled = assembleWithSymbols(textOf(program, [`li a7, ${endCode}`, "ecall"]).join("\n"), { base: code });
    if (assembled.bytes.length > 2 * 4096) throw new Error("a random program is too long");
    bytes.set(assembled.bytes, region - RAM + page.code * 4096);
    for (let at = page.data * 4096; at < regionSize; at += 4) view.setUint32(region - RAM + at, Math.imul(at + index, 0x9e3779b1), true);
    const put = (offset: number, value: bigint | number): void =>
      view.setBigUint64(region - RAM + offset, BigInt.asUintN(64, BigInt(value)), true);
    x.forEach((value, i) => put(record.x + 8 * i, value));
    put(record.x, assembled.symbols.get("entry")!);
    put(record.x + 8 * 3, region + page.data * 4096 + (dataAlias ? aliasDistance : 0));
    f.forEach((value, i) => put(record.f + 8 * i, value));
    put(record.fcsr, fcsr);
    put(record.mstatus, (3 << 13) | ({ user: 0, supervisor: 1, machine: 3 }[mode] << 11) | (1 << 7));
    put(record.satp, paging ? (8n << 60n) | BigInt(tables.root / 4096) : 0n);
    put(record.next, index + 1 < programs.length ? regionOf(index + 1) : 0);
    const common = flags.pointer | flags.accessed | flags.dirty | flags.read | (mode === "user" ? flags.user : 0);
    const rights: readonly [number, number][] = [
      [page.code, flags.write | flags.execute],
      [page.code + 1, flags.write | flags.execute],
      [page.data, flags.write],
      [page.data + 1, flags.write],
      [page.readOnly, 0],
    ];
    for (const [at, bits] of rights) {
      const number = (region - RAM) / 4096 + at;
      entry(tables.leaf, number, region + at * 4096, common | bits);
    }
  });
  return bytes;
}

/** The first program whose region differs, and how. */
export function firstDifference(given: Uint8Array, expected: Uint8Array, count: number): { readonly index: number; readonly message: string } | undefined {
  for (let index = 0; index < count; index++) {
    const start = regionOf(index) - RAM;
    const [ours, theirs] = [given, expected].map((bytes) => bytes.subarray(start, start + regionSize)) as [Uint8Array, Uint8Array];
    if (Buffer.compare(ours, theirs) !== 0) return { index, message: describeRegion(ours, theirs) };
  }
  return undefined;
}

function describeRegion(ours: Uint8Array, theirs: Uint8Array): string {
  const lines: string[] = [];
  const words = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const [a, b] = [words(ours), words(theirs)];
  for (let at = 0; at < regionSize && lines.length < 12; at += 8) {
    const [x, y] = [a.getBigUint64(at, true), b.getBigUint64(at, true)];
    if (x !== y) lines.push(`${nameOf(at)}: ${x.toString(16)}, QEMU ${y.toString(16)}`);
  }
  return lines.join("\n");
}

function nameOf(at: number): string {
  if (at === record.x) return "pc at start";
  if (at < record.f) return `x${at / 8}`;
  if (at < record.fcsr) return `f${(at - record.f) / 8}`;
  if (at < 4096) return Object.entries(record).find(([, offset]) => offset === at)?.[0] ?? `record ${at}`;
  if (at < 4096 + 32 * trapLimit) return `trap ${(at - 4096) >> 5} ${["cause", "tval", "epc", "hash of registers"][(at >> 3) & 3]}`;
  return `page ${at >> 12}, byte 0x${(at & 4095).toString(16)}`;
}
