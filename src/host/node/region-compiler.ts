/** The thread that compiles regions, as others see it: its owner, and the harts, which poll for what is ready. */
import { MessageChannel, receiveMessageOnPort, Worker, type MessagePort } from "node:worker_threads";
import type { HartImports, HartProgramOptions } from "#machine/hart/hart-program.ts";
import type { MemoryMap } from "#machine/layout.ts";
import { assert } from "#base/assert.ts";
import type { CompiledModule, CompilerPort } from "#machine/translate/registry.ts";
import type { RegionRequest } from "#machine/translate/region.ts";

/** What the thread is started with. */
export interface RegionCompilerData {
  readonly ports: readonly MessagePort[];
}

/** What a hart tells it first; then come requests, and word that a module was received that another hart asked for. */
export interface CompilerSetUp {
  readonly memory: WebAssembly.Memory;
  readonly map: MemoryMap;
  readonly imports: HartImports;
  readonly options: HartProgramOptions;
}

export type CompilerOrder = readonly RegionRequest[] | "received";

export type CompilerReply = CompiledModule | { readonly failure: string };

const YOUNG_MIB = 8;

/**
 * A port for each hart's WorkerCompiler, on any threads. The harts have one memory, and what is made for one is told to all. The worker ends when all
 * ports are closed.
 */
export function startCompiler(harts: number): { readonly ports: readonly MessagePort[]; readonly worker: Worker } {
  const channels = Array.from({ length: harts }, () => new MessageChannel());
  const workerData: RegionCompilerData = { ports: channels.map(({ port2 }) => port2) };
  const worker = new Worker(new URL("./region-compiler-worker.ts", import.meta.url), {
    workerData,
    transferList: [...workerData.ports],
    resourceLimits: { maxYoungGenerationSizeMb: YOUNG_MIB },
  });
  worker.unref();
  return { ports: channels.map(({ port1 }) => port1), worker };
}

export class WorkerCompiler implements CompilerPort {
  readonly #port: MessagePort;

  constructor(port: MessagePort, setUp: CompilerSetUp) {
    this.#port = port;
    port.postMessage(setUp);
  }

  post(requests: readonly RegionRequest[]): void {
    this.#say(requests);
  }

  receive(): CompiledModule | undefined {
    const reply = receiveMessageOnPort(this.#port)?.message as CompilerReply | undefined;
    assert(reply === undefined || !("failure" in reply), "the region compiler failed", reply as Record<string, unknown>);
    if (reply?.asked === false) this.#say("received");
    return reply;
  }

  #say(order: CompilerOrder): void {
    this.#port.postMessage(order);
  }
}
