/** A machine in threads of its own, as its owner sees it. */
import type { ByteRing } from "#base/byte-ring.ts";
import { Doorbell } from "#base/doorbell.ts";
import { HostelryError } from "#base/errors.ts";
import type { Command } from "#machine/machine.ts";
import { Worker } from "node:worker_threads";
import type { AgentChannel } from "./agent-channel.ts";
import { commands, Control, type MachineConfig, type MachineResult, type Order, type Report, type SharedParts, type WorkerData } from "./machine-config.ts";
import { ConsoleLink } from "./console-link.ts";
import { startCompiler } from "./region-compiler.ts";

/** A thread that hangs in the host (a full disk, a stuck network file system) does not look at its commands. */
const STOP_PATIENCE_MS = 2000;

export interface MachineListener {
  /** The guest's first instruction is next. */
  started(): void;
  /** The guest has rebooted: it begins anew. */
  restarted(): void;
  warning(message: string): void;
}

/** Calls of the guest nest as calls of WebAssembly, and the interpreter's frames are large until it is optimized. */
export const STACK_MIB = 16;

/** What dies young on the machine's thread is little; a larger space would fill up all the same before it is collected. */
const YOUNG_MIB = 2;

export class MachineThread {
  readonly #doorbell = new Doorbell();
  readonly #console = new ConsoleLink(() => this.#doorbell.ring());
  readonly #worker: Worker;
  /** Rejects when a thread fails. */
  readonly #failure: Promise<never>;

  /** Its threads start at once, and load their code while the owner finds out what they are to run. */
  constructor() {
    const shared: SharedParts = { doorbell: this.#doorbell.buffer, ...this.#console.shared };
    const compiler = startCompiler(1);
    const port = compiler.ports[0]!;
    const workerData: WorkerData = { shared, compiler: port };
    this.#worker = new Worker(new URL("./machine-worker.ts", import.meta.url), {
      workerData,
      transferList: [port],
      resourceLimits: { stackSizeMb: STACK_MIB, maxYoungGenerationSizeMb: YOUNG_MIB },
    });
    this.#failure = new Promise((_, reject) => {
      for (const worker of [this.#worker, compiler.worker]) worker.on("error", reject);
      this.#worker.on("exit", () => reject(new Error("the machine's thread ended without saying why")));
    });
    // Whoever waits for it hears of it; nobody else has to.
    this.#failure.catch(() => {});
  }

  /**
   * Runs the machine; settles when it has ended. With `agent`, the guest has a port for one. Rejects with HostelryError for what the user can mend, and with anything else for our own bugs.
   */
  run(config: MachineConfig, listener: MachineListener, agent?: AgentChannel): Promise<MachineResult> {
    const result = new Promise<MachineResult>((resolve, reject) => {
      this.#worker.on("message", (report: Report) => {
        if (report.kind === "started") listener.started();
        else if (report.kind === "restarted") listener.restarted();
        else if (report.kind === "warning") listener.warning(report.message);
        else if (report.kind === "refused") reject(new HostelryError(report.code, report.message));
        else resolve(report.result);
      });
    });
    const order: Order = { config, ...(agent === undefined ? {} : { agent: agent.join(() => this.#doorbell.ring()) }) };
    this.#worker.postMessage(order);
    return Promise.race([result, this.#failure]).finally(() => agent?.close());
  }

  /** The guest's console output, to be taken by the owner. */
  get output(): ByteRing {
    return this.#console.output;
  }

  /** Input for the guest's console. Resolves when all of it is on its way. */
  write(bytes: Uint8Array): Promise<void> {
    return this.#console.write(bytes);
  }

  resize(columns: number, rows: number): void {
    this.#console.resize(columns, rows);
  }

  command(command: Command): void {
    Atomics.store(this.#console.control, Control.command, commands.indexOf(command));
    this.#doorbell.ring();
  }

  /** Ends the machine where it stands. `run` tells when. */
  stop(): void {
    this.command("stop");
    setTimeout(() => void this.#worker.terminate(), STOP_PATIENCE_MS).unref();
  }
}
