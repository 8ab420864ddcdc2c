/**
 * The frames of the machine's memory: which are free, and for each of the others whose it is, in what state, and how many use it. All harts
 * take from here at once, so every change is one atomic operation. The table stands outside the machine's linear memory, where no guest's
 * wrong address reaches it.
 *
 * Frames come in no particular order: neighbours are used up before the next window of 2 MiB is begun, and what is given back is used first, so that the
 * host gives memory for few of its own pages, which it never gets back; but within the window they are scattered.
 */
import { assert } from "#base/assert.ts";

export const FRAME_SIZE = 4096;

/** What a frame is for. `free` and the states of frames that a VM's pages are in; what is `shared` or `zero` nobody writes to. */
export const frameStates = ["free", "private", "shared", "zero", "pinned", "page-table", "device"] as const;
export type FrameState = (typeof frameStates)[number];

/** No VM: the machine's own. */
export const NOBODY = 0;

/** The frame of zeros, which stands behind any number of pages; whoever writes to one gets a frame of his own. */
export const ZERO_FRAME = 0;

/**
 * A frame's word: how many use it │ state │ owner; of one that is shared, among whom
 *                 31           20   19 16   15 0
 */
const field = { state: 16, count: 20 } as const;
const OWNER_MASK = 0xffff;
const STATE_MASK = 0xf;
const ONE_USER = 1 << field.count;
const MOST_USERS = 0xfff;
const stateCode = (state: FrameState): number => frameStates.indexOf(state) << field.state;
const SHARED = stateCode("shared");

/** In `available`. */
const CURSOR = 1;

/** Frames of a window, as words of the bitmap: 2 MiB. */
const WINDOW_WORDS = 16;
/** Steps through a window's words and through a word's bits, odd and so reaching each. */
const WORD_STEP = 7;
const BIT_STEP = 13;

export interface FrameInfo {
  readonly owner: number;
  readonly state: FrameState;
  readonly count: number;
}

export interface SharedFrames {
  readonly free: SharedArrayBuffer;
  readonly words: SharedArrayBuffer;
  /** Frames; and, as two i32 in shared memory, how many of them are free, and in which place of the bitmap's words one is looked for first. */
  readonly total: number;
  readonly available: SharedArrayBuffer;
}

export class Frames {
  readonly shared: SharedFrames;
  /** A bit for each frame: set if it is free. */
  readonly #free: Int32Array;
  readonly #words: Int32Array;
  readonly #available: Int32Array;

  /** Over the table that another thread created. */
  constructor(shared: SharedFrames) {
    this.shared = shared;
    this.#free = new Int32Array(shared.free);
    this.#words = new Int32Array(shared.words);
    this.#available = new Int32Array(shared.available);
  }

  /** `total` frames, all of them free but the frame of zeros. */
  static create(total: number): Frames {
    const bitmapWords = Math.ceil(total / 32 / WINDOW_WORDS) * WINDOW_WORDS;
    const frames = new Frames({
      free: new SharedArrayBuffer(bitmapWords * 4),
      words: new SharedArrayBuffer(total * 4),
      total,
      available: new SharedArrayBuffer(8),
    });
    for (let frame = 0; frame < total; frame++) frames.#free[frame >>> 5]! |= 1 << (frame & 31);
    frames.#available[0] = total;
    frames.#claim(ZERO_FRAME, 1);
    frames.#set(ZERO_FRAME, NOBODY, "zero", 1);
    return frames;
  }

  get total(): number {
    return this.shared.total;
  }

  /** Frames that are there to be taken: all but that of zeros. */
  get usable(): number {
    return this.total - 1;
  }

