import { workerData } from "node:worker_threads";
import { RegionCompiler } from "#machine/translate/compile.ts";
import type { RegionRequest } from "#machine/translate/region.ts";
import type { CompiledModule, RegionCompilerData } from "./region-compiler.ts";

const { memory, map, options, port } = workerData as RegionCompilerData;
const compiler = new RegionCompiler(memory.buffer, map, options);

port.on("message", (requests: readonly RegionRequest[]) => {
  const start = performance.now();
  const { bytes, regions } = compiler.compile(requests);
  const module = new WebAssembly.Module(bytes);
  const result: CompiledModule = { module, regions, bytes: bytes.length, seconds: (performance.now() - start) / 1000 };
  port.postMessage(result);
});
