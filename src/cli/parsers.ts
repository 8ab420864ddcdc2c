/** Options of the command line whose values are parsed. */
import { HostelryError } from "#base/errors.ts";
import { machineKinds } from "#machine/model.ts";
import { InvalidArgumentError, Option } from "commander";
import { parseDrive, type Drive } from "./options.ts";

/** A parser's HostelryError as the commander's own, so that it ends as any bad argument does. */
export function withParser<T>(option: Option, parse: (text: string) => T): Option {
  return option.argParser((text) => parsing(parse, text));
}

/** `--drive`, which can be given again. */
export function driveOption(): Option {
  return new Option("--drive <file[,ro]>", "a disk, also for reading only; can be given again")
    .argParser((text, before: Drive[] | undefined) => [...(before ?? []), parsing(parseDrive, text)])
    .default([], "none");
}

/** `--machine`: of what belongs to whoever makes a machine. */
export function machineOption(): Option {
  return new Option("--machine <kind>", "on `silent`, some sensitive instructions of U-mode don't trap, as on x86 before 2005").choices(machineKinds).default("standard");
}

function parsing<T>(parse: (text: string) => T, text: string): T {
  try {
    return parse(text);
  } catch (error) {
    if (error instanceof HostelryError) throw error;
    throw new InvalidArgumentError(String(error));
  }
}
