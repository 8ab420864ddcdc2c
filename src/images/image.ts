import { HostelryError } from "#base/errors.ts";

/** `image.json`: what an image consists of and where it came from. Beside it stand the files that it names. */
export interface ImageManifest {
  readonly format: typeof IMAGE_FORMAT;
  /** When it was built: ISO 8601, UTC. */
  readonly created: string;
  /** Identifies how it was built (Hostelry's own part of it): another value means that a rebuild would differ. */
  readonly recipe: string;
  /** The kernel command line to boot it with. */
  readonly append: string;
  readonly kernel: ImageFile & {
    /** As `uname -r` says. */
    readonly release: string;
  };
  readonly initrd: ImageFile & { readonly compression: "none" | "gzip" };
  /** Kernel modules in the initrd, in the order of their dependencies. */
  readonly modules: readonly string[];
  /** What `--packages` asked for. */
  readonly requested: readonly string[];
  /** The Debian packages that it is made of. */
  readonly packages: readonly ImagePackage[];
}

export interface ImageFile {
  /** Relative to the manifest. */
  readonly file: string;
  readonly bytes: number;
  /** Hexadecimal. */
  readonly sha256: string;
}

export interface ImagePackage {
  readonly name: string;
  readonly version: string;
  /** Of the package file: its name in the cache. Hexadecimal. */
  readonly sha256: string;
}

export const IMAGE_FORMAT = 1;

/**
 * - `console=ttyS0`: the UART, which every platform compatible with QEMU's `virt` has.
 * - `earlycon=sbi`: lines through the firmware until the UART's driver is up; without it, a kernel that fails early says nothing.
 * - `cryptomgr.notests`: Debian's kernel tests each cipher when it is registered, a third of the time of its boot.
 * - `initcall_blacklist=jent_mod_init`: that initcall gathers entropy from the jitter of timing loops. A machine whose clock
 *   counts instructions has none to give, and the guest has the device tree's seed and virtio-rng; it is a tenth of the boot.
 * - `panic=-1`: a kernel that panics resets the machine at once, rather than spin.
 */
export const DEFAULT_APPEND = "console=ttyS0 earlycon=sbi cryptomgr.notests initcall_blacklist=jent_mod_init panic=-1";

/** What the machine's devices need: the transport, a driver each, and the file system of Debian's disks. */
export const DEFAULT_MODULES: readonly string[] = [
  "virtio_mmio",
  "virtio_blk",
  "virtio_rng",
  "virtio_balloon",
  "ext4",
  // ext4 asks the kernel for "crypto-crc32c" when it mounts, so this is no dependency that a module states.
  "crc32c_generic",
];

/** Checks what was read from a disk. Throws HostelryError `broken-image`. */
export function parseManifest(text: string, what: string): ImageManifest {
  const rebuild = (detail: string): HostelryError => new HostelryError("broken-image", `${what} ${detail}: build the image again`);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw rebuild("is not JSON");
  }
  if (!isRecord(value)) throw rebuild("is not an object");
  if (value["format"] !== IMAGE_FORMAT) throw rebuild(`has format ${String(value["format"])}, not ${IMAGE_FORMAT}`);
  const valid =
    ["created", "recipe", "append"].every((key) => typeof value[key] === "string") &&
    isFile(value["kernel"]) &&
    isFile(value["initrd"]) &&
    isList(value["modules"], (item) => typeof item === "string") &&
    isList(value["requested"], (item) => typeof item === "string") &&
    isList(value["packages"], (item) => isRecord(item) && ["name", "version", "sha256"].every((key) => typeof item[key] === "string"));
  if (!valid) throw rebuild("lacks fields that it must have");
  return value as unknown as ImageManifest;
}

/** A name that is also a file's: letters, digits, `.`, `_`, `-`; the first no punctuation. Throws HostelryError `image-name`. */
export function requireImageName(name: string): void {
  if (/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/.test(name)) return;
  throw new HostelryError("image-name", `${JSON.stringify(name)} is no name for an image: use letters, digits, '.', '_' and '-', beginning with a letter or digit`);
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isList(value: unknown, holds: (item: unknown) => boolean): boolean {
  return Array.isArray(value) && value.every(holds);
}

function isFile(value: unknown): boolean {
  if (!isRecord(value)) return false;
  // A file in the image's own directory, and nowhere else.
  const plain = typeof value["file"] === "string" && /^[A-Za-z0-9][A-Za-z0-9._-]*$/.test(value["file"]);
  return plain && typeof value["bytes"] === "number" && typeof value["sha256"] === "string";
}
