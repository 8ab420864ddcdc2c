/**
 * A seeded generator of random bits, for runs that are to be repeatable: xoshiro128**, by Blackman and Vigna ("Scrambled linear
 * pseudorandom number generators", 2021), its state filled by SplitMix32. Good statistics, and no secrecy at all.
 */
export class Random {
  readonly #state = new Uint32Array(4);

  /** `seed` is an integer of up to 53 bits; each gives its own sequence. */
  constructor(seed: number) {
    let counter = (seed % 2 ** 32) ^ Math.imul(Math.floor(seed / 2 ** 32), 0x9e3779b1);
    for (let i = 0; i < 4; i++) {
      counter = (counter + 0x9e3779b9) | 0;
      let word = counter ^ (counter >>> 16);
      word = Math.imul(word, 0x21f0aaad);
      word = Math.imul(word ^ (word >>> 15), 0x735a2d97);
      this.#state[i] = word ^ (word >>> 15);
    }
  }

  /** Four words, which `restore` takes: the sequence goes on from here. */
  save(): number[] {
    return [...this.#state];
  }

  restore(state: readonly number[]): void {
    this.#state.set(state);
  }

  /** The next 32 bits. */
  u32(): number {
    const state = this.#state;
    const [, s1] = state as unknown as [number, number, number, number];
    const result = Math.imul(rotateLeft(Math.imul(s1, 5), 7), 9) >>> 0;
    state[2]! ^= state[0]!;
    state[3]! ^= s1;
    state[1]! ^= state[2]!;
    state[0]! ^= state[3]!;
    state[2]! ^= s1 << 9;
    state[3] = rotateLeft(state[3]!, 11);
    return result;
  }

  fill(bytes: Uint8Array): void {
    let word = 0;
    for (let i = 0; i < bytes.length; i++) {
      if (i % 4 === 0) word = this.u32();
      bytes[i] = word >>> (8 * (i % 4));
    }
  }
}

function rotateLeft(word: number, by: number): number {
  return (word << by) | (word >>> (32 - by));
}
