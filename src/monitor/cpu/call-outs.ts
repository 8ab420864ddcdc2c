/**
 * Adaptive binary translation (Adams & Agesen 2006): an instruction that often writes to traced pages would fault each time. It is replaced by a call
 * to the monitor, which does the write without the fault; and put back when it writes to other pages as often.
 */
import { FRAME_SIZE } from "#machine/frames.ts";
import { decode } from "#riscv/table.ts";
import type { VirtualMachine } from "../vm.ts";
import type { ShadowPaging } from "./shadow-paging.ts";
import { tableStore } from "./table-write.ts";

/** Faults of one instruction that are often; and so many more call-outs for nothing than for something are too many. */
const OFTEN = 16;
/** Instructions that are known at a time. */
const MOST = 4096;

interface Experience {
  /** Since it has no call-out. */
  faults: number;
  /** Faults after which it gets one: more each time that it was in vain, since its code is translated anew. */
  often: number;
  /** Call-outs that were for a traced page, less those that were not. */
  worth: number;
}

export class CallOuts {
  readonly #vm: VirtualMachine;
  readonly #paging: ShadowPaging;
  /** By the lower half of an instruction's address. If two are taken for one, that is only slow. */
  readonly #known = new Map<number, Experience>();
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
    const pc = state.low("pc", 0);
    const known = this.#experienceOf(pc);
    if (++known.faults < known.often) return;
    const at = this.#paging.shadow.physicalAddress(state, pc, state.high("pc"), "fetch");
    if (at === undefined) return;
    known.faults = 0;
    known.worth = 0;
    this.#places.add(at);
    this.#vm.memory.own(Math.floor(at / FRAME_SIZE));
    this.#put(at, true);
  }

  /** A call-out has come. Does the write, if that may be done here; if not, or if it is in vain too often, the instruction is what it was. Returns 0. */
  exit(): number {
    const { state } = this.#vm.core;
    const [pc, pcHigh] = [state.low("pc", 0), state.high("pc")];
    const { rs1, imm } = decode(state.number("exitInstruction"));
    const sum = state.low("x", rs1) + imm;
    const page = this.#paging.store(sum >>> 0, (state.high("x", rs1) + Math.floor(sum / 2 ** 32)) >>> 0);
    const known = this.#experienceOf(pc);
    known.worth = page === "traced" ? Math.min(known.worth + 1, OFTEN) : known.worth - 1;
    if (page !== undefined && known.worth > -OFTEN) return 0;
    if (page !== undefined) known.often *= 2;
    const at = this.#paging.shadow.physicalAddress(state, pc, pcHigh, "fetch");
    if (at !== undefined) this.#remove(at);
    return 0;
  }

  #experienceOf(pc: number): Experience {
    let known = this.#known.get(pc);
    if (known === undefined) {
      if (this.#known.size >= MOST) this.#known.clear();
      known = { faults: 0, often: OFTEN, worth: 0 };
      this.#known.set(pc, known);
    }
    return known;
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
