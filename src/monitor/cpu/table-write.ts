/**
 * A guest's store to one of its page tables, which it may not make unseen: done in the hart's place, where it is of the kinds that kernels write
 * tables by. Those are stores of words, bitwise atomics (an entry is taken out by AMOSWAP, protected by AMOAND), and CBO.ZERO, on a page that was a
 * table once.
 */
import { FRAME_SIZE } from "#machine/frames.ts";
import { decode } from "#riscv/table.ts";
import type { Shadow } from "../memory/shadow.ts";
import type { VirtualMachine } from "../vm.ts";
import { step } from "./step.ts";

/** What of each word becomes of the one that was there. */
type Update = (old: number, operand: number) => number;

export interface TableStore {
  /** Bytes: 4, 8, or a block. */
  readonly size: number;
  readonly update: Update;
  /** Where it begins: so far behind a register, rs1. */
  readonly base: number;
  readonly offset: number;
  /** rs2; 0 of a block, for zeros. */
  readonly operand: number;
  /** Gets what was there; 0 for none. */
  readonly rd: number;
  /** Bytes of the instruction. */
  readonly length: number;
}

const BLOCK = 64;
const replace: Update = (_old, operand) => operand;
const kinds: Readonly<Record<string, readonly [size: number, update: Update]>> = {
  sw: [4, replace],
  sd: [8, replace],
  "amoswap.w": [4, replace],
  "amoswap.d": [8, replace],
  "amoand.w": [4, (old, operand) => old & operand],
  "amoand.d": [8, (old, operand) => old & operand],
  "amoor.w": [4, (old, operand) => old | operand],
  "amoor.d": [8, (old, operand) => old | operand],
  "amoxor.w": [4, (old, operand) => old ^ operand],
  "amoxor.d": [8, (old, operand) => old ^ operand],
  "cbo.zero": [BLOCK, replace],
};

const cache = new Map<number, TableStore | undefined>();

/** By the instruction's bits; undefined if it is of no such kind. */
export function tableStore(word: number): TableStore | undefined {
  if (!cache.has(word)) {
    // Kernels have a few dozen; a guest that makes up others must not fill the host.
    if (cache.size > 4096) cache.clear();
    cache.set(word, decoded(word));
  }
  return cache.get(word);
}

function decoded(word: number): TableStore | undefined {
  const { instruction, rd, rs1, rs2, imm, length } = decode(word);
  const kind = kinds[instruction.name];
  return kind && { size: kind[0], update: kind[1], base: rs1, offset: imm, operand: rs2, rd, length };
}

/** Does the store at this guest-physical address, and tells the shadow. Returns 0 or an ExitReason. */
export function storeToTable(vm: VirtualMachine, shadow: Shadow, physical: number, exit: () => number): number {
  if (storeInPlace(vm, shadow, physical, vm.core.state.low("exitTval", 0))) return 0;
  // Whatever else stores: the hart does it with the page writable, and what it has changed is looked for.
  shadow.allow(Math.floor(physical / FRAME_SIZE));
  return step(vm, shadow, exit);
}

/** Does it if it is one of these, aligned, that begins at this virtual address (its lower half): whether it is. */
export function storeInPlace(vm: VirtualMachine, shadow: Shadow, physical: number, low: number): boolean {
  const { core, memory } = vm;
  const { state } = core;
  const store = tableStore(state.number("exitInstruction"));
  // What was refused may be the second page of a store that begins in the page before.
  if (store === undefined || (state.low("x", store.base) + store.offset) >>> 0 !== low) return false;
  const { size, update, operand, rd } = store;
  const page = Math.floor(physical / FRAME_SIZE);
  const offset = size === BLOCK ? (physical % FRAME_SIZE) & -BLOCK : physical % FRAME_SIZE;
  if (offset % size !== 0) return false;
  const { machine } = memory;
  const frame = memory.own(page);
  machine.written(frame);
  const { words } = machine;
  const first = machine.wordOf(frame) + offset / 4;
  const [lower, upper] = [state.low("x", operand), state.high("x", operand)];
  const before = words[first]!;
  const above = size === 4 ? (before | 0) >> 31 : words[first + 1]!;
  for (let i = 0; i < size / 4; i++) words[first + i] = update(words[first + i]!, i & 1 ? upper : lower);
  if (rd !== 0) state.setHalves("x", rd, before, above);
  core.retire(store.length);
  if (shadow.tables.isTraced(page)) shadow.tableWritten(page, offset, offset + size - 1);
  return true;
}
