import { HostelryError } from "#base/errors.ts";
import type { PackageRecord } from "#images/packages.ts";
import type { Progress } from "#images/progress.ts";
import type { IndexFile } from "#images/release.ts";
import { rm } from "node:fs/promises";
import { type ContentCache, hashFile, sizeOf } from "./cache.ts";
import { download } from "./http.ts";

/** Downloads packages from below `mirror` into the cache, verified. What was complete or begun before is not fetched again. */
export async function downloadPackages(
  mirror: string,
  records: readonly PackageRecord[],
  cache: ContentCache,
  progress: Progress,
): Promise<void> {
  const transfer = progress.transfer(transferLabel(records), totalSize(records));
  let before = 0;
  try {
    for (const record of records) {
      const partial = await cache.partialPath(record.sha256);
      const url = `${mirror.replace(/\/+$/, "")}/${encodeURI(record.filename)}`;
      await downloadVerified(url, partial, record, (bytes) => transfer.at(before + bytes));
      await cache.adopt(partial, record.sha256);
      before += record.size;
    }
  } finally {
    transfer.done();
  }
}

/**
 * Downloads until the file has the size and the hash that it should have. What an earlier try left may be part of something
 * else: then once more, from the start. Throws HostelryError as `download` does.
 */
export async function downloadVerified(url: string, path: string, expected: IndexFile, onBytes: (bytes: number) => void): Promise<void> {
  const resumed = (await sizeOf(path)) !== null;
  for (const attempt of resumed ? ["resumed", "fresh"] : ["fresh"]) {
    if (attempt === "fresh") await rm(path, { force: true });
    await download(url, path, { maxBytes: expected.size, onBytes });
    if ((await sizeOf(path)) === expected.size && (await hashFile(path)) === expected.sha256) return;
  }
  await rm(path, { force: true });
  throw new HostelryError("download-broken", `${url} does not have the checksum that the mirror's list states: try again, or name another mirror with --mirror`);
}

export function transferLabel(records: readonly PackageRecord[]): string {
  return records.length === 1 ? records[0].name : `${records.length} packages`;
}

/** Bytes. */
export function totalSize(records: readonly PackageRecord[]): number {
  return records.reduce((sum, { size }) => sum + size, 0);
}
