/**
 * A way to virtualize the CPU: how the guest is confined, and what becomes of its coming out to the monitor. And what an operator chooses: which
 * technique, and which ones go together.
 */
import { HostelryError } from "#base/errors.ts";
import type { Confinement } from "../confinement.ts";
import type { ShadowStatistics } from "../memory/shadow.ts";
import type { SavedParavirtual } from "./paravirtual.ts";

/** Each is a file of this folder. */
export const cpuTechniques = ["hardware", "trap-and-emulate", "binary-translation", "paravirtual", "emulated"] as const;
export type CpuTechniqueName = (typeof cpuTechniques)[number];

/** How guest-physical addresses become the machine's. */
export const mmuTechniques = ["nested", "shadow", "direct"] as const;
export type MmuTechniqueName = (typeof mmuTechniques)[number];

/** `naive`: a change of address space throws all shadows away. `cached`: they are kept, as many as there is room for. */
export const shadowPolicies = ["naive", "cached"] as const;
export type ShadowPolicy = (typeof shadowPolicies)[number];

/** An instruction of the guest's kernel that no privilege would allow: becomes its own fault, or ends the VM. */
export const illegalPolicies = ["guest", "stop"] as const;

/** Of binary translation. `all`: whatever the hart can do on the guest's registers. `silent`: only what does not trap on the silent machine. */
export const rewritePolicies = ["all", "silent"] as const;

/** All that is to be chosen, and from what. */
export const techniqueChoices = {
  cpu: cpuTechniques, mmu: mmuTechniques, shadow: shadowPolicies, rewrite: rewritePolicies, onIllegal: illegalPolicies,
} as const;
type Choices = typeof techniqueChoices;
export type Technique = { readonly [Name in keyof Choices]: Choices[Name][number] };
export type TechniqueOptions = { readonly [Name in keyof Technique]?: Technique[Name] | undefined };

interface Rule {
  /** Those that it goes with, its own first. */
  readonly mmus: readonly [MmuTechniqueName, ...MmuTechniqueName[]];
  /** Whether illegal instructions of the guest's kernel come to the monitor. */
  readonly seesIllegal: boolean;
  /** Whether the guest must know. */
  readonly guestKnows: boolean;
}

const rules: Readonly<Record<CpuTechniqueName, Rule>> = {
  hardware: { mmus: ["nested", "shadow"], seesIllegal: false, guestKnows: false },
  "trap-and-emulate": { mmus: ["shadow"], seesIllegal: true, guestKnows: false },
  "binary-translation": { mmus: ["shadow"], seesIllegal: true, guestKnows: false },
  paravirtual: { mmus: ["direct"], seesIllegal: false, guestKnows: true },
  emulated: { mmus: ["nested"], seesIllegal: false, guestKnows: false },
};

const usual: Technique = { cpu: "hardware", mmu: "nested", shadow: "cached", rewrite: "all", onIllegal: "guest" };

/** What is wanted, and the rest as it was before; with another CPU technique comes its own MMU. Throws HostelryError `technique` if it can't be. */
export function techniqueOf(wanted: TechniqueOptions, before: Technique = usual): Technique {
  const { cpu = before.cpu, shadow = before.shadow, rewrite = before.rewrite, onIllegal = before.onIllegal } = wanted;
  const { mmus, seesIllegal } = rules[cpu];
  const mmu = wanted.mmu ?? (wanted.cpu === undefined ? before.mmu : mmus[0]);
  if (!mmus.includes(mmu)) {
    throw refusal(`the CPU technique ${cpu} does not go with the MMU technique ${mmu}: choose ${mmus.join(" or ")}, or ${cpusFor(({ mmus: others }) => others.includes(mmu))}`);
  }
  if (wanted.shadow !== undefined && mmu !== "shadow") {
    throw refusal(`there are no shadow tables to be ${shadow} with the MMU technique ${mmu}: choose shadow`);
  }
  if (wanted.rewrite !== undefined && cpu !== "binary-translation") {
    throw refusal(`nothing is rewritten with the CPU technique ${cpu}: choose binary-translation`);
  }
  if (onIllegal === "stop" && !seesIllegal) {
    throw refusal(`illegal instructions do not come to the monitor with the CPU technique ${cpu}, so that it can't stop at them: choose ${cpusFor((rule) => rule.seesIllegal)}`);
  }
  return { cpu, mmu, shadow, rewrite, onIllegal };
}

/** Whether only a guest that knows of its monitor runs so: no other becomes it while it runs. */
export const guestKnows = ({ cpu }: { readonly cpu: CpuTechniqueName }): boolean => rules[cpu].guestKnows;

/** Each CPU technique whose guest needs not know, with each MMU technique that it goes with; the rest as usual. */
export const everyTechnique = (): readonly Technique[] =>
  cpuTechniques.filter((cpu) => !rules[cpu].guestKnows).flatMap((cpu) => rules[cpu].mmus.map((mmu) => techniqueOf({ cpu, mmu })));

const cpusFor = (fits: (rule: Rule) => boolean): string => cpuTechniques.filter((name) => fits(rules[name])).join(" or ");
const refusal = (message: string): HostelryError => new HostelryError("technique", message);

/** Of a technique that has something of its own to save. */
export type SavedTechnique = SavedParavirtual;

export interface CpuTechnique {
  readonly confinement: Confinement;
  /** The VM has its board, too. */
  wired?(): void;
  /** The hart has left the guest, and says why in its state. Does what is to be done; returns 0 if the guest is to go on at once, else an ExitReason. */
  exit(): number;
  /** These pages have other frames now, or none, or may not be written to, or their use is to be seen: nothing but the G-stage may lead to them. The hart's TLB is emptied then. */
  forget(pages: readonly number[]): void;
  /** The same of one page, with the same contents in another frame. What the hart knows of it goes then. */
  moved(page: number): void;
  /** Of its shadow tables, if it has any. */
  statistics(): ShadowStatistics | null;
  /** What another hart needs to go on, beside what every guest has. */
  save?(): SavedTechnique;
  /** Gives back what it has taken of the machine. */
  release(): void;
}
