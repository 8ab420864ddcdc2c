/**
 * Hardware-assisted, without a second stage: the guest runs in VS-mode and VU-mode on shadow tables, as it did on early VT-x. Traps and CSRs are its
 * own; its page faults, its satp and its fences are the monitor's.
 */
import { cause, privilege } from "#machine/csr-bits.ts";
import { ExitReason } from "#machine/hart/exit-reason.ts";
import { ShadowedHardwareConfinement } from "../confinement.ts";
import type { ShadowStatistics } from "../memory/shadow.ts";
import type { VirtualMachine } from "../vm.ts";
import { privileged } from "./privileged.ts";
import { SATP, ShadowPaging } from "./shadow-paging.ts";
import type { CpuTechnique, Technique } from "./technique.ts";

const GO_ON = 0;
const INSTRUCTION_LENGTH = 4;

export class HardwareOnShadow implements CpuTechnique {
  readonly confinement: ShadowedHardwareConfinement;
  readonly #paging: ShadowPaging;
  readonly #vm: VirtualMachine;

  constructor(vm: VirtualMachine, technique: Technique) {
    this.#vm = vm;
    this.#paging = new ShadowPaging(vm, { policy: technique.shadow, isVirtual: true, exit: () => this.exit() });
    this.confinement = new ShadowedHardwareConfinement(vm.memory.tables.hgatp(vm.id), () => this.#paging.shadow.nowhere);
  }

  forget(pages: readonly number[]): void {
    this.#paging.shadow.vacated(pages);
  }

  moved(page: number): void {
    this.#paging.shadow.moved(page);
  }

  statistics(): ShadowStatistics {
    return this.#paging.shadow.statistics();
  }

  release(): void {
    this.#paging.shadow.release();
  }

  exit(): number {
    const { state } = this.#vm.core;
    const why = state.number("exitCause");
    switch (why) {
      case cause.ecallFromVirtualSupervisor:
        this.#vm.hypercall();
        return GO_ON;
      case cause.instructionPage:
      case cause.loadPage:
      case cause.storePage:
        return this.#paging.pageFault(why);
      default:
        return this.#virtualInstruction(state.number("exitInstruction"));
    }
  }

  /** What VS-mode may not execute here: what concerns its page tables, and what it hasn't anyway. */
  #virtualInstruction(word: number): number {
    const { core } = this.#vm;
    const instruction = core.state.number("privilege") === privilege.virtualSupervisor ? privileged(word) : undefined;
    const ofTables = instruction?.kind === "fence" || (instruction?.kind === "csr" && instruction.csr === SATP);
    if (!ofTables) {
      this.#vm.record("virtual-instruction", word);
      return core.raise(cause.illegalInstruction, BigInt(word)) ? GO_ON : ExitReason.exit;
    }
    this.#vm.record("privileged-instruction", word);
    core.retire(INSTRUCTION_LENGTH);
    if (instruction.kind === "fence") return this.#paging.fence(instruction);
    this.#paging.accessSatp(instruction);
    return GO_ON;
  }
}
