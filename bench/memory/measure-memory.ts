/** `npm run bench -- memory`: the experiments of Waldspurger, "Memory Resource Management in VMware ESX Server" (OSDI 2002), repeated here. */
import { HostelryError } from "#base/errors.ts";
import type { Experiment, Found, MemoryPlan } from "./experiment.ts";
import { workingSet } from "./active.ts";
import { balloon } from "./balloon.ts";
import { further, scanner } from "./costs.ts";
import { many } from "./many.ts";
import { doublePaging } from "./paging.ts";
import { different, identical } from "./sharing.ts";
import { tax } from "./tax.ts";

const experiments: Readonly<Record<string, Experiment>> = { identical, different, further, scanner, workingSet, balloon, tax, many, doublePaging };

export interface Measured {
  readonly found: Readonly<Record<string, Found>>;
  /** Of experiments that came to nothing. */
  readonly failures: readonly string[];
}

/** Those whose names have one of `filters` in them; all without any. Throws HostelryError `bad-usage` if that leaves nothing. */
export async function measureMemory(plan: MemoryPlan, filters: readonly string[]): Promise<Measured> {
  const chosen = Object.keys(experiments).filter((name) => filters.length === 0 || filters.some((filter) => name.includes(filter)));
  if (chosen.length === 0) throw new HostelryError("bad-usage", `memory has the experiments ${Object.keys(experiments).join(", ")}: none is called so`);
  const [found, failures] = [{} as Record<string, Found>, [] as string[]];
  for (const name of chosen) {
    plan.progress(`memory: ${name}`);
    try {
      found[name] = await experiments[name]!(plan);
    } catch (error) {
      failures.push(`${name}: ${(error as Error).stack}`);
    }
  }
  return { found, failures };
}
