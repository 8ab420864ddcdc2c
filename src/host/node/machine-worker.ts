/** The thread of a machine: it is inside `run` nearly always, and gets no messages there; so it looks at shared memory. */
import { assert } from "#base/assert.ts";
import { ByteRing } from "#base/byte-ring.ts";
import { Doorbell } from "#base/doorbell.ts";
import { HostelryError } from "#base/errors.ts";
import { Machine } from "#machine/machine.ts";
import type { Processor } from "#machine/processor.ts";
import { TranslationRegistry } from "#machine/translate/registry.ts";
import type { AgentBackend } from "#platform/agent-port.ts";
import { Board, type BootFiles } from "#platform/board.ts";
import { once } from "node:events";
import { flushCompileCache } from "node:module";
import { parentPort, workerData } from "node:worker_threads";
import { AgentEnd, type AgentShared } from "./agent-end.ts";
import { openDrives, type BlockFile } from "./block-file.ts";
import { readBootFiles } from "./boot-files.ts";
import { GarbageCollector } from "./garbage.ts";
import { WorkerCompiler } from "./region-compiler.ts";
import { optimizedAtOnce } from "./optimized.ts";
import { HostOutside } from "./outside.ts";
import { commands, Control, type Order, type Report, type WorkerData } from "./machine-config.ts";

/** Smaller files may share a buffer with others. */
const RELEASE_FROM = 1 << 20;

const { shared, compiler } = workerData as WorkerData;
const control = new Int32Array(shared.control);
const output = new ByteRing(shared.output);

/** Rests of the guest that are long enough to tidy up, in milliseconds, and what is worth it. */
const LONG_REST = 20;
const GARBAGE_AT_REST = 2 << 20;

/** While the guest rests, nobody waits for its thread. */
class RestfulDoorbell extends Doorbell {
  readonly #garbage = new GarbageCollector();

  override wait(seen: number, milliseconds = Infinity): void {
    const start = performance.now();
    if (milliseconds >= LONG_REST) this.#garbage.collect(GARBAGE_AT_REST, "work");
    super.wait(seen, Math.max(milliseconds - (performance.now() - start), 0));
  }
}

function report(message: Report): void {
  parentPort!.postMessage(message);
}

function write(bytes: Uint8Array, ring: ByteRing): void {
  for (let done = 0; done < bytes.length; ) {
    const taken = ring.push(bytes.subarray(done));
    done += taken;
    if (done < bytes.length) ring.waitForRoom();
  }
}

function agentBackend(shared: AgentShared): AgentBackend {
  const [end, ring] = [new AgentEnd(shared), new ByteRing(shared.output)];
  return { output: (bytes) => write(bytes, ring), opened: (open) => end.opened(open) };
}

/** Once they are in the guest's memory, the files' own go at once: in `run`, no garbage is collected for long. */
function boot(board: Board, files: BootFiles): void {
  board.boot(files);
  const kernels = [files.firmware, files.kernel].filter((kernel) => kernel !== undefined);
  const views = kernels.flatMap((kernel) => (kernel.format === "elf" ? kernel.segments.map(({ bytes }) => bytes) : [kernel.bytes]));
  if (files.initrd !== undefined) views.push(files.initrd);
  for (const { buffer } of views) {
    if (buffer instanceof ArrayBuffer && buffer.byteLength >= RELEASE_FROM && !buffer.detached) buffer.transfer(0);
  }
}

function signatureOf(board: Board): Uint8Array {
  if (board.signature !== undefined) return board.signature;
  throw new HostelryError("no-signature", "--signature is for a program with the symbols begin_signature and end_signature, both in memory: give an ELF file that has them, not stripped");
}

/** Hot code is compiled on a thread of its own. */
function translate(processor: Processor): void {
  const { memory, map, state, hart, programOptions: options } = processor;
  const port = new WorkerCompiler(compiler, { memory, map, imports: hart.imports, options });
  processor.translator = new TranslationRegistry(memory, map, state, hart, port);
}

async function main({ config, agent }: Order): Promise<void> {
  let drives: readonly BlockFile[] = [];
  try {
    drives = openDrives(config.drives);
    // Read while the hart's program is made.
    const reading = readBootFiles(config);
    reading.catch(() => {});
    const machine = optimizedAtOnce(() => new Machine({
      ramSize: config.memory,
      ...(config.model === undefined ? {} : { model: config.model }),
      clock: config.clock,
      outside: new HostOutside({ ...shared, ...(agent === undefined ? {} : { agent }) }, config.seed),
      doorbell: new RestfulDoorbell(shared.doorbell),
      command: () => commands[Atomics.load(control, Control.command)]!,
    }));
    const board = new Board({
      computer: machine.computer,
      drives,
      output: (bytes) => write(bytes, output),
      terminal: config.terminal,
      ...(agent === undefined ? {} : { agent: agentBackend(agent) }),
      warn: (message) => report({ kind: "warning", message }),
    });
    if (config.interpreterOnly) compiler.close();
    else translate(machine.processor);
    boot(board, await reading);
    if (config.signature) signatureOf(board);
    report({ kind: "started" });
    flushCompileCache();
    let end = machine.run();
    while (end.kind === "reboot") {
      // Read again rather than kept: they would take a tenth of the guest's memory.
      boot(board, await readBootFiles(config));
      report({ kind: "restarted" });
      end = machine.run();
    }
    const stats = machine.stats();
    report({ kind: "ended", result: config.signature ? { end, stats, signature: signatureOf(board) } : { end, stats } });
  } catch (error) {
    if (!(error instanceof HostelryError)) throw error;
    report({ kind: "refused", code: error.code, message: error.message });
  } finally {
    for (const drive of drives) drive.close();
  }
}

assert(parentPort !== null, "the machine's thread runs as a worker only");
const [order] = (await once(parentPort, "message")) as [Order];
await main(order);
