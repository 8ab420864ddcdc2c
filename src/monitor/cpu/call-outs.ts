/**
 * Adaptive binary translation (Adams & Agesen 2006): an instruction that often writes to traced pages would fault each time. It is replaced by a call
 * to the monitor, which does the write without the fault; and put back when it writes to other pages.
 */
import { FRAME_SIZE } from "#machine/frames.ts";
import { decode } from "#riscv/table.ts";
import type { VirtualMachine } from "../vm.ts";
import type { ShadowPaging } from "./shadow-paging.ts";
import { tableStore } from "./table-write.ts";

/** Faults of one instruction that are often. */
const OFTEN = 16;
/** Instructions that are counted at a time. */
const MOST = 4096;

export class CallOuts {
  readonly #vm: VirtualMachine;
  readonly #paging: ShadowPaging;
  /** Faults on traced pages, by guest-physical address of the instruction. */
  readonly #faults = new Map<number, number>();
  /** Where there are call-outs: guest-physical addresses. */
  readonly #places = new Set<number>();

  constructor(vm: VirtualMachine, paging: ShadowPaging) {
    this.#vm = vm;
    this.#paging = paging;
  }

  /** The instruction at the pc has faulted, since it writes to a traced page. */
  faulted(): void {
    const { state } = this.#vm.core;
    if (tableStore(state.number("exitInstruction")) === undefined) return;
    const at = this.#paging.shadow.physicalAddress(state, state.number("pc"), state.high("pc"), "fetch");
    if (at === undefined) return;
    const faults = (this.#faults.get(at) ?? 0) + 1;
    if (this.#faults.size >= MOST) this.#faults.clear();
    this.#faults.set(at, faults);
    if (faults < OFTEN) return;
    this.#faults.delete(at);
    this.#places.add(at);
    this.#vm.memory.own(Math.floor(at / FRAME_SIZE));
    this.#put(at, true);
  }

  /** A call-out has come. Does the write; or, if that is not to a traced page, lets the instruction be what it was. Returns 0. */
  exit(): number {
    const { state } = this.#vm.core;
    const word = state.number("exitInstruction");
    const { rs1, imm } = decode(word);
    const sum = state.low("x", rs1) + imm;
    const high = (state.high("x", rs1) + Math.floor(sum / 2 ** 32)) >>> 0;
    if (this.#paging.storeIfTraced(sum >>> 0, high)) return 0;
    const at = this.#paging.shadow.physicalAddress(state, state.number("pc"), state.high("pc"), "fetch");
    if (at !== undefined) this.#remove(at);
    return 0;
  }

  /** Pages may be others' too from now on, who have no call-outs there. */
  forget(pages: readonly number[]): void {
    if (this.#places.size === 0) return;
    const gone = new Set(pages);
    for (const at of [...this.#places]) if (gone.has(Math.floor(at / FRAME_SIZE))) this.#remove(at);
  }

  /** All instructions are what they were. */
  release(): void {
    for (const at of this.#places) this.#remove(at);
  }

  #remove(at: number): void {
    this.#places.delete(at);
    this.#put(at, false);
  }

  #put(physical: number, on: boolean): void {
    const { memory } = this.#vm;
    const frame = memory.pmap.frame(Math.floor(physical / FRAME_SIZE));
    // With its frame, the call-out went.
    if (frame < 0) return;
    this.#vm.core.callOutAt(4 * memory.machine.wordOf(frame) + (physical % FRAME_SIZE), on);
  }
}