  get available(): number {
    return Atomics.load(this.#available, 0);
  }

  /** A free frame, now `owner`'s; -1 if there is none. What it holds is what it held. */
  take(owner: number, state: FrameState): number {
    const words = this.#free.length;
    for (let tried = 0, place = Atomics.load(this.#available, CURSOR); tried < words; ) {
      const word = scattered(place);
      const bits = Atomics.load(this.#free, word);
      if (bits === 0) {
        const next = (place + 1) % words;
        Atomics.compareExchange(this.#available, CURSOR, place, next);
        place = next;
        tried++;
        continue;
      }
      const bit = scatteredBit(bits);
      if (!this.#claim(word, 1 << bit)) continue;
      const frame = word * 32 + bit;
      this.#set(frame, owner, state, 1);
      return frame;
    }
    return -1;
  }

  /** Four free frames side by side and aligned to 16 KiB, as the root of a G-stage table must be: the first; -1 if there are none. */
  takeRoot(owner: number): number {
    for (let word = 0; word < this.#free.length; word++) {
      for (let shift = 0; shift < 32; shift += 4) {
        const mask = 0xf << shift;
        if ((Atomics.load(this.#free, word) & mask) !== mask || !this.#claim(word, mask)) continue;
        const first = word * 32 + shift;
        for (let frame = first; frame < first + 4; frame++) this.#set(frame, owner, "page-table", 1);
        return first;
      }
    }
    return -1;
  }

  /** Its only user, who has written to it so far, does so no more: others of this group, a number of 16 bits, may join. */
  share(frame: number, group: number): void {
    const { state, count } = this.info(frame);
    assert(state === "private" && count === 1, "only what is private becomes shared", { frame, state, count });
    this.#set(frame, group, "shared", 1);
  }

  /** One user more, who will not write to it; false if it is not shared any more, or among others, or is no frame at all, or has as many as can be counted. */
  join(frame: number, group: number): boolean {
    if (frame >= this.total) return false;
    for (;;) {
      const word = Atomics.load(this.#words, frame);
      const users = word >>> field.count;
      if ((word & ((STATE_MASK << field.state) | OWNER_MASK)) !== (SHARED | group) || users === 0 || users === MOST_USERS) return false;
      if (Atomics.compareExchange(this.#words, frame, word, word + ONE_USER) === word) return true;
    }
  }

  /** The last of a shared frame's users makes it private; false if there are others. */
  reclaim(frame: number, owner: number): boolean {
    const alone = (Atomics.load(this.#words, frame) & OWNER_MASK) | SHARED | ONE_USER;
    return Atomics.compareExchange(this.#words, frame, alone, owner | stateCode("private") | ONE_USER) === alone;
  }

  /** One user less; the last one's leaving makes it free. The frame of zeros has no count. */
  release(frame: number): void {
    if (frame === ZERO_FRAME) return;
    const before = Atomics.sub(this.#words, frame, ONE_USER);
    const count = before >>> field.count;
    assert(count > 0, "a free frame was released", { frame });
    if (count > 1) return;
    Atomics.store(this.#words, frame, 0);
    Atomics.or(this.#free, frame >>> 5, 1 << (frame & 31));
    Atomics.add(this.#available, 0, 1);
    // From the window's first word on. Who passes by just now may overlook it: it is found when the others are used up.
    const place = (frame >>> 5) - ((frame >>> 5) % WINDOW_WORDS);
    if (place < Atomics.load(this.#available, CURSOR)) Atomics.store(this.#available, CURSOR, place);
  }

  info(frame: number): FrameInfo {
    const word = Atomics.load(this.#words, frame);
    const state = frameStates[(word >>> field.state) & STATE_MASK]!;
    return { owner: state === "shared" ? NOBODY : word & OWNER_MASK, state, count: word >>> field.count };
  }

  #set(frame: number, owner: number, state: FrameState, count: number): void {
    Atomics.store(this.#words, frame, owner | stateCode(state) | (count << field.count));
  }

  /** Takes all of the bits in `mask`, or none. */
  #claim(word: number, mask: number): boolean {
    const bits = Atomics.load(this.#free, word);
    if ((bits & mask) !== mask || Atomics.compareExchange(this.#free, word, bits, bits & ~mask) !== bits) return false;
    let count = 0;
    for (let left = mask; left !== 0; left &= left - 1) count++;
    Atomics.sub(this.#available, 0, count);
    return true;
  }
}

/** The word of the bitmap that comes in the n-th place. */
function scattered(n: number): number {
  const inWindow = n % WINDOW_WORDS;
  return n - inWindow + ((inWindow * WORD_STEP) % WINDOW_WORDS);
}

/** One of the bits that are set. */
function scatteredBit(bits: number): number {
  for (let i = 0, bit = 0; ; i++, bit = (bit + BIT_STEP) & 31) {
    if ((bits >>> bit) & 1) return bit;
    assert(i < 32, "a word without a free frame");
  }
}
