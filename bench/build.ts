import { execFileSync } from "node:child_process";
import { mkdirSync, readdirSync, statSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { HostelryError } from "#base/errors.ts";

const SOURCES = fileURLToPath(new URL("./programs/", import.meta.url));
const BUILD = fileURLToPath(new URL("./build/", import.meta.url));
const COMPILER = "riscv64-linux-gnu-gcc";

/** Static, so that a program is one file and its speed owes nothing to the loader; stripped, as Debian's are. */
const FLAGS = ["-std=gnu17", "-O2", "-mabi=lp64d", "-static", "-s", "-Wall", "-Wextra", "-Werror"];

/** Compiles what is older than its source. Returns the folder of the binaries. Throws HostelryError `no-compiler`. */
export function buildPrograms(march: string): string {
  const output = `${BUILD}${march}`;
  mkdirSync(output, { recursive: true });
  const header = modified(`${SOURCES}bench.h`);
  const sources = [...sourcesIn(SOURCES), ...sourcesIn(`${SOURCES}guest/`)];
  for (const source of sources) {
    const target = `${output}/${source.slice(source.lastIndexOf("/") + 1, -".c".length)}`;
    if (modified(target) <= Math.max(modified(source), header)) compile([...FLAGS, `-march=${march}`, "-o", target, source, "-lm"]);
  }
  return output;
}

/** A file for the benchmark's own use, not kept in the repository. */
export function buildPath(name: string): string {
  return BUILD + name;
}

function sourcesIn(folder: string): string[] {
  return readdirSync(folder).filter((name) => name.endsWith(".c")).map((name) => folder + name);
}

function compile(args: string[]): void {
  try {
    execFileSync(COMPILER, args, { stdio: ["ignore", "inherit", "inherit"] });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    throw new HostelryError("no-compiler", `${COMPILER} isn't here: install Debian's gcc-riscv64-linux-gnu and libc6-dev-riscv64-cross`);
  }
}

/** Milliseconds since the epoch; 0 if there is no such file. */
function modified(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0;
}
