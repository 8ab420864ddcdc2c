/** The thread of a hart that the monitor has: it is inside guests nearly always, and takes its commands between their slices. */
import { assert } from "#base/assert.ts";
import { ByteRing } from "#base/byte-ring.ts";
import { Doorbell } from "#base/doorbell.ts";
import { HostelryError } from "#base/errors.ts";
import { Frames } from "#machine/frames.ts";
import { memoryMap } from "#machine/layout.ts";
import { Processor } from "#machine/processor.ts";
import { TranslationRegistry } from "#machine/translate/registry.ts";
import { HartMonitor } from "#monitor/hart-monitor.ts";
import { MachineMemory } from "#monitor/memory/machine-memory.ts";
import { VirtualMachine, type VmEnd } from "#monitor/vm.ts";
import type { BootFiles } from "#platform/board.ts";
import { receiveMessageOnPort, workerData } from "node:worker_threads";
import { openDrives, type BlockFile } from "./block-file.ts";
import { collectGarbage } from "./garbage.ts";
import type { HartCommand, HartData, HartReport, VmConfig, VmShared, VmStats } from "./hart-messages.ts";
import { optimizedAtOnce } from "./optimized.ts";
import { HostOutside } from "./outside.ts";
import { WorkerCompiler } from "./region-compiler.ts";

const data = workerData as HartData;
const map = memoryMap(data.ramSize, data);
const processor = optimizedAtOnce(() => new Processor(data.memory, map));
const memory = new MachineMemory(new Frames(data.frames), map, processor.dma);
if (!data.interpreterOnly) {
  const compiler = new WorkerCompiler(data.memory, map, processor.programOptions);
  processor.translator = new TranslationRegistry(data.memory, map, processor.state, processor.hart, compiler);
}

interface Resident {
  readonly vm: VirtualMachine;
  readonly config: VmConfig;
  readonly outside: HostOutside;
  readonly drives: readonly BlockFile[];
  running: boolean;
}

const residents = new Map<number, Resident>();
let closing = false;

const monitor = new HartMonitor({
  processor,
  doorbell: new Doorbell(data.doorbell),
  attend() {
    for (let message; (message = receiveMessageOnPort(data.port)) !== undefined; ) obey(message.message as HartCommand);
    return !closing;
  },
  ended: (vm, end) => ended(vm, end),
});

function report(message: HartReport): void {
  data.port.postMessage(message);
}

function obey(command: HartCommand): void {
  if (command.kind === "close") return void (closing = true);
  if (command.kind === "create") return create(command.id, command.config, command.files, command.shared);
  const resident = residents.get(command.id);
  // It may have ended while the command was under way.
  if (resident === undefined) return;
  const { vm, config, outside } = resident;
  switch (command.kind) {
    case "boot":
      return boot(resident, command.files, "rebooted");
    case "pause":
      if (!resident.running) return;
      monitor.stop(vm);
      outside.pause();
      resident.running = false;
      return;
    case "resume":
      if (resident.running) return;
      outside.resume();
      monitor.start(vm, config.allotment);
      resident.running = true;
      return;
    case "stop":
      return ended(vm, { kind: "stopped" });
    case "set":
      residents.set(command.id, { ...resident, config: { ...config, allotment: command.allotment } });
      if (resident.running) monitor.set(vm, command.allotment);
      return;
    case "stats":
      return report({ kind: "stats", request: command.request, stats: statsOf(vm) });
    case "trace":
      return report({ kind: "trace", request: command.request, ...vm.exits.trace(command.since) });
  }
}

function create(id: number, config: VmConfig, files: BootFiles, shared: VmShared): void {
  let drives: readonly BlockFile[] = [];
  try {
    drives = openDrives(config.drives);
    const outside = new HostOutside(shared, config.seed);
    const output = new OutputRing(shared.output);
    const vm = new VirtualMachine(processor, memory, {
      ...config,
      id,
      outside,
      drives,
      output: (bytes) => output.write(bytes),
      congested: () => output.congested,
      warn: (message) => report({ kind: "warning", id, message }),
    });
    const resident: Resident = { vm, config, outside, drives, running: false };
    residents.set(id, resident);
    boot(resident, files, "started");
  } catch (error) {
    if (!(error instanceof HostelryError)) throw error;
    residents.get(id)?.vm.release();
    residents.delete(id);
    for (const drive of drives) drive.close();
    report({ kind: "refused", id, code: error.code, message: error.message });
  }
}

function boot(resident: Resident, files: BootFiles, done: "started" | "rebooted"): void {
  resident.vm.boot(files);
  monitor.start(resident.vm, resident.config.allotment);
  resident.running = true;
  collectGarbage();
  report({ kind: done, id: resident.vm.id });
}

function ended(vm: VirtualMachine, end: VmEnd): void {
  const resident = residents.get(vm.id);
  assert(resident !== undefined, "an unknown VM has ended", { id: vm.id });
  if (resident.running) monitor.stop(vm);
  resident.running = false;
  report({ kind: "ended", id: vm.id, end, stats: statsOf(vm) });
  // Its owner sends the files again, or lets it go.
  if (end.kind === "reboot") return;
  residents.delete(vm.id);
  vm.release();
  for (const drive of resident.drives) drive.close();
}

function statsOf(vm: VirtualMachine): VmStats {
  const { pmap, tables, size } = vm.memory;
  return {
    instructions: vm.computer.instret,
    ...vm.seconds,
    exits: vm.exits.counts(),
    memory: { promised: size, mapped: pmap.mapped * 4096, tables: tables.size * 4096 },
  };
}

/** A console's output on its way to whoever reads it. What has no room yet waits here, and its VM with it. */
class OutputRing {
  readonly #ring: ByteRing;
  readonly #waiting: Uint8Array[] = [];

  constructor(buffer: SharedArrayBuffer) {
    this.#ring = new ByteRing(buffer);
  }

  write(bytes: Uint8Array): void {
    this.#waiting.push(bytes);
    this.#flush();
  }

  get congested(): boolean {
    if (this.#waiting.length > 0) this.#flush();
    return this.#waiting.length > 0;
  }

  #flush(): void {
    for (let bytes = this.#waiting[0]; bytes !== undefined; bytes = this.#waiting[0]) {
      const taken = this.#ring.push(bytes);
      if (taken < bytes.length) return void (this.#waiting[0] = bytes.subarray(taken));
      this.#waiting.shift();
    }
  }
}

report({ kind: "ready" });
monitor.run();
data.port.close();
