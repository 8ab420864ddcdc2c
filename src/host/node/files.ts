import { HostelryError } from "#base/errors.ts";
import { closeSync, openSync, read, statSync } from "node:fs";
import { open, readFile, rename, rm } from "node:fs/promises";

/** A file that the user named. Throws HostelryError `no-file` or `unreadable`; `what` says what it was to be: "the kernel". */
export async function readInputFile(path: string, what: string): Promise<Uint8Array> {
  try {
    const found = statSync(path);
    // A pipe has an end, as a rule; /dev/zero has none.
    if (found.isCharacterDevice()) throw new HostelryError("unreadable", `${what} ${path} is a device: give a file`);
    const { size } = found;
    const atOnce = size > 0 && size <= MOST_AT_ONCE ? await readAtOnce(path, size) : undefined;
    return atOnce ?? (await readFile(path));
  } catch (error) {
    throw fileError(error, path, what);
  }
}

const MOST_AT_ONCE = 2 ** 31 - 1;

/**
 * Another thread is reading when this returns, and goes on while ours is at work, where `readFile` comes back for each half
 * megabyte. undefined if the file turns out to be of another size.
 */
function readAtOnce(path: string, size: number): Promise<Uint8Array | undefined> {
  const file = openSync(path, "r");
  const bytes = new Uint8Array(size);
  return new Promise((resolve, reject) => {
    read(file, bytes, 0, size, 0, (error, bytesRead) => {
      closeSync(file);
      if (error !== null) reject(error);
      else resolve(bytesRead === size ? bytes : undefined);
    });
  });
}

/** Writes the whole file or nothing: to a file beside it, to the disk, and then over to its name. */
export async function writeFileAtomic(path: string, bytes: Uint8Array | string): Promise<void> {
  const temporary = `${path}.${process.pid}.tmp`;
  try {
    const file = await open(temporary, "w");
    try {
      await file.writeFile(bytes);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw fileError(error, path, "the file");
  }
}

const REASONS: Readonly<Record<string, readonly [code: string, text: string]>> = {
  ENOENT: ["no-file", "is not there: check the path"],
  ENOTDIR: ["no-file", "is not there: a part of its path is no directory"],
  EISDIR: ["unreadable", "is a directory: give a file"],
  EACCES: ["unreadable", "may not be opened by this user: check its permissions"],
  EPERM: ["unreadable", "may not be opened by this user: check its permissions"],
  EROFS: ["unwritable", "is on a read-only file system: choose another place"],
  ENOSPC: ["disk-full", "does not fit on the disk: make room and try again"],
  EDQUOT: ["disk-full", "does not fit into the user's quota: make room and try again"],
  ERR_FS_FILE_TOO_LARGE: ["too-large", "is larger than can be read at once (2 GiB): give a smaller file"],
};

/** An error of the file system as one line for the user; anything else as it is. */
export function fileError(error: unknown, path: string, what: string): unknown {
  const code = (error as NodeJS.ErrnoException | null)?.code;
  const reason = code === undefined ? undefined : REASONS[code];
  return reason === undefined ? error : new HostelryError(reason[0], `${what} ${path} ${reason[1]}`);
}
