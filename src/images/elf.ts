import { HostelryError } from "#base/errors.ts";
import { decodeCString, encodeText } from "./text.ts";

/** The parts of an ELF file (System V ABI, chapter 4) that a loader and a reader of sections need. */
export interface Elf {
  /** e_entry, which for a kernel may be a virtual address: see `physicalEntry`. */
  readonly entry: bigint;
  readonly segments: readonly ElfSegment[];
  readonly sections: readonly ElfSection[];
}

/** A PT_LOAD program header. */
export interface ElfSegment {
  readonly offset: number;
  readonly physicalAddress: number;
  readonly virtualAddress: bigint;
  /** Bytes in the file. */
  readonly fileSize: number;
  /** Bytes in memory: what the file does not give is zero. */
  readonly memorySize: number;
}

export interface ElfSection {
  readonly name: string;
  /** SHT_* */
  readonly type: number;
  readonly offset: number;
  readonly size: number;
  /** sh_link: the index of another section, whose meaning hangs on the type. */
  readonly link: number;
}

/** e_machine, for those that someone may hand us by mistake. */
export const ELF_MACHINES: Readonly<Record<number, string>> = {
  3: "i386",
  8: "MIPS",
  20: "PowerPC",
  21: "PowerPC 64",
  22: "S/390",
  40: "ARM (32-bit)",
  43: "SPARC 64",
  62: "x86-64",
  183: "arm64",
  243: "RISC-V",
  247: "BPF",
  258: "LoongArch",
};

const RISCV = 243;
const CLASS_64 = 2;
const LITTLE_ENDIAN = 1;
const PT_LOAD = 1;
const SHT_SYMTAB = 2;
const SHT_NOBITS = 8;
const SHN_UNDEF = 0;
const HEADER = 64;
const PROGRAM_HEADER = 56;
const SECTION_HEADER = 64;
const SYMBOL = 24;

export function isElf(file: Uint8Array): boolean {
  return file[0] === 0x7f && file[1] === 0x45 && file[2] === 0x4c && file[3] === 0x46;
}

/**
 * Reads an ELF file for 64-bit RISC-V. Throws HostelryError `wrong-architecture` for another machine, `truncated` for a
 * file shorter than its headers say, `broken-elf` for one that contradicts itself.
 */
export function parseElf(file: Uint8Array, what: string): Elf {
  if (file.length < HEADER) throw truncated(what);
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  requireRiscv64(file, view, what);
  return { entry: view.getBigUint64(24, true), segments: parseSegments(view, what), sections: parseSections(file, view, what) };
}

/** A section's bytes, or undefined if there is no such section. */
export function sectionBytes(file: Uint8Array, elf: Elf, name: string): Uint8Array | undefined {
  const section = elf.sections.find((candidate) => candidate.name === name);
  return section && file.subarray(section.offset, section.offset + section.size);
}

/** The values of those of these symbols that the file defines: none if it was stripped. */
export function symbolValues(file: Uint8Array, elf: Elf, names: readonly string[]): ReadonlyMap<string, number> {
  const values = new Map<string, number>();
  const table = elf.sections.find(({ type }) => type === SHT_SYMTAB);
  const strings = table && elf.sections[table.link];
  if (table === undefined || strings === undefined) return values;
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  const text = file.subarray(strings.offset, strings.offset + strings.size);
  const wanted = names.map((name) => [name, encodeText(`${name}\0`)] as const);
  for (let at = table.offset; at + SYMBOL <= table.offset + table.size; at += SYMBOL) {
    if (view.getUint16(at + 6, true) === SHN_UNDEF) continue;
    const start = view.getUint32(at, true);
    const found = wanted.find(([, bytes]) => bytes.every((byte, index) => text[start + index] === byte));
    if (found !== undefined) values.set(found[0], Number(view.getBigUint64(at + 8, true)));
  }
  return values;
}

/**
 * Where the first instruction lies in physical memory. A kernel is linked to run at virtual addresses and its entry
 * is one of them, although paging is off when it is entered: what counts is the place in its segment.
 */
