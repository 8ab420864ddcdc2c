import { HostelryError } from "#base/errors.ts";
import { busyboxApplets } from "./busybox.ts";
import { type ByteStream, concatenate } from "./byte-reader.ts";
import { writeCpio } from "./cpio.ts";
import { readDeb } from "./deb.ts";
import { isModulePath, type KernelModule, modulesAlias, modulesDep, parseBuiltin } from "./modules.ts";
import { RootFs } from "./rootfs.ts";
import { decodeText, encodeText } from "./text.ts";

/** The parts of a kernel package. */
export interface KernelPackage {
  /** As `uname -r` says. */
  readonly release: string;
  readonly kernel: Uint8Array;
  /** Compressed as they came, by path below `lib/modules/RELEASE/`. */
  readonly modules: ReadonlyMap<string, Uint8Array>;
  readonly builtin: ReadonlySet<string>;
}

/** A package's name for errors, and its bytes. */
export interface PackageFile {
  readonly name: string;
  open(): ByteStream;
}

const KERNEL_PATH = /^boot\/vmlinu[xz]-(.+)$/;
const MODULES_PATH = /^(?:usr\/)?lib\/modules\/[^/]+\/(.+)$/;

/** Reads Debian's kernel package. Throws HostelryError if it does not hold a kernel. */
export async function readKernelPackage(file: PackageFile): Promise<KernelPackage> {
  const modules = new Map<string, Uint8Array>();
  let kernel: Uint8Array | undefined;
  let release = "";
  let builtin: ReadonlySet<string> = new Set();
  for await (const entry of readDeb(file.open(), file.name)) {
    if (entry.type !== "file") continue;
    const boot = KERNEL_PATH.exec(entry.path);
    const module = MODULES_PATH.exec(entry.path);
    if (boot !== null) [release, kernel] = [boot[1], await entry.content()];
    else if (module?.[1] === "modules.builtin") builtin = parseBuiltin(decodeText(await entry.content()));
    else if (module !== null && isModulePath(module[1])) modules.set(module[1], await entry.content());
  }
  if (kernel === undefined) throw new HostelryError("not-a-kernel", `${file.name} holds no boot/vmlinux: it is no Debian kernel package`);
  return { release, kernel, modules, builtin };
}

export interface InitramfsParts {
  readonly release: string;
  readonly modules: readonly KernelModule[];
  readonly busybox: PackageFile;
  readonly packages: readonly PackageFile[];
  /** Our own files, by path: scripts and programs are recognised by how they begin, and made executable. */
  readonly overlay: ReadonlyMap<string, Uint8Array>;
}

/** Puts the initramfs together, as a cpio archive. */
export async function buildInitramfs(parts: InitramfsParts): Promise<Uint8Array> {
  const rootfs = new RootFs();
  addSkeleton(rootfs);
  for (const file of [parts.busybox, ...parts.packages]) {
    for await (const entry of readDeb(file.open(), file.name)) {
      if (entry.path !== "" && !isDocumentation(entry.path)) await rootfs.addTarEntry(entry, file.name);
    }
  }
  await linkApplets(rootfs, parts.busybox);
  addModules(rootfs, parts.release, parts.modules);
  for (const [path, bytes] of parts.overlay) rootfs.addFile(path, bytes, isProgram(bytes) ? 0o755 : 0o644);
  const pieces = [...writeCpio(rootfs.entries())];
  return concatenate(pieces, pieces.reduce((total, piece) => total + piece.length, 0));
}

/** Debian's merged layout: /bin is /usr/bin, and so on, for packages of any age. */
function addSkeleton(rootfs: RootFs): void {
  for (const path of ["usr/bin", "usr/sbin", "usr/lib", "dev", "etc", "mnt", "proc", "run", "sys", "var/log"]) rootfs.addDirectory(path);
  for (const name of ["bin", "sbin", "lib"]) rootfs.addSymlink(name, `usr/${name}`);
  rootfs.addDirectory("root", 0o700);
  rootfs.addDirectory("tmp", 0o1777);
  rootfs.addSymlink("var/run", "/run");
  rootfs.addSymlink("etc/mtab", "/proc/mounts");
  // The kernel opens it for /init before anything is mounted.
  rootfs.addCharacterDevice("dev/console", 5, 1, 0o600);
}

/** A real program that a package brings wins over busybox's. */
async function linkApplets(rootfs: RootFs, busybox: PackageFile): Promise<void> {
  for await (const entry of readDeb(busybox.open(), busybox.name)) {
    if (!/^(usr\/)?bin\/busybox$/.test(entry.path)) continue;
    for (const { name, directory } of busyboxApplets(await entry.content())) {
      if (!rootfs.has(`usr/bin/${name}`) && !rootfs.has(`usr/sbin/${name}`)) rootfs.addSymlink(`${directory}/${name}`, "/usr/bin/busybox");
    }
    return;
  }
  throw new HostelryError("no-applets", `${busybox.name} holds no bin/busybox: it is not Debian's busybox-static`);
}

function addModules(rootfs: RootFs, release: string, modules: readonly KernelModule[]): void {
  const directory = `usr/lib/modules/${release}`;
  for (const module of modules) rootfs.addFile(`${directory}/${module.path}`, module.bytes);
  rootfs.addFile(`${directory}/modules.dep`, encodeText(modulesDep(modules)));
  rootfs.addFile(`${directory}/modules.alias`, encodeText(modulesAlias(modules)));
}

/** Nobody reads manual pages in an initramfs, and every page of it is memory. Copyright files stay, as licences ask. */
function isDocumentation(path: string): boolean {
  return /^usr\/share\/(man|info|lintian|locale|doc(?!.*\/copyright$))\//.test(path);
}

function isProgram(bytes: Uint8Array): boolean {
  return ["#!", "\x7fELF"].some((start) => decodeText(bytes.subarray(0, start.length)) === start);
}
