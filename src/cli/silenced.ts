/** What a deprivileged kernel executed on a silent machine, in words. */
import type { VmStats } from "#monitor/action.ts";

type Silenced = VmStats["silenced"];

function describe({ what, times, first }: Silenced[number]): string {
  const count = times === 1 ? "once" : `${times} times`;
  return `${what} ${count}${first === null ? "" : `, first at ${first}`}`;
}

/** Undefined if there is nothing to say. */
export function describeSilenced(silenced: Silenced): string | undefined {
  return silenced.length === 0 ? undefined : `sensitive instructions of its kernel did not trap: ${silenced.map(describe).join("; ")}`;
}
