/** Where the server's socket is, unless it is named. */
import { HostelryError } from "#base/errors.ts";
import { mkdirSync, statSync } from "node:fs";
import { tmpdir, userInfo } from "node:os";
import { dirname, isAbsolute, join, resolve } from "node:path";

/** sockaddr_un has 108 bytes for it, with a zero at the end: unix(7). */
const LONGEST = 107;

/** By an option, the environment's HOSTELRY_SOCKET, or in the user's directory of things that run. Throws HostelryError `bad-socket`. */
export function socketPath(option: string | undefined, environment: Readonly<Record<string, string | undefined>> = process.env): string {
  const named = option ?? environment["HOSTELRY_SOCKET"];
  const path = named === undefined || named === "" ? join(runtimeDirectory(environment), "hostelry.sock") : resolve(named);
  if (Buffer.byteLength(path) > LONGEST) throw new HostelryError("bad-socket", `the socket's path ${path} is longer than the ${LONGEST} bytes that a socket's may have: choose a shorter one with --socket`);
  return path;
}

function runtimeDirectory(environment: Readonly<Record<string, string | undefined>>): string {
  const runtime = environment["XDG_RUNTIME_DIR"];
  if (runtime !== undefined && isAbsolute(runtime)) return join(runtime, "hostelry");
  const directory = join(tmpdir(), `hostelry-${userInfo().uid}`);
  refuseOthers(directory);
  return directory;
}

/** Makes the socket's directory, for the user alone, if it isn't there. Throws HostelryError `bad-socket` if it can't be, or others may put things there. */
export function preparePlace(path: string): void {
  const directory = dirname(path);
  try {
    makeDirectory(directory);
  } catch (error) {
    throw new HostelryError("bad-socket", `${directory}, the socket's directory, can't be made (${(error as NodeJS.ErrnoException).code}): choose another with --socket`);
  }
  refuseOthers(directory);
}

/** One by one: asked for all of them, Node tries for ever where none can be made, in /proc for instance. */
function makeDirectory(path: string): void {
  if (statSync(path, { throwIfNoEntry: false })?.isDirectory() === true) return;
  makeDirectory(dirname(path));
  mkdirSync(path, { mode: 0o700 });
}

/** Where others may put things, a socket may be theirs, and hear what is meant for ours. With the sticky bit, what stands there is at least not replaced. */
function refuseOthers(directory: string): void {
  const found = statSync(directory, { throwIfNoEntry: false });
  if (found === undefined) return;
  const open = (found.mode & 0o022) !== 0 && (found.mode & 0o1000) === 0;
  if (!open && (found.uid === userInfo().uid || found.uid === 0)) return;
  throw new HostelryError("bad-socket", `${directory}, the socket's directory, is not this user's alone: choose another with --socket`);
}
