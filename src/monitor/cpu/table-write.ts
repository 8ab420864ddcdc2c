/** A guest's store to one of its page tables, which it may not make unseen. */
import { ExitReason } from "#machine/hart/exit-reason.ts";
import { FRAME_SIZE } from "#machine/frames.ts";
import { deviceAccess } from "../io/device-access.ts";
import type { Shadow } from "../memory/shadow.ts";
import type { VirtualMachine } from "../vm.ts";

/** Runs of one instruction: each may come out for another page that it needs. */
const MOST_TRIES = 8;

/** Does the store at this guest-physical address, and tells the shadow. Returns 0 or an ExitReason. */
export function storeToTable(vm: VirtualMachine, shadow: Shadow, physical: number, exit: () => number): number {
  return storeInteger(vm, shadow, physical) ? 0 : step(vm, shadow, Math.floor(physical / FRAME_SIZE), exit);
}

/** Does it if the instruction is a plain store, aligned: whether it is. */
export function storeInteger(vm: VirtualMachine, shadow: Shadow, physical: number): boolean {
  const { core, memory } = vm;
  const { state } = core;
  const access = deviceAccess(state.number("exitInstruction"));
  const [page, offset] = [Math.floor(physical / FRAME_SIZE), physical % FRAME_SIZE];
  if (access === undefined || access.kind !== "write" || offset % access.size !== 0) return false;
  const bytes = memory.machine.writable(memory.touch(page));
  const [low, high] = [state.low("x", access.register), state.high("x", access.register)];
  for (let i = 0; i < access.size; i++) bytes[offset + i] = (i < 4 ? low : high) >>> (8 * (i & 3));
  core.retire(access.length);
  shadow.tableWritten(page, offset, offset + access.size - 1);
  return true;
}

/** Atomics and whatever else stores: the hart does the one instruction with the page writable, and what it has changed is looked for. */
function step(vm: VirtualMachine, shadow: Shadow, page: number, exit: () => number): number {
  const isInner = shadow.isStepping;
  shadow.allow(page);
  if (isInner) return 0;
  const { core } = vm;
  let reason = 0;
  core.single(() => {
    for (let tries = 0; tries < MOST_TRIES; tries++) {
      const left = core.run();
      reason = left === ExitReason.exit ? exit() : left;
      if (reason !== 0) break;
    }
  });
  shadow.settle();
  return reason === ExitReason.slice || reason === ExitReason.exit ? 0 : reason;
}
