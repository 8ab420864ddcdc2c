/** `hostelry classify`: instructions as they are declared beside what executing them shows, and the verdict of Popek and Goldberg. */
import { standardModel, type MachineKind } from "#machine/model.ts";
import { classify, type Finding, type Verdict } from "#monitor/classify/classify.ts";
import { subjects } from "#monitor/classify/subjects.ts";
import { printJson, printTable } from "./table.ts";

export interface ClassifyOptions {
  readonly machine: MachineKind;
  readonly cases: number;
  readonly seed?: number;
  readonly json?: boolean;
}

export function printClassification({ machine, cases, seed = 1, json = false }: ClassifyOptions): void {
  const verdict = classify({ model: { ...standardModel, kind: machine }, subjects: subjects(), cases, seed });
  if (json) return printJson({ machine, cases, seed, requirement: verdict.violations.length === 0 ? "met" : "violated", ...verdict });
  printTable([["INSTRUCTION", "DECLARED", "SEEN", "WHY"], ...verdict.findings.map(row)]);
  process.stdout.write(`\n${summary(verdict, machine, cases).join("\n")}\n`);
}

function row({ name, declared, observed, agrees }: Finding): string[] {
  const { changes, dependsOn } = observed;
  const why = [
    ...(changes.length > 0 ? [`changes ${changes.slice(0, 4).join(", ")}${changes.length > 4 ? " and more" : ""}`] : []),
    ...(dependsOn.length > 0 ? [`depends on ${dependsOn.join(" and ")}`] : []),
  ].join("; ");
  const setting = observed.traps === "setting" ? declared.traps : observed.traps;
  return [name, words(declared.traps, declared.sensitive), agrees ? "the same" : `NOT SO: ${words(setting, observed.sensitive)}`, why];
}

/** Popek and Goldberg's words, but that which setting of a higher mode decides is said. */
function words(traps: string, sensitive: readonly string[]): string {
  const kind = sensitive.length === 0 ? "innocuous" : `${[...sensitive].sort().reverse().join("- and ")}-sensitive`;
  const trapping: Readonly<Record<string, string>> = {
    never: "",
    user: ", privileged",
    everywhere: ", traps in every mode",
    sometimes: ", traps now and then",
  };
  return kind + (trapping[traps] ?? `, traps unless ${traps} is set`);
}

function summary({ findings, disagreements, violations, relies }: Verdict, machine: MachineKind, cases: number): string[] {
  const list = (names: readonly string[]): string => (names.length === 0 ? "" : `: ${names.join(", ")}`);
  const met = violations.length === 0;
  return [
    `The ${machine} machine: ${findings.length} instructions and accesses to CSRs, each in ${cases} random states.`,
    `Otherwise than declared, ${disagreements.length}${list(disagreements)}.`,
    `Sensitive, and no trap in U-mode, ${violations.length}${list(violations)}.`,
    met
      ? `Popek and Goldberg's requirement is met, with ${relies.join(" and ")} zero: traps are enough to virtualize this machine.`
      : "Popek and Goldberg's requirement is not met: traps are not enough to virtualize this machine.",
  ];
}
