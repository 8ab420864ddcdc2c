import { HostelryError } from "#base/errors.ts";
import xz from "xz-decompress";
import { type ByteStream, toReadable } from "./byte-reader.ts";

/**
 * Decompresses one xz stream. The decoder is XZ Embedded as WebAssembly, at about three quarters of the native tool's
 * speed. It verifies CRC32 checks and that the index at the end fits what came before, but not CRC64 checks, which Debian's
 * packages carry: those are verified as a whole, by SHA-256, before they are unpacked.
 *
 * It has one decoder, which a second stream waits for: finish or abandon one stream before reading another.
 */
export async function* unxz(stream: ByteStream, what: string): AsyncGenerator<Uint8Array> {
  // The decoder is compiled in the background at first, and for that alone Node would not stay alive: it ends, with success.
  const alive = setInterval(() => {}, 60_000);
  const reader = new xz.XzReadableStream(toReadable(stream)).getReader();
  try {
    for (let next = await reader.read(); !next.done; next = await reader.read()) yield next.value;
  } catch (error) {
    if (error instanceof HostelryError) throw error;
    throw new HostelryError("decompress", `${what} is not a whole xz file: fetch it again`);
  } finally {
    clearInterval(alive);
    // Frees the decoder. It trips over itself when it had already ended and only its output was left unread.
    await reader.cancel().catch(() => {});
  }
}
