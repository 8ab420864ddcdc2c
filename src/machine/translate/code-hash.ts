/** What the same code has in common wherever it stands, quickly worked out: the hart does so too, see `mayBeKnown` in hart/interpreter.ts. */
import { knownCode } from "../layout.ts";

/**
 * Of the code at `at`: its first 8 bytes (at the end of a page, the last 8), and where in the page they stand. Pages begin at multiples of 4096
 * of `view`.
 */
export function codeHash(view: DataView, at: number): number {
  const inPage = at & 4095;
  const first = at - Math.max(inPage - 4088, 0);
  const { multiplier } = knownCode;
  const code = view.getInt32(first, true) ^ Math.imul(view.getInt32(first + 4, true), multiplier);
  return Math.imul(code ^ Math.imul(inPage, multiplier), multiplier) >>> 0;
}
