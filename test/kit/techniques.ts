/** All ways in which a VM can be virtualized. */
import { HostelryError } from "#base/errors.ts";
import { cpuTechniques, mmuTechniques, shadowPolicies, techniqueOf, type Technique, type TechniqueOptions } from "#monitor/cpu/technique.ts";

export const allTechniques: readonly Technique[] = cpuTechniques.flatMap((cpu) =>
  mmuTechniques.flatMap((mmu) => (mmu === "shadow" ? shadowPolicies : [undefined]).flatMap((shadow) => fitting({ cpu, mmu, shadow }))));

function fitting(wanted: TechniqueOptions): readonly Technique[] {
  try {
    return [techniqueOf(wanted)];
  } catch (error) {
    if (error instanceof HostelryError) return [];
    throw error;
  }
}

export const titleOf = ({ cpu, mmu, shadow }: Technique): string => (mmu === "shadow" ? `${cpu} on ${shadow} shadows` : `${cpu} on ${mmu} tables`);
