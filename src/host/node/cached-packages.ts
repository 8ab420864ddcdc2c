import type { PackageFile } from "#images/build.ts";
import type { PackageRecord } from "#images/packages.ts";
import { createReadStream } from "node:fs";
import type { ContentCache } from "./cache.ts";

/** Those of `records` that must be downloaded. */
export async function missingPackages(records: readonly PackageRecord[], cache: ContentCache): Promise<PackageRecord[]> {
  const present = await Promise.all(records.map(({ sha256, size }) => cache.has(sha256, size)));
  return records.filter((_, index) => !present[index]);
}

/** The packages' files, once they are all in the cache. */
export function cachedPackages(records: readonly PackageRecord[], cache: ContentCache): PackageFile[] {
  return records.map(({ name, version, sha256 }) => {
    return { name: `package ${name} ${version}`, open: () => createReadStream(cache.path(sha256), { highWaterMark: 1 << 20 }) };
  });
}
