/** One instruction of a guest's, that may do what it else may not: write a table, read what only MXR lets it. */
import { ExitReason } from "#machine/hart/exit-reason.ts";
import type { Shadow } from "../memory/shadow.ts";
import type { VirtualMachine } from "../vm.ts";

/** Runs of the instruction: each may come out for another page that it needs. */
const MOST_TRIES = 8;

/** The hart does it, and the shadow takes back what it has allowed. Returns 0 or an ExitReason. */
export function step(vm: VirtualMachine, shadow: Shadow, exit: () => number): number {
  if (shadow.isStepping) return 0;
  shadow.isStepping = true;
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
