/** Random choices, repeatable by a seed. */
import { Choices } from "#base/choices.ts";
import { Random } from "#base/random.ts";

export class Dice extends Choices {
  readonly #random: Random;

  constructor(seed: number) {
    super();
    this.#random = new Random(seed);
  }

  u32(): number {
    return this.#random.u32();
  }

  /** 64 bits: any, one, all, or a small number of either sign. */
  operand(): bigint {
    return this.pick([() => this.u64(), () => 1n << BigInt(this.below(64)), () => 2n ** 64n - 1n, () => BigInt.asUintN(64, BigInt(this.below(64) - 32))])();
  }
}
