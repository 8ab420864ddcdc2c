/**
 * Hardware-assisted: the guest runs in VS-mode and VU-mode, handles its own system calls, page faults and timer, and comes out only for what
 * isn't its own: hypercalls, devices, pages that have no frame yet, and instructions of a hypervisor.
 */
import { cause } from "#machine/csr-bits.ts";
import { FRAME_SIZE } from "#machine/frames.ts";
import type { HartState } from "#machine/hart.ts";
import { deviceAccess, type DeviceAccess } from "../io/device-access.ts";
import type { VirtualMachine } from "../vm.ts";
import type { CpuTechnique } from "./technique.ts";

export class HardwareTechnique implements CpuTechnique {
  readonly #vm: VirtualMachine;

  constructor(vm: VirtualMachine) {
    this.#vm = vm;
  }

  get #state(): HartState {
    return this.#vm.core.state;
  }

  exit(): boolean {
    switch (this.#state.number("exitCause")) {
      case cause.ecallFromVirtualSupervisor:
        return this.#hypercall();
      case cause.instructionGuestPage:
      case cause.loadGuestPage:
      case cause.storeGuestPage:
        return this.#guestPageFault();
      default:
        return this.#refuse();
    }
  }

  /** The SBI. */
  #hypercall(): boolean {
    const { computer } = this.#vm;
    this.#vm.record("hypercall", this.#state.low("x", 17));
    computer.firmwareCall();
    return true;
  }

  #guestPageFault(): boolean {
    const physical = this.#state.counter("exitGuestPhysical");
    const page = Math.floor(physical / FRAME_SIZE);
    const { memory } = this.#vm;
    if (memory.pmap.holds(page)) {
      this.#vm.record("first-touch", physical);
      memory.touch(page);
      return true;
    }
    const access = this.#state.number("exitImplicit") === 0 ? deviceAccess(this.#state.number("exitInstruction")) : undefined;
    if (access !== undefined && physical < 2 ** 32 && physical % access.size === 0 && this.#device(physical, access)) return true;
    this.#vm.record("access-fault", physical);
    return this.#vm.core.raise(accessFault(this.#state.number("exitCause")), this.#state.get("exitTval"));
  }

  /** Does what the instruction would have done; false if no device answers. */
  #device(physical: number, access: DeviceAccess): boolean {
    const { core, computer } = this.#vm;
    const { state } = core;
    if (computer.bus.find(physical) === undefined) return false;
    this.#vm.record(access.kind === "write" ? "device-write" : "device-read", physical);
    // First, since what the device does may shorten the slice.
    core.retire(access.length);
    if (access.kind === "write") {
      computer.mmioWrite(physical, access.size, state.low("x", access.register), state.high("x", access.register));
    } else {
      const value = computer.mmioRead(physical, access.size)!;
      if (access.register !== 0) state.setHalves("x", access.register, ...extended(value, access));
    }
    return true;
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

/** A device's value as a register's two halves. */
function extended([low, high]: readonly [number, number], { size, signed }: DeviceAccess): readonly [number, number] {
  if (size === 8) return [low, high];
  const unused = 32 - 8 * size;
  const value = signed ? (low << unused) >> unused : (low << unused) >>> unused;
  return [value >>> 0, signed ? (value >> 31) >>> 0 : 0];
}
