import { HostelryError } from "#base/errors.ts";
import type { PackageFile } from "#images/build.ts";
import { readAll, streamOf } from "#images/byte-reader.ts";
import { compressionOf, decompress } from "#images/compression.ts";
import { PackageIndex, type PackageRecord } from "#images/packages.ts";
import type { Progress } from "#images/progress.ts";
import { type IndexFile, parseRelease, type Release } from "#images/release.ts";
import { ARCHITECTURE, type Repository, SUITE } from "#images/repository.ts";
import { mkdir, readFile, rename } from "node:fs/promises";
import { join } from "node:path";
import { type ContentCache, hashBytes, hashFile, sizeOf } from "./cache.ts";
import { cachedPackages, missingPackages } from "./cached-packages.ts";
import { writeFileAtomic } from "./files.ts";
import { canVerify, verifiedText } from "./gpgv.ts";
import { fetchBytes } from "./http.ts";
import { downloadPackages, downloadVerified } from "./package-download.ts";

const MAX_RELEASE = 16 << 20;
const MAX_INDEX = 1 << 29;
const INDEX = `main/binary-${ARCHITECTURE}/Packages.xz`;

/**
 * Debian packages from any mirror over HTTP(S), where there is no apt.
 *
 * What is verified: each package's SHA-256 against the index, the index's against the Release file. The Release file's
 * signature by Debian is verified where `gpgv` and Debian's keyring are installed. Where they are not, it is as trustworthy as
 * the mirror and the way to it: `https` then protects the way, plain `http` does not. The user is told so.
 */
export class MirrorRepository implements Repository {
  readonly #url: string;
  readonly #state: string;
  readonly #cache: ContentCache;
  readonly #progress: Progress;

  /** `root` is where the state of mirrors is kept, one directory each. Throws HostelryError `bad-mirror`. */
  constructor(url: string, root: string, cache: ContentCache, progress: Progress) {
    if (!URL.canParse(url) || !/^https?:$/.test(new URL(url).protocol)) {
      throw new HostelryError("bad-mirror", `${url} is no mirror's address: give one that begins with http:// or https:// and has dists/ and pool/ below it`);
    }
    this.#url = url.replace(/\/+$/, "");
    this.#state = join(root, hashBytes(this.#url).slice(0, 16));
    this.#cache = cache;
    this.#progress = progress;
  }

  async index(): Promise<PackageIndex> {
    await mkdir(this.#state, { recursive: true });
    const file = join(this.#state, "Packages.xz");
    try {
      await this.#update(file);
    } catch (error) {
      if (!(error instanceof HostelryError) || error.code !== "no-network" || (await sizeOf(file)) === null) throw error;
      this.#progress.warn(`No new package list (${error.message.split(":").slice(0, -1).join(":")}): going on with the one from before`);
    }
    const compressed = await readFile(file);
    const text = await readAll(decompress(streamOf(compressed), compressionOf(compressed), INDEX), MAX_INDEX, INDEX);
    return new PackageIndex(new TextDecoder().decode(text));
  }

  async fetch(records: readonly PackageRecord[]): Promise<PackageFile[]> {
    const missing = await missingPackages(records, this.#cache);
    if (missing.length > 0) await downloadPackages(this.#url, missing, this.#cache, this.#progress);
    return cachedPackages(records, this.#cache);
  }

  /** Brings the index up to date, or leaves the old one as it is. */
  async #update(file: string): Promise<void> {
    this.#progress.step("Fetching Debian's package list");
    const release = await this.#release();
    const index = release.files.get(INDEX);
    if (index === undefined) {
      throw new HostelryError("bad-mirror", `${this.#url} has no packages for ${ARCHITECTURE} in ${SUITE}: name another mirror with --mirror`);
    }
    if ((await sizeOf(file)) === index.size && (await hashFile(file)) === index.sha256) return;
    const directory = INDEX.slice(0, INDEX.lastIndexOf("/"));
    const path = release.byHash ? `${directory}/by-hash/SHA256/${index.sha256}` : INDEX;
    const fresh = join(this.#state, `Packages.xz.${index.sha256}`);
    await this.#fetchIndex(`${this.#url}/dists/${SUITE}/${path}`, fresh, index);
    await rename(fresh, file);
  }

  async #release(): Promise<Release> {
    const base = `${this.#url}/dists/${SUITE}`;
    const text = canVerify() ? await this.#signedRelease(base) : await this.#unsignedRelease(base);
    const release = parseRelease(text, `${base}/Release`);
    if (release.codename !== SUITE) {
      throw new HostelryError("bad-mirror", `${this.#url} gives ${release.codename || "something else"} for ${SUITE}: name another mirror with --mirror`);
    }
    if (release.validUntil !== null && release.validUntil < Date.now()) {
      throw new HostelryError("bad-mirror", `${this.#url} is out of date: its list was valid until ${new Date(release.validUntil).toISOString()}; name another mirror with --mirror`);
    }
    return release;
  }

  async #signedRelease(base: string): Promise<string> {
    const inRelease = await fetchIfThere(`${base}/InRelease`);
    if (inRelease !== null) {
      const file = join(this.#state, "InRelease");
      await writeFileAtomic(file, inRelease);
      return verifiedText(file, null, `${base}/InRelease`);
    }
    const files = [join(this.#state, "Release.gpg"), join(this.#state, "Release")] as const;
    await writeFileAtomic(files[0], await fetchBytes(`${base}/Release.gpg`, MAX_RELEASE));
    await writeFileAtomic(files[1], await fetchBytes(`${base}/Release`, MAX_RELEASE));
    return verifiedText(files[1], files[0], `${base}/Release`);
  }

  async #unsignedRelease(base: string): Promise<string> {
    const bytes = (await fetchIfThere(`${base}/InRelease`)) ?? (await fetchBytes(`${base}/Release`, MAX_RELEASE));
    this.#progress.warn("Debian's signature is not verified, as gpgv or Debian's keyring is not installed here: checksums only");
    return new TextDecoder().decode(bytes);
  }

  async #fetchIndex(url: string, path: string, expected: IndexFile): Promise<void> {
    const transfer = this.#progress.transfer("package list", expected.size);
    try {
      await downloadVerified(url, path, expected, (bytes) => transfer.at(bytes));
    } finally {
      transfer.done();
    }
  }
}

async function fetchIfThere(url: string): Promise<Uint8Array | null> {
  try {
    return await fetchBytes(url, MAX_RELEASE);
  } catch (error) {
    if (error instanceof HostelryError && error.code === "not-found") return null;
    throw error;
  }
}
