/** Random choices, repeatable by a seed. */
import { Random } from "#base/random.ts";

export class Dice {
  readonly #random: Random;

  constructor(seed: number) {
    this.#random = new Random(seed);
  }

  u32(): number {
    return this.#random.u32();
  }

  u64(): bigint {
    return (BigInt(this.u32()) << 32n) | BigInt(this.u32());
  }

  below(limit: number): number {
    return Math.floor((this.u32() / 2 ** 32) * limit);
  }

  /** True once in `n` times. */
  oneIn(n: number): boolean {
    return this.below(n) === 0;
  }

  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)]!;
  }

  /** 64 bits: any, one, all, or a small number of either sign. */
  operand(): bigint {
    return this.pick([() => this.u64(), () => 1n << BigInt(this.below(64)), () => 2n ** 64n - 1n, () => BigInt.asUintN(64, BigInt(this.below(64) - 32))])();
  }
}
