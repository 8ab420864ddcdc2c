import { Choices } from "#base/choices.ts";

/** A small generator with a seed (Marsaglia's xorshift32): the same seed gives the same cases. */
export class Random extends Choices {
  #state: number;

  constructor(seed: number) {
    super();
    this.#state = (seed * 0x9e3779b1) | 1;
  }

  u32(): number {
    let x = this.#state;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.#state = x;
    return x >>> 0;
  }

  /** 64 bits that find faults: ends of ranges, powers of two and their neighbours, few bits, shifted runs, anything. */
  operand(): bigint {
    const bits = (): bigint => {
      switch (this.below(6)) {
        case 0:
          return this.pick(corners);
        case 1:
          return (1n << BigInt(this.below(64))) + BigInt(this.below(3) - 1);
        case 2:
          return BigInt.asIntN(64, this.u64()) >> BigInt(this.below(64));
        case 3:
          return BigInt(this.below(256) - 128);
        case 4:
          return BigInt.asIntN(32, this.u64());
        default:
          return this.u64();
      }
    };
    return BigInt.asUintN(64, this.oneIn(2) ? bits() : -bits());
  }
}

const corners: readonly bigint[] = [
  0n, 1n, -1n, 2n, 31n, 32n, 63n, 64n, 0x7fn, 0x80n, 0xffn, 0x7fffn, 0x8000n, 0xffffn, 0x7fffffffn, 0x80000000n, 0xffffffffn,
  0x100000000n, 0x7fffffff80000000n, 0x7fffffffffffffffn, 0x8000000000000000n, 0x5555555555555555n, 0xaaaaaaaaaaaaaaaan,
  0x0123456789abcdefn, 0xff00ff00ff00ff00n, 0x8080808080808080n, 0x0101010101010101n,
];
