import { ARCHITECTURE } from "#images/repository.ts";

/** Where the private apt keeps its things. */
export interface AptDirectories {
  readonly root: string;
  readonly configuration: string;
  readonly sources: string;
  readonly lists: string;
  /** Where packages are downloaded to. */
  readonly downloads: string;
}

/** What we take over of how the host reaches the net (proxies, timeouts, certificates), and never of what it trusts. */
const TAKEN_OVER = /^Acquire::(?:https?|Retries|ForceIPv[46])\b[^\n]* ".+";$/gm;

/**
 * An apt.conf for apt to run on a state of its own. The host's configuration is not read, because it holds hooks that act
 * on the host (Debian's container images empty its package cache after each update); `hostDump`, what `apt-config dump` says,
 * gives the part that we need of it.
 */
export function aptConfiguration(directories: AptDirectories, hostDump: string, asRoot: boolean): string {
  const settings: readonly (readonly [string, string])[] = [
    ["Dir::Etc::main", "/dev/null"],
    ["Dir::Etc::parts", "/dev/null"],
    ["Dir::Etc::sourcelist", directories.sources],
    ["Dir::Etc::sourceparts", "/dev/null"],
    ["Dir::Etc::preferences", "/dev/null"],
    ["Dir::Etc::preferencesparts", "/dev/null"],
    ["Dir::Etc::trusted", "/dev/null"],
    ["Dir::Etc::trustedparts", "/dev/null"],
    ["Dir::State", directories.root],
    ["Dir::State::lists", directories.lists],
    ["Dir::State::status", `${directories.root}/status`],
    ["Dir::Cache", directories.root],
    ["Dir::Cache::archives", `${directories.root}/archives`],
    // Caches of parsed lists: rebuilt faster than they are worth.
    ["Dir::Cache::pkgcache", ""],
    ["Dir::Cache::srcpkgcache", ""],
    ["Dir::Log", directories.root],
    ["APT::Architecture", ARCHITECTURE],
    ["APT::Architectures::", ARCHITECTURE],
    ["Acquire::Languages", "none"],
    // Lists as plain text, so that we can read them.
    ["Acquire::GzipIndexes", "false"],
    // apt run by root fetches as the user _apt, who may not write below root's home.
    ...(asRoot ? ([["APT::Sandbox::User", "root"]] as const) : []),
  ];
  const own = settings.map(([key, value]) => `${key} "${value}";`);
  return `${[...(hostDump.match(TAKEN_OVER) ?? []), ...own].join("\n")}\n`;
}

/** True if apt is told of a proxy, or of a program that finds one. */
export function usesProxy(hostDump: string): boolean {
  return /^Acquire::https?::.*Proxy(-Auto-Detect)? ".+";$/im.test(hostDump);
}
