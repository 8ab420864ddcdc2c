import { HostelryError } from "#base/errors.ts";
import { type ImageFile, type ImageManifest, parseManifest, requireImageName } from "#images/image.ts";
import { mkdir, readFile, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { listDirectory, sizeOf } from "./cache.ts";
import { fileError, writeFileAtomic } from "./files.ts";

const MANIFEST = "image.json";

/** Directories of unfinished and replaced images: no name of an image begins with a dot. */
const UNFINISHED = /^\.(.+)\.(new|old)$/;

export interface StoredImage {
  readonly name: string;
  readonly directory: string;
  readonly manifest: ImageManifest;
  readonly kernelPath: string;
  readonly initrdPath: string;
}

/**
 * Images on the disk: `NAME/{vmlinux,initrd,image.json}`. An image is put together in a directory beside its own and then
 * renamed, so what is under its name is whole at any time. Changes are made under the lock of the caller.
 */
export class ImageStore {
  readonly root: string;

  constructor(root: string) {
    this.root = root;
  }

  /** Names of all images, sorted. */
  async names(): Promise<string[]> {
    return (await listDirectory(this.root)).filter((name) => !name.startsWith("."));
  }

  async has(name: string): Promise<boolean> {
    return (await sizeOf(join(this.root, name, MANIFEST))) !== null;
  }

  /** Throws HostelryError `no-image`, `broken-image`, `image-name`. */
  async open(name: string): Promise<StoredImage> {
    requireImageName(name);
    const directory = join(this.root, name);
    const path = join(directory, MANIFEST);
    const text = await readFile(path, "utf8").catch((error: unknown) => {
      if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw fileError(error, path, "the image's description");
      throw new HostelryError("no-image", `there is no image ${name}: build it with "hostelry image build${name === "default" ? "" : ` --name ${name}`}", or see "hostelry image ls"`);
    });
    const manifest = parseManifest(text, path);
    const [kernelPath, initrdPath] = await Promise.all([manifest.kernel, manifest.initrd].map((file) => wholeFile(directory, file)));
    return { name, directory, manifest, kernelPath, initrdPath };
  }

  /** Bytes of its files. */
  async size(name: string): Promise<number> {
    const directory = join(this.root, name);
    const sizes = await Promise.all((await listDirectory(directory)).map((file) => sizeOf(join(directory, file))));
    return sizes.reduce<number>((total, size) => total + (size ?? 0), 0);
  }

  /** Stores an image, in the place of one of the same name. */
  async write(name: string, manifest: ImageManifest, files: { readonly kernel: Uint8Array; readonly initrd: Uint8Array }): Promise<StoredImage> {
    requireImageName(name);
    const fresh = join(this.root, `.${name}.new`);
    const old = join(this.root, `.${name}.old`);
    try {
      await rm(fresh, { recursive: true, force: true });
      await mkdir(fresh, { recursive: true });
      await writeFileAtomic(join(fresh, manifest.kernel.file), files.kernel);
      await writeFileAtomic(join(fresh, manifest.initrd.file), files.initrd);
      await writeFileAtomic(join(fresh, MANIFEST), `${JSON.stringify(manifest, null, 2)}\n`);
    } catch (error) {
      await rm(fresh, { recursive: true, force: true });
      throw fileError(error, fresh, "the image");
    }
    await rm(old, { recursive: true, force: true });
    if (await this.#exists(name)) await rename(join(this.root, name), old);
    await rename(fresh, join(this.root, name));
    await rm(old, { recursive: true, force: true });
    return this.open(name);
  }

  /** Returns the bytes that this frees. Throws HostelryError `no-image`. */
  async remove(name: string): Promise<number> {
    requireImageName(name);
    if (!(await this.#exists(name))) throw new HostelryError("no-image", `there is no image ${name}: see "hostelry image ls"`);
    const size = await this.size(name);
    await rm(join(this.root, name), { recursive: true });
    return size;
  }

  /**
   * Clears up behind a process that was killed: puts back an image that it had moved aside and not yet replaced, and removes
   * what it had not finished. Returns the bytes that this frees.
   */
  async recover(): Promise<number> {
    let freed = 0;
    for (const entry of await listDirectory(this.root)) {
      const [, name, state] = UNFINISHED.exec(entry) ?? [];
      if (name === undefined) continue;
      if (state === "old" && !(await this.#exists(name))) {
        await rename(join(this.root, entry), join(this.root, name));
        continue;
      }
      freed += await this.size(entry);
      await rm(join(this.root, entry), { recursive: true, force: true });
    }
    return freed;
  }

  async #exists(name: string): Promise<boolean> {
    return (await sizeOf(join(this.root, name))) !== null;
  }
}

async function wholeFile(directory: string, file: ImageFile): Promise<string> {
  const path = join(directory, file.file);
  if ((await sizeOf(path)) !== file.bytes) throw new HostelryError("broken-image", `${path} is not there as it was built: build the image again`);
  return path;
}
