/** Emulated devices: the access that found no memory is done by the device model in the place of the instruction. */
import type { VirtualMachine } from "../vm.ts";
import { accessAt, managesBlock, type DeviceAccess } from "./device-access.ts";

/** Does what the instruction would have done at this guest-physical address; false if no device answers, or it is no access that devices take. */
export function emulateDeviceAccess(vm: VirtualMachine, physical: number): boolean {
  const { core, computer } = vm;
  const { state } = core;
  if (managesBlock(state.number("exitInstruction"))) {
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
    computer.mmioWrite(physical, access.size, state.low("x", access.register), state.high("x", access.register));
  } else {
    const value = computer.mmioRead(physical, access.size)!;
    if (access.register !== 0) state.setHalves("x", access.register, ...extended(value, access));
  }
  return true;
}

/** A value of memory or of a device as a register's two halves. */
export function extended([low, high]: readonly [number, number], { size, signed }: DeviceAccess): readonly [number, number] {
  if (size === 8) return [low, high];
  const unused = 32 - 8 * size;
  const value = signed ? (low << unused) >> unused : (low << unused) >>> unused;
  return [value >>> 0, signed ? (value >> 31) >>> 0 : 0];
}
