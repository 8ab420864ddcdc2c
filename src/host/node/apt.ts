import { HostelryError } from "#base/errors.ts";
import type { PackageFile } from "#images/build.ts";
import { PackageIndex, type PackageRecord } from "#images/packages.ts";
import type { Progress } from "#images/progress.ts";
import { type Repository, SUITE } from "#images/repository.ts";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { aptConfiguration, type AptDirectories, usesProxy } from "./apt-configuration.ts";
import { cachedPackages, missingPackages } from "./cached-packages.ts";
import type { ContentCache } from "./cache.ts";
import { type CommandResult, findProgram, runCommand } from "./command.ts";
import { debianKeyring } from "./gpgv.ts";
import { downloadPackages, totalSize, transferLabel } from "./package-download.ts";

/** True if this host can fetch Debian's packages by its own means: with apt and Debian's keys. */
export function hasApt(): boolean {
  return findProgram("apt-get") !== null && debianKeyring() !== null;
}

/**
 * Debian packages through `apt-get`, which verifies Debian's signature and knows the host's mirror and proxies. It works on
 * a state directory of our own: the host's lists, cache, architectures and installed packages are neither read nor written,
 * and nothing needs root.
 *
 * The packages themselves, whose checksums the signed list states, are fetched by us from apt's mirror where that can be
 * done plainly: `apt-get download` begins anew when it was interrupted, and the kernel is 112 MB.
 */
export class AptRepository implements Repository {
  readonly #directories: AptDirectories;
  readonly #cache: ContentCache;
  readonly #progress: Progress;
  /** The mirror, if it can be reached without apt's help. */
  #direct: string | null = null;

