/** How an image comes to be. */
import { HostelryError } from "#base/errors.ts";
import { AptRepository, hasApt } from "#host/node/apt.ts";
import { type ContentCache, hashBytes } from "#host/node/cache.ts";
import { honourProxyVariables } from "#host/node/http.ts";
import type { ImageStore, StoredImage } from "#host/node/image-store.ts";
import { MirrorRepository } from "#host/node/mirror.ts";
import { readOverlay } from "#host/node/rootfs-overlay.ts";
import type { Directories } from "#host/node/xdg.ts";
import { buildInitramfs, readKernelPackage } from "#images/build.ts";
import { DEFAULT_APPEND, DEFAULT_MODULES, IMAGE_FORMAT, type ImageManifest } from "#images/image.ts";
import { parseKernel } from "#images/kernel.ts";
import { collectModules } from "#images/modules.ts";
import { type PackageIndex, type PackageRecord, satisfies } from "#images/packages.ts";
import type { Progress } from "#images/progress.ts";
import type { Repository } from "#images/repository.ts";
import { newest, resolvePackages } from "#images/resolve.ts";
import { join } from "node:path";
import { promisify } from "node:util";
import { gzip } from "node:zlib";

export interface BuildOptions {
  /** `DEFAULT_IMAGE` unless given. */
  readonly name?: string;
  /** Debian packages to add, with what they depend on. */
  readonly packages?: readonly string[];
  /** Kernel modules to add to `DEFAULT_MODULES`, with what they depend on. */
  readonly modules?: readonly string[];
  /** A Debian mirror to fetch from directly, instead of through apt. */
  readonly mirror?: string;
  /** The kernel command line that the image is to be booted with, instead of `DEFAULT_APPEND`. */
  readonly append?: string;
}

/** Where it is built and kept. */
export interface BuildSite {
  readonly store: ImageStore;
  readonly cache: ContentCache;
  readonly directories: Directories;
  readonly progress: Progress;
  /** Goes into the manifest. */
  readonly recipe: string;
}

/** Only as large an initrd is compressed: unpacking costs the guest more time than the host's disk is worth. */
const COMPRESS_ABOVE = 128 << 20;

/** Fetches what an image is made of, and stores it, in the place of one of the same name. Throws HostelryError. */
export async function buildImage(name: string, options: BuildOptions, site: BuildSite): Promise<StoredImage> {
  const { progress, store } = site;
  const repository = openRepository(options.mirror, site);
  const index = await repository.index();
  const kernelRecord = kernelPackage(index);
  const busyboxRecord = newest("busybox-static", index);
  const requested = options.packages ?? [];
  const extra = resolvePackages(requested, index);
  const records = [kernelRecord, busyboxRecord, ...extra];
  const [kernelFile, busybox, ...packages] = await repository.fetch(records);

  progress.step(`Unpacking the kernel ${kernelRecord.version}`);
  const kernel = await readKernelPackage(kernelFile);
  await parseKernel(kernel.kernel, `the kernel of ${kernelFile.name}`);
  const modules = await collectModules([...DEFAULT_MODULES, ...(options.modules ?? [])], kernel.modules, kernel.builtin);
  progress.step(extra.length === 0 ? "Writing the initramfs" : `Writing the initramfs with ${extra.length} packages`);
  const overlay = await readOverlay();
  const archive = await buildInitramfs({ release: kernel.release, modules, busybox, packages, overlay });
  const compression = archive.length > COMPRESS_ABOVE ? "gzip" : "none";
  const initrd = compression === "gzip" ? await promisify(gzip)(archive, { level: 6 }) : archive;
  const manifest: ImageManifest = {
    format: IMAGE_FORMAT,
    created: new Date().toISOString(),
    recipe: site.recipe,
    append: options.append ?? DEFAULT_APPEND,
    kernel: { file: "vmlinux", bytes: kernel.kernel.length, sha256: hashBytes(kernel.kernel), release: kernel.release },
    initrd: { file: "initrd", bytes: initrd.length, sha256: hashBytes(initrd), compression },
    modules: modules.map((module) => module.name),
    requested,
    packages: records.map(({ name, version, sha256 }) => ({ name, version, sha256 })),
  };
  return store.write(name, manifest, { kernel: kernel.kernel, initrd });
}

/** `linux-image-riscv64` holds nothing: it depends on the package of the newest kernel. */
function kernelPackage(index: PackageIndex): PackageRecord {
  const meta = newest("linux-image-riscv64", index);
  const wanted = meta.depends.flat().find(({ name }) => name.startsWith("linux-image-"));
  const record = wanted && index.named(wanted.name).find((candidate) => satisfies(candidate, wanted));
  if (record === undefined) throw new HostelryError("no-package", `${meta.name} ${meta.version} names no kernel that is to be had: try again later, the mirror may be changing`);
  return record;
}

function openRepository(mirror: string | undefined, { cache, directories, progress }: BuildSite): Repository {
  honourProxyVariables();
  if (mirror !== undefined) return new MirrorRepository(mirror, join(directories.cache, "mirrors"), cache, progress);
  if (hasApt()) return new AptRepository(join(directories.cache, "apt"), cache, progress);
  throw new HostelryError("no-apt", "there is no apt with Debian's keyring here to fetch Debian's packages: name a Debian mirror with --mirror URL");
}
