import type { SilencedInstruction } from "#monitor/action.ts";

/** What the kernel of a deprivileged guest executed on a silent machine, in words; undefined if there is nothing to say. */
export function describeSilenced([first, ...others]: readonly SilencedInstruction[]): string | undefined {
  if (first === undefined) return undefined;
  const rest = others.length === 0 ? "" : `; then ${others.map(({ what, times }) => `${what}, ${count(times)}`).join("; ")}`;
  const instruction = first.first === null ? `an instruction of ${first.what}` : `"${first.first.instruction}" at pc ${first.first.pc}`;
  return `the guest's kernel executed ${instruction} in U-mode, and the machine did not trap: ${first.what}, ${count(first.times)}${rest}`;
}

const count = (times: number): string => (times === 1 ? "once" : `${times} times`);
