import { HostelryError } from "#base/errors.ts";
import { type ByteReader } from "./byte-reader.ts";
import { decodeText } from "./text.ts";

/** One member of an `ar` archive. Its content must be read or skipped before the next header. */
export interface ArMember {
  readonly name: string;
  /** Bytes. */
  readonly size: number;
}

const MAGIC = "!<arch>\n";

/**
 * The common `ar` format: a magic line, then members, each a header of 60 bytes and its content, padded to an even length.
 *
 *      0        16     28    34    40     48       58  60
 *     | name    | mtime | uid | gid | mode | size  | `\n |   all in ASCII, padded with blanks
 */
const HEADER = { length: 60, name: [0, 16], size: [48, 58], end: [58, 60] } as const;

/** Reads the magic line. Throws HostelryError `not-ar`. */
export async function readArMagic(reader: ByteReader, what: string): Promise<void> {
  if (decodeText(await reader.exactly(MAGIC.length)) !== MAGIC) {
    throw new HostelryError("not-ar", `${what} is not an ar archive, which a Debian package is: fetch it again`);
  }
}

/** Reads the next member's header, or returns null at the end. */
export async function readArMember(reader: ByteReader, what: string): Promise<ArMember | null> {
  if (await reader.atEnd()) return null;
  const header = decodeText(await reader.exactly(HEADER.length));
  const size = header.slice(...HEADER.size).trim();
  if (header.slice(...HEADER.end) !== "`\n" || !/^\d+$/.test(size)) {
    throw new HostelryError("not-ar", `${what} has a broken ar header: fetch it again`);
  }
  // GNU ar ends a name with a slash; dpkg does not.
  const name = header.slice(...HEADER.name).trimEnd().replace(/\/$/, "");
  return { name, size: Number(size) };
}

/** Bytes that pad a member to an even length. */
export function arPadding(member: ArMember): number {
  return member.size % 2;
}
