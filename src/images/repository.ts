import type { PackageFile } from "./build.ts";
import type { PackageIndex, PackageRecord } from "./packages.ts";

/** Where Debian packages come from: through apt, or from a mirror directly. */
export interface Repository {
  /** The index of packages for riscv64. From the net if that is to be had, else what was last seen of it. */
  index(): Promise<PackageIndex>;
  /** The packages' files, verified against the index; those not in the cache are downloaded. In the order of `records`. */
  fetch(records: readonly PackageRecord[]): Promise<PackageFile[]>;
}

/** Debian's stable release. */
export const SUITE = "trixie";
export const ARCHITECTURE = "riscv64";
