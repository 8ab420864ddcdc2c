/**
 * An image of machine code that tests one instruction at a time, to be run by QEMU and by our hart at the same address:
 *
 *   0        jump to the driver
 *   8        address to return to
 *   16       the driver's count of passes, and the number of its next block
 *   …        driver, table of blocks, blocks of cases
 *   records  one for each case, see `record`
 *
 * The driver goes through all blocks twice, so that what is translated after the first pass is used in the second. Each case loads its operands
 * from its record, executes one instruction, and stores what it yields there.
 */
import { assembleWithSymbols, encode } from "#riscv/assemble.ts";
import { disassemble } from "#riscv/disassemble.ts";
import { decode, type Decoded, type DecoderRow } from "#riscv/table.ts";
import { RAM } from "../kit/hart.ts";
import type { Random } from "../kit/random.ts";
import { floatOperand } from "./float-operand.ts";

/** Offsets in a case's record. */
export const record = { rs1: 0, rs2: 8, rs3: 16, result: 24, fcsr: 32, marker: 40, area: 64, size: 128 } as const;

/** The register that points to the record, and the one that tells whether a branch was taken. Cases use neither. */
const pointer = 31;
const marker = 30;
const casesPerBlock = 16;

export interface Case {
  readonly word: number;
  readonly decoded: Decoded;
  /** Bytes of the record before the image runs. */
  readonly record: Uint8Array;
  readonly source: readonly string[];
}

export interface Image {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly cases: readonly Case[];
  /** Offset of the first record. */
  readonly records: number;
}

export function buildImage(cases: readonly Case[]): Image {
  const blocks = Array.from({ length: Math.ceil(cases.length / casesPerBlock) }, (_, block) => {
    const own = cases.slice(block * casesPerBlock, (block + 1) * casesPerBlock);
    return [`block${block}:`, ...own.flatMap((one, i) => placed(one, block * casesPerBlock + i)), "la t6, next", "jr t6"];
  });
  const source = [
    "j driver",
    ".align 3",
    "back: .dword 0",
    "passes: .dword 2",
    "number: .dword 0",
    ...driver(blocks.length),
    ".align 3",
    "table:",
    ...blocks.map((_, i) => `.dword block${i}`),
    ...blocks.flat(),
    ".align 12",
    "records:",
  ].join("\n");
  // Records are appended as bytes; labels to them are distances from the first.
  const { bytes: code, symbols } = assembleWithSymbols(source, { base: RAM });
  const records = Number(symbols.get("records")!) - RAM;
  const bytes = new Uint8Array(Math.ceil((records + cases.length * record.size) / 4096) * 4096);
  bytes.set(code);
  cases.forEach((one, i) => bytes.set(one.record, records + i * record.size));
  relocate(bytes, cases, records);
  return { bytes, cases, records };
}

const driver = (blockCount: number): string[] => [
  "driver:",
  "next:",
  "la t6, number",
  "ld t0, 0(t6)",
  `li t1, ${blockCount}`,
  "bne t0, t1, go",
  "la t1, passes",
  "ld t2, 0(t1)",
  "addi t2, t2, -1",
  "sd t2, 0(t1)",
  "li t0, 0",
  "bnez t2, go",
  "sd zero, 0(t6)",
  "la t6, back",
  "ld ra, 0(t6)",
  "jr ra",
  "go:",
  "addi t1, t0, 1",
  "sd t1, 0(t6)",
  "la t1, table",
  "sh3add t0, t0, t1",
  "ld t0, 0(t0)",
  "jr t0",
];

function placed({ source }: Case, index: number): string[] {
  return [`la t6, records + ${index * record.size}`, ...source.map((line) => line.replaceAll("@", `case${index}_`))];
}

/** Where rs1 is an address, the record has its distance from the record until here. */
function relocate(bytes: Uint8Array, cases: readonly Case[], records: number): void {
  const view = new DataView(bytes.buffer);
  cases.forEach((one, i) => {
    if (!usesArea(one.decoded)) return;
    const at = records + i * record.size;
    view.setBigUint64(at + record.rs1, BigInt.asUintN(64, view.getBigInt64(at + record.rs1, true) + BigInt(RAM + at)), true);
  });
}

const syntaxOf = ({ instruction }: Decoded): string => instruction.syntax;
const usesArea = (decoded: Decoded): boolean => syntaxOf(decoded).includes("(rs1)") && decoded.instruction.flow === "next";

/** A case of a row, or undefined if the random word is not one that can be tested this way. */
export function buildCase(row: DecoderRow, random: Random): Case | undefined {
  let word = (row.encoding.match | (random.u32() & ~row.encoding.mask)) >>> 0;
  if (row.encoding.length === 2) word &= 0xffff;
  let decoded = decode(word);
  const { instruction } = decoded;
  if (decoded.number !== row.number) return undefined;
  const { flow, syntax, name } = instruction;
  if (/^(fence|fence\.i)$/.test(name)) word = row.encoding.match | (name === "fence" ? 0x0ff00000 : 0);
  if (flow === "branch" || flow === "jump") {
    word = withImmediate(row, word, decoded.length + 4);
    decoded = decode(word);
  }
  const integers = integerRegisters(decoded);
  if (integers.some(({ number }) => number === pointer || number === marker)) return undefined;
  if (needsBase(decoded) && decoded.rs1 === 0) return undefined;
  if (syntax.startsWith("rd, csr") && ![1, 2, 3].includes(decoded.imm & 0xfff)) {
    word = ((word & 0xfffff) | (random.pick([1, 2, 3]) << 20)) >>> 0;
    decoded = decode(word);
  }
  const rounds = row.encoding.text.includes(" rm ");
  if (rounds && [5, 6].includes(decoded.imm & 7)) return undefined;
  const bytes = new Uint8Array(record.size);
  for (let i = record.area; i < record.size; i++) bytes[i] = random.u32();
  fillOperands(new DataView(bytes.buffer), decoded, random);
  return { word, decoded, record: bytes, source: sourceOf(decoded, word, random) };
}

