import { assert } from "#base/assert.ts";
import { cells64 } from "#base/device-tree.ts";
import { StateReader, type Saveable, type SavedState } from "#base/saved-state.ts";
import type { AccessSize, DeviceTreeNode, DevicePlace, InterruptLine, MmioDevice } from "#machine/bus.ts";

/*
 * The platform-level interrupt controller: RISC-V PLIC Specification 1.0.0, as `sifive,plic-1.0.0` lays it out. A context is
 * one privilege level of one hart: hart h takes machine-level interrupts at context 2h, supervisor-level ones at 2h + 1.
 *
 *     0x000000  priority of source s        at 4s        0 is "never"
 *     0x001000  pending bits, 32 a word     at 4⌊s/32⌋
 *     0x002000  enable bits of context c    at 0x80c + 4⌊s/32⌋
 *     0x200000  threshold of context c      at 0x1000c
 *     0x200004  claim (read), complete (write) of context c, at 0x1000c
 */
const PENDING = 0x1000;
const ENABLE = 0x2000;
const ENABLE_STRIDE = 0x80;
const CONTEXT = 0x20_0000;
const CONTEXT_STRIDE = 0x1000;
const THRESHOLD = 0;
const CLAIM = 4;

const SIZE = 0x60_0000;
/** As on QEMU's `virt`: source 0 means "none", 1 to 95 are lines. */
const SOURCES = 96;
const WORDS = SOURCES / 32;
const PRIORITY_MASK = 7;

/** Interrupt numbers of a hart's own controller: `mcause` codes of the external interrupts. */
const MACHINE_EXTERNAL = 11;
const SUPERVISOR_EXTERNAL = 9;

/** The two external interrupt lines into one hart. */
export interface HartExternalLines {
  readonly machine: InterruptLine;
  readonly supervisor: InterruptLine;
}

export class Plic implements MmioDevice, Saveable {
  readonly name = "plic";
  readonly size = SIZE;
  readonly #contexts: readonly InterruptLine[];
  readonly #priority = new Uint8Array(SOURCES);
  readonly #threshold: Uint8Array;
  /** Words of enable bits, context by context. */
  readonly #enable: Uint32Array;
  /** What the devices drive. */
  readonly #level = new Uint32Array(WORDS);
  /** Accepted by a gateway, not yet claimed. */
  readonly #pending = new Uint32Array(WORDS);
  /** Claimed, not yet completed: the source's gateway lets nothing through. */
  readonly #claimed = new Uint32Array(WORDS);

  constructor(harts: readonly HartExternalLines[]) {
    this.#contexts = harts.flatMap((hart) => [hart.machine, hart.supervisor]);
    this.#threshold = new Uint8Array(this.#contexts.length);
    this.#enable = new Uint32Array(this.#contexts.length * WORDS);
  }

