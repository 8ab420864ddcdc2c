import { randomUUID } from "node:crypto";
import { link, mkdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { dirname } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

const POLL_MS = 100;

/**
 * Runs `work` while no other process that asks for the same lock does. The lock is a file with its holder's process number;
 * that of a process which is gone is taken over. `onWait` is called once if there is someone to wait for.
 */
export async function withLock<T>(path: string, work: () => Promise<T>, onWait: (holder: string) => void = () => {}): Promise<T> {
  await mkdir(dirname(path), { recursive: true });
  const mine = `${process.pid} ${hostname()} ${randomUUID()}`;
  const claim = `${path}.${process.pid}.${randomUUID()}`;
  // Linked to its name when it is complete, so that nobody ever reads a half-written lock.
  await writeFile(claim, mine);
  try {
    for (let waits = 0; !(await tryLink(claim, path)); waits++) {
      const holder = await readHolder(path);
      if (holder !== null && isGone(holder)) {
        await removeStale(path, holder);
        continue;
      }
      if (waits === 0) onWait(holder?.split(" ")[0] ?? "unknown");
      await sleep(POLL_MS);
    }
  } finally {
    await rm(claim, { force: true });
  }
  try {
    return await work();
  } finally {
    if ((await readHolder(path)) === mine) await rm(path, { force: true });
  }
}

async function tryLink(from: string, to: string): Promise<boolean> {
  try {
    await link(from, to);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
    throw error;
  }
}

async function readHolder(path: string): Promise<string | null> {
  try {
    return await readFile(path, "utf8");
  } catch {
    return null;
  }
}

/** Only a process of this host can be asked after; another host's, on a shared disk, is taken to live. */
function isGone(holder: string): boolean {
  const [pid, host] = holder.split(" ");
  if (host !== hostname()) return false;
  try {
    process.kill(Number(pid), 0);
    return false;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "ESRCH";
  }
}

/** Two may find the same stale lock, and the slower must not remove the faster's new one: so move it away, then look. */
async function removeStale(path: string, stale: string): Promise<void> {
  const aside = `${path}.${randomUUID()}`;
  try {
    await rename(path, aside);
  } catch {
    return;
  }
  if ((await readHolder(aside)) !== stale) await tryLink(aside, path);
  await rm(aside, { force: true });
}
