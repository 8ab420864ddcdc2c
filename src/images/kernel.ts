import { HostelryError } from "#base/errors.ts";
import { readAll, streamOf } from "./byte-reader.ts";
import { compressionOf, decompress } from "./compression.ts";
import { isElf, parseElf, physicalEntry, symbolValues } from "./elf.ts";
import { decodeCString } from "./text.ts";

/** Bytes to put at a physical address; the rest up to `memorySize` is to be zero. */
export interface LoadSegment {
  readonly address: number;
  readonly bytes: Uint8Array;
  readonly memorySize: number;
}

/** A program for the machine, ready to be placed by `layout.ts`. */
export type Kernel =
  /** Linux's own format: goes anywhere at `textOffset` from a boundary of 2 MiB, is entered at its first byte. */
  | { readonly format: "image"; readonly bytes: Uint8Array; readonly textOffset: number; readonly memorySize: number }
  /** Linked to fixed addresses. */
  | { readonly format: "elf"; readonly segments: readonly LoadSegment[]; readonly entry: number; readonly symbols: ReadonlyMap<string, number> }
  /** No header at all: goes to the start of memory. Firmware only. */
  | { readonly format: "raw"; readonly bytes: Uint8Array };

/** What a test program calls the places where it speaks with the machine that runs it: see `devices/htif.ts`; and what it leaves there as its result. */
const KNOWN_SYMBOLS = ["tohost", "fromhost", "begin_signature", "end_signature"];

/** No kernel unpacks to more. */
const MAX_UNPACKED = 1 << 30;

/**
 * The header of a Linux Image for RISC-V (Documentation/arch/riscv/boot-image-header.rst). The first two fields are
 * code; with an EFI stub, as Debian's has it, they also read "MZ" and the file is a PE32+ program at the same time.
 *
 *     0x00  code0        0x10  image_size   0x20  version, reserved     0x38  "RSC\x05"
 *     0x08  text_offset  0x18  flags        0x30  "RISCV"               0x3c  offset of the PE header
 */
const IMAGE = { textOffset: 0x08, imageSize: 0x10, flags: 0x18, magic: 0x38, peOffset: 0x3c, length: 0x40 } as const;
const IMAGE_MAGIC = 0x05435352;
const IMAGE_FLAG_BIG_ENDIAN = 1;
const ARM64_MAGIC = 0x644d5241;

/** IMAGE_FILE_MACHINE_*, of the PE format. */
const PE_MACHINES: Readonly<Record<number, string>> = {
  0x14c: "i386",
  0x1c2: "ARM (32-bit)",
  0x5032: "32-bit RISC-V",
  0x5064: "RISC-V",
  0x6264: "LoongArch",
  0x8664: "x86-64",
  0xaa64: "arm64",
};
const PE_RISCV64 = 0x5064;

/**
 * Recognises a kernel by its content: a Linux Image, plain, compressed or in an EFI zboot wrapper, or an ELF file.
 * Throws HostelryError `truncated`, `wrong-architecture`, `not-a-kernel`, `decompress`; `what` names the file.
 */
export async function parseKernel(file: Uint8Array, what: string): Promise<Kernel> {
  if (file.length === 0) throw new HostelryError("truncated", `${what} is empty`);
  const compression = compressionOf(file);
  if (compression !== "none") {
    return parsePlainKernel(await readAll(decompress(streamOf(file), compression, what), MAX_UNPACKED, what), what);
  }
  if (isZboot(file)) return parsePlainKernel(await unpackZboot(file, what), what);
  return parsePlainKernel(file, what);
}

/** Firmware is an ELF file, or raw code for the start of memory. Throws HostelryError as `parseKernel` does. */
export function parseFirmware(file: Uint8Array, what: string): Kernel {
  if (file.length === 0) throw new HostelryError("truncated", `${what} is empty`);
  return isElf(file) ? elfKernel(file, what) : { format: "raw", bytes: file };
}

function parsePlainKernel(file: Uint8Array, what: string): Kernel {
  if (isElf(file)) return elfKernel(file, what);
  if (u32(file, IMAGE.magic) === IMAGE_MAGIC) return imageKernel(file, what);
  throw new HostelryError(...foreign(file, what));
}

function elfKernel(file: Uint8Array, what: string): Kernel {
  const elf = parseElf(file, what);
  if (elf.segments.length === 0) {
    throw new HostelryError("not-a-kernel", `${what} is an ELF file with nothing to load: give a linked program, not an object file or a module`);
  }
  const segments = elf.segments.filter(({ memorySize }) => memorySize > 0).map(({ offset, fileSize, physicalAddress, memorySize }) => {
    return { address: physicalAddress, bytes: file.subarray(offset, offset + fileSize), memorySize };
  });
  return { format: "elf", segments, entry: physicalEntry(elf), symbols: symbolValues(file, elf, KNOWN_SYMBOLS) };
}

