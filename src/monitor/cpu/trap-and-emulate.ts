/**
 * Trap-and-emulate (Goldberg 1974): each privileged instruction of the guest's kernel traps, and the monitor does on the guest's registers what
 * it would have done. Popek and Goldberg say when that is enough: when every sensitive instruction traps, as RISC-V's do.
 */
import type { VirtualMachine } from "../vm.ts";
import { Deprivileged } from "./deprivileged.ts";
import type { Technique } from "./technique.ts";

export class TrapAndEmulate extends Deprivileged {
  constructor(vm: VirtualMachine, technique: Technique) {
    super(vm, { technique, rewrites: "none" });
  }
}
