/** The thread that compiles regions, as others see it: its owner, and the hart, which polls for what is ready. */
import { MessageChannel, receiveMessageOnPort, Worker, type MessagePort } from "node:worker_threads";
import type { HartImports, HartProgramOptions } from "#machine/hart/hart-program.ts";
import type { MemoryMap } from "#machine/layout.ts";
import { assert } from "#base/assert.ts";
import type { CompiledModule, CompilerPort } from "#machine/translate/registry.ts";
import type { RegionRequest } from "#machine/translate/region.ts";

/** What the thread is started with. */
export interface RegionCompilerData {
  readonly port: MessagePort;
}

/** What it is told first; then come requests. */
export interface CompilerSetUp {
  readonly memory: WebAssembly.Memory;
  readonly map: MemoryMap;
  readonly imports: HartImports;
  readonly options: HartProgramOptions;
}

export type CompilerReply = CompiledModule | { readonly failure: string };

const YOUNG_MIB = 8;

/** The port is for a WorkerCompiler, on any thread. The worker ends when it is closed. */
export function startCompiler(): { readonly port: MessagePort; readonly worker: Worker } {
  const { port1, port2 } = new MessageChannel();
  const workerData: RegionCompilerData = { port: port2 };
  const worker = new Worker(new URL("./region-compiler-worker.ts", import.meta.url), {
    workerData,
    transferList: [port2],
    resourceLimits: { maxYoungGenerationSizeMb: YOUNG_MIB },
  });
  worker.unref();
  return { port: port1, worker };
}

export class WorkerCompiler implements CompilerPort {
  readonly #port: MessagePort;

  constructor(port: MessagePort, setUp: CompilerSetUp) {
    this.#port = port;
    port.postMessage(setUp);
  }

  post(requests: readonly RegionRequest[]): void {
    this.#port.postMessage(requests);
  }

  receive(): CompiledModule | undefined {
    const reply = receiveMessageOnPort(this.#port)?.message as CompilerReply | undefined;
    assert(reply === undefined || !("failure" in reply), "the region compiler failed", reply as Record<string, unknown>);
    return reply;
  }
}
