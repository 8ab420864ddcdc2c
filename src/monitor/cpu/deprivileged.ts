/**
 * What techniques have in common that run a guest's kernel in U-mode: every trap comes here. Some are the guest's own and go to its kernel, some
 * are for the sake of its kernel's privilege, and some are of the shadow tables and none of the guest's affair.
 */
import { HostelryError } from "#base/errors.ts";
import { cause, interrupt, virtualInterrupts, type rewriting } from "#machine/csr-bits.ts";
import { ExitReason } from "#machine/hart/exit-reason.ts";
import type { HartState } from "#machine/hart.ts";
import { UserModeConfinement } from "../confinement.ts";
import { emulateDeviceAccess } from "../io/emulated.ts";
import type { Access } from "../memory/guest-walk.ts";
import { Shadow, type ShadowStatistics } from "../memory/shadow.ts";
import type { VirtualMachine } from "../vm.ts";
import { needsFloat, privileged, type Privileged } from "./privileged.ts";
import { storeToTable } from "./table-write.ts";
import type { CpuTechnique, Technique } from "./technique.ts";

export interface DeprivilegedOptions {
  readonly technique: Technique;
  /** Which privileged instructions of the guest's kernel the hart does in place. */
  readonly rewrites: keyof typeof rewriting;
}

const GO_ON = 0;
const INTERRUPT = 2 ** 31;
const SATP = 0x180;
/** Bare, Sv39, Sv48, Sv57. */
const SATP_MODES: ReadonlySet<number> = new Set([0, 8, 9, 10]);
const INSTRUCTION_LENGTH = 4;

const accesses: Readonly<Record<number, Access>> = {
  [cause.instructionPage]: "fetch",
  [cause.loadPage]: "load",
  [cause.storePage]: "store",
};
const accessFaults: Readonly<Record<Access, number>> = { fetch: cause.instructionAccess, load: cause.loadAccess, store: cause.storeAccess };

export class Deprivileged implements CpuTechnique {
  readonly confinement: UserModeConfinement;
  readonly shadow: Shadow;
  readonly #vm: VirtualMachine;
  readonly #technique: Technique;

  constructor(vm: VirtualMachine, { technique, rewrites }: DeprivilegedOptions) {
    this.#vm = vm;
    this.#technique = technique;
    this.shadow = new Shadow({
      memory: vm.memory,
      policy: technique.shadow,
      harts: () => vm.cores.map(({ state }) => state),
      selectView: () => vm.core.selectView(),
      flush: (what) => vm.core.flushGuest(what),
    });
    this.confinement = new UserModeConfinement(vm.memory.tables.hgatp(vm.id), rewrites, () => this.shadow.nowhere);
  }

  get #state(): HartState {
    return this.#vm.core.state;
  }

  get #isKernel(): boolean {
    return this.#state.number("virtualPrivilege") === 1;
  }

  statistics(): ShadowStatistics {
    return this.shadow.statistics();
  }

  release(): void {
    this.shadow.release();
  }

  exit(): number {
    const why = this.#state.number("exitCause");
    if (why >= INTERRUPT) return this.#interrupt(why - INTERRUPT);
    switch (why) {
      case cause.ecallFromUser:
        return this.#isKernel ? this.#hypercall() : this.#reflect("guest-trap", why);
      case cause.illegalInstruction:
        return this.#isKernel ? this.#emulate() : this.#reflect("guest-trap", why);
      case cause.instructionPage:
      case cause.loadPage:
      case cause.storePage:
        return this.#pageFault(accesses[why]!);
      default:
        return this.#reflect("guest-trap", why);
    }
  }

  /** The SBI. */
  #hypercall(): number {
    this.#vm.record("hypercall", this.#state.low("x", 17));
    this.#vm.computer.firmwareCall();
    return GO_ON;
  }

  /** The guest's interrupts are those of VS-mode, one number above what its kernel calls them. */
  #interrupt(number: number): number {
    this.#vm.record("interrupt", number);
    this.#vm.core.interrupt(number - (interrupt.virtualSupervisorSoftware - interrupt.supervisorSoftware));
    return GO_ON;
  }

  #reflect(kind: "guest-trap" | "true-fault" | "access-fault", why: number): number {
    this.#vm.record(kind, why);
    return this.#vm.core.raise(why, this.#state.get("exitTval")) ? GO_ON : ExitReason.exit;
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
      case "fence": {
        const { address, asid } = instruction;
        const virtual = address === 0 ? undefined : this.#state.get("x", address);
        this.shadow.fence(virtual, asid === 0 ? undefined : this.#state.low("x", asid) & 0xffff);
        return GO_ON;
      }
      case "nothing":
        return GO_ON;
    }
  }

  #accessCsr(access: Privileged & { readonly kind: "csr" }): number {
    const done = access.csr === SATP ? this.#accessSatp(access) : this.#vm.core.accessCsr(access);
    if (done) return GO_ON;
    this.#vm.core.retire(-INSTRUCTION_LENGTH, -1);
    return this.#illegal(this.#state.number("exitInstruction"));
  }

  /** Not for want of privilege. Throws HostelryError `illegal-instruction` if that is to end the VM. */
  #illegal(word: number): number {
    if (this.#technique.onIllegal === "guest" || needsFloat(word)) return this.#reflect("guest-trap", cause.illegalInstruction);
    const [bits, pc] = [word >>> 0, this.#state.get("pc")].map((value) => `0x${value.toString(16)}`);
    throw new HostelryError("illegal-instruction", `the guest's kernel executed the illegal instruction ${bits} at ${pc}, where the VM is to stop (on-illegal stop)`);
  }

  /** A mode that there isn't leaves it as it was. */
  #accessSatp({ operation, operand, writes, rd }: Privileged & { readonly kind: "csr" }): boolean {
    const state = this.#state;
    const old = state.get("parkedSatp");
    if (writes) {
      const value = operand & 32 ? BigInt(operand & 31) : state.get("x", operand);
      const satp = operation === 1 ? value : operation === 2 ? old | value : old & ~value;
      if (SATP_MODES.has(Number(satp >> 60n))) {
        state.set("parkedSatp", satp);
        this.shadow.switched(state);
      }
    }
    if (rd !== 0) state.set("x", old, rd);
    return true;
  }

  #timerPending(): boolean {
    return (this.#state.number("lines") & this.#state.number("mie") & virtualInterrupts) !== 0;
  }

  #pageFault(access: Access): number {
    const state = this.#state;
    const [low, high] = [state.low("exitTval", 0), state.high("exitTval")];
    const fault = this.shadow.fault(state, low, high, access);
    switch (fault.kind) {
      case "hidden":
        this.#vm.record("hidden-fault", low);
        return GO_ON;
      case "true":
        return this.#reflect("true-fault", fault.fault === "page-fault" ? state.number("exitCause") : accessFaults[access]);
      case "no-memory":
        if (access !== "fetch" && emulateDeviceAccess(this.#vm, fault.physical, state.number("exitInstruction"))) return GO_ON;
        return this.#reflect("access-fault", accessFaults[access]);
      case "table-write":
        this.#vm.record("table-write", fault.physical);
        return storeToTable(this.#vm, this.shadow, fault.physical, () => this.exit());
    }
  }
}