function imageKernel(file: Uint8Array, what: string): Kernel {
  if (file.length < IMAGE.length) throw truncated(what);
  if ((u32(file, IMAGE.flags) & IMAGE_FLAG_BIG_ENDIAN) !== 0) {
    throw new HostelryError("wrong-architecture", `${what} is a big-endian RISC-V kernel; this machine is little-endian`);
  }
  if (isPe(file)) verifyPeIsWhole(file, what);
  return {
    format: "image",
    bytes: file,
    textOffset: u64(file, IMAGE.textOffset, what),
    // From before the image's start to the end of its bss; headers older than version 0.2 may leave it 0.
    memorySize: Math.max(u64(file, IMAGE.imageSize, what), file.length),
  };
}

/** The Image header tells the size in memory, not in the file; the PE sections, where there are any, tell that. */
function verifyPeIsWhole(file: Uint8Array, what: string): void {
  const header = u32(file, IMAGE.peOffset);
  const sections = u16(file, header + 6);
  const table = header + 24 + u16(file, header + 20);
  if (table + sections * 40 > file.length) throw truncated(what);
  for (let index = 0; index < sections; index++) {
    const section = table + index * 40;
    if (u32(file, section + 20) + u32(file, section + 16) > file.length) throw truncated(what);
  }
}

/**
 * EFI zboot (drivers/firmware/efi/libstub/zboot-header.S): a PE program that only unpacks the Image that it carries.
 *
 *     0x00 "MZ\0\0"   0x04 "zimg"   0x08 payload offset   0x0c payload size   0x18 compression, as text
 */
function isZboot(file: Uint8Array): boolean {
  return isMz(file) && decodeCString(file.subarray(4, 8)) === "zimg";
}

async function unpackZboot(file: Uint8Array, what: string): Promise<Uint8Array> {
  const offset = u32(file, 8);
  const size = u32(file, 12);
  const method = decodeCString(file.subarray(24, 56));
  if (offset + size > file.length) throw truncated(what);
  if (method !== "gzip") {
    throw new HostelryError("decompress", `${what} is an EFI zboot kernel compressed with ${method}, not gzip: give the Image that it was made from`);
  }
  const payload = file.subarray(offset, offset + size);
  return readAll(decompress(streamOf(payload), "gzip", what), MAX_UNPACKED, what);
}

/** What the file is instead, as code and message of an error. */
function foreign(file: Uint8Array, what: string): [string, string] {
  const other = foreignArchitecture(file);
  if (other !== undefined) return ["wrong-architecture", `${what} is a kernel for ${other}; this machine is RISC-V: give a riscv64 kernel`];
  if (file.length < IMAGE.length) return ["truncated", `${what} has only ${file.length} bytes, which is no kernel: fetch it again`];
  return ["not-a-kernel", `${what} is no kernel that is known here: give a Linux Image (plain or gzip'ed) or an ELF file for riscv64`];
}

function foreignArchitecture(file: Uint8Array): string | undefined {
  if (u32(file, IMAGE.magic) === ARM64_MAGIC) return "arm64 (an Image)";
  // Documentation/arch/x86/boot.rst: the boot sector's signature, then the set-up header.
  if (u16(file, 0x1fe) === 0xaa55 && decodeCString(file.subarray(0x202, 0x206)) === "HdrS") return "x86 (a bzImage)";
  if (!isPe(file)) return undefined;
  const machine = u16(file, u32(file, IMAGE.peOffset) + 4);
  return machine === PE_RISCV64 ? undefined : (PE_MACHINES[machine] ?? `PE machine 0x${machine.toString(16)}`);
}

function isMz(file: Uint8Array): boolean {
  return file[0] === 0x4d && file[1] === 0x5a;
}

function isPe(file: Uint8Array): boolean {
  return isMz(file) && u32(file, u32(file, IMAGE.peOffset)) === 0x4550;
}

function u16(file: Uint8Array, offset: number): number {
  return offset + 2 <= file.length ? file[offset] | (file[offset + 1] << 8) : 0;
}

/** Past the end reads as zero, which is no magic number. */
function u32(file: Uint8Array, offset: number): number {
  return u16(file, offset) + u16(file, offset + 2) * 0x10000;
}

function u64(file: Uint8Array, offset: number, what: string): number {
  const value = u32(file, offset) + u32(file, offset + 4) * 2 ** 32;
  if (value > 2 ** 40) throw new HostelryError("not-a-kernel", `${what} has a broken header: a size or an offset of ${value} bytes; fetch it again`);
  return value;
}

function truncated(what: string): HostelryError {
  return new HostelryError("truncated", `${what} is cut short: its headers speak of bytes past its end; fetch it again`);
}
