/** What `hostelry demo memory` sees of VMs, once a second. */
import type { MemoryUse } from "#monitor/action.ts";

export const memorySceneNames = ["theft", "balloon", "sharing", "tax"] as const;
export type MemorySceneName = (typeof memorySceneNames)[number];

export interface VmSample extends MemoryUse {
  readonly name: string;
  /** Bytes a second that its work gets through. Null: it has none. */
  readonly achieved: number | null;
  /** Pages a second that come back from the swap file. */
  readonly pagedIn: number;
  /** How it ended, in words, if it did. */
  readonly end: string | null;
}

export interface Sample {
  /** Of the scene's phases, which. */
  readonly phase: string;
  /** Since the scene began. */
  readonly seconds: number;
  /** Bytes of the machine's memory: all, and what is free. */
  readonly total: number;
  readonly free: number;
  readonly vms: readonly VmSample[];
}

/** A phase as it came to an end: what VMs had then, and what their work got through on average in its second half. */
export interface PhaseSummary {
  readonly phase: string;
  readonly vms: readonly VmSample[];
}

export function summarize(samples: readonly Sample[]): PhaseSummary[] {
  const phases = [...new Set(samples.map(({ phase }) => phase))];
  return phases.map((phase) => {
    const all = samples.filter((sample) => sample.phase === phase);
    const late = all.slice(Math.floor(all.length / 2));
    const mean = (name: string, field: "achieved" | "pagedIn"): number =>
      late.reduce((sum, { vms }) => sum + (vms.find((vm) => vm.name === name)?.[field] ?? 0), 0) / late.length;
    const vms = all.at(-1)!.vms.map((vm) => ({ ...vm, achieved: vm.achieved === null ? null : mean(vm.name, "achieved"), pagedIn: mean(vm.name, "pagedIn") }));
    return { phase, vms };
  });
}