  /** The line on which source `source` (1 to 95) requests an interrupt. */
  line(source: number): InterruptLine {
    assert(Number.isInteger(source) && source > 0 && source < SOURCES, "the interrupt controller has no such source", { source });
    return { set: (level) => this.#setLevel(source, level) };
  }

  read(offset: number, size: AccessSize): number {
    if (size !== 4 || offset % 4 !== 0) return 0;
    if (offset < PENDING) return this.#priority[offset / 4] ?? 0;
    if (offset < ENABLE) return this.#pending[(offset - PENDING) / 4] ?? 0;
    if (offset < CONTEXT) {
      const index = this.#enableIndex(offset);
      return index === undefined ? 0 : this.#enable[index]!;
    }
    const context = Math.floor((offset - CONTEXT) / CONTEXT_STRIDE);
    if (context >= this.#contexts.length) return 0;
    if (offset % CONTEXT_STRIDE === THRESHOLD) return this.#threshold[context]!;
    if (offset % CONTEXT_STRIDE === CLAIM) return this.#claim(context);
    return 0;
  }

  write(offset: number, size: AccessSize, value: number): void {
    if (size !== 4 || offset % 4 !== 0) return;
    if (offset < PENDING) {
      const source = offset / 4;
      if (source > 0 && source < SOURCES) this.#priority[source] = value & PRIORITY_MASK;
    } else if (offset >= ENABLE && offset < CONTEXT) {
      const index = this.#enableIndex(offset);
      // Source 0 does not exist, so its bit can't be set.
      if (index !== undefined) this.#enable[index] = index % WORDS === 0 ? value & ~1 : value;
    } else if (offset >= CONTEXT) {
      const context = Math.floor((offset - CONTEXT) / CONTEXT_STRIDE);
      if (context >= this.#contexts.length) return;
      if (offset % CONTEXT_STRIDE === THRESHOLD) this.#threshold[context] = value & PRIORITY_MASK;
      else if (offset % CONTEXT_STRIDE === CLAIM) this.#complete(context, value);
    }
    this.#update();
  }

  deviceTreeNode(place: DevicePlace): DeviceTreeNode {
    return {
      name: `plic@${place.address.toString(16)}`,
      properties: {
        compatible: ["sifive,plic-1.0.0", "riscv,plic0"],
        reg: [...cells64(place.address), ...cells64(this.size)],
        "interrupt-controller": true,
        "#interrupt-cells": [1],
        "#address-cells": [0],
        "interrupts-extended": (place.hartControllers ?? []).flatMap((hart) => [hart, MACHINE_EXTERNAL, hart, SUPERVISOR_EXTERNAL]),
        "riscv,ndev": [SOURCES - 1],
        phandle: [place.phandle ?? 0],
      },
    };
  }

  /** The levels stay: they are the devices'. */
  reset(): void {
    for (const registers of [this.#priority, this.#threshold, this.#enable, this.#pending, this.#claimed]) registers.fill(0);
    this.#openGateways();
    this.#update();
  }

  save(): SavedState {
    return {
      kind: "plic",
      version: 1,
      priority: [...this.#priority],
      threshold: [...this.#threshold],
      enable: [...this.#enable],
      level: [...this.#level],
      pending: [...this.#pending],
      claimed: [...this.#claimed],
    };
  }

  restore(state: unknown): void {
    const from = StateReader.open(state, "plic", 1);
    const fields = [
      [this.#priority, from.uints("priority", 3, SOURCES)],
      [this.#threshold, from.uints("threshold", 3, this.#threshold.length)],
      [this.#enable, from.uints("enable", 32, this.#enable.length)],
      [this.#level, from.uints("level", 32, WORDS)],
      [this.#pending, from.uints("pending", 32, WORDS)],
      [this.#claimed, from.uints("claimed", 32, WORDS)],
    ] as const;
    for (const [registers, values] of fields) registers.set(values);
    this.#update();
  }

  /** Index into the enable words, if the offset is one of a context and a source that exist. */
  #enableIndex(offset: number): number | undefined {
    const context = Math.floor((offset - ENABLE) / ENABLE_STRIDE);
    const word = (offset % ENABLE_STRIDE) / 4;
    return context < this.#contexts.length && word < WORDS ? context * WORDS + word : undefined;
  }

  #setLevel(source: number, level: boolean): void {
    const word = source >> 5;
    const bit = 1 << (source & 31);
    if (((this.#level[word]! & bit) !== 0) === level) return;
    this.#level[word]! ^= bit;
    if (!level) return;
    this.#openGateways();
    this.#update();
  }

  /**
   * Section 4: a gateway turns a level into one request at a time. It makes the next one when the last is completed and the
   * level is still high. A request, once made, stays although the level falls.
   */
  #openGateways(): void {
    for (let word = 0; word < WORDS; word++) this.#pending[word]! |= this.#level[word]! & ~this.#claimed[word]!;
  }

  /** Section 9: takes the most urgent pending source, whatever the threshold. 0 if there is none. */
  #claim(context: number): number {
    const source = this.#mostUrgent(context, 0);
    if (source === 0) return 0;
    const bit = 1 << (source & 31);
    this.#pending[source >> 5]! &= ~bit;
    this.#claimed[source >> 5]! |= bit;
    this.#update();
    return source;
  }

  /** Section 10: silently ignored unless the source is enabled for the context. */
  #complete(context: number, source: number): void {
    if (source >= SOURCES) return;
    const word = source >> 5;
    const bit = 1 << (source & 31);
    if ((this.#enable[context * WORDS + word]! & bit) === 0) return;
    this.#claimed[word]! &= ~bit;
    this.#openGateways();
  }

  /** The pending, enabled source of the highest priority above `threshold`; of equal ones, the lowest number. 0 if there is none. */
  #mostUrgent(context: number, threshold: number): number {
    let best = 0;
    let bestPriority = threshold;
    for (let word = 0; word < WORDS; word++) {
      let candidates = this.#pending[word]! & this.#enable[context * WORDS + word]!;
      while (candidates !== 0) {
        const lowest = candidates & -candidates;
        candidates ^= lowest;
        const source = 32 * word + 31 - Math.clz32(lowest);
        if (this.#priority[source]! > bestPriority) {
          best = source;
          bestPriority = this.#priority[source]!;
        }
      }
    }
    return best;
  }

  #update(): void {
    for (let context = 0; context < this.#contexts.length; context++) {
      this.#contexts[context]!.set(this.#mostUrgent(context, this.#threshold[context]!) !== 0);
    }
  }
}
