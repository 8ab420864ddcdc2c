/** Disks for guests, gone when they have been used. */
import { copyFileSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { MIB } from "./debian.ts";

export class Disks {
  readonly #folder = mkdtempSync(join(tmpdir(), "hostelry-bench-"));
  #made = 0;

  /** Of so many MiB, of zeros: its path. */
  create(size: number): string {
    const path = this.path();
    writeFileSync(path, "");
    truncateSync(path, size * MIB);
    return path;
  }

  copy(original: string): string {
    const path = this.path();
    copyFileSync(original, path);
    return path;
  }

  /** Of no file yet. */
  path(): string {
    return join(this.#folder, String(this.#made++));
  }

  remove(): void {
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

export async function withDisks<Result>(use: (disks: Disks) => Promise<Result>): Promise<Result> {
  const disks = new Disks();
  try {
    return await use(disks);
  } finally {
    disks.remove();
  }
}

/** In a guest. */
export const mountNew = "mke2fs /dev/vda >/dev/null && mkdir /data && mount -t ext4 /dev/vda /data";
export const mountOld = "mkdir /data && mount -t ext4 /dev/vda /data";
