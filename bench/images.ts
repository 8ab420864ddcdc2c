import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { HostelryError } from "#base/errors.ts";
import { parseManifest } from "#images/image.ts";

const HOSTELRY = fileURLToPath(new URL("../bin/hostelry", import.meta.url));

/** The image with the Debian programs that the group "real" runs. */
const BENCH_IMAGE = "bench";
const BENCH_PACKAGES = ["7zip", "openssl", "python3-minimal"];
const DEFAULT_IMAGE = "default";

export interface Image {
  readonly kernel: string;
  readonly initrd: string;
  readonly append: string;
}

export interface Images {
  /** Booted to its shell. */
  readonly shell: Image;
  /** Under the benchmark's programs. */
  readonly programs: Image;
}

/** If an image names no command line of its own. */
const PLAIN_COMMAND_LINE = "console=ttyS0";

export interface ImageChoice {
  readonly kernel: string | undefined;
  readonly initrd: string | undefined;
  readonly append: string | undefined;
  /** True if programs of Debian's are to be run. */
  readonly packages: boolean;
}

/** The files that were asked for, or images of Hostelry's own, built if they are missing. Throws HostelryError. */
export function findImages({ kernel, initrd, append, packages }: ImageChoice): Images {
  if (kernel !== undefined && initrd !== undefined) {
    for (const path of [kernel, initrd]) {
      if (!existsSync(path)) throw new HostelryError("no-file", `there is no file ${path}: name a kernel and an initrd that exist`);
    }
    const image = { kernel, initrd, append: append ?? PLAIN_COMMAND_LINE };
    return { shell: image, programs: image };
  }
  if (kernel !== undefined || initrd !== undefined) throw new HostelryError("bad-usage", "--kernel and --initrd go together: give both or none");
  const override = (image: Image) => (append === undefined ? image : { ...image, append });
  const shell = override(ensureImage(DEFAULT_IMAGE, []));
  return { shell, programs: packages ? override(ensureImage(BENCH_IMAGE, BENCH_PACKAGES)) : shell };
}

function ensureImage(name: string, packages: readonly string[]): Image {
  if (!existsSync(HOSTELRY)) throw new HostelryError("no-images", "bin/hostelry isn't here to build images: give --kernel FILE and --initrd FILE");
  const present = findImage(name);
  if (present !== undefined) return present;
  const options = packages.length === 0 ? [] : ["--packages", packages.join(",")];
  const { status } = spawnSync(HOSTELRY, ["image", "build", "--name", name, ...options], { stdio: ["ignore", "inherit", "inherit"] });
  const built = status === 0 ? findImage(name) : undefined;
  if (built === undefined) throw new HostelryError("no-images", `the image "${name}" can't be built: see above, or give --kernel FILE and --initrd FILE`);
  return built;
}

/** The image of this name, if it is there, whole and of this version: what `image ls --json` lists, with its manifest beside its files. */
function findImage(name: string): Image | undefined {
  const listing: unknown = JSON.parse(execFileSync(HOSTELRY, ["image", "ls", "--json"], { encoding: "utf8", stdio: ["ignore", "pipe", "inherit"] }));
  // A list, or an object that holds one.
  const rows = (Array.isArray(listing) ? listing : Object.values(listing as object).find(Array.isArray)) as ListedImage[] | undefined;
  const row = rows?.find((candidate) => candidate.name === name);
  if (row === undefined || row.problem !== null || row.current === false) return undefined;
  const manifest = parseManifest(readFileSync(`${row.directory}/image.json`, "utf8"), `the image "${name}"`);
  return { kernel: `${row.directory}/${manifest.kernel.file}`, initrd: `${row.directory}/${manifest.initrd.file}`, append: manifest.append };
}

interface ListedImage {
  readonly name: string;
  readonly directory: string;
  readonly problem: string | null;
  readonly current: boolean | null;
}

/** The release that an uncompressed kernel says it has; null if it can't be read from the file. */
export function kernelRelease(path: string): string | null {
  const kernel = readFileSync(path);
  const banner = kernel.indexOf("Linux version ");
  return banner < 0 ? null : (/^Linux version (\S+)/.exec(kernel.toString("latin1", banner, banner + 100))?.[1] ?? null);
}
