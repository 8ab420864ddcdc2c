/**
 * Full emulation, the baseline that any other technique must beat: no instruction of the guest is executed directly. Each is fetched, decoded and
 * interpreted anew, and each address translated twice in software, by the guest's tables and then by the monitor's: no TLB, no decoded pages, no regions.
 */
import type { VirtualMachine } from "../vm.ts";
import { HardwareTechnique } from "./hardware.ts";

/** Its privileges and its reasons to come out are those of a guest in VS-mode. */
export class Emulated extends HardwareTechnique {
  constructor(vm: VirtualMachine) {
    super(vm, { emulated: true });
  }
}
