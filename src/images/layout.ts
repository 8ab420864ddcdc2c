import { HostelryError } from "#base/errors.ts";
import type { Kernel, LoadSegment } from "./kernel.ts";

/** What is to stand in memory when the first instruction runs. */
export interface BootFiles {
  /** Entered in M-mode, instead of the kernel. */
  readonly firmware?: Kernel;
  readonly kernel?: Kernel;
  readonly initrd?: Uint8Array;
  /** Bytes of the device tree. Its content may depend on the layout (it names the initrd's place); its size must not. */
  readonly deviceTreeSize: number;
}

export interface Memory {
  /** Physical address of the first byte: 2 MiB aligned. */
  readonly base: number;
  /** Bytes. */
  readonly size: number;
}

export interface BootLayout {
  /** All that is to be copied, but for the device tree. */
  readonly segments: readonly LoadSegment[];
  /** Where the hart starts. */
  readonly entry: number;
  /** Where firmware is to hand over to, if there is a kernel. */
  readonly kernelEntry: number | null;
  /** First byte and the byte after the last, for `linux,initrd-start` and `linux,initrd-end`. */
  readonly initrd: { readonly start: number; readonly end: number } | null;
  readonly deviceTree: number;
}

const MIB = 1 << 20;
const PAGE = 4096;

/**
 * A kernel with an MMU maps itself by megapages, so it stands on a boundary of 2 MiB (Documentation/arch/riscv/boot.rst);
 * the 2 MiB below it are the firmware's.
 */
const MEGAPAGE = 2 * MIB;

/** Early boot code may keep the addresses of the device tree and the initrd in 32 bits. */
const FOUR_GIB = 2 ** 32;

interface Range {
  readonly name: string;
  readonly start: number;
  readonly end: number;
}

/**
 * Gives each file its place:
 *
 *     base     +2 MiB (text_offset)                          below 4 GiB      end
 *     |firmware|kernel, its bss|  ... free ...  |initrd|device tree| ... free ... |
 *                                               ^ page  ^ 2 MiB, aligned down
 *
 * Throws HostelryError `does-not-fit`, which says how much memory is needed.
 */
export function layOut(files: BootFiles, memory: Memory): BootLayout {
  const low = [...place(files.firmware, "the firmware", memory.base), ...place(files.kernel, "the kernel", memory.base)];
  const top = Math.min(memory.base + memory.size, FOUR_GIB);
  const deviceTree = alignDown(top - files.deviceTreeSize, MEGAPAGE);
  const initrdSize = files.initrd?.length ?? 0;
  const initrdStart = alignDown(deviceTree - initrdSize, PAGE);
  const high: Range[] = [{ name: "the device tree", start: deviceTree, end: deviceTree + files.deviceTreeSize }];
  if (initrdSize > 0) high.unshift({ name: "the initrd", start: initrdStart, end: initrdStart + initrdSize });
  verify([...low.map(({ range }) => range), ...high], files, memory);

  const segments = low.map(({ segment }) => segment);
  if (files.initrd !== undefined && initrdSize > 0) {
    segments.push({ address: initrdStart, bytes: files.initrd, memorySize: initrdSize });
  }
  const kernelEntry = files.kernel === undefined ? null : entryOf(files.kernel, memory.base);
  return {
    segments,
    entry: files.firmware === undefined ? (kernelEntry ?? memory.base) : entryOf(files.firmware, memory.base),
    kernelEntry,
    initrd: initrdSize > 0 ? { start: initrdStart, end: initrdStart + initrdSize } : null,
    deviceTree,
  };
}

function place(kernel: Kernel | undefined, name: string, base: number): { range: Range; segment: LoadSegment }[] {
  return segmentsOf(kernel, base).map((segment) => {
    return { range: { name, start: segment.address, end: segment.address + segment.memorySize }, segment };
  });
}

function segmentsOf(kernel: Kernel | undefined, base: number): readonly LoadSegment[] {
  switch (kernel?.format) {
    case undefined:
      return [];
    case "image":
      return [{ address: base + kernel.textOffset, bytes: kernel.bytes, memorySize: kernel.memorySize }];
    case "elf":
      return kernel.segments;
    case "raw":
      return [{ address: base, bytes: kernel.bytes, memorySize: kernel.bytes.length }];
  }
}

function entryOf(kernel: Kernel, base: number): number {
  switch (kernel.format) {
    case "image":
      return base + kernel.textOffset;
    case "elf":
      return kernel.entry;
    case "raw":
      return base;
  }
}

function verify(ranges: readonly Range[], files: BootFiles, memory: Memory): void {
  const end = memory.base + memory.size;
  for (const range of ranges.filter(({ start }) => start < memory.base)) {
    if (range.name === "the initrd" || range.name === "the device tree") throw tooSmall(files, memory);
    throw new HostelryError("does-not-fit", `${range.name} is linked to address ${hex(range.start)}, below the memory at ${hex(memory.base)}: link it higher`);
  }
  if (ranges.some((range) => range.end > end)) throw tooSmall(files, memory);
  const sorted = ranges.filter((range) => range.end > range.start).sort((one, other) => one.start - other.start);
  sorted.slice(1).forEach((range, index) => {
    const before = sorted[index];
    if (range.start >= before.end) return;
    if (range.name === "the initrd" || range.name === "the device tree") throw tooSmall(files, memory);
    throw new HostelryError(
      "does-not-fit",
      `${before.name} ends at ${hex(before.end)}, past ${hex(range.start)} where ${range.name} begins: use a smaller one, or one linked elsewhere`,
    );
  });
}

/** How much would do: an upper bound within 2 MiB. */
function tooSmall(files: BootFiles, memory: Memory): HostelryError {
  const low = [...segmentsOf(files.firmware, memory.base), ...segmentsOf(files.kernel, memory.base)];
  const lowEnd = low.reduce((end, { address, memorySize }) => Math.max(end, address + memorySize), memory.base) - memory.base;
  const initrd = files.initrd?.length ?? 0;
  const needed = lowEnd + alignUp(initrd, PAGE) + alignUp(files.deviceTreeSize, MEGAPAGE) + MEGAPAGE;
  const parts = [
    ...(files.kernel === undefined ? [] : [`the kernel up to ${mib(lowEnd)}`]),
    ...(initrd === 0 ? [] : [`the initrd ${mib(initrd)}`]),
  ];
  const why = parts.length === 0 ? "" : ` (${parts.join(", ")})`;
  const limit = needed > FOUR_GIB - memory.base ? "; all this must lie below 4 GiB, so use a smaller initrd" : `: give it --memory ${mib(needed)} or more`;
  return new HostelryError("does-not-fit", `the machine's memory of ${mib(memory.size)} is too small: loading alone takes ${mib(needed)}${why}${limit}`);
}

function mib(bytes: number): string {
  return `${Math.ceil(bytes / MIB)}M`;
}

function hex(address: number): string {
  return `0x${address.toString(16)}`;
}

function alignDown(value: number, alignment: number): number {
  return Math.floor(value / alignment) * alignment;
}

function alignUp(value: number, alignment: number): number {
  return Math.ceil(value / alignment) * alignment;
}
