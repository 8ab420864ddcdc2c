import { assert } from "#base/assert.ts";
import { encodeText } from "./text.ts";

/** One name in an archive. Names that share a file (hard links) share `inode`, and only the last of them carries `content`. */
export interface CpioEntry {
  /** Relative. */
  readonly path: string;
  /** With the file type: 16 bits, as in stat(2). */
  readonly mode: number;
  readonly inode: number;
  readonly links: number;
  readonly uid: number;
  readonly gid: number;
  /** Seconds since the Unix epoch. */
  readonly mtime: number;
  /** The device that a device node stands for. */
  readonly major: number;
  readonly minor: number;
  /** A file's bytes or a symlink's target. */
  readonly content: Uint8Array;
}

const TRAILER: CpioEntry = {
  path: "TRAILER!!!",
  mode: 0,
  inode: 0,
  links: 1,
  uid: 0,
  gid: 0,
  mtime: 0,
  major: 0,
  minor: 0,
  content: new Uint8Array(0),
};

/**
 * Writes the "newc" format, the one that the kernel unpacks (Documentation/driver-api/early-userspace/buffer-format.rst):
 *
 *     "070701" | 13 numbers of 8 hex digits | name, NUL | padding to 4 | content | padding to 4
 *
 * The pieces are to be written one after the other.
 */
export function* writeCpio(entries: Iterable<CpioEntry>): Generator<Uint8Array> {
  for (const entry of entries) yield* writeEntry(entry);
  yield* writeEntry(TRAILER);
}

function* writeEntry(entry: CpioEntry): Generator<Uint8Array> {
  assert(entry.content.length <= 0xffffffff, "cpio files stay below 4 GiB", { size: entry.content.length });
  const name = encodeText(`${entry.path}\0`);
  const fields = [
    entry.inode,
    entry.mode,
    entry.uid,
    entry.gid,
    entry.links,
    entry.mtime,
    entry.content.length,
    0, // The device that holds the file: the archive is one device.
    0,
    entry.major,
    entry.minor,
    name.length,
    0, // The checksum, which only the "070702" format has.
  ];
  const header = encodeText(`070701${fields.map((field) => field.toString(16).padStart(8, "0")).join("")}`);
  yield header;
  yield name;
  yield padding(header.length + name.length);
  yield entry.content;
  yield padding(entry.content.length);
}

function padding(length: number): Uint8Array {
  return new Uint8Array((4 - (length % 4)) % 4);
}
