import { HostelryError } from "#base/errors.ts";
import { type CpioEntry } from "./cpio.ts";
import type { TarEntry } from "./tar.ts";
import { encodeText } from "./text.ts";

/** File types as stat(2) has them in the mode. */
const TYPE_BITS = { fifo: 0o010000, character: 0o020000, directory: 0o040000, block: 0o060000, file: 0o100000, symlink: 0o120000 } as const;

interface Attributes {
  /** Permission bits with setuid, setgid and sticky: 12 bits. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly mtime: number;
}

interface Directory extends Attributes {
  readonly type: "directory";
  readonly children: Map<string, Node>;
}

interface Leaf extends Attributes {
  readonly type: Exclude<keyof typeof TYPE_BITS, "directory">;
  /** A file's bytes or a symlink's target. */
  readonly content: Uint8Array;
  readonly major: number;
  readonly minor: number;
}

/** Hard links are one object under several names. */
type Node = Directory | Leaf;

const NOTHING = new Uint8Array(0);

/** A chain of symlinks longer than this is a loop (Linux gives up after 40, too). */
const MAX_SYMLINKS = 40;

/** The guest's root file system while it is put together. It only ever lives in memory: nothing in it is followed on the host. */
export class RootFs {
  readonly #root: Directory = emptyDirectory();

  addFile(path: string, content: Uint8Array, mode = 0o644): void {
    this.#place(path, { type: "file", content, major: 0, minor: 0, ...ownedByRoot(mode) });
  }

  addDirectory(path: string, mode = 0o755): void {
    this.#directory(split(path), { ...ownedByRoot(mode) });
  }

  addSymlink(path: string, target: string): void {
    this.#place(path, { type: "symlink", content: encodeText(target), major: 0, minor: 0, ...ownedByRoot(0o777) });
  }

  addCharacterDevice(path: string, major: number, minor: number, mode: number): void {
    this.#place(path, { type: "character", content: NOTHING, major, minor, ...ownedByRoot(mode) });
  }

  /** True if something has this name, seen as the guest would see it, through symlinked directories. */
  has(path: string): boolean {
    const parts = split(path);
    const name = parts.pop()!;
    return this.#walk(parts)?.children.has(name) ?? false;
  }

  /** Adds what a package installs; a later package's file replaces an earlier one's. Throws HostelryError `broken-tar`. */
  async addTarEntry(entry: TarEntry, what: string): Promise<void> {
    const attributes: Attributes = { mode: entry.mode, uid: entry.uid, gid: entry.gid, mtime: entry.mtime };
    switch (entry.type) {
      case "directory":
        return void this.#directory(split(entry.path), attributes);
      case "hardlink":
        return this.#place(entry.path, this.#find(entry.target, what));
      case "file":
        return this.#place(entry.path, { type: "file", content: await entry.content(), major: 0, minor: 0, ...attributes });
      case "symlink":
        return this.#place(entry.path, { type: "symlink", content: encodeText(entry.target), major: 0, minor: 0, ...attributes });
      default:
        return this.#place(entry.path, { type: entry.type, content: NOTHING, major: entry.major, minor: entry.minor, ...attributes });
    }
  }

  /** Every name, parents before children, in the order of adding. */
  *entries(): Generator<CpioEntry> {
    const links = countLinks(this.#root);
    const seen = new Map<Node, number>();
    const inodes = new Map<Node, number>();
    for (const [path, node] of [[".", this.#root] as const, ...descend(this.#root, "")]) {
      const times = (seen.get(node) ?? 0) + 1;
      seen.set(node, times);
      if (!inodes.has(node)) inodes.set(node, inodes.size + 1);
      const total = links.get(node)!;
      yield {
        path,
        mode: TYPE_BITS[node.type] | node.mode,
        inode: inodes.get(node)!,
        links: node.type === "directory" ? 2 : total,
        uid: node.uid,
        gid: node.gid,
        mtime: node.mtime,
        major: node.type === "directory" ? 0 : node.major,
        minor: node.type === "directory" ? 0 : node.minor,
        content: node.type !== "directory" && times === total ? node.content : NOTHING,
      };
    }
  }

  #place(path: string, node: Node): void {
    const parts = split(path);
    const name = parts.pop();
    if (name === undefined) throw new HostelryError("broken-tar", "an archive puts a file in the place of the root directory: refused");
    const parent = this.#directory(parts);
    const present = parent.children.get(name);
    if (present?.type === "directory") {
      throw new HostelryError("broken-tar", `an archive replaces the directory /${path} by a file: leave out one of the packages`);
    }
    parent.children.set(name, node);
  }

  /** The directory at `parts`, made if missing, with `attributes` if given. */
  #directory(parts: readonly string[], attributes?: Attributes): Directory {
    const directory = this.#walk(parts, (name) => {
      throw new HostelryError("broken-tar", `an archive has /${parts.join("/")}, but ${name} is no directory: leave out one of the packages`);
    });
    if (attributes !== undefined) Object.assign(directory!, attributes);
    return directory!;
  }

  #find(path: string, what: string): Node {
    const parts = split(path);
    const name = parts.pop();
    const node = name === undefined ? undefined : this.#walk(parts)?.children.get(name);
    if (node === undefined || node.type === "directory") {
      throw new HostelryError("broken-tar", `${what} has a hard link to ${path}, which it does not hold: fetch it again`);
    }
    return node;
  }

  /**
   * Goes down `parts`, through symlinks. With `onBlocked` missing directories are made, and a file in the way is given to it;
   * without, both end the walk with undefined.
   */
  #walk(parts: readonly string[], onBlocked?: (name: string) => never): Directory | undefined {
    const trail: Directory[] = [this.#root];
    const queue = [...parts];
    let symlinks = 0;
    while (queue.length > 0) {
      const part = queue.shift()!;
      if (part === "..") {
        if (trail.length > 1) trail.pop();
        continue;
      }
      const here = trail[trail.length - 1];
      const child = here.children.get(part);
      if (child === undefined) {
        if (onBlocked === undefined) return undefined;
        const made = emptyDirectory();
        here.children.set(part, made);
        trail.push(made);
      } else if (child.type === "directory") {
        trail.push(child);
      } else if (child.type === "symlink" && symlinks++ < MAX_SYMLINKS) {
        const target = new TextDecoder().decode(child.content);
        if (target.startsWith("/")) trail.length = 1;
        queue.unshift(...split(target));
      } else {
        return onBlocked?.(part);
      }
    }
    return trail[trail.length - 1];
  }
}

function ownedByRoot(mode: number): Attributes {
  return { mode, uid: 0, gid: 0, mtime: 0 };
}

function emptyDirectory(): Directory {
  return { type: "directory", children: new Map(), ...ownedByRoot(0o755) };
}

function split(path: string): string[] {
  return path.split("/").filter((part) => part !== "" && part !== ".");
}

function* descend(directory: Directory, prefix: string): Generator<[string, Node]> {
  for (const [name, node] of directory.children) {
    yield [prefix + name, node];
    if (node.type === "directory") yield* descend(node, `${prefix}${name}/`);
  }
}

function countLinks(root: Directory): Map<Node, number> {
  const links = new Map<Node, number>([[root, 1]]);
  for (const [, node] of descend(root, "")) links.set(node, (links.get(node) ?? 0) + 1);
  return links;
}
