import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { writeCpio } from "#images/cpio.ts";
import { RootFs } from "#images/rootfs.ts";

const PYTHON_PROGRAMS = fileURLToPath(new URL("./programs/python/", import.meta.url));

/**
 * Writes `base` with the benchmark's files behind it: the kernel unpacks archives that stand one behind the other, a
 * later one on top of an earlier one (Documentation/driver-api/early-userspace/buffer-format.rst).
 */
export function writeInitramfs(path: string, base: string, binaries: string): void {
  const image = readFileSync(base);
  // An archive begins on a boundary of four bytes; zeros between two are skipped.
  const padding = new Uint8Array((4 - (image.length % 4)) % 4);
  writeFileSync(path, Buffer.concat([image, padding, ...writeCpio(overlay(binaries).entries())]));
}

function overlay(binaries: string): RootFs {
  const files = new RootFs();
  // The first process needs a console before it can mount /dev.
  files.addCharacterDevice("dev/console", 5, 1, 0o600);
  for (const folder of [binaries, PYTHON_PROGRAMS]) {
    for (const name of readdirSync(folder)) files.addFile(`bench/${name}`, readFileSync(`${folder}/${name}`), 0o755);
  }
  return files;
}
