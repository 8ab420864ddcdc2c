/** Compares results and describes what differs. */
import { CASE_BYTES, RESULT_BYTES, type Operation } from "./operations.ts";

const modes = ["RNE", "RTZ", "RDN", "RUP", "RMM"];

/** Up to ten differences, one a line; empty if there is none. The flags in `accrued` were set beforehand, so are expected too. */
export function firstDifferences(
  operation: Operation,
  cases: Uint8Array,
  given: Uint8Array,
  expected: Uint8Array,
  accrued: number,
): string {
  const count = cases.length / CASE_BYTES;
  if (given.length !== expected.length) return `${given.length} bytes of results, expected ${expected.length}`;
  const [ours, theirs, inputs] = [given, expected, cases].map(
    (bytes) => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength),
  );
  const lines: string[] = [];
  for (let i = 0; i < count && lines.length < 10; i++) {
    const at = i * RESULT_BYTES;
    const isSame =
      ours!.getUint32(at, true) === theirs!.getUint32(at, true) &&
      ours!.getUint32(at + 4, true) === theirs!.getUint32(at + 4, true) &&
      ours!.getUint32(at + 8, true) === (theirs!.getUint32(at + 8, true) | accrued);
    if (isSame) continue;
    const hex = (view: DataView, offset: number) => view.getBigUint64(offset, true).toString(16);
    const bits = [0, 1, 2].slice(0, operation.arity).map((j) => hex(inputs!, i * CASE_BYTES + 8 + 8 * j));
    const result = (view: DataView) => `${hex(view, at)} flags ${view.getUint32(at + 8, true)}`;
    const mode = modes[inputs!.getUint8(i * CASE_BYTES + 1)];
    lines.push(`${operation.name} ${mode} ${bits.join(" ")}: ${result(ours!)}, expected ${result(theirs!)}`);
  }
  return lines.join("\n");
}
