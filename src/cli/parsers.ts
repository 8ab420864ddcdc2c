/** Options of the command line whose values are parsed. */
import { HostelryError } from "#base/errors.ts";
import { machineKinds, tlbKinds } from "#machine/model.ts";
import { techniqueChoices, type Technique, type TechniqueOptions } from "#monitor/cpu/technique.ts";
import { Argument, InvalidArgumentError, Option } from "commander";
import { parseDrive, parseMemory, parseVariable, parseTechnique, type Drive } from "./options.ts";

/** A parser's HostelryError as the commander's own, so that it ends as any bad argument does. */
export function withParser<T>(option: Option, parse: (text: string) => T): Option {
  return option.argParser((text) => parsing(parse, text));
}

/** An amount of memory. */
export function sizeArgument(name: string, description: string): Argument {
  return new Argument(name, description).argParser((text) => parsing((size) => parseMemory(size, "the size"), text));
}

/** `--drive`, which can be given again. */
export function driveOption(): Option {
  return new Option("--drive <file[,ro]>", "a disk, also for reading only; can be given again")
    .argParser((text, before: Drive[] | undefined) => [...(before ?? []), parsing(parseDrive, text)])
    .default([], "none");
}

/** `--env`, which can be given again. */
export function environmentOption(): Option {
  return new Option("--env <name=value>", "a variable for its environment; can be given again")
    .argParser((text, before: string[] | undefined) => [...(before ?? []), parsing(parseVariable, text)]);
}

/** `--machine`: of what belongs to whoever makes a machine. */
export function machineOption(): Option {
  return new Option("--machine <kind>", "on `silent`, some sensitive instructions of U-mode don't trap, as on x86 before 2005").choices(machineKinds).default("standard");
}

/** `--cpu` and the others that say how a VM is virtualized. */
export function techniqueOptions(): Option[] {
  const option = (name: keyof Technique, flag: string, description: string): Option =>
    withParser(new Option(`${flag} <${techniqueChoices[name].join("|")}>`, description), parseTechnique(flag, techniqueChoices[name]));
  return [
    option("cpu", "--cpu", "how a VM's CPUs are virtualized (hardware unless given)"),
    option("mmu", "--mmu", "how its memory is (what belongs to --cpu unless given)"),
    option("shadow", "--shadow", "what becomes of shadow tables when the guest changes address spaces (cached unless given)"),
    option("rewrite", "--rewrite", "of binary translation, which privileged instructions are replaced: all, or only what does not trap on the silent machine"),
    option("onIllegal", "--on-illegal", "what an instruction of the kernel that no privilege allows becomes: the guest's own fault, or the VM's end"),
  ];
}

/** Those of a command's options that say how a VM is virtualized. */
export const techniqueAmong = ({ cpu, mmu, shadow, rewrite, onIllegal }: TechniqueOptions): TechniqueOptions => ({ cpu, mmu, shadow, rewrite, onIllegal });

/** `--tlb`. */
export function tlbOption(): Option {
  return new Option("--tlb <who>", "who fills the machine's TLB, and a VM's: with `software`, a miss is a trap (docs/software-tlb.md)").choices(tlbKinds).default("hardware");
}

function parsing<T>(parse: (text: string) => T, text: string): T {
  try {
    return parse(text);
  } catch (error) {
    if (error instanceof HostelryError) throw error;
    throw new InvalidArgumentError(String(error));
  }
}
