/** The thread that compiles regions. */
import { workerData } from "node:worker_threads";
import { RegionCompiler } from "#machine/translate/compile.ts";
import type { RegionRequest } from "#machine/translate/region.ts";
import { collectGarbage } from "./garbage.ts";
import type { CompilerReply, RegionCompilerData } from "./region-compiler.ts";

const { memory, map, options, port } = workerData as RegionCompilerData;
const compiler = new RegionCompiler(memory.buffer, map, options);
collectGarbage();

/** Milliseconds without work after which this thread tidies up. */
const QUIET = 500;
let quiet: NodeJS.Timeout | undefined;

port.on("message", (requests: readonly RegionRequest[]) => {
  port.postMessage(reply(requests));
  clearTimeout(quiet);
  quiet = setTimeout(collectGarbage, QUIET);
});

function reply(requests: readonly RegionRequest[]): CompilerReply {
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
