/**
 * What techniques have in common that run a guest's kernel in U-mode: every trap comes here. Some are the guest's own and go to its kernel, some
 * are for the sake of its kernel's privilege, and some are of the shadow tables and none of the guest's affair.
 */
import { HostelryError } from "#base/errors.ts";
import { cause, interrupt, virtualInterrupts, type rewriting } from "#machine/csr-bits.ts";
import { ExitReason } from "#machine/hart/exit-reason.ts";
import type { HartState } from "#machine/hart.ts";
import { UserModeConfinement } from "../confinement.ts";
import type { ShadowStatistics } from "../memory/shadow.ts";
import type { CsrAccess } from "../virtual-core.ts";
import type { VirtualMachine } from "../vm.ts";
import { needsFloat, privileged, type Privileged } from "./privileged.ts";
import { CallOuts } from "./call-outs.ts";
import { SATP, ShadowPaging } from "./shadow-paging.ts";
import { SoftwareTlbPaging, STLBOP } from "./software-tlb-paging.ts";
import type { CpuTechnique, Technique } from "./technique.ts";

export interface DeprivilegedOptions {
  readonly technique: Technique;
  /** Which privileged instructions of the guest's kernel the hart does in place. */
  readonly rewrites: keyof typeof rewriting;
}

const GO_ON = 0;
const INTERRUPT = 2 ** 31;
const INSTRUCTION_LENGTH = 4;

export class Deprivileged implements CpuTechnique {
  readonly confinement: UserModeConfinement;
  readonly #paging: ShadowPaging | SoftwareTlbPaging;
  /** Of shadow tables. */
  readonly #callOuts: CallOuts | undefined;
  readonly #vm: VirtualMachine;
  readonly #technique: Technique;

  constructor(vm: VirtualMachine, { technique, rewrites }: DeprivilegedOptions) {
    this.#vm = vm;
    this.#technique = technique;
    if (vm.tlb === "software") this.#paging = new SoftwareTlbPaging(vm);
    else {
      const written = (): void => void (rewrites !== "none" && this.#callOuts?.faulted());
      this.#paging = new ShadowPaging(vm, { policy: technique.shadow, isVirtual: false, exit: () => this.exit(), written });
      this.#callOuts = new CallOuts(vm, this.#paging);
    }
    this.confinement = new UserModeConfinement(vm.memory.tables.hgatp(vm.id), rewrites, () => this.shadow.nowhere);
  }

  get shadow(): (ShadowPaging | SoftwareTlbPaging)["shadow"] {
    return this.#paging.shadow;
  }

  get #state(): HartState {
    return this.#vm.core.state;
  }

  get #isKernel(): boolean {
    return this.#state.number("virtualPrivilege") === 1;
  }

  forget(pages: readonly number[]): void {
    this.shadow.vacated(pages);
    this.#callOuts?.forget(pages);
  }

  moved(page: number): void {
    this.shadow.moved(page);
  }

  statistics(): ShadowStatistics | null {
    return this.shadow.statistics();
  }

  release(): void {
    this.#callOuts?.release();
    this.shadow.release();
  }

  exit(): number {
    const why = this.#state.number("exitCause");
    if (why >= INTERRUPT) return this.#interrupt(why - INTERRUPT);
    switch (why) {
      case cause.callOut:
        return this.#callOuts!.exit();
      case cause.ecallFromUser:
        return this.#isKernel ? this.#hypercall() : this.#reflect("guest-trap", why);
      case cause.illegalInstruction:
        return this.#isKernel ? this.#emulate() : this.#reflect("guest-trap", why);
      case cause.instructionPage:
      case cause.loadPage:
      case cause.storePage:
      case cause.instructionTlbMiss:
      case cause.loadTlbMiss:
      case cause.storeTlbMiss:
        return this.#paging.pageFault(why);
      default:
        return this.#reflect("guest-trap", why);
    }
  }

  #hypercall(): number {
    this.#vm.hypercall();
    return GO_ON;
  }

  /** The guest's interrupts are those of VS-mode, one number above what its kernel calls them. */
  #interrupt(number: number): number {
    this.#vm.record("interrupt", number);
    this.#vm.core.interrupt(number - (interrupt.virtualSupervisorSoftware - interrupt.supervisorSoftware));
    return GO_ON;
  }

  #reflect(kind: "guest-trap", why: number): number {
    this.#vm.record(kind, why);
    return this.#vm.core.reflect(why) ? GO_ON : ExitReason.exit;
  }

  #emulate(): number {
    const word = this.#state.number("exitInstruction");
    const instruction = privileged(word);
    if (instruction === undefined) return this.#illegal(word);
    this.#vm.record("privileged-instruction", word);
    const { core } = this.#vm;
    core.retire(INSTRUCTION_LENGTH);
    switch (instruction.kind) {
      case "csr":
        return this.#accessCsr(instruction);
      case "sret":
        core.returnFromTrap();
        return GO_ON;
      case "wait":
        return core.interruptPending() || this.#timerPending() ? GO_ON : ExitReason.wait;
      case "fence":
        return this.#paging.fence(instruction);
      case "nothing":
        return GO_ON;
    }
  }

  #accessCsr(access: Privileged & { readonly kind: "csr" }): number {
    if (this.#access(access)) return GO_ON;
    this.#vm.core.retire(-INSTRUCTION_LENGTH, -1);
    return this.#illegal(this.#state.number("exitInstruction"));
  }

  #access(access: CsrAccess): boolean {
    if (access.csr === SATP) return this.#paging.accessSatp(access);
    if (access.csr === STLBOP && this.#paging instanceof SoftwareTlbPaging) return this.#paging.operate(access);
    return this.#vm.core.accessCsr(access);
  }

  /** Not for want of privilege. Throws HostelryError `illegal-instruction` if that is to end the VM. */
  #illegal(word: number): number {
    if (this.#technique.onIllegal === "guest" || needsFloat(word)) return this.#reflect("guest-trap", cause.illegalInstruction);
    const [bits, pc] = [word >>> 0, this.#state.get("pc")].map((value) => `0x${value.toString(16)}`);
    throw new HostelryError("illegal-instruction", `the guest's kernel executed the illegal instruction ${bits} at ${pc}, where the VM is to stop (on-illegal stop)`);
  }

  #timerPending(): boolean {
    return (this.#state.number("lines") & this.#state.number("mie") & virtualInterrupts) !== 0;
  }
}
