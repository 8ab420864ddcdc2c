/** Kernels and RAM disks, read from their files. */
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

/** All at once. Throws HostelryError for what can't be read, or is no kernel. */
export async function readBootFiles({ firmware, kernel, initrd, append }: BootPaths): Promise<BootFiles> {
  const read = <T>(path: string | undefined, what: string, parse: (bytes: Uint8Array, what: string) => T) =>
    path === undefined ? undefined : readInputFile(path, what).then((bytes) => parse(bytes, `${what} ${path}`));
  const files = await Promise.all([
    read(firmware, "the firmware", parseFirmware),
    read(kernel, "the kernel", parseKernel),
    read(initrd, "the initrd", (bytes) => bytes),
  ]);
  return { append, ...withoutUndefined({ firmware: files[0], kernel: files[1], initrd: files[2] }) };
}

/** The same, in memory that all threads see. */
export async function readShared(paths: BootPaths): Promise<BootFiles> {
  const { firmware, kernel, initrd, append } = await readBootFiles(paths);
  return {
    append,
    ...(firmware === undefined ? {} : { firmware: sharedKernel(firmware) }),
    ...(kernel === undefined ? {} : { kernel: sharedKernel(kernel) }),
    ...(initrd === undefined ? {} : { initrd: sharedBytes(initrd) }),
  };
}

function withoutUndefined<T extends object>(fields: T): { [Key in keyof T]: Exclude<T[Key], undefined> } {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as never;
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
