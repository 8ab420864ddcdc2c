/** A guest's store to one of its page tables, which it may not make unseen. */
import { FRAME_SIZE } from "#machine/frames.ts";
import { accessAt } from "../io/device-access.ts";
import type { Shadow } from "../memory/shadow.ts";
import type { VirtualMachine } from "../vm.ts";
import { step } from "./step.ts";

/** Does the store at this guest-physical address, and tells the shadow. Returns 0 or an ExitReason. */
export function storeToTable(vm: VirtualMachine, shadow: Shadow, physical: number, exit: () => number): number {
  if (storeInteger(vm, shadow, physical, vm.core.state.low("exitTval", 0))) return 0;
  // Atomics and whatever else stores: the hart does it with the page writable, and what it has changed is looked for.
  shadow.allow(Math.floor(physical / FRAME_SIZE));
  return step(vm, shadow, exit);
}

/** Does it if the instruction is a plain store, aligned, that begins at this virtual address (its lower half): whether it is. */
export function storeInteger(vm: VirtualMachine, shadow: Shadow, physical: number, low: number): boolean {
  const { core, memory } = vm;
  const { state } = core;
  const access = accessAt(state, low);
  const [page, offset] = [Math.floor(physical / FRAME_SIZE), physical % FRAME_SIZE];
  if (access === undefined || access.kind !== "write" || offset % access.size !== 0) return false;
  const bytes = memory.machine.writable(memory.touch(page));
  const value = [state.low("x", access.register), state.high("x", access.register)] as const;
  for (let i = 0; i < access.size; i++) bytes[offset + i] = value[i >> 2]! >>> (8 * (i & 3));
  core.retire(access.length);
  shadow.tableWritten(page, offset, offset + access.size - 1);
  return true;
}