  /** `root` is the state directory, which lasts: lists are only fetched again when they have changed. */
  constructor(root: string, cache: ContentCache, progress: Progress) {
    this.#directories = {
      root,
      configuration: join(root, "apt.conf"),
      sources: join(root, "sources.list"),
      lists: join(root, "lists"),
      downloads: join(root, "downloads"),
    };
    this.#cache = cache;
    this.#progress = progress;
  }

  async index(): Promise<PackageIndex> {
    await this.#configure();
    this.#progress.step("Fetching Debian's package list (about 10 MB if it has changed)");
    const update = await this.#apt(["update", "-q", "-o", "APT::Update::Error-Mode=any"]);
    const [list] = (await this.#apt(["indextargets", "--format", "$(FILENAME)", "Created-By: Packages"])).stdout.split("\n");
    const text = list === "" ? null : await readFile(list, "utf8").catch(() => null);
    if (text === null) throw aptError(update, "Debian's package list cannot be fetched");
    if (update.status !== 0) this.#progress.warn(`No new package list (${firstError(update)}): going on with the one from before`);
    return new PackageIndex(text);
  }

  async fetch(records: readonly PackageRecord[]): Promise<PackageFile[]> {
    const missing = await missingPackages(records, this.#cache);
    if (missing.length > 0) await this.#download(missing);
    return cachedPackages(records, this.#cache);
  }

  async #download(records: readonly PackageRecord[]): Promise<void> {
    if (this.#direct !== null) {
      try {
        return await downloadPackages(this.#direct, records, this.#cache, this.#progress);
      } catch (error) {
        // A mirror may want what only apt has, credentials for one.
        if (!(error instanceof HostelryError) || !["no-network", "not-found", "download-broken"].includes(error.code)) throw error;
        this.#progress.warn(`${error.message.split(":").slice(0, -1).join(":")}: letting apt try`);
      }
    }
    await this.#downloadByApt(await missingPackages(records, this.#cache));
  }

  async #downloadByApt(records: readonly PackageRecord[]): Promise<void> {
    const total = totalSize(records);
    const transfer = this.#progress.transfer(transferLabel(records), total);
    try {
      const wanted = records.map(({ name, version }) => `${name}=${version}`);
      const result = await this.#apt(["download", "-q", "-o", "APT::Status-Fd=3", ...wanted], (line) => {
        // dlstatus:ITEM:PERCENT:WHAT, of all the items together.
        const percent = /^dlstatus:\d+:([\d.]+):/.exec(line)?.[1];
        if (percent !== undefined) transfer.at((Number(percent) / 100) * total);
      });
      if (result.status !== 0) throw aptError(result, "Debian's packages cannot be fetched");
      transfer.at(total);
    } finally {
      transfer.done();
    }
    for (const record of records) {
      if (await this.#cache.adopt(join(this.#directories.downloads, fileName(record)), record.sha256)) continue;
      throw new HostelryError("download-broken", `the package ${record.name} that apt has fetched is not the one in its list: try again`);
    }
  }

  async #configure(): Promise<void> {
    const { root, lists, downloads, configuration, sources } = this.#directories;
    for (const directory of [join(lists, "partial"), downloads, join(root, "archives", "partial")]) await mkdir(directory, { recursive: true });
    await writeFile(join(root, "status"), "");
    const host = (await runCommand("apt-config", ["dump"])).stdout;
    await writeFile(configuration, aptConfiguration(this.#directories, host, process.getuid?.() === 0));
    const mirror = await hostMirror();
    await writeFile(sources, `deb [signed-by=${debianKeyring()} target=Packages] ${mirror} ${SUITE} main\n`);
    this.#direct = /^https?:/.test(mirror) && !usesProxy(host) ? mirror : null;
  }

  #apt(args: readonly string[], onStatusLine?: (line: string) => void): Promise<CommandResult> {
    return runCommand("apt-get", args, {
      environment: { APT_CONFIG: this.#directories.configuration },
      directory: this.#directories.downloads,
      ...(onStatusLine === undefined ? {} : { onStatusLine }),
    });
  }
}

/** The mirror that the host's own Debian sources name. Throws HostelryError `no-debian-source`. */
async function hostMirror(): Promise<string> {
  const format = "$(ORIGIN)\t$(LABEL)\t$(REPO_URI)";
  const targets = (await runCommand("apt-get", ["indextargets", "--format", format, "Created-By: Packages"])).stdout;
  const known = targets.split("\n").map((line) => line.split("\t")).find(([origin, label]) => origin === "Debian" && label === "Debian");
  if (known !== undefined) return known[2];
  // Without lists (an image of a container, say) apt knows no origins, but still where it would look.
  const uris = (await runCommand("apt-get", ["update", "--print-uris"])).stdout;
  const guess = new RegExp(`^'(.+)/dists/(?:${DEBIAN_SUITES.join("|")})/InRelease'`, "m").exec(uris)?.[1];
  if (guess !== undefined) return guess;
  throw new HostelryError("no-debian-source", "apt here has no sources of Debian itself: name a Debian mirror with --mirror URL");
}

const DEBIAN_SUITES = ["oldoldstable", "oldstable", "stable", "testing", "unstable", "sid", "bullseye", "bookworm", "trixie", "forky", "duke"];

/** As `apt-get download` names it: an epoch's colon escaped. */
function fileName({ name, version, architecture }: PackageRecord): string {
  return `${name}_${version.replaceAll(":", "%3a")}_${architecture}.deb`;
}

function aptError(result: CommandResult, failure: string): HostelryError {
  const reason = firstError(result);
  const offline = /resolv|connect|unreachable|timed out|timeout/i.test(result.stderr);
  const unsigned = /GPG error|not signed|NO_PUBKEY|BADSIG/i.test(result.stderr);
  if (unsigned) return new HostelryError("bad-signature", `${failure} (${reason}): bring debian-archive-keyring up to date, or name another mirror with --mirror`);
  if (offline) return new HostelryError("no-network", `${failure} (${reason}): check the network and try again`);
  return new HostelryError("apt-failed", `${failure} (${reason}): try again, or name another mirror with --mirror`);
}

/** apt's own first complaint. */
function firstError({ stderr, status }: CommandResult): string {
  const complaints = stderr.split("\n").filter((line) => /^(E|W|Err):/.test(line));
  const telling = complaints.find((line) => line.startsWith("E:") && !/Some index files failed/.test(line)) ?? complaints[0];
  return telling?.replace(/^\w+: */, "").replace(/\s+/g, " ").trim() ?? `apt-get ended with status ${status}`;
}
