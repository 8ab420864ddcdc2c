import { assert } from "#base/assert.ts";
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { mkdir, readdir, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";

/** What an entry of the cache takes on the disk. */
export interface CacheEntry {
  readonly sha256: string;
  /** Bytes. */
  readonly size: number;
}

/**
 * Files under the SHA-256 of their content: `sha256/ab/abcd…`, and unfinished ones as `partial/abcd…`. A file gets to its
 * name by a rename, complete and verified, and is never changed there.
 */
export class ContentCache {
  readonly #root: string;

  constructor(root: string) {
    this.#root = root;
  }

  /** Where the content lies, or would lie. */
  path(sha256: string): string {
    assert(/^[0-9a-f]{64}$/.test(sha256), "a SHA-256 in hexadecimal", { sha256 });
    return join(this.#root, "sha256", sha256.slice(0, 2), sha256);
  }

  /** Where to download it to. The file may be there, from an interrupted try. */
  async partialPath(sha256: string): Promise<string> {
    const directory = join(this.#root, "partial");
    await mkdir(directory, { recursive: true });
    return join(directory, sha256);
  }

  /** True if there, with the size that it should have: a disk that ran full or crashed may have left less. */
  async has(sha256: string, size: number): Promise<boolean> {
    return (await sizeOf(this.path(sha256))) === size;
  }

  /** Takes a file over if its content is what its name will claim; else removes it and returns false. */
  async adopt(file: string, sha256: string): Promise<boolean> {
    if ((await hashFile(file)) !== sha256) {
      await rm(file, { force: true });
      return false;
    }
    const path = this.path(sha256);
    await mkdir(join(path, ".."), { recursive: true });
    await rename(file, path);
    return true;
  }

  async entries(): Promise<CacheEntry[]> {
    const directories = await listDirectory(join(this.#root, "sha256"));
    const names = await Promise.all(directories.map((directory) => listDirectory(join(this.#root, "sha256", directory))));
    const valid = names.flat().filter((name) => /^[0-9a-f]{64}$/.test(name));
    return Promise.all(valid.map(async (sha256) => ({ sha256, size: (await sizeOf(this.path(sha256))) ?? 0 })));
  }

  /** Removes content, and returns the bytes that this frees. */
  async remove(entries: readonly CacheEntry[]): Promise<number> {
    for (const { sha256 } of entries) await rm(this.path(sha256), { force: true });
    return entries.reduce((total, { size }) => total + size, 0);
  }

  /** Removes what interrupted downloads left, and returns the bytes that this frees. */
  async removePartial(): Promise<number> {
    const directory = join(this.#root, "partial");
    const sizes = await Promise.all((await listDirectory(directory)).map((name) => sizeOf(join(directory, name))));
    await rm(directory, { recursive: true, force: true });
    return sizes.reduce<number>((total, size) => total + (size ?? 0), 0);
  }
}

/** SHA-256 of a file, in hexadecimal. */
export async function hashFile(path: string): Promise<string> {
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) hash.update(chunk as Uint8Array);
  return hash.digest("hex");
}

/** SHA-256 of bytes, in hexadecimal. */
export function hashBytes(...pieces: readonly (Uint8Array | string)[]): string {
  const hash = createHash("sha256");
  for (const piece of pieces) hash.update(piece);
  return hash.digest("hex");
}

/** The file's size in bytes, or null if it is not there. */
export async function sizeOf(path: string): Promise<number | null> {
  try {
    return (await stat(path)).size;
  } catch {
    return null;
  }
}

/** Names in a directory, none if it is not there. */
export async function listDirectory(path: string): Promise<string[]> {
  try {
    return (await readdir(path)).sort();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw error;
  }
}
