/** A server at a Unix socket: there is one at a time, and what a killed one left is cleared away. */
import { HostelryError } from "#base/errors.ts";
import { withLock } from "#host/node/lock.ts";
import { preparePlace } from "#host/node/socket-path.ts";
import { chmodSync, lstatSync, rmSync } from "node:fs";
import { connect, type Server } from "node:net";

/** Throws HostelryError `socket-in-use` if another server listens there, `bad-socket` if none can. */
export async function listen(server: Server, path: string): Promise<void> {
  preparePlace(path);
  // Two that start at once must not take each other's socket for a stale one.
  await withLock(`${path}.lock`, async () => {
    await clear(path);
    await listening(server, path);
    chmodSync(path, 0o600);
  });
}

async function clear(path: string): Promise<void> {
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (found === undefined) return;
  if (!found.isSocket()) throw new HostelryError("bad-socket", `${path} is there, and is no socket: choose another path with --socket`);
  if (await answers(path)) throw new HostelryError("socket-in-use", `a server listens at ${path} already: use that one, or choose another path with --socket`);
  rmSync(path, { force: true });
}

function answers(path: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const socket = connect(path);
    socket.on("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.on("error", (error: NodeJS.ErrnoException) => {
      if (error.code === "ECONNREFUSED" || error.code === "ENOENT") resolve(false);
      else reject(new HostelryError("bad-socket", `${path} can't be asked whether a server listens there (${error.code}): choose another path with --socket`));
    });
  });
}

function listening(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", (error: NodeJS.ErrnoException) => reject(new HostelryError("bad-socket", `nothing can listen at ${path} (${error.code}): choose another path with --socket`)));
    // Nobody else may connect, not even before chmod.
    const mask = process.umask(0o077);
    server.listen(path, resolve);
    process.umask(mask);
  });
}