function withImmediate({ encoding }: DecoderRow, word: number, imm: number): number {
  const { rd, rs1, rs2 } = decode(word);
  return encode(encoding, { rd, rs1, rs2, imm });
}

const needsBase = ({ instruction }: Decoded): boolean => instruction.syntax.includes("(rs1)");

interface Operand {
  readonly operand: "rd" | "rs1" | "rs2" | "rs3";
  readonly number: number;
  readonly isFloat: boolean;
}

function operandsOf(decoded: Decoded): Operand[] {
  return [...syntaxOf(decoded).matchAll(/(f?)(rd|rs[123])/g)].map(([, float, operand]) => ({
    operand: operand as Operand["operand"],
    number: decoded[operand as Operand["operand"]],
    isFloat: float === "f",
  }));
}

const integerRegisters = (decoded: Decoded): Operand[] => operandsOf(decoded).filter(({ isFloat }) => !isFloat);

function fillOperands(view: DataView, decoded: Decoded, random: Random): void {
  const { instruction, imm } = decoded;
  for (const { operand, isFloat } of operandsOf(decoded)) {
    if (operand === "rd") continue;
    const value = isFloat ? floatOperand(/\.s(\.|$)/.test(instruction.name), random) : random.operand();
    view.setBigUint64(record[operand], value, true);
  }
  // QEMU 7.2 looks beyond the low word if that is zero: beyond-qemu.test.ts tests this.
  if (instruction.name === "ctzw") view.setInt32(record.rs1, view.getInt32(record.rs1, true) | (1 << 31), true);
  if (random.oneIn(4)) view.setBigUint64(record.rs2, view.getBigUint64(record.rs1, true), true);
  if (usesArea(decoded)) {
    // Atomics must be aligned; loads and stores need not be.
    const offset = instruction.flow === "next" && instruction.name.includes(".") ? 8 * random.below(7) : random.below(56);
    const displacement = instruction.syntax.includes("imm(") ? imm : 0;
    view.setBigInt64(record.rs1, BigInt(record.area + offset - displacement), true);
  }
}

function sourceOf(decoded: Decoded, word: number, random: Random): string[] {
  const { instruction, length } = decoded;
  const { name, flow } = instruction;
  const lines: string[] = [];
  const operands = operandsOf(decoded);
  // The syntax has the base last: where it is also the value that is stored, it must be an address.
  for (const { operand, number, isFloat } of operands) {
    if (operand === "rd" || (number === 0 && !isFloat)) continue;
    lines.push(isFloat ? `fld f${number}, ${record[operand]}(t6)` : `ld x${number}, ${record[operand]}(t6)`);
  }
  if (flow === "jump-register") lines.push(...loadTarget(decoded, random));
  const usesFloat = operands.some(({ isFloat }) => isFloat) || name.startsWith("csr");
  // The interpreter writes CSRs; a jump leads back to translated code.
  if (usesFloat) lines.push(`csrrwi zero, fcsr, ${random.below(32)}`, `csrrwi zero, frm, ${random.below(5)}`, "j @tested", "@tested:");
  if (name.startsWith("sc.") && !random.oneIn(4)) lines.push(`lr${name.slice(2)} x${marker}, (x${decoded.rs1})`);
  if (flow !== "next") lines.push(`addi x${marker}, zero, 1`);
  lines.push(length === 2 ? `.half ${word}` : `.word ${word}`);
  if (flow === "branch" || flow.startsWith("jump")) lines.push(`addi x${marker}, x${marker}, 2`, "@landing:", `sd x${marker}, ${record.marker}(t6)`);
  const result = operands.find(({ operand }) => operand === "rd") ?? (flow.startsWith("jump") ? { number: decoded.rd, isFloat: false } : undefined);
  if (result) lines.push(`${result.isFloat ? "fsd f" : "sd x"}${result.number}, ${record.result}(t6)`);
  if (usesFloat) lines.push(`csrrs x${marker}, fcsr, zero`, `sd x${marker}, ${record.fcsr}(t6)`);
  return lines;
}

/** The register jumped to gets the address behind the next instruction, less the immediate; the lowest bit is ignored. */
function loadTarget({ rs1, imm }: Decoded, random: Random): string[] {
  const bit = random.below(2);
  return [`la x${rs1}, @landing ${imm - bit < 0 ? "+" : "-"} ${Math.abs(imm - bit)}`];
}

/** For the message of a failing test. */
export function describe({ word, record: bytes }: Case): string {
  const view = new DataView(bytes.buffer);
  const hex = (at: number): string => view.getBigUint64(at, true).toString(16);
  return `${disassemble(word)} with ${hex(record.rs1)} ${hex(record.rs2)} ${hex(record.rs3)}`;
}
