/** Emulated devices: the access that found no memory is done by the device model in the place of the instruction. */
import type { VirtualMachine } from "../vm.ts";
import { accessAt, load, managesBlock, stored } from "./device-access.ts";

/** Physical addresses have 56 bits. */
const PHYSICAL_END = 2 ** 56;

/** Does what the instruction would have done at this guest-physical address; false if no device answers, or it is no access that devices take. */
export function emulateDeviceAccess(vm: VirtualMachine, physical: number): boolean {
  const { core, computer } = vm;
  const { state } = core;
  if (physical < PHYSICAL_END && managesBlock(state.number("exitInstruction"))) {
    core.retire(4);
    return true;
  }
  const access = accessAt(state, state.low("exitTval", 0));
  if (access === undefined || physical >= 2 ** 32 || physical % access.size !== 0) return false;
  if (computer.bus.find(physical) === undefined) return false;
  vm.record(access.kind === "write" ? "device-write" : "device-read", physical);
  // First, since what the device does may shorten the slice.
  core.retire(access.length);
  if (access.kind === "write") {
    computer.mmioWrite(physical, access.size, ...stored(state, access));
  } else {
    load(state, access, computer.mmioRead(physical, access.size)!);
  }
  return true;
}
