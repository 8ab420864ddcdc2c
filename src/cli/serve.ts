/** `hostelry serve`: holds a machine until it is told to end. */
import { socketPath } from "#host/node/socket-path.ts";
import type { MachineKind, TlbKind } from "#machine/model.ts";
import { startServer } from "#server/server.ts";
import { constants } from "node:os";
import { resolve } from "node:path";
import { ExitStatus } from "./exit-status.ts";
import { formatBytes, type Messages } from "./messages.ts";

export interface ServeOptions {
  readonly socket?: string;
  readonly machine: MachineKind;
  readonly tlb: TlbKind;
  readonly harts: number;
  readonly memory: number;
  readonly overcommit?: boolean;
  readonly swap?: number;
  readonly swapFile?: string;
}

/** The usual swap file, as so many times the machine's memory: it takes no room on the disk until it is needed. */
const SWAP = 4;

/** A second signal doesn't wait for what the first has begun. */
const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

/** Returns the exit status. */
export async function serve({ machine, tlb, harts, memory, overcommit = false, swap = SWAP * memory, swapFile, socket: named }: ServeOptions, messages: Messages): Promise<number> {
  const socket = socketPath(named);
  const server = await startServer({
    socket, harts, memory, overcommit, swap: { size: swap, path: swapFile && resolve(swapFile) }, model: { kind: machine, tlb },
    warn: (message) => messages.warn(message),
    bug: (error) => messages.error(`a bug in Hostelry: ${error instanceof Error ? error.stack : String(error)}`),
  });
  messages.line(`Serving at ${socket}: ${harts === 1 ? "1 hart" : `${harts} harts`}, ${formatBytes(memory)} of memory`);
  const signal = await new Promise<NodeJS.Signals>((resolve) => {
    for (const name of SIGNALS) process.once(name, () => resolve(name));
  });
  messages.line(`${signal}: switching off what runs`);
  for (const name of SIGNALS) process.once(name, () => process.exit(ExitStatus.signal + constants.signals[name]));
  await server.close();
  return ExitStatus.success;
}
