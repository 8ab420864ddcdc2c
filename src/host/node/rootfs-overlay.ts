import { readdir, readFile } from "node:fs/promises";
import { join, relative, sep } from "node:path";
import { fileURLToPath } from "node:url";

const ROOTFS = fileURLToPath(new URL("../../images/rootfs/", import.meta.url));

/** Our own files of the default image, by their path in it. Sorted, so that the same files make the same image. */
export async function readOverlay(): Promise<Map<string, Uint8Array>> {
  const entries = await readdir(ROOTFS, { recursive: true, withFileTypes: true });
  const paths = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name)).sort();
  return new Map(await Promise.all(paths.map(async (path) => [relative(ROOTFS, path).split(sep).join("/"), await readFile(path)] as const)));
}
