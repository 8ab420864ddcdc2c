import { HostelryError } from "#base/errors.ts";
import type { DmaMemory } from "#machine/bus.ts";
import { gather, readableViews, scatter, writableViews } from "./dma.ts";

/*
 * The host-target interface: how a bare test program speaks with its simulator, as Spike's front-end server (fesvr) answers it. It has no
 * registers: the program writes a command into a word of its own memory, `tohost`, which is then cleared, and finds answers in another, `fromhost`.
 *
 *     63     56 55     48 47                                    0
 *     ┌────────┬─────────┬───────────────────────────────────────┐
 *     │ device │ command │                payload                │
 *     └────────┴─────────┴───────────────────────────────────────┘
 *      0        0         odd: the end, with status payload >> 1
 *                         even: address of a system call: number, then arguments, each 8 bytes
 *      1        1         a character to write
 */
const Device = { systemCalls: 0, console: 1 } as const;
const ConsoleCommand = { write: 1 } as const;

/** Linux's numbers. */
const SystemCall = { write: 64, exit: 93 } as const;
const EFAULT = -14;
const ENOSYS = -38;

const WORD = 8;
/** More than a program wants to say at once. */
const LONGEST_WRITE = 1 << 20;

/** Symbols of the program: addresses of two words in memory. Without `fromhost` it gets no answers. */
export interface HtifWords {
  readonly tohost: number;
  readonly fromhost: number | undefined;
}

/** What the program wants of its surroundings. */
export interface HtifBackend {
  /** Its own status: success is 0. */
  exit(status: number): void;
  write(bytes: Uint8Array): void;
}

export class Htif {
  readonly #memory: DmaMemory;
  readonly #words: HtifWords;
  readonly #backend: HtifBackend;

  constructor(memory: DmaMemory, words: HtifWords, backend: HtifBackend) {
    this.#memory = memory;
    this.#words = words;
    this.#backend = backend;
  }

  /** Does what the program has asked for, if it has: whether it has. */
  poll(): boolean {
    const { tohost } = this.#words;
    const [low, high] = this.#load(tohost);
    if (low === 0 && high === 0) return false;
    this.#store(tohost, 0);
    this.#obey(high >>> 24, (high >>> 16) & 0xff, low + (high & 0xffff) * 2 ** 32);
    return true;
  }

  #obey(device: number, command: number, payload: number): void {
    if (device === Device.systemCalls && command === 0) {
      if (payload % 2 === 1) return this.#backend.exit(Math.floor(payload / 2));
      this.#answerSystemCall(payload);
    } else if (device === Device.console && command === ConsoleCommand.write) {
      this.#backend.write(Uint8Array.of(payload & 0xff));
    }
  }

  #answerSystemCall(at: number): void {
    const result = orFault(() => {
      const [number, first, second, third] = [0, 1, 2, 3].map((index) => this.#load(at + index * WORD)[0]) as [number, number, number, number];
      return this.#systemCall(number, first, second, third);
    });
    orFault(() => this.#store(at, result));
    if (this.#words.fromhost !== undefined) this.#store(this.#words.fromhost, 1);
  }

  #systemCall(number: number, first: number, second: number, third: number): number {
    switch (number) {
      case SystemCall.write: {
        const bytes = this.#read(second, Math.min(third, LONGEST_WRITE));
        this.#backend.write(bytes);
        return bytes.length;
      }
      case SystemCall.exit:
        this.#backend.exit(first);
        return 0;
      default:
        return ENOSYS;
    }
  }

  #read(address: number, length: number): Uint8Array {
    return gather(readableViews(this.#memory, [{ address, length }]));
  }

  #load(address: number): [low: number, high: number] {
    const view = new DataView(this.#read(address, WORD).buffer);
    return [view.getUint32(0, true), view.getUint32(4, true)];
  }

  #store(address: number, value: number): void {
    const word = new DataView(new ArrayBuffer(WORD));
    word.setBigInt64(0, BigInt(value), true);
    scatter(new Uint8Array(word.buffer), writableViews(this.#memory, [{ address, length: WORD }]));
  }
}

/** The program's own address may be none: then it is told so, as a kernel would. */
function orFault(action: () => number | void): number {
  try {
    return action() ?? 0;
  } catch (error) {
    if (error instanceof HostelryError && error.code === "dma-out-of-range") return EFAULT;
    throw error;
  }
}
