/** The thread of a hart that the monitor has: it is inside guests nearly always, and takes its commands between their slices. */
import { assert } from "#base/assert.ts";
import { ByteRing } from "#base/byte-ring.ts";
import { Doorbell } from "#base/doorbell.ts";
import { HostelryError } from "#base/errors.ts";
import { Random } from "#base/random.ts";
import { FRAME_SIZE, Frames } from "#machine/frames.ts";
import { memoryMap } from "#machine/layout.ts";
import { Processor } from "#machine/processor.ts";
import { TranslationRegistry } from "#machine/translate/registry.ts";
import { definitionDefaults, type VmStats } from "#monitor/action.ts";
import { HartMonitor } from "#monitor/hart-monitor.ts";
import { auditPages } from "#monitor/memory/audit.ts";
import { Hints } from "#monitor/memory/hints.ts";
import { MachineMemory } from "#monitor/memory/machine-memory.ts";
import { Paging } from "#monitor/memory/paging.ts";
import { Sampler } from "#monitor/memory/sampler.ts";
import { savedPages } from "#monitor/memory/saved-pages.ts";
import { Scanner } from "#monitor/memory/scanner.ts";
import { defaultMemorySettings } from "#monitor/memory/settings.ts";
import { saltOf, Sharing } from "#monitor/memory/sharing.ts";
import { abandon, VirtualMachine, type SavedVm, type VmEnd } from "#monitor/vm.ts";
import type { BootFiles } from "#platform/board.ts";
import { flushCompileCache } from "node:module";
import { isDeepStrictEqual } from "node:util";
import { receiveMessageOnPort, workerData } from "node:worker_threads";
import { AgentEnd } from "./agent-end.ts";
import { openDrives, type BlockFile } from "./block-file.ts";
import { GarbageCollector } from "./garbage.ts";
import type { HartCommand, HartData, HartReport, MovedVm, VmConfig, VmShared } from "./hart-messages.ts";
import { ACTIVE_UNIT, Control } from "./machine-config.ts";
import { optimizedAtOnce } from "./optimized.ts";
import { HostOutside } from "./outside.ts";
import { WorkerCompiler } from "./region-compiler.ts";
import { SwapFile } from "./swap-file.ts";

const data = workerData as HartData;
const map = memoryMap(data.ramSize, data);
const processor = optimizedAtOnce(() => new Processor(data.memory, map, data.model));
const swap = data.swap && new SwapFile(data.swap, data.hart / data.harts);
const memory = new MachineMemory(new Frames(data.frames), map, processor.dma, swap);
if (data.compiler !== undefined) {
  const { programOptions: options, hart: { imports } } = processor;
  const compiler = new WorkerCompiler(data.compiler, { memory: data.memory, map, imports, options });
  processor.translator = new TranslationRegistry(data.memory, map, processor.state, processor.hart, compiler);
}

const sharing = new Sharing(memory, new Hints(data.hints));
const scanner = new Scanner(sharing, defaultMemorySettings.scanRate / data.harts);

interface Resident {
  readonly vm: VirtualMachine;
  readonly config: VmConfig;
  readonly control: Int32Array;
  readonly outside: HostOutside;
  readonly outputs: readonly OutputRing[];
  readonly drives: readonly BlockFile[];
  readonly sampler: Sampler;
  running: boolean;
}

/** What a boot leaves at most, if it was not the first. */
const GARBAGE_AT_BOOT = 2 << 20;
const garbage = new GarbageCollector();
/** For frames, in milliseconds; the memory manager looks every 100. */
const WAIT = { least: 150, perHart: 50 } as const;

const residents = new Map<number, Resident>();
const paging = swap && new Paging({
  guests: () => [...residents.values()].map(({ vm }) => vm.memory),
  random: new Random(data.hart),
  now: () => performance.now(),
  wait: waitForFrames,
  failed: ({ owner: id }, { message }) => report({ kind: "warning", id, message }),
});
memory.reclaimer = paging;
let closing = false;
let settings = defaultMemorySettings;

const doorbell = new Doorbell(data.doorbell);
const monitor = new HartMonitor({
  processor,
  doorbell,
  attend() {
    for (let message; (message = receiveMessageOnPort(data.port)) !== undefined; ) obey(message.message as HartCommand);
    for (const resident of residents.values()) {
      trim(resident);
      tell(resident);
    }
    scanner.step(performance.now());
    return !closing;
  },
  patience: () => scanner.patience,
  ended: (vm, end) => ended(vm, end),
});

const told = ["wanted", "own", "shared", "ballooned", "pagedOut", "active"] as const;

/** What balancing harts and managing memory are based on. */
function tell({ vm, config, control, sampler, running }: Resident): void {
  if (running && config.entitlement !== undefined) sampler.attend(performance.now(), settings);
  const { mapped, shared, ballooned, pagedOut } = vm.memory.pmap.counts;
  const words = { wanted: monitor.wantedFor(vm), own: mapped - shared, shared, ballooned, pagedOut, active: Math.round(ACTIVE_UNIT * sampler.estimate) };
  for (const name of told) Atomics.store(control, Control[name], words[name]);
}

