/**
 * A test's signature as text, as Spike writes it for the architecture tests to compare: each line a little-endian number of
 * `granularity` bytes in hex, the last filled up with zeros.
 */
export function formatSignature(bytes: Uint8Array, granularity: number): string {
  const lines: string[] = [];
  for (let start = 0; start < bytes.length; start += granularity) {
    const places = Array.from({ length: granularity }, (_, index) => bytes[start + granularity - 1 - index] ?? 0);
    lines.push(`${places.map((byte) => byte.toString(16).padStart(2, "0")).join("")}\n`);
  }
  return lines.join("");
}
