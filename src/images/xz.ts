import { HostelryError } from "#base/errors.ts";
import xz from "xz-decompress";
import { type ByteStream, toReadable } from "./byte-reader.ts";

/**
 * Decompresses one xz stream. The decoder is XZ Embedded as WebAssembly, at about three quarters of the native tool's
 * speed; it checks CRC32s, and that the index at the end fits what came before.
 *
 * It has one decoder, which a second stream waits for: finish or abandon one stream before reading another.
 */
export async function* unxz(stream: ByteStream, what: string): AsyncGenerator<Uint8Array> {
  const readable = new xz.XzReadableStream(toReadable(stream));
  try {
    yield* readable as unknown as AsyncIterable<Uint8Array>;
  } catch (error) {
    if (error instanceof HostelryError) throw error;
    throw new HostelryError("decompress", `${what} is not a whole xz file: fetch it again`);
  }
}
