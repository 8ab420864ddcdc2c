/**
 * The requirement of Popek and Goldberg, put to a machine: what its instruction table declares of each instruction beside what executing it shows,
 * and whether all sensitive instructions trap in user mode, or can be made to.
 */
import type { MachineModel } from "#machine/model.ts";
import { settings, type Declaration, type Setting } from "#riscv/declaration.ts";
import { Experiment } from "./experiment.ts";
import { observe, type Observation } from "./observe.ts";
import type { Subject } from "./subjects.ts";

export interface Finding {
  readonly name: string;
  readonly declared: Declaration;
  readonly observed: Observation;
  readonly agrees: boolean;
}

export interface Verdict {
  readonly findings: readonly Finding[];
  /** Where declaration and execution differ. */
  readonly disagreements: readonly string[];
  /** Sensitive instructions that user mode executes without a trap: with none, the machine can be virtualized by traps alone. */
  readonly violations: readonly string[];
  /** What a monitor must set to zero so that sensitive instructions trap. */
  readonly relies: readonly Setting[];
}

export interface ClassifyOptions {
  readonly model: MachineModel;
  readonly subjects: readonly Subject[];
  /** Random states for each. */
  readonly cases?: number;
  readonly seed?: number;
}

export function classify({ model, subjects, cases = 20, seed = 1 }: ClassifyOptions): Verdict {
  const experiment = new Experiment(model);
  const findings = subjects.map((subject, i): Finding => {
    const { name, declared } = subject;
    const observed = observe(experiment, subject, cases, seed * 10_000 + i);
    return { name, declared, observed, agrees: agrees(declared, observed) };
  });
  const sensitive = findings.filter(({ observed }) => observed.sensitive.length > 0);
  return {
    findings,
    disagreements: findings.filter((finding) => !finding.agrees).map(({ name }) => name),
    violations: sensitive.filter(({ observed }) => !observed.caught).map(({ name }) => name),
    relies: settings.filter((setting) => sensitive.some(({ declared, observed }) => observed.traps === "setting" && declared.traps === setting)),
  };
}

function agrees({ traps, sensitive }: Declaration, observed: Observation): boolean {
  const expected = settings.some((setting) => setting === traps) ? "setting" : traps;
  return expected === observed.traps && [...sensitive].sort().join() === [...observed.sensitive].sort().join();
}
