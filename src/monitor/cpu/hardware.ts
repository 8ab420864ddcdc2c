/**
 * Hardware-assisted: the guest runs in VS-mode and VU-mode, handles its own system calls, page faults and timer, and comes out only for what
 * isn't its own: hypercalls, devices, pages that have no frame yet, and instructions of a hypervisor.
 */
import { cause } from "#machine/csr-bits.ts";
import { FRAME_SIZE } from "#machine/frames.ts";
import type { HartState } from "#machine/hart.ts";
import { ExitReason } from "#machine/hart/exit-reason.ts";
import { HardwareConfinement } from "../confinement.ts";
import { faultKind } from "../exits.ts";
import { emulateDeviceAccess } from "../io/emulated.ts";
import type { VirtualMachine } from "../vm.ts";
import type { CpuTechnique } from "./technique.ts";

/** An update of A and D by the hart: the pseudoinstruction of htinst. */
const IMPLICIT_WRITE = 0x3020;

export class HardwareTechnique implements CpuTechnique {
  readonly confinement: HardwareConfinement;
  readonly #vm: VirtualMachine;

  constructor(vm: VirtualMachine, { emulated = false } = {}) {
    this.#vm = vm;
    this.confinement = new HardwareConfinement(vm.memory.tables.hgatp(vm.id), emulated);
  }

  get #state(): HartState {
    return this.#vm.core.state;
  }

  forget(): void {}

  moved(): void {}

  statistics(): null {
    return null;
  }

  release(): void {}

  exit(): number {
    return this.#handle() ? 0 : ExitReason.exit;
  }

  #handle(): boolean {
    switch (this.#state.number("exitCause")) {
      case cause.ecallFromVirtualSupervisor:
        this.#vm.hypercall();
        return true;
      case cause.instructionGuestPage:
      case cause.loadGuestPage:
      case cause.storeGuestPage:
        return this.#guestPageFault();
      default:
        return this.#refuse();
    }
  }

  #guestPageFault(): boolean {
    const physical = this.#state.counter("exitGuestPhysical");
    const page = Math.floor(physical / FRAME_SIZE);
    const { memory } = this.#vm;
    if (memory.pmap.holds(page)) {
      const isWrite = this.#state.number("exitCause") === cause.storeGuestPage || this.#state.number("exitImplicit") === IMPLICIT_WRITE;
      this.#vm.record(faultKind(memory.pmap.frame(page)), physical);
      if (isWrite) memory.own(page);
      else memory.touch(page);
      return true;
    }
    // Tables in a device are no tables.
    const isAccess = this.#state.number("exitImplicit") === 0;
    if (isAccess && emulateDeviceAccess(this.#vm, physical)) return true;
    this.#vm.record("access-fault", physical);
    return this.#vm.core.reflect(accessFault(this.#state.number("exitCause")));
  }

  /** An instruction that this machine has and a guest's hasn't. */
  #refuse(): boolean {
    this.#vm.record("virtual-instruction", this.#state.number("exitInstruction"));
    return this.#vm.core.raise(cause.illegalInstruction, BigInt(this.#state.number("exitInstruction")));
  }
}

/** The bare machine's word for an access to nothing. */
function accessFault(guestPageFault: number): number {
  if (guestPageFault === cause.instructionGuestPage) return cause.instructionAccess;
  return guestPageFault === cause.loadGuestPage ? cause.loadAccess : cause.storeAccess;
}
