/**
 * What page sharing remembers of the pages that it has looked at (Waldspurger 2002, section 4.1: its hint frames), by what they hold. It is
 * one table for all harts, in sets of eight entries; who comes into a full set takes the place of another.
 *
 *   entry    31            1 0     31       20 19        0
 *            │ hash 31      │F│    │ VM 12    │ page 20   │    F = 0: the page held this when it was looked at, and may hold anything by now
 *                             │    │ frame 32             │    F = 1: the frame does, as long as it is shared
 *
 * Harts read and write entries without a lock. What an entry says is to be checked in any case, and one that is half another's says something wrong.
 */

export interface ContentHash {
  readonly high: number;
  readonly low: number;
}

/** Where a content was seen. */
export type Hint = { readonly kind: "page"; readonly vm: number; readonly index: number } | { readonly kind: "frame"; readonly frame: number };

const SET = 8;
const WORDS = 2;
const FRAME = 1;
const PAGE_BITS = 20;

export class Hints {
  readonly shared: SharedArrayBuffer;
  readonly #words: Uint32Array;
  readonly #sets: number;

  /** Over the table that another thread created. */
  constructor(shared: SharedArrayBuffer) {
    this.shared = shared;
    this.#words = new Uint32Array(shared);
    this.#sets = this.#words.length / WORDS / SET;
  }

  /** Half as many entries as the machine has frames: a thousandth of its memory. What has to give way comes again when its page is looked at again. */
  static create(frames: number): Hints {
    return new Hints(new SharedArrayBuffer(Math.ceil(frames / 2 / SET) * SET * WORDS * 4));
  }

  /** What may hold this, if anything may. */
  find(hash: ContentHash): Hint | undefined {
    const at = this.#find(hash);
    if (at < 0) return undefined;
    const value = this.#words[at + 1]!;
    if (this.#words[at]! & FRAME) return { kind: "frame", frame: value };
    return { kind: "page", vm: value >>> PAGE_BITS, index: value & ((1 << PAGE_BITS) - 1) };
  }

  /** In the place of what was there for this hash. */
  set(hash: ContentHash, hint: Hint): void {
    const found = this.#find(hash);
    const at = found >= 0 ? found : this.#vacant(hash);
    this.#words[at + 1] = hint.kind === "frame" ? hint.frame : hint.vm * 2 ** PAGE_BITS + hint.index;
    this.#words[at] = hint.kind === "frame" ? tagOf(hash) | FRAME : tagOf(hash);
  }

  #find(hash: ContentHash): number {
    const tag = tagOf(hash);
    const first = this.#setOf(hash);
    for (let at = first; at < first + SET * WORDS; at += WORDS) if ((this.#words[at]! & ~FRAME) >>> 0 === tag) return at;
    return -1;
  }

  /** An entry that is free, or a page's, of which there are many that never find their like. */
  #vacant({ high, low }: ContentHash): number {
    const first = this.#setOf({ high, low });
    for (let at = first; at < first + SET * WORDS; at += WORDS) if (this.#words[at] === 0) return at;
    const start = (high ^ low) % SET;
    for (let i = 0; i < SET; i++) {
      const at = first + ((start + i) & (SET - 1)) * WORDS;
      if (!(this.#words[at]! & FRAME)) return at;
    }
    return first + (start & (SET - 1)) * WORDS;
  }

  #setOf({ low }: ContentHash): number {
    return (low % this.#sets) * SET * WORDS;
  }
}

/** Never 0, which is no entry. */
function tagOf({ high }: ContentHash): number {
  return (high & ~FRAME) >>> 0 || 2;
}