export function physicalEntry(elf: Elf): number {
  const segment = elf.segments.find(({ virtualAddress, memorySize }) => {
    return elf.entry >= virtualAddress && elf.entry < virtualAddress + BigInt(memorySize);
  });
  if (segment === undefined) return Number(elf.entry);
  return segment.physicalAddress + Number(elf.entry - segment.virtualAddress);
}

function requireRiscv64(file: Uint8Array, view: DataView, what: string): void {
  const bigEndian = file[5] !== LITTLE_ENDIAN;
  const machine = view.getUint16(18, !bigEndian);
  if (machine === RISCV && file[4] === CLASS_64 && !bigEndian) return;
  const bits = file[4] === CLASS_64 ? 64 : 32;
  const name = machine === RISCV ? `${bits}-bit ${bigEndian ? "big" : "little"}-endian RISC-V` : (ELF_MACHINES[machine] ?? `machine number ${machine}`);
  throw new HostelryError("wrong-architecture", `${what} is an ELF file for ${name}; this machine is 64-bit little-endian RISC-V`);
}

function parseSegments(view: DataView, what: string): ElfSegment[] {
  const table = u64(view, 32, what);
  const count = view.getUint16(56, true);
  if (count === 0) return [];
  if (view.getUint16(54, true) !== PROGRAM_HEADER) throw broken(what, "program headers of an unknown size");
  if (table + count * PROGRAM_HEADER > view.byteLength) throw truncated(what);
  const segments: ElfSegment[] = [];
  for (let index = 0; index < count; index++) {
    const at = table + index * PROGRAM_HEADER;
    if (view.getUint32(at, true) !== PT_LOAD) continue;
    const segment = {
      offset: u64(view, at + 8, what),
      virtualAddress: view.getBigUint64(at + 16, true),
      physicalAddress: u64(view, at + 24, what),
      fileSize: u64(view, at + 32, what),
      memorySize: u64(view, at + 40, what),
    };
    if (segment.fileSize > segment.memorySize) throw broken(what, "a segment larger in the file than in memory");
    if (segment.offset + segment.fileSize > view.byteLength) throw truncated(what);
    segments.push(segment);
  }
  return segments;
}

function parseSections(file: Uint8Array, view: DataView, what: string): ElfSection[] {
  const table = u64(view, 40, what);
  const count = view.getUint16(60, true);
  const namesIndex = view.getUint16(62, true);
  if (count === 0) return [];
  if (view.getUint16(58, true) !== SECTION_HEADER) throw broken(what, "section headers of an unknown size");
  if (table + count * SECTION_HEADER > view.byteLength) throw truncated(what);
  if (namesIndex >= count) throw broken(what, "no section of names");
  const raw = Array.from({ length: count }, (_, index) => {
    const at = table + index * SECTION_HEADER;
    const type = view.getUint32(at + 4, true);
    const size = type === SHT_NOBITS ? 0 : u64(view, at + 32, what);
    return { nameOffset: view.getUint32(at, true), type, offset: u64(view, at + 24, what), size, link: view.getUint32(at + 40, true) };
  });
  if (raw.some((section) => section.offset + section.size > view.byteLength)) throw truncated(what);
  const names = file.subarray(raw[namesIndex].offset, raw[namesIndex].offset + raw[namesIndex].size);
  return raw.map(({ nameOffset, ...section }) => ({ name: decodeCString(names.subarray(nameOffset)), ...section }));
}

/** An offset, a size or a physical address: anything beyond 2^53 cannot be honest. */
function u64(view: DataView, offset: number, what: string): number {
  const high = view.getUint32(offset + 4, true);
  if (high >= 1 << 21) throw broken(what, "an offset, size or address beyond all sense");
  return high * 2 ** 32 + view.getUint32(offset, true);
}

function truncated(what: string): HostelryError {
  return new HostelryError("truncated", `${what} is cut short: its ELF headers speak of bytes past its end; fetch it again`);
}

function broken(what: string, detail: string): HostelryError {
  return new HostelryError("broken-elf", `${what} is a broken ELF file: it has ${detail}`);
}
