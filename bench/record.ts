import { cpus, release, totalmem } from "node:os";
import type { Crossings } from "./measure-crossings.ts";
import type { BootRuns, BootSample, IdleSample } from "./measure-boot.ts";
import type { Phase, ProgramResult, Role } from "./measure-programs.ts";
import { GROUPS, type Group, TARGETS } from "./programs.ts";
import { geometricMean, median } from "./statistics.ts";

/** All that one call of the benchmark found: what is written to bench/results. */
export interface BenchmarkRecord {
  readonly format: 1;
  /** ISO 8601, UTC. */
  readonly date: string;
  readonly host: Host;
  readonly guest: { readonly kernel: string | null; readonly append: string; readonly memoryMiB: number; readonly march: string };
  /** Name and version by role. */
  readonly machines: Partial<Record<Role, { readonly name: string; readonly version: string }>>;
  readonly rounds: number;
  /** What the work was divided by: 1 but for a quick look. */
  readonly divisor: number;
  readonly programs: readonly ProgramResult[];
  readonly boots: Partial<Record<Role, BootRuns<BootSample>>>;
  readonly idle: Partial<Record<Role, BootRuns<IdleSample>>>;
  readonly crossings: readonly Crossings[];
  readonly crossingsFailure: string | null;
}

export interface Host {
  readonly cpu: string;
  readonly cores: number;
  readonly memoryGiB: number;
  readonly kernel: string;
  readonly node: string;
  /** Mean number of runnable threads in the minute before: much above 0, somebody else was at work. */
  readonly loadBefore: number;
}

export function describeHost(loadBefore: number): Host {
  const [{ model }] = cpus();
  return { cpu: model, cores: cpus().length, memoryGiB: Math.round(totalmem() / 2 ** 30), kernel: release(), node: process.version, loadBefore };
}

/** Median seconds of a program on a machine; null if it failed there or wasn't run. */
export function medianSeconds(result: ProgramResult, role: Role, phase: Phase): number | null {
  const runs = result.runs[role];
  if (runs === undefined || runs.failures.length > 0 || runs[phase].length === 0) return null;
  return median(runs[phase].map(({ seconds }) => seconds));
}

/** Median CPU seconds of the host. For a program that works for a given time: for a unit of its work, as far as it used CPU. */
export function medianCpuSeconds(result: ProgramResult, role: Role, phase: Phase): number | null {
  const runs = result.runs[role];
  if (runs === undefined || runs.failures.length > 0 || runs[phase].length === 0) return null;
  return median(runs[phase].map(({ seconds, hostCpuSeconds, wallSeconds }) => seconds * (hostCpuSeconds / wallSeconds)));
}

/** Reference's time ÷ ours: above 1, ours is faster. null if either is missing. */
export function ratio(result: ProgramResult, phase: Phase, of: typeof medianSeconds = medianSeconds): number | null {
  const [ours, reference] = [of(result, "ours", phase), of(result, "reference", phase)];
  return ours === null || reference === null || ours === 0 ? null : reference / ours;
}

export interface GroupSummary {
  readonly group: Group;
  readonly target: number;
  readonly steady: number | null;
  readonly first: number | null;
  /** Programs without a ratio: the mean is then not the group's. */
  readonly missing: readonly string[];
}

export function summarizeGroups(programs: readonly ProgramResult[]): GroupSummary[] {
  return GROUPS.flatMap((group): GroupSummary[] => {
    const members = programs.filter(({ program }) => program.group === group);
    if (members.length === 0) return [];
    const mean = (phase: Phase) => {
      const ratios = members.map((member) => ratio(member, phase)).filter((value) => value !== null);
      return ratios.length === 0 ? null : geometricMean(ratios);
    };
    const missing = members.filter((member) => ratio(member, "steady") === null).map(({ program }) => program.name);
    return [{ group, target: TARGETS[group], steady: mean("steady"), first: mean("first"), missing }];
  });
}

/** A median over samples of one machine, of those that have the value; null for none. */
export function medianOf<Sample>(runs: BootRuns<Sample> | undefined, value: (sample: Sample) => number | null): number | null {
  const values = (runs?.samples ?? []).map(value).filter((each) => each !== null);
  return values.length === 0 ? null : median(values);
}
