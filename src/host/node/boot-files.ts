/** Kernels and RAM disks, read once into memory that all threads see. */
import { parseFirmware, parseKernel, type Kernel } from "#images/kernel.ts";
import type { BootFiles } from "#platform/board.ts";
import { readInputFile } from "./files.ts";

export interface BootPaths {
  readonly firmware?: string;
  readonly kernel?: string;
  readonly initrd?: string;
  /** The kernel's command line. */
  readonly append: string;
}

/** Throws HostelryError for what can't be read, or is no kernel. */
export async function readShared({ firmware, kernel, initrd, append }: BootPaths): Promise<BootFiles> {
  return {
    append,
    ...(firmware === undefined ? {} : { firmware: sharedKernel(await parseFirmware(await readInputFile(firmware, "the firmware"), `the firmware ${firmware}`)) }),
    ...(kernel === undefined ? {} : { kernel: sharedKernel(await parseKernel(await readInputFile(kernel, "the kernel"), `the kernel ${kernel}`)) }),
    ...(initrd === undefined ? {} : { initrd: sharedBytes(await readInputFile(initrd, "the initrd")) }),
  };
}

function sharedKernel(kernel: Kernel): Kernel {
  if (kernel.format !== "elf") return { ...kernel, bytes: sharedBytes(kernel.bytes) };
  return { ...kernel, segments: kernel.segments.map((segment) => ({ ...segment, bytes: sharedBytes(segment.bytes) })) };
}

function sharedBytes(bytes: Uint8Array): Uint8Array {
  const shared = new Uint8Array(new SharedArrayBuffer(bytes.length));
  shared.set(bytes);
  return shared;
}
