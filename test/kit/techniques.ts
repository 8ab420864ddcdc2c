/** All ways in which a VM can be virtualized whose guest does not know. */
import { HostelryError } from "#base/errors.ts";
import { cpuTechniques, guestKnows, mmuTechniques, shadowPolicies, techniqueOf, type Technique, type TechniqueOptions } from "#monitor/cpu/technique.ts";

export const allTechniques: readonly Technique[] = [
  ...cpuTechniques.filter((cpu) => !guestKnows({ cpu })).flatMap((cpu) =>
    mmuTechniques.flatMap((mmu) => (mmu === "shadow" ? shadowPolicies : [undefined]).flatMap((shadow) => fitting({ cpu, mmu, shadow })))),
  techniqueOf({ cpu: "binary-translation", rewrite: "silent" }),
];

/** Or none, if that can't be. */
export function fitting(wanted: TechniqueOptions, before?: Technique): readonly Technique[] {
  try {
    return [techniqueOf(wanted, before)];
  } catch (error) {
    if (error instanceof HostelryError) return [];
    throw error;
  }
}

export const titleOf = ({ cpu, mmu, shadow, rewrite }: Technique): string =>
  `${cpu}${rewrite === "silent" ? " of what is silent" : ""} on ${mmu === "shadow" ? `${shadow} shadows` : `${mmu} tables`}`;