/** Until a VM on another hart has given some or ended, but each hart for another time: of those that all need frames, one is to end first. */
function waitForFrames(): boolean {
  const clock = new Int32Array(new SharedArrayBuffer(4));
  for (let left = WAIT.least + WAIT.perHart * data.hart; left > 0 && memory.frames.available === 0; left--) Atomics.wait(clock, 0, 0, 1);
  return memory.frames.available > 0;
}

/** What a VM has more than it may is paged out; if that is not done at once, it goes on. */
function trim({ vm: { memory }, control }: Resident): void {
  memory.limit = Atomics.load(control, Control.limit);
  memory.guaranteed = Atomics.load(control, Control.guaranteed);
  if (paging?.trim(memory) === true) doorbell.ring();
}

function report(message: HartReport): void {
  data.port.postMessage(message);
}

function obey(command: HartCommand): void {
  if (command.kind === "close") return void (closing = true);
  if (command.kind === "memory") {
    settings = command.settings;
    return scanner.setRate(settings.scanRate / data.harts);
  }
  if (command.kind === "create") return create(command);
  if (command.kind === "adopt") return adopt(command);
  const resident = residents.get(command.id);
  // It may have ended while the command was under way.
  if (resident === undefined) {
    if ("request" in command) report({ kind: "gone", request: command.request });
    return;
  }
  const { vm, outside } = resident;
  switch (command.kind) {
    case "yield":
      return release(resident);
    case "boot":
      return reboot(resident, command.files);
    case "pause":
      if (!resident.running) return;
      outside.pause();
      return pause(resident);
    case "resume":
      if (resident.running) return;
      outside.resume();
      return resume(resident);
    case "stop":
      return ended(vm, { kind: "stopped" });
    case "set":
      return set(resident, command);
    case "stats":
      return report({ kind: "stats", request: command.request, stats: statsOf(resident) });
    case "trace":
      return report({ kind: "trace", request: command.request, trace: vm.exits.trace(command.since) });
    case "pages":
      vm.memory.settle();
      return report({ kind: "pages", request: command.request, pages: auditPages(vm.memory) });
  }
}

function set(resident: Resident, { id, request, allotment, technique }: HartCommand & { readonly kind: "set" }): void {
  const { vm, config, running } = resident;
  try {
    if (!isDeepStrictEqual(vm.technique, technique)) vm.setTechnique(technique);
  } catch (error) {
    if (!(error instanceof HostelryError)) throw error;
    return report({ kind: "set", request, refusal: { code: error.code, message: error.message } });
  }
  residents.set(id, { ...resident, config: { ...config, technique, allotment } });
  if (running) monitor.set(vm, allotment);
  report({ kind: "set", request });
}

function create({ id, config, files, shared }: HartCommand & { readonly kind: "create" }): void {
  admit(id, () => boot(make(id, config, shared), files, "started"));
}

/** What another hart had before. */
function adopt({ id, config, shared, moved }: HartCommand & { readonly kind: "adopt" }): void {
  admit(id, () => {
    // It may have been here before, and its frames something else.
    processor.hart.exports.flushAll(map.hart);
    const resident = make(id, config, shared, moved);
    if (moved.running) resume(resident);
  }, moved.vm);
}

/** What is made of it in vain goes again; and so does what was to be made of `saved`. */
function admit(id: number, make: () => void, saved?: SavedVm): void {
  try {
    make();
  } catch (error) {
    if (!(error instanceof HostelryError)) throw error;
    const resident = residents.get(id);
    if (resident !== undefined) discard(resident);
    else if (saved !== undefined) abandon(memory, id, saved);
    report({ kind: "refused", id, code: error.code, message: error.message });
  }
}

function make(id: number, config: VmConfig, shared: VmShared, moved?: MovedVm): Resident {
  const drives = openDrives(config.drives);
  try {
    const outside = new HostOutside(shared, config.seed, moved?.outside);
    const output = new OutputRing(shared.output, moved?.outputs[0]);
    const agent = shared.agent === undefined ? undefined : { end: new AgentEnd(shared.agent), output: new OutputRing(shared.agent.output, moved?.outputs[1]) };
    const outputs = [output, ...(agent === undefined ? [] : [agent.output])];
    const control = new Int32Array(shared.control);
    const vm: VirtualMachine = new VirtualMachine(processor, memory, {
      ...config,
      id,
      outside,
      drives,
      output: (bytes) => output.write(bytes),
      ...(agent === undefined ? {} : { agent: { output: (bytes) => agent.output.write(bytes), opened: (open) => agent.end.opened(open) } }),
      congested: () => outputs.some((ring) => ring.congested) || (Atomics.load(control, Control.blocked) !== 0 && paging?.isBehind(vm.memory) === true),
      warn: (message) => report({ kind: "warning", id, message }),
    }, moved?.vm);
    const resident: Resident = { vm, config, control, outside, outputs, drives, sampler: new Sampler(vm.memory, new Random(id), moved?.workingSet), running: false };
    residents.set(id, resident);
    if (config.shareGroup !== null) sharing.add({ memory: vm.memory, salt: saltOf(config.shareGroup ?? definitionDefaults.shareGroup) });
    return resident;
  } catch (error) {
    for (const drive of drives) drive.close();
    throw error;
  }
}

