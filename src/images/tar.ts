import { HostelryError } from "#base/errors.ts";
import { ByteReader, type ByteStream } from "./byte-reader.ts";
import { safePath } from "./path.ts";
import { decodeCString, decodeText } from "./text.ts";

export type TarType = "file" | "hardlink" | "symlink" | "character" | "block" | "directory" | "fifo";

export interface TarEntry {
  /** Relative, without `.` and `..`: safe to place below any directory. The root itself is the empty string. */
  readonly path: string;
  readonly type: TarType;
  /** Permission bits with setuid, setgid and sticky: 12 bits. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Seconds since the Unix epoch. */
  readonly mtime: number;
  /** Bytes of content: 0 but for files. */
  readonly size: number;
  /** What a symlink holds, as written; for a hard link, the path of the entry that it repeats. */
  readonly target: string;
  /** Device number, for `character` and `block`. */
  readonly major: number;
  readonly minor: number;
  /** A file's bytes. Once, and before the next entry is asked for; otherwise they are skipped. */
  content(): Promise<Uint8Array>;
}

const BLOCK = 512;

/** A file larger than this in a package is refused rather than read into memory. */
const MAX_FILE = 1 << 30;

/** Long names and pax records are kilobytes in practice. */
const MAX_EXTENSION = 1 << 20;

/** POSIX ustar: field, offset, length. Numbers are octal text, or base 256 if the top bit of the first byte is set (GNU). */
const FIELDS = {
  name: [0, 100],
  mode: [100, 108],
  uid: [108, 116],
  gid: [116, 124],
  size: [124, 136],
  mtime: [136, 148],
  checksum: [148, 156],
  type: [156, 157],
  target: [157, 257],
  magic: [257, 263],
  major: [329, 337],
  minor: [337, 345],
  prefix: [345, 500],
} as const;

const TYPES: Readonly<Record<string, TarType>> = {
  "\0": "file",
  "0": "file",
  "1": "hardlink",
  "2": "symlink",
  "3": "character",
  "4": "block",
  "5": "directory",
  "6": "fifo",
  "7": "file",
};

/** What the extension headers before an entry say of it: they go before its own fields. */
type Overrides = Partial<Record<"path" | "linkpath" | "size" | "mtime" | "uid" | "gid", string>>;

/** Reads ustar archives, with GNU long names ('L', 'K') and pax headers ('x', 'g'). Throws HostelryError `broken-tar`. */
export async function* readTar(stream: ByteStream, what: string): AsyncGenerator<TarEntry> {
  const reader = new ByteReader(stream, what);
  const global: Overrides = {};
  let local: Overrides = {};
  try {
    while (!(await reader.atEnd())) {
      const header = await reader.exactly(BLOCK);
      if (header.every((byte) => byte === 0)) return await reader.drain();
      verifyChecksum(header, what);
      const overrides = { ...global, ...local };
      const size = overrides.size === undefined ? number(header, "size", what) : decimal(overrides.size, what);
      const type = String.fromCharCode(header[FIELDS.type[0]]);
      if (type in EXTENSIONS) {
        if (size > MAX_EXTENSION) throw broken(what, `a header of ${size} bytes`);
        const data = await reader.exactly(size);
        await reader.skip(padding(size));
        EXTENSIONS[type]!(data, type === "g" ? global : local, what);
        continue;
      }
      local = {};
      yield* readEntry(reader, header, type, size, overrides, what);
    }
  } finally {
    await reader.close();
  }
}

const EXTENSIONS: Readonly<Record<string, (data: Uint8Array, into: Overrides, what: string) => void>> = {
  L: (data, into) => void (into.path = decodeCString(data)),
  K: (data, into) => void (into.linkpath = decodeCString(data)),
  x: readPaxRecords,
  g: readPaxRecords,
};

