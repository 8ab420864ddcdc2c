/** What an operator can set of how the machine's memory is managed. */
import { HostelryError } from "#base/errors.ts";
import { reclaimStates, type MemoryPolicy } from "./policy.ts";
import type { SamplingSettings } from "./working-set.ts";

export interface MemorySettings extends MemoryPolicy, SamplingSettings {
  /** Pages a second, of all VMs together, that are looked at for others like them. */
  readonly scanRate: number;
}

export type MemoryChanges = { readonly [Name in keyof MemorySettings]?: MemorySettings[Name] | undefined };

/** Waldspurger 2002: sections 5.2, 5.3, 6.3. */
export const defaultMemorySettings: MemorySettings = {
  rule: "idle-tax", idleTax: 0.75, high: 0.06, soft: 0.04, hard: 0.02, low: 0.01, samplePages: 100, samplePeriod: 30, scanRate: 1000,
};

/** Throws HostelryError `memory-policy` for thresholds that don't fall. */
export function changedSettings(before: MemorySettings, changes: MemoryChanges): MemorySettings {
  const given = Object.fromEntries(Object.entries(changes).filter(([, value]) => value !== undefined)) as Partial<MemorySettings>;
  const settings = { ...before, ...given };
  reclaimStates.slice(1).forEach((state, i) => {
    const above = reclaimStates[i]!;
    if (settings[state] < settings[above]) return;
    throw new HostelryError("memory-policy", `the threshold ${state} would be ${percent(settings[state])}, and that of ${above} ${percent(settings[above])}: they must fall, from high to low`);
  });
  return settings;
}

const percent = (part: number): string => `${Number((100 * part).toFixed(3))}%`;
