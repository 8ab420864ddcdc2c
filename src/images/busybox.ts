import { HostelryError } from "#base/errors.ts";
import { decodeText } from "./text.ts";

/** Applets that busybox itself would put into `sbin`; where the rest goes does not matter, as every PATH has both. */
const SBIN = new Set("halt ifdown ifup init insmod lsmod mkswap modinfo modprobe pivot_root poweroff reboot rmmod route sulogin swapoff swapon switch_root sysctl".split(" "));

/** Names in the table that are not commands to link: busybox has its own file, and `linuxrc` was the kernel's old name for init. */
const NOT_LINKED = new Set(["busybox", "linuxrc"]);

/**
 * The applets of a busybox program and the directory of each, read from the program itself, as it cannot be run here: its
 * table of names is one run of NUL-terminated, sorted strings, "[" being first, then "[[". Throws HostelryError `no-applets`.
 */
export function busyboxApplets(program: Uint8Array): { readonly name: string; readonly directory: "usr/bin" | "usr/sbin" }[] {
  const start = indexOf(program, [0x5b, 0x00, 0x5b, 0x5b, 0x00]);
  const end = indexOf(program, [0x00, 0x00], Math.max(start, 0));
  const names = start < 0 || end < 0 ? [] : decodeText(program.subarray(start, end)).split("\0");
  if (!names.includes("sh")) {
    throw new HostelryError("no-applets", "the busybox package has changed: its program does not hold its list of applets where it used to");
  }
  return names.filter((name) => !NOT_LINKED.has(name)).map((name) => ({ name, directory: SBIN.has(name) ? "usr/sbin" : "usr/bin" }));
}

function indexOf(bytes: Uint8Array, pattern: readonly number[], from = 0): number {
  for (let at = bytes.indexOf(pattern[0], from); at >= 0; at = bytes.indexOf(pattern[0], at + 1)) {
    if (pattern.every((byte, index) => bytes[at + index] === byte)) return at;
  }
  return -1;
}
