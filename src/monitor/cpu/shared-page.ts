/** The page that a paravirtual guest and the monitor share: what would be CSRs. Offsets of its words, of 8 bytes each: docs/hypercalls.md. */
import type { GuestMemory } from "../memory/guest-memory.ts";

export const word = {
  status: 0, cause: 1, value: 2, pending: 3, enabled: 4, timer: 5, vector: 6, stack: 7, registers: 8, kernelRegisters: 9, events: 10,
} as const;
type Word = (typeof word)[keyof typeof word];

export class SharedPage {
  /** Guest's page number. */
  readonly page: number;
  readonly #memory: GuestMemory;
  readonly #at: number;

  constructor(memory: GuestMemory, page: number) {
    this.page = page;
    this.#memory = memory;
    this.#at = memory.machine.wordOf(memory.own(page));
  }

  low(name: Word): number {
    return this.#memory.machine.words[this.#at + 2 * name]!;
  }

  high(name: Word): number {
    return this.#memory.machine.words[this.#at + 2 * name + 1]!;
  }

  get(name: Word): bigint {
    return (BigInt(this.high(name)) << 32n) | BigInt(this.low(name));
  }

  set(name: Word, low: number, high = 0): void {
    const { words } = this.#memory.machine;
    words[this.#at + 2 * name] = low;
    words[this.#at + 2 * name + 1] = high;
  }
}
