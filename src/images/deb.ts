import { HostelryError } from "#base/errors.ts";
import { arPadding, readArMagic, readArMember } from "./ar.ts";
import { ByteReader, type ByteStream } from "./byte-reader.ts";
import { type Compression, decompress } from "./compression.ts";
import { readTar, type TarEntry } from "./tar.ts";

const DATA_MEMBERS: Readonly<Record<string, Compression>> = {
  "data.tar": "none",
  "data.tar.gz": "gzip",
  "data.tar.xz": "xz",
  "data.tar.zst": "zstd",
};

/**
 * The files that a Debian binary package installs, in the archive's order. Maintainer scripts are not looked at, let
 * alone run: a package is unpacked, not configured.
 *
 * A package is an `ar` archive of `debian-binary` (the format's version), `control.tar.*` and `data.tar.*` (deb(5)).
 */
export async function* readDeb(stream: ByteStream, what: string): AsyncGenerator<TarEntry> {
  const reader = new ByteReader(stream, what);
  try {
    await readArMagic(reader, what);
    for (;;) {
      const member = await readArMember(reader, what);
      if (member === null) throw new HostelryError("not-deb", `${what} has no data.tar, so it is not a Debian package: fetch it again`);
      const compression = DATA_MEMBERS[member.name];
      if (compression !== undefined) {
        yield* readTar(decompress(reader.pieces(member.size), compression, what), what);
        return;
      }
      await reader.skip(member.size + arPadding(member));
    }
  } finally {
    await reader.close();
  }
}
