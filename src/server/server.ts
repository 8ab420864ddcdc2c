/** A machine and its VMs, served at a Unix socket until it is closed. */
import { Harts, type HartsOptions } from "#host/node/harts.ts";
import { ImageStore } from "#host/node/image-store.ts";
import { hostelryDirectories, type Directories } from "#host/node/xdg.ts";
import { join } from "node:path";
import { bootFiles } from "./boot.ts";
import { createHttpServer } from "./http-server.ts";
import { listen } from "./listen.ts";
import type { MachinePort } from "./machine-port.ts";
import { Operations } from "./operations.ts";

export interface ServerOptions {
  readonly socket: string;
  readonly harts: number;
  /** Bytes of the machine's memory. */
  readonly memory: number;
  readonly overcommit: boolean;
  /** Where pages go that there is no memory for: bytes, 0 for nowhere; and the file, one of the user's cache unless given. */
  readonly swap?: { readonly size: number; readonly path?: string | undefined };
  /** The standard machine if absent. */
  readonly model?: HartsOptions["model"];
  readonly warn: (message: string) => void;
  /** Hears of our own bugs: the server goes on. */
  readonly bug: (error: unknown) => void;
  readonly directories?: Directories;
  /** In the place of one with harts as threads. */
  readonly machine?: MachinePort;
}

export interface RunningServer {
  /** Switches all VMs off; resolves when their disks are closed. */
  close(): Promise<void>;
}

/** Throws HostelryError for a socket or a memory that can't be had. */
export async function startServer(options: ServerOptions): Promise<RunningServer> {
  const { socket, directories = hostelryDirectories(), machine = startHarts(options, directories) } = options;
  const images = new ImageStore(join(directories.data, "images"));
  const operations = new Operations({ ...options, machine, logs: join(directories.state, "logs"), files: (definition) => bootFiles(definition, images) });
  const http = createHttpServer(operations, options.bug);
  try {
    await listen(http.server, socket);
  } catch (error) {
    await machine.close();
    throw error;
  }
  return {
    async close() {
      http.server.close();
      await operations.close();
      http.close();
    },
  };
}

function startHarts({ harts, memory, model, swap }: ServerOptions, { cache }: Directories): Harts {
  const paged = swap === undefined || swap.size === 0 ? {} : { swap: { size: swap.size, path: swap.path ?? join(cache, `swap-${process.pid}`) } };
  return new Harts({ harts, memory, ...paged, ...(model === undefined ? {} : { model }) });
}
