/** Compiles regions on a worker thread; the hart's thread polls for what is ready. */
import { MessageChannel, receiveMessageOnPort, Worker } from "node:worker_threads";
import type { HartProgramOptions } from "#machine/hart/hart-program.ts";
import type { MemoryMap } from "#machine/layout.ts";
import { assert } from "#base/assert.ts";
import type { CompiledModule, CompilerPort } from "#machine/translate/registry.ts";
import type { RegionRequest } from "#machine/translate/region.ts";

/** What the worker is started with. */
export interface RegionCompilerData {
  readonly memory: WebAssembly.Memory;
  readonly map: MemoryMap;
  readonly options: HartProgramOptions;
  readonly port: import("node:worker_threads").MessagePort;
}

export type CompilerReply = CompiledModule | { readonly failure: string };

export class WorkerCompiler implements CompilerPort {
  readonly #port: import("node:worker_threads").MessagePort;
  readonly #worker: Worker;

  constructor(memory: WebAssembly.Memory, map: MemoryMap, options: HartProgramOptions) {
    const { port1, port2 } = new MessageChannel();
    this.#port = port1;
    const workerData: RegionCompilerData = { memory, map, options, port: port2 };
    this.#worker = new Worker(new URL("./region-compiler-worker.ts", import.meta.url), {
      workerData,
      transferList: [port2],
      resourceLimits: { maxYoungGenerationSizeMb: 8 },
    });
    this.#worker.unref();
    port1.unref();
  }

  post(requests: readonly RegionRequest[]): void {
    this.#port.postMessage(requests);
  }

  receive(): CompiledModule | undefined {
    const reply = receiveMessageOnPort(this.#port)?.message as CompilerReply | undefined;
    assert(reply === undefined || !("failure" in reply), "the region compiler failed", reply as Record<string, unknown>);
    return reply;
  }

  async close(): Promise<void> {
    this.#port.close();
    await this.#worker.terminate();
  }
}