/** Lets a VM go to another hart. */
function release(resident: Resident): void {
  const { vm, config, outside, outputs, sampler, running } = resident;
  if (running) pause(resident);
  sharing.remove(vm.memory);
  const moved = { vm: vm.save(), outside: outside.save(), outputs: outputs.map((ring) => ring.take()), workingSet: sampler.save(), running };
  vm.memory.forget();
  processor.hart.exports.flushAll(map.hart);
  residents.delete(vm.id);
  for (const drive of resident.drives) drive.close();
  report({ kind: "yielded", id: vm.id, config, moved });
}

function pause(resident: Resident): void {
  monitor.stop(resident.vm);
  resident.running = false;
}

function resume(resident: Resident): void {
  monitor.start(resident.vm, resident.config.allotment);
  resident.running = true;
}

function discard(resident: Resident): void {
  residents.delete(resident.vm.id);
  sharing.remove(resident.vm.memory);
  resident.vm.release();
  for (const drive of resident.drives) drive.close();
}

function boot(resident: Resident, files: BootFiles, done: "started" | "rebooted"): void {
  const { vm } = resident;
  vm.boot(files);
  // Kernel and initramfs are others' too: they need not wait for the scanner.
  sharing.offerAll(vm.memory);
  scanner.hasten();
  resume(resident);
  garbage.collect(GARBAGE_AT_BOOT, "work");
  report({ kind: done, id: vm.id });
}

/** What it can't have any more ends it as anything later would. */
function reboot(resident: Resident, files: BootFiles): void {
  try {
    boot(resident, files, "rebooted");
  } catch (error) {
    if (!(error instanceof HostelryError)) throw error;
    ended(resident.vm, { kind: "failed", code: error.code, message: error.message });
  }
}

function ended(vm: VirtualMachine, end: VmEnd): void {
  const resident = residents.get(vm.id);
  assert(resident !== undefined, "an unknown VM has ended", { id: vm.id });
  if (resident.running) pause(resident);
  const [stats, exits] = [statsOf(resident), vm.exits.save()];
  // One that reboots gets its files again from its owner.
  if (end.kind !== "reboot") discard(resident);
  report({ kind: "ended", id: vm.id, end, stats, exits });
}

function statsOf({ vm, sampler }: Resident): VmStats {
  const { technique, shadow, memory: { pmap, tables, size }, board: { balloon } } = vm;
  return {
    instructions: vm.computer.instret,
    ...vm.seconds,
    exits: vm.exits.counts(),
    technique,
    shadow,
    silenced: vm.silenced.map((one) => ({ ...one, first: one.first && { ...one.first, pc: `0x${one.first.pc.toString(16)}` } })),
    memory: {
      promised: size,
      mapped: pmap.counts.mapped * FRAME_SIZE,
      shared: (pmap.counts.shared - pmap.counts.zero) * FRAME_SIZE,
      zero: pmap.counts.zero * FRAME_SIZE,
      saved: Math.round(savedPages(vm.memory) * FRAME_SIZE),
      active: Math.min(Math.round(sampler.estimate * size), pmap.counts.mapped * FRAME_SIZE),
      pagedOut: pmap.counts.pagedOut * FRAME_SIZE,
      tables: (tables.size + (shadow?.tables ?? 0)) * FRAME_SIZE,
      ballooned: pmap.counts.ballooned * FRAME_SIZE,
      target: size - (balloon?.target ?? 0) * FRAME_SIZE,
    },
    paging: vm.memory.paging,
    guest: balloon?.statistics ?? null,
    translations: translationsOf(vm),
  };
}

function translationsOf(vm: VirtualMachine): VmStats["translations"] {
  const counts = { places: 0, shared: 0 };
  for (const { host, shared } of processor.translator?.places?.() ?? []) {
    if (memory.frames.info(Math.floor((host - map.ram) / FRAME_SIZE)).owner !== vm.id) continue;
    counts.places++;
    if (shared) counts.shared++;
  }
  return counts;
}

/** Output on its way to whoever reads it. What has no room yet waits here, and its VM with it. */
class OutputRing {
  readonly #ring: ByteRing;
  readonly #waiting: Uint8Array[];

  constructor(buffer: SharedArrayBuffer, waiting: readonly Uint8Array[] = []) {
    this.#ring = new ByteRing(buffer);
    this.#waiting = [...waiting];
  }

  /** What has had no room: it is the caller's now. */
  take(): Uint8Array[] {
    return this.#waiting.splice(0);
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
flushCompileCache();
monitor.run();
data.port.close();