async function* readEntry(
  reader: ByteReader,
  header: Uint8Array,
  typeflag: string,
  size: number,
  overrides: Overrides,
  what: string,
): AsyncGenerator<TarEntry> {
  const type = TYPES[typeflag];
  if (type === undefined) throw broken(what, `an entry of unknown type ${JSON.stringify(typeflag)}`);
  const hasContent = type === "file";
  const contentSize = hasContent ? size : 0;
  if (contentSize > MAX_FILE) throw broken(what, `a file of ${contentSize} bytes`);
  const target = overrides.linkpath ?? text(header, "target");
  let unread = contentSize;
  yield {
    path: safePath(overrides.path ?? headerPath(header), what),
    type,
    mode: number(header, "mode", what) & 0o7777,
    uid: u32(overrides.uid === undefined ? number(header, "uid", what) : decimal(overrides.uid, what), what),
    gid: u32(overrides.gid === undefined ? number(header, "gid", what) : decimal(overrides.gid, what), what),
    mtime: u32(overrides.mtime === undefined ? number(header, "mtime", what) : Math.floor(Number(overrides.mtime)), what),
    size: contentSize,
    target: type === "hardlink" ? safePath(target, what) : target,
    major: u32(number(header, "major", what), what),
    minor: u32(number(header, "minor", what), what),
    async content() {
      const length = unread;
      unread = 0;
      return reader.exactly(length);
    },
  };
  await reader.skip(unread + padding(contentSize));
}

function padding(size: number): number {
  return (BLOCK - (size % BLOCK)) % BLOCK;
}

/** The sum of the header's bytes, with the checksum field itself as blanks. */
function verifyChecksum(header: Uint8Array, what: string): void {
  const [start, end] = FIELDS.checksum;
  const sum = header.reduce((total, byte, index) => total + (index >= start && index < end ? 0x20 : byte), 0);
  if (sum !== number(header, "checksum", what)) throw broken(what, "a header with a wrong checksum");
}

function headerPath(header: Uint8Array): string {
  const name = text(header, "name");
  // GNU's old format ("ustar  ") keeps other things where POSIX has the prefix.
  const prefix = decodeText(header.subarray(...FIELDS.magic)) === "ustar\0" ? text(header, "prefix") : "";
  return prefix === "" ? name : `${prefix}/${name}`;
}

function text(header: Uint8Array, field: keyof typeof FIELDS): string {
  return decodeCString(header.subarray(...FIELDS[field]));
}

function number(header: Uint8Array, field: keyof typeof FIELDS, what: string): number {
  const bytes = header.subarray(...FIELDS[field]);
  if ((bytes[0] & 0x80) !== 0) return base256(bytes, what);
  const digits = decodeCString(bytes).trim();
  if (digits === "") return 0;
  if (!/^[0-7]+$/.test(digits)) throw broken(what, `a header whose ${field} is not a number`);
  return parseInt(digits, 8);
}

function base256(bytes: Uint8Array, what: string): number {
  const value = bytes.reduce((total, byte, index) => total * 256 + (index === 0 ? byte & 0x7f : byte), 0);
  if (!Number.isSafeInteger(value)) throw broken(what, "a header with a number beyond all sense");
  return value;
}

function decimal(digits: string, what: string): number {
  const value = Number(digits);
  if (!/^\d+$/.test(digits) || !Number.isSafeInteger(value)) throw broken(what, `a pax header with ${JSON.stringify(digits)} for a number`);
  return value;
}

/** What the archive written from these entries can hold. */
function u32(value: number, what: string): number {
  if (!(value >= 0 && value <= 0xffffffff)) throw broken(what, `a header with the number ${value}, beyond 32 bits`);
  return value;
}

/** Records of "LENGTH KEY=VALUE\n", LENGTH counting itself in decimal. */
function readPaxRecords(data: Uint8Array, into: Overrides, what: string): void {
  for (let offset = 0; offset < data.length; ) {
    const blank = data.indexOf(0x20, offset);
    const length = blank < 0 ? 0 : decimal(decodeText(data.subarray(offset, blank)), what);
    const record = decodeText(data.subarray(blank + 1, offset + length));
    const equals = record.indexOf("=");
    if (length === 0 || offset + length > data.length || equals < 0 || !record.endsWith("\n")) throw broken(what, "a broken pax header");
    const key = record.slice(0, equals);
    if (PAX_KEYS.has(key)) into[key as keyof Overrides] = record.slice(equals + 1, -1);
    offset += length;
  }
}

const PAX_KEYS: ReadonlySet<string> = new Set<keyof Overrides>(["path", "linkpath", "size", "mtime", "uid", "gid"]);

function broken(what: string, detail: string): HostelryError {
  return new HostelryError("broken-tar", `${what} holds ${detail}: fetch it again`);
}
