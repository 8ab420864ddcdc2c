import { HostelryError } from "#base/errors.ts";
import { ContentCache, hashBytes } from "#host/node/cache.ts";
import { ImageStore, type StoredImage } from "#host/node/image-store.ts";
import { withLock } from "#host/node/lock.ts";
import { readOverlay } from "#host/node/rootfs-overlay.ts";
import { type Directories, hostelryDirectories } from "#host/node/xdg.ts";
import { DEFAULT_APPEND, DEFAULT_MODULES, requireImageName } from "#images/image.ts";
import type { Progress } from "#images/progress.ts";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import type { BuildOptions } from "./image-build.ts";

export const DEFAULT_IMAGE = "default";

export interface ImageContext {
  readonly progress: Progress;
  /** Where cache and images are; by default where the XDG directories say. */
  readonly directories?: Directories;
}

/** One line of `image ls`. */
export interface ImageSummary {
  readonly name: string;
  readonly directory: string;
  /** Bytes on the disk. */
  readonly bytes: number;
  /** Why the image cannot be used; the fields below are null then. */
  readonly problem: string | null;
  readonly created: string | null;
  readonly kernel: string | null;
  /** What `--packages` had asked for. */
  readonly packages: readonly string[] | null;
  /** False if this version of Hostelry would build it differently. */
  readonly current: boolean | null;
}

/** What was removed. */
export interface RemovalSummary {
  /** Names of images, for `rm`; SHA-256 of downloads, for `prune`. */
  readonly removed: readonly string[];
  /** Bytes of the disk won. */
  readonly bytes: number;
}

/** A change of this number makes images built before count as out of date. */
const RECIPE_VERSION = 1;

/** `hostelry image …`: what it does, without the command line around it. All throw HostelryError. */
export const imageCommands = { build, list, remove, prune, ensure } as const;

/** Builds an image, or builds it again. An image of the same name stays as it is until the new one is complete. */
async function build(options: BuildOptions, context: ImageContext): Promise<StoredImage> {
  const { store, exclusively } = open(context);
  requireImageName(options.name ?? DEFAULT_IMAGE);
  return exclusively(async () => {
    await store.recover();
    return buildLocked(options, context);
  });
}

/** All images, also broken ones. */
async function list(context: Omit<ImageContext, "progress"> = {}): Promise<ImageSummary[]> {
  const { store } = open(context);
  const recipe = await currentRecipe();
  const summaries: ImageSummary[] = [];
  for (const name of await store.names()) {
    const bytes = await store.size(name);
    try {
      const { directory, manifest } = await store.open(name);
      const { created, kernel, requested } = manifest;
      summaries.push({ name, directory, bytes, problem: null, created, kernel: kernel.release, packages: requested, current: manifest.recipe === recipe });
    } catch (error) {
      if (!(error instanceof HostelryError)) throw error;
      const nothing = { created: null, kernel: null, packages: null, current: null };
      summaries.push({ name, directory: join(store.root, name), bytes, problem: error.message, ...nothing });
    }
  }
  return summaries;
}

/** Removes images; none of them if one does not exist. Their downloads stay for `prune`. */
async function remove(names: readonly string[], context: ImageContext): Promise<RemovalSummary> {
  const { store, exclusively } = open(context);
  return exclusively(async () => {
    const present = new Set(await store.names());
    for (const name of names) {
      requireImageName(name);
      if (!present.has(name)) throw new HostelryError("no-image", `there is no image ${name}: see "hostelry image ls"`);
    }
    let bytes = 0;
    for (const name of new Set(names)) bytes += await store.remove(name);
    return { removed: [...new Set(names)], bytes };
  });
}

/** Removes downloads that no image is made of and what interrupted work left; with `all`, every download and package list. */
async function prune(options: { readonly all?: boolean }, context: ImageContext): Promise<RemovalSummary> {
  const { store, cache, directories, exclusively } = open(context);
  return exclusively(async () => {
    let bytes = (await store.recover()) + (await cache.removePartial());
    const used = options.all === true ? new Set<string>() : await usedDownloads(store);
    const unused = (await cache.entries()).filter(({ sha256 }) => !used.has(sha256));
    bytes += await cache.remove(unused);
    if (options.all === true) for (const directory of ["apt", "mirrors"]) await rm(join(directories.cache, directory), { recursive: true, force: true });
    return { removed: unused.map(({ sha256 }) => sha256), bytes };
  });
}

/**
 * The image of this name, for a command that is to run it. The default image is built if it isn't there, and built again if
 * this version of Hostelry would build it differently; if that fails, the one that is there does.
 */
async function ensure(name: string, options: Omit<BuildOptions, "name">, context: ImageContext): Promise<StoredImage> {
  const { store, exclusively } = open(context);
  requireImageName(name);
  if (name !== DEFAULT_IMAGE) return store.open(name);
  const usable = async (): Promise<StoredImage | null> => {
    if (!(await store.has(name))) return null;
    const image = await store.open(name);
    return image.manifest.recipe === (await currentRecipe()) ? image : null;
  };
  return (
    (await usable()) ??
    exclusively(async () => {
      await store.recover();
      // Another process may have built it while this one waited.
      const image = await usable();
      return image ?? rebuild(name, options, context, store);
    })
  );
}

async function rebuild(name: string, options: Omit<BuildOptions, "name">, context: ImageContext, store: ImageStore): Promise<StoredImage> {
  const old = (await store.has(name)) ? await store.open(name) : null;
  if (old === null) return buildLocked({ ...options, name }, context);
  try {
    return await buildLocked({ packages: old.manifest.requested, ...options, name }, context);
  } catch (error) {
    if (!(error instanceof HostelryError)) throw error;
    context.progress.warn(`The default image is of an older version and cannot be built again (${error.message}): going on with it`);
    return old;
  }
}

async function buildLocked(options: BuildOptions, context: ImageContext): Promise<StoredImage> {
  // What builds is loaded only then: most often, the image is there.
  const { buildImage } = await import("./image-build.ts");
  const { store, cache, directories } = open(context);
  return buildImage(options.name ?? DEFAULT_IMAGE, options, { store, cache, directories, progress: context.progress, recipe: await currentRecipe() });
}

async function usedDownloads(store: ImageStore): Promise<Set<string>> {
  const used = new Set<string>();
  for (const name of await store.names()) {
    // What a broken image was made of is not known; it has to be built again anyway.
    const image = await store.open(name).catch(() => null);
    for (const { sha256 } of image?.manifest.packages ?? []) used.add(sha256);
  }
  return used;
}

async function currentRecipe(): Promise<string> {
  const overlay = [...(await readOverlay())].flatMap(([path, bytes]) => [path, "\0", String(bytes.length), "\0", bytes]);
  return hashBytes(JSON.stringify([RECIPE_VERSION, DEFAULT_MODULES, DEFAULT_APPEND]), ...overlay).slice(0, 16);
}

function open(context: Partial<ImageContext>) {
  const directories = context.directories ?? hostelryDirectories();
  const onWait = (holder: string): void => context.progress?.step(`Waiting for another Hostelry (process ${holder}) that is at work on images`);
  return {
    directories,
    store: new ImageStore(join(directories.data, "images")),
    cache: new ContentCache(join(directories.cache, "downloads")),
    exclusively: <T>(work: () => Promise<T>): Promise<T> => withLock(join(directories.cache, "lock"), work, onWait),
  };
}
