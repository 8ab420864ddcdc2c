/** The thread that compiles regions. */
import { flushCompileCache } from "node:module";
import { workerData, type MessagePort } from "node:worker_threads";
import { layout } from "#machine/layout.ts";
import { LatelyTold } from "#machine/translate/code-index.ts";
import { RegionCompiler } from "#machine/translate/compile.ts";
import type { RegionRequest } from "#machine/translate/region.ts";
import { GarbageCollector } from "./garbage.ts";
import type { CompilerOrder, CompilerReply, CompilerSetUp, RegionCompilerData } from "./region-compiler.ts";

/** A batch leaves megabytes of garbage. V8 would let them grow to a multiple of what lives. */
const GARBAGE_AT_WORK = 10 << 20;
const GARBAGE_AT_REST = 2 << 20;

/**
 * Milliseconds without work after which this thread tidies up, if the guests are idle too, having executed less than so many instructions. It would drop all of
 * V8's baseline code, also of other threads, and a hart that is busy would have to make it again.
 */
const QUIET = 500;
const IDLE_INSTRUCTIONS = 10e6;

/** Modules that others asked for and that a hart has not received yet, being idle: of more it isn't told. */
const UNRECEIVED = 256;

interface Client {
  readonly port: MessagePort;
  readonly compiler: RegionCompiler;
  /** Instructions that regions of its hart executed, about. */
  readonly executed: BigInt64Array;
  readonly told: LatelyTold;
  unreceived: number;
}

const clients = new Set<Client>();
const garbage = new GarbageCollector();
let quiet: NodeJS.Timeout | undefined;

for (const port of (workerData as RegionCompilerData).ports) port.once("message", (setUp: CompilerSetUp) => serve(port, setUp));

function serve(port: MessagePort, { memory, map, imports, options }: CompilerSetUp): void {
  const client: Client = {
    port,
    compiler: new RegionCompiler(memory.buffer, map, imports, options),
    executed: new BigInt64Array(memory.buffer, map.hart + layout.translated.offset, 1),
    told: new LatelyTold(),
    unreceived: 0,
  };
  clients.add(client);
  const bytes = new Uint8Array(memory.buffer);
  port.on("close", () => clients.delete(client));
  port.on("message", (order: CompilerOrder) => {
    if (order === "received") return void client.unreceived--;
    answer(client, reply(client, order, bytes));
    garbage.collect(GARBAGE_AT_WORK, "work");
    tidyLater();
  });
  flushCompileCache();
}

function answer(client: Client, made: CompilerReply): void {
  client.port.postMessage(made);
  if ("failure" in made || made.regions.length === 0) return;
  const told: CompilerReply = { ...made, refused: [], asked: false };
  for (const other of clients) {
    if (other === client || other.unreceived === UNRECEIVED) continue;
    other.unreceived++;
    other.told.add(made.regions);
    other.port.postMessage(told);
  }
}

function tidyLater(): void {
  clearTimeout(quiet);
  const executed = (): bigint => [...clients].reduce((sum, { executed: [instructions] }) => sum + instructions!, 0n);
  const before = executed();
  quiet = setTimeout(() => (executed() - before < IDLE_INSTRUCTIONS ? garbage.collect(GARBAGE_AT_REST, "rest") : tidyLater()), QUIET);
}

/** What was made for another hart while the request was under way is refused: word of it is there first, and it will be found. */
function reply({ compiler, told }: Client, requests: readonly RegionRequest[], memory: Uint8Array): CompilerReply {
  try {
    const start = performance.now();
    const fresh = requests.filter((wanted) => !told.has(memory, wanted));
    const { bytes, refused, regions } = compiler.compile(fresh);
    const module = new WebAssembly.Module(bytes);
    const known = requests.filter((wanted) => !fresh.includes(wanted)).map(({ head }) => head);
    return { regions, refused: [...refused, ...known], asked: true, module, bytes: bytes.length, seconds: (performance.now() - start) / 1000 };
  } catch (error) {
    // Nobody would hear of it: the hart's thread takes no events while it runs.
    return { failure: error instanceof Error ? (error.stack ?? error.message) : String(error) };
  }
}
