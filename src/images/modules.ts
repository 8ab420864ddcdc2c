import { HostelryError } from "#base/errors.ts";
import { readAll, streamOf } from "./byte-reader.ts";
import { compressionOf, decompress } from "./compression.ts";
import { parseElf, sectionBytes } from "./elf.ts";
import { decodeText } from "./text.ts";

/** A kernel module, decompressed. */
export interface KernelModule {
  /** As `lsmod` shows it: with underscores. */
  readonly name: string;
  /** Below `lib/modules/RELEASE/`, without the compression's suffix. */
  readonly path: string;
  readonly bytes: Uint8Array;
  /** Names of modules that must be loaded before. */
  readonly depends: readonly string[];
  /** Patterns of what it drives, as the kernel asks for it. */
  readonly aliases: readonly string[];
}

/** All modules of a kernel package: path below `lib/modules/RELEASE/` to bytes, compressed as they came. */
export type ModuleFiles = ReadonlyMap<string, Uint8Array>;

const MAX_MODULE = 256 << 20;

const MODULE_SUFFIX = /\.ko(\.xz|\.gz|\.zst)?$/;

export function isModulePath(path: string): boolean {
  return MODULE_SUFFIX.test(path);
}

/**
 * The modules named and all that they depend on, each after its own dependencies. A module that `builtin` lists is in
 * the kernel itself. Dependencies come from the modules' own `.modinfo`: the package has no `modules.dep`, which `depmod`
 * makes on installing. Throws HostelryError `no-module`.
 */
export async function collectModules(wanted: readonly string[], files: ModuleFiles, builtin: ReadonlySet<string>): Promise<KernelModule[]> {
  const paths = new Map([...files.keys()].map((path) => [moduleName(path), path]));
  const collected = new Map<string, KernelModule>();
  const visit = async (name: string): Promise<void> => {
    if (collected.has(name) || builtin.has(name)) return;
    const path = paths.get(name);
    if (path === undefined) throw new HostelryError("no-module", `this kernel has no module ${name}: look for its name with modinfo`);
    const module = await readModule(path, files.get(path)!);
    // Entered after what it depends on: the map's order is the order of loading. Cycles cannot be loaded, so there are none.
    for (const dependency of module.depends) await visit(dependency);
    collected.set(name, module);
  };
  for (const name of wanted) await visit(moduleName(name));
  return [...collected.values()];
}

/** `modules.builtin` has a path a line. */
export function parseBuiltin(text: string): Set<string> {
  return new Set(text.split("\n").filter(Boolean).map(moduleName));
}

/** `modules.dep` for modprobe: each path, a colon, and all paths to load before, the direct ones first (depmod's format). */
export function modulesDep(modules: readonly KernelModule[]): string {
  const byName = new Map(modules.map((module) => [module.name, module]));
  const closure = (module: KernelModule, into: Set<string> = new Set()): Set<string> => {
    for (const name of module.depends) {
      const dependency = byName.get(name);
      if (dependency === undefined || into.has(dependency.path)) continue;
      into.add(dependency.path);
      closure(dependency, into);
    }
    return into;
  };
  return lines(modules.map((module) => [`${module.path}:`, ...closure(module)].join(" ")));
}

/** `modules.alias` for modprobe, by which the kernel's own requests ("fs-ext4", "virtio:d00000002v…") find a module. */
export function modulesAlias(modules: readonly KernelModule[]): string {
  return lines(modules.flatMap((module) => module.aliases.map((alias) => `alias ${alias} ${module.name}`)));
}

async function readModule(path: string, compressed: Uint8Array): Promise<KernelModule> {
  const bytes = await readAll(decompress(streamOf(compressed), compressionOf(compressed), path), MAX_MODULE, path);
  const information = parseModinfo(sectionBytes(bytes, parseElf(bytes, path), ".modinfo") ?? new Uint8Array(0));
  return {
    name: moduleName(path),
    path: path.replace(MODULE_SUFFIX, ".ko"),
    bytes,
    depends: (information.get("depends") ?? []).flatMap((list) => list.split(",")).filter(Boolean).map(moduleName),
    aliases: information.get("alias") ?? [],
  };
}

/** NUL-terminated "key=value" strings; keys repeat. */
function parseModinfo(section: Uint8Array): Map<string, string[]> {
  const information = new Map<string, string[]>();
  for (const record of decodeText(section).split("\0")) {
    const equals = record.indexOf("=");
    if (equals < 0) continue;
    const key = record.slice(0, equals);
    information.set(key, [...(information.get(key) ?? []), record.slice(equals + 1)]);
  }
  return information;
}

/** Files are named with hyphens or underscores; the kernel takes them for the same. */
function moduleName(path: string): string {
  return path.split("/").at(-1)!.replace(MODULE_SUFFIX, "").replaceAll("-", "_");
}

function lines(all: readonly string[]): string {
  return all.map((line) => `${line}\n`).join("");
}
