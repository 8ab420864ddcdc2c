import { HostelryError } from "#base/errors.ts";
import { type ByteStream, toReadable } from "./byte-reader.ts";
import { unxz } from "./xz.ts";

/** How a file is compressed, told from its first bytes: names lie, magic numbers less so. */
export type Compression = "none" | "gzip" | "xz" | "zstd";

const MAGICS: readonly { readonly compression: Compression; readonly magic: readonly number[] }[] = [
  { compression: "gzip", magic: [0x1f, 0x8b] },
  { compression: "xz", magic: [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00] },
  { compression: "zstd", magic: [0x28, 0xb5, 0x2f, 0xfd] },
];

export function compressionOf(start: Uint8Array): Compression {
  const found = MAGICS.find(({ magic }) => magic.every((byte, index) => start[index] === byte));
  return found?.compression ?? "none";
}

/** Decompresses `stream`. Broken input is HostelryError `decompress`, naming `what`. */
export function decompress(stream: ByteStream, compression: Compression, what: string): ByteStream {
  switch (compression) {
    case "none":
      return stream;
    case "gzip":
      return gunzip(stream, what);
    case "xz":
      return unxz(stream, what);
    case "zstd":
      throw new HostelryError("decompress", `${what} is compressed with zstd, which is not supported: recompress it with xz or gzip`);
  }
}

async function* gunzip(stream: ByteStream, what: string): AsyncGenerator<Uint8Array> {
  try {
    yield* toReadable(stream).pipeThrough(new DecompressionStream("gzip"));
  } catch (error) {
    if (error instanceof HostelryError) throw error;
    throw new HostelryError("decompress", `${what} is not a whole gzip file (${(error as Error).message}): fetch it again`);
  }
}
