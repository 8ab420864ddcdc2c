/** The thread that compiles regions. */
import { flushCompileCache } from "node:module";
import { workerData } from "node:worker_threads";
import { layout } from "#machine/layout.ts";
import { RegionCompiler } from "#machine/translate/compile.ts";
import type { RegionRequest } from "#machine/translate/region.ts";
import { GarbageCollector } from "./garbage.ts";
import type { CompilerReply, CompilerSetUp, RegionCompilerData } from "./region-compiler.ts";

/** A batch leaves megabytes of garbage. V8 would let them grow to a multiple of what lives. */
const GARBAGE_AT_WORK = 10 << 20;
const GARBAGE_AT_REST = 2 << 20;

/**
 * Milliseconds without work after which this thread tidies up, if the guest is idle too, having executed less than so many instructions. It would drop all of
 * V8's baseline code, also of other threads, and a hart that is busy would have to make it again.
 */
const QUIET = 500;
const IDLE_INSTRUCTIONS = 10e6;

const { port } = workerData as RegionCompilerData;
port.once("message", serve);

function serve({ memory, map, imports, options }: CompilerSetUp): void {
  const compiler = new RegionCompiler(memory.buffer, map, imports, options);
  const retired = new BigInt64Array(memory.buffer, map.hart + layout.instretTarget.offset, 1);
  const garbage = new GarbageCollector();
  let quiet: NodeJS.Timeout | undefined;

  function tidyLater(): void {
    clearTimeout(quiet);
    const before = retired[0]!;
    quiet = setTimeout(() => (retired[0]! - before < IDLE_INSTRUCTIONS ? garbage.collect(GARBAGE_AT_REST, "rest") : tidyLater()), QUIET);
  }

  port.on("message", (requests: readonly RegionRequest[]) => {
    port.postMessage(reply(compiler, requests));
    garbage.collect(GARBAGE_AT_WORK, "work");
    tidyLater();
  });
  flushCompileCache();
}

function reply(compiler: RegionCompiler, requests: readonly RegionRequest[]): CompilerReply {
  try {
    const start = performance.now();
    const { bytes, ...batch } = compiler.compile(requests);
    const module = new WebAssembly.Module(bytes);
    return { ...batch, module, bytes: bytes.length, seconds: (performance.now() - start) / 1000 };
  } catch (error) {
    // Nobody would hear of it: the hart's thread takes no events while it runs.
    return { failure: error instanceof Error ? (error.stack ?? error.message) : String(error) };
  }
}
