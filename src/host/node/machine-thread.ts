/** A machine in threads of its own, as its owner sees it. */
import { ByteRing } from "#base/byte-ring.ts";
import { Doorbell } from "#base/doorbell.ts";
import { HostelryError } from "#base/errors.ts";
import type { Command } from "#machine/machine.ts";
import { Worker } from "node:worker_threads";
import type { AgentChannel } from "./agent-channel.ts";
import { commands, Control, type MachineConfig, type MachineResult, type Order, type Report, type SharedParts, type WorkerData } from "./machine-config.ts";
import { startCompiler } from "./region-compiler.ts";

const INPUT_CAPACITY = 64 * 1024;
const OUTPUT_CAPACITY = 256 * 1024;

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
const STACK_MIB = 16;

/** What dies young on the machine's thread is little; a larger space would fill up all the same before it is collected. */
const YOUNG_MIB = 2;

export class MachineThread {
  /** The guest's console output, to be taken by the owner: when the ring is full, the machine waits. */
  readonly output = ByteRing.create(OUTPUT_CAPACITY);
  readonly #input = ByteRing.create(INPUT_CAPACITY);
  readonly #doorbell = new Doorbell();
  readonly #control = new Int32Array(new SharedArrayBuffer(4 * Control.words));
  readonly #worker: Worker;
  /** Of the writes so far, so that they stay in order. */
  #written: Promise<void> = Promise.resolve();

  /** Rejects when a thread fails. */
  readonly #failure: Promise<never>;

  /** Its threads start at once, and load their code while the owner finds out what they are to run. */
  constructor() {
    const shared: SharedParts = {
      doorbell: this.#doorbell.buffer,
      control: this.#control.buffer as SharedArrayBuffer,
      input: this.#input.buffer,
      output: this.output.buffer,
    };
    const compiler = startCompiler();
    const workerData: WorkerData = { shared, compiler: compiler.port };
    this.#worker = new Worker(new URL("./machine-worker.ts", import.meta.url), {
      workerData,
      transferList: [compiler.port],
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

  /** Input for the guest's console. Resolves when all of it is on its way: the guest may take its time. */
  write(bytes: Uint8Array): Promise<void> {
    this.#written = this.#written.then(async () => {
      for (let done = 0; done < bytes.length; ) {
        done += this.#input.push(bytes.subarray(done));
        this.#doorbell.ring();
        if (done < bytes.length) await this.#input.roomAgain();
      }
    });
    return this.#written;
  }

  resize(columns: number, rows: number): void {
    Atomics.store(this.#control, Control.columns, columns);
    Atomics.store(this.#control, Control.rows, rows);
    Atomics.add(this.#control, Control.resizes, 1);
    this.#doorbell.ring();
  }

  command(command: Command): void {
    Atomics.store(this.#control, Control.command, commands.indexOf(command));
    this.#doorbell.ring();
  }

  /** Ends the machine where it stands. `run` tells when. */
  stop(): void {
    this.command("stop");
    setTimeout(() => void this.#worker.terminate(), STOP_PATIENCE_MS).unref();
  }
}
