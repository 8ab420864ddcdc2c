/** A hash of what a page holds, for finding pages that may be alike. It need not withstand an adversary: pages are compared before they are shared. */
import type { ContentHash } from "./hints.ts";

const WORDS = 1024;

/** `words` from `first` on; undefined if all of them are zero. Another `salt` gives other hashes. */
export function hashPage(words: Uint32Array, first: number, salt: number): ContentHash | undefined {
  let [a, b, c, d] = [salt ^ 0x243f6a88, salt ^ 0x85a308d3, salt ^ 0x13198a2e, salt ^ 0x03707344];
  let any = 0;
  // Four sums that don't wait for each other.
  for (let at = first; at < first + WORDS; at += 4) {
    const [p, q, r, s] = [words[at]!, words[at + 1]!, words[at + 2]!, words[at + 3]!];
    any |= p | q | r | s;
    a = Math.imul(rotated(a ^ p), 0x9e3779b1);
    b = Math.imul(rotated(b ^ q), 0x85ebca77);
    c = Math.imul(rotated(c ^ r), 0xc2b2ae3d);
    d = Math.imul(rotated(d ^ s), 0x27d4eb2f);
  }
  if (any === 0) return undefined;
  const high = mixed(mixed(mixed(mixed(a) ^ b) ^ c) ^ d);
  return { high, low: mixed(mixed(high ^ a) ^ c) };
}

export function areAlike(words: Uint32Array, one: number, other: number): boolean {
  for (let i = 0; i < WORDS; i++) if (words[one + i] !== words[other + i]) return false;
  return true;
}

const rotated = (x: number): number => (x << 13) | (x >>> 19);

function mixed(x: number): number {
  x = Math.imul(x ^ (x >>> 16), 0x85ebca6b);
  x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35);
  return (x ^ (x >>> 16)) >>> 0;
}
