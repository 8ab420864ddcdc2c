/** A disk whose sectors are a file's bytes. It works at once: the machine's thread has nothing better to do. */
import { HostelryError } from "#base/errors.ts";
import type { ImmediateBlockBackend } from "#devices/virtio/block.ts";
import { closeSync, fdatasyncSync, fstatSync, openSync, readvSync, writevSync } from "node:fs";
import { basename } from "node:path";
import { fileError } from "./files.ts";

const SECTOR = 512;
const ID_LENGTH = 20;

export class BlockFile implements ImmediateBlockBackend {
  readonly kind = "immediate";
  readonly sectors: number;
  readonly readOnly: boolean;
  readonly id: string;
  /** Which file it is, whatever its path. */
  readonly identity: string;
  readonly #file: number;
  #closed = false;

  /** Throws HostelryError if the file isn't there, may not be used so, or is no disk. */
  constructor(path: string, readOnly: boolean) {
    this.readOnly = readOnly;
    // What a guest sees of the host is the file's name, in ASCII.
    this.id = basename(path).replaceAll(/[^\x21-\x7e]/g, "_").slice(0, ID_LENGTH);
    this.#file = openDrive(path, readOnly);
    try {
      this.sectors = sectorsOf(this.#file, path);
      const { dev, ino } = fstatSync(this.#file, { bigint: true });
      this.identity = `${dev}:${ino}`;
    } catch (error) {
      closeSync(this.#file);
      throw error;
    }
  }

  read(sector: number, into: readonly Uint8Array[]): void {
    transfer(into, sector * SECTOR, (views, position) => readvSync(this.#file, views, position));
  }

  write(sector: number, from: readonly Uint8Array[]): void {
    transfer(from, sector * SECTOR, (views, position) => writevSync(this.#file, views, position));
  }

  flush(): void {
    fdatasyncSync(this.#file);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    closeSync(this.#file);
  }
}

/** The host may move less than all at once. */
export function transfer(buffers: readonly Uint8Array[], start: number, move: (views: Uint8Array[], position: number) => number): void {
  let views = [...buffers];
  let position = start;
  while (views.length > 0) {
    const moved = move(views, position);
    if (moved === 0) throw new Error("the file has become shorter than it was");
    position += moved;
    views = rest(views, moved);
  }
}

function rest(views: readonly Uint8Array[], done: number): Uint8Array[] {
  const left: Uint8Array[] = [];
  for (const view of views) {
    if (done < view.length) left.push(view.subarray(done));
    done = Math.max(done - view.length, 0);
  }
  return left;
}

/** Opens drives; none stays open if one can't be. Two writers, or a reader beside a writer, would ruin a file system. */
export function openDrives(drives: readonly { readonly path: string; readonly readOnly: boolean }[]): BlockFile[] {
  const opened: BlockFile[] = [];
  try {
    for (const { path, readOnly } of drives) {
      const drive = new BlockFile(path, readOnly);
      const same = opened.find(({ identity }) => identity === drive.identity);
      opened.push(drive);
      if (same !== undefined && !(same.readOnly && readOnly)) {
        throw new HostelryError("drive-twice", `the drive ${path} is given twice, and not for reading only: its file system would be ruined; leave one out`);
      }
    }
    return opened;
  } catch (error) {
    for (const drive of opened) drive.close();
    throw error;
  }
}

function openDrive(path: string, readOnly: boolean): number {
  try {
    return openSync(path, readOnly ? "r" : "r+");
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (!readOnly && (code === "EACCES" || code === "EPERM" || code === "EROFS")) {
      throw new HostelryError("unwritable", `the drive ${path} may not be written: give it as ${path},ro, or change its permissions`);
    }
    throw fileError(error, path, "the drive");
  }
}

function sectorsOf(file: number, path: string): number {
  const stat = fstatSync(file);
  if (!stat.isFile()) throw new HostelryError("not-a-disk", `the drive ${path} is no regular file: give the image of a disk`);
  if (stat.size === 0) throw new HostelryError("not-a-disk", `the drive ${path} is empty: give it a size, as with truncate -s 1G`);
  if (stat.size % SECTOR !== 0) {
    const padded = Math.ceil(stat.size / SECTOR) * SECTOR;
    throw new HostelryError("not-a-disk", `the drive ${path} has ${stat.size} bytes, which is not a multiple of ${SECTOR}: is it cut short? truncate -s ${padded} pads it`);
  }
  return stat.size / SECTOR;
}
