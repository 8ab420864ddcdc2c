/** A machine with the monitor on it, as its owner sees it: harts in threads of their own, VMs on them. */
import type { AgentSession } from "#agent/session.ts";
import { assert } from "#base/assert.ts";
import type { ByteRing } from "#base/byte-ring.ts";
import { Doorbell } from "#base/doorbell.ts";
import { HostelryError } from "#base/errors.ts";
import { FRAME_SIZE, Frames } from "#machine/frames.ts";
import { memoryMap } from "#machine/layout.ts";
import { standardModel, type MachineModel } from "#machine/model.ts";
import { allocate } from "#machine/processor.ts";
import type { FrameRunDescription, VmStats } from "#monitor/action.ts";
import { Balancer } from "#monitor/balancer.ts";
import type { Technique } from "#monitor/cpu/technique.ts";
import { ExitRecorder, type ExitTrace } from "#monitor/exits.ts";
import { auditSharing, type SharingAudit, type VmPages } from "#monitor/memory/audit.ts";
import { frameRuns } from "#monitor/memory/frame-map.ts";
import { Hints } from "#monitor/memory/hints.ts";
import { MemoryManager, type Entitlement, type Holding, type MemoryOrder } from "#monitor/memory/manager.ts";
import type { Allotment } from "#monitor/scheduler.ts";
import type { VmEnd } from "#monitor/vm.ts";
import type { BootFiles } from "#platform/board.ts";
import { MessageChannel, Worker, type MessagePort } from "node:worker_threads";
import type { AgentChannel } from "./agent-channel.ts";
import type { HartCommand, HartData, HartReport, VmConfig, VmReport, VmShared } from "./hart-messages.ts";
import { ConsoleLink } from "./console-link.ts";
import { ACTIVE_UNIT, Control } from "./machine-config.ts";
import { STACK_MIB } from "./machine-thread.ts";
import { startCompiler } from "./region-compiler.ts";
import { SwapFile } from "./swap-file.ts";

export interface HartsOptions {
  readonly harts: number;
  /** Bytes of the machine's memory, which its VMs share. */
  readonly memory: number;
  readonly interpreterOnly?: boolean;
  /** The standard machine if absent. */
  readonly model?: MachineModel;
  /** Where pages go that there are no frames for; without, nowhere. Bytes. */
  readonly swap?: { readonly path: string; readonly size: number };
}

export interface VmListener {
  /** The guest's first instruction is next. */
  started?(): void;
  rebooted?(): void;
  warning?(message: string): void;
}

export interface VmResult {
  readonly end: VmEnd;
  readonly stats: VmStats;
  readonly exits: Pick<ExitRecorder, "trace">;
}

/** What dies young there is little. */
const YOUNG_MIB = 4;
/** A frame's number, and so a VMID, has room for so many VMs at a time. */
const MAX_VMS = 4095;
/** Decoded pages, 16 KiB each, of which only what is used is taken from the host: of a hart, and of all, since address space is scarce. */
const PREDECODED_PAGES = { hart: 16384, all: 65536 } as const;

/** The balance of harts is looked at so often, in milliseconds. */
const BALANCE_PERIOD = 250;
/** And memory. */
const MEMORY_PERIOD = 100;

export class Harts {
  readonly #harts: Hart[];
  readonly #frames: Frames;
  readonly #swap: SwapFile | undefined;
  readonly #vms = new Map<number, Vm>();
  readonly #balancer = new Balancer<Vm, Hart>();
  readonly memory = new MemoryManager<Vm>((settings) => {
    for (const hart of this.#harts) hart.send({ kind: "memory", settings });
  });
  /** While there is something to balance; and memory to manage. */
  #balancing: NodeJS.Timeout | undefined;
  #managing: NodeJS.Timeout | undefined;
  #closed = false;

  /** Throws HostelryError `memory-size` if the host can't give so much, or `swap`. */
  constructor({ harts, memory, interpreterOnly = false, model = standardModel, swap }: HartsOptions) {
    const predecodedPages = Math.min(PREDECODED_PAGES.hart, Math.floor(PREDECODED_PAGES.all / harts));
    const options = { harts, predecodedPages };
    const linear = allocate(memoryMap(memory, options), options);
    this.#frames = Frames.create(memory / 4096);
    this.#swap = swap && SwapFile.create(swap.path, swap.size);
    const hints = Hints.create(memory / 4096).shared;
    const compiler = interpreterOnly ? undefined : startCompiler(harts);
    compiler?.worker.on("error", (error) => this.#failed(error));
    this.#harts = Array.from({ length: harts }, (_, hart) =>
      new Hart({ memory: linear, ramSize: memory, model, harts, hart, predecodedPages, frames: this.#frames.shared, hints, swap: this.#swap?.shared, compiler: compiler?.ports[hart] },
        (report) => this.#heard(report), (error) => this.#failed(error)));
  }

  /** A new VM, on the hart with the fewest; it boots at once. With `agent`, its guest has a port for one. Throws HostelryError `too-many-vms`. */
  create(config: VmConfig, files: BootFiles, listener: VmListener = {}, agent?: AgentChannel): Vm {
    assert(!this.#closed, "a VM on harts that are closed");
    const id = this.#freeId();
    const load = (hart: Hart): number => [...this.#vms.values()].filter((vm) => vm.hart === hart).length;
    const hart = this.#harts.reduce((best, other) => (load(other) < load(best) ? other : best));
    const vm = new Vm(id, config, hart, files, listener, agent);
    this.#vms.set(id, vm);
    if (this.#harts.length > 1 && this.#vms.size > 1) this.#balancing ??= setInterval(() => this.#balance(), BALANCE_PERIOD).unref();
    if (config.entitlement !== undefined) this.#managing ??= setInterval(() => this.#manageMemory(), MEMORY_PERIOD).unref();
    return vm;
  }

  /** Frames of the machine's memory: all, and those that are free. */
  get frames(): { readonly total: number; readonly free: number } {
    return { total: this.#frames.usable, free: this.#frames.available };
  }

  /** Bytes of the swap file: all, and those that hold pages. */
  get swap(): { readonly total: number; readonly used: number } {
    return this.#swap ?? { total: 0, used: 0 };
  }

  /** All of them, in order. */
  frameRuns(): FrameRunDescription[] {
    return frameRuns(this.#frames).map(({ owner, ...run }) => ({ ...run, owner: this.#vms.get(owner)?.name ?? null }));
  }

  /** What the tables of all VMs say. It is only true if the VMs are paused, and the scan rate is 0. */
  async audit(): Promise<SharingAudit> {
    return auditSharing(await Promise.all([...this.#vms.values()].map((vm) => vm.pages())), this.#frames);
  }

  /** Moves a VM to a hart by its number. */
  move(vm: Vm, hart: number): void {
    assert(hart < this.#harts.length, "no such hart", { hart });
    vm.moveTo(this.#harts[hart]!);
  }

  /** Stops what still runs. */
  async close(): Promise<void> {
    this.#closed = true;
    clearInterval(this.#balancing);
    clearInterval(this.#managing);
    await Promise.all(this.#harts.map((hart) => hart.close()));
    this.#swap?.close();
  }

  /** VMs move to where there is more time for them. */
  #balance(): void {
    const move = this.#balancer.next([...this.#vms.values()].map((vm) => ({ item: vm, place: vm.hart, shares: vm.allotment.shares, wanted: vm.wantedFor })), this.#harts, performance.now());
    move?.item.moveTo(move.to);
  }

  #manageMemory(): void {
    const holdings = new Map([...this.#vms.values()].map((vm) => [vm, vm.holding]));
    for (const [vm, order] of this.memory.step(holdings, this.#frames.available, this.#frames.total, performance.now())) vm.obey(order);
  }

  #freeId(): number {
    for (let id = 1; id <= MAX_VMS; id++) if (!this.#vms.has(id)) return id;
    throw new HostelryError("too-many-vms", `there are ${MAX_VMS} VMs already: remove one`);
  }

  #heard(report: HartReport): void {
    if (!("id" in report)) return;
    const vm = this.#vms.get(report.id);
    assert(vm !== undefined, "a report of an unknown VM", { ...report });
    if (vm.heard(report)) this.#forget(vm);
  }

  #forget(vm: Vm): void {
    this.#vms.delete(vm.id);
    if (this.#vms.size > 1) return;
    clearInterval(this.#balancing);
    this.#balancing = undefined;
    if (this.#vms.size > 0) return;
    clearInterval(this.#managing);
    this.#managing = undefined;
  }

  #failed(error: Error): void {
    for (const vm of this.#vms.values()) vm.fail(error);
  }
}

/** A hart's thread, from outside. */
export class Hart {
  readonly doorbell = new Doorbell();
  readonly #port: MessagePort;
  readonly #worker: Worker;
  readonly #requests = new Map<number, (report: HartReport) => void>();
  #nextRequest = 0;

  constructor(data: Omit<HartData, "doorbell" | "port">, heard: (report: HartReport) => void, failed: (error: Error) => void) {
    const { port1, port2 } = new MessageChannel();
    this.#port = port1;
    const workerData: HartData = { ...data, doorbell: this.doorbell.buffer, port: port2 };
    this.#worker = new Worker(new URL("./hart-worker.ts", import.meta.url), {
      workerData,
      transferList: data.compiler === undefined ? [port2] : [port2, data.compiler],
      resourceLimits: { stackSizeMb: STACK_MIB, maxYoungGenerationSizeMb: YOUNG_MIB },
    });
    port1.on("message", (report: HartReport) => {
      if (!("request" in report)) return heard(report);
      this.#requests.get(report.request)?.(report);
      this.#requests.delete(report.request);
    });
    this.#worker.on("error", failed);
  }

  send(command: HartCommand): void {
    this.#port.postMessage(command);
    this.doorbell.ring();
  }

  ask<Kind extends "set" | "stats" | "trace" | "pages">(send: (command: HartCommand) => void, command: (request: number) => HartCommand & { readonly kind: Kind }): Promise<HartReport & { readonly kind: Kind }> {
    const request = this.#nextRequest++;
    return new Promise((resolve, reject) => {
      this.#requests.set(request, (report) => {
        if (report.kind === "gone") reject(new HostelryError("vm-ended", "the VM has ended"));
        else resolve(report as HartReport & { readonly kind: Kind });
      });
      send(command(request));
    });
  }

  async close(): Promise<void> {
    const exited = new Promise<void>((resolve) => void this.#worker.once("exit", () => resolve()));
    this.send({ kind: "close" });
    await exited;
  }
}

/** A VM, from outside. */
export class Vm {
  readonly id: number;
  readonly name: string;
  /** Where it is, or will be when it has moved. */
  hart: Hart;
  allotment: Allotment;
  /** Pages that it is to have, by the policy. */
  target: number;
  readonly #pages: number;
  #entitlement!: Entitlement;
  /** Pages that its operator lets it have; and that are wanted in its balloon, for whatever reason. */
  #allowed: number;
  #wanted = 0;
  /** Settles when it has ended. Rejects with HostelryError if it couldn't be made, and with anything else for our own bugs. */
  readonly result: Promise<VmResult>;
  readonly #console = new ConsoleLink(() => this.hart.doorbell.ring());
  readonly #agent: AgentChannel | undefined;
  readonly #listener: VmListener;
  readonly #files: BootFiles;
  readonly #shared: VmShared;
  /** While it is on its way to another hart: what is to be said to it there. */
  #moving: HartCommand[] | undefined;
  #settle!: { readonly resolve: (result: VmResult) => void; readonly reject: (error: Error) => void };

  constructor(id: number, config: VmConfig, hart: Hart, files: BootFiles, listener: VmListener, agent?: AgentChannel) {
    this.id = id;
    this.name = config.name;
    this.hart = hart;
    this.allotment = config.allotment;
    this.#pages = this.#allowed = this.target = config.memory / FRAME_SIZE;
    this.entitle(config.entitlement ?? { min: this.#pages, shares: 1 });
    this.#listener = listener;
    this.#files = files;
    this.result = new Promise((resolve, reject) => (this.#settle = { resolve, reject }));
    this.#agent = agent;
    // Whoever waits for it hears of it; nobody else has to.
    this.result.catch(() => {}).finally(() => agent?.close());
    this.#shared = {
      ...this.#console.shared,
      ...(agent === undefined ? {} : { agent: agent.join(() => this.hart.doorbell.ring()) }),
    };
    Atomics.store(this.#console.control, Control.limit, this.#pages);
    hart.send({ kind: "create", id, config, files, shared: this.#shared });
  }

  /** Milliseconds in which it had something to do since it came to its hart. */
  get wantedFor(): number {
    return Atomics.load(this.#console.control, Control.wanted);
  }

  moveTo(hart: Hart): void {
    if (this.#moving !== undefined || hart === this.hart) return;
    this.hart.send({ kind: "yield", id: this.id });
    this.#moving = [];
    this.hart = hart;
  }

  #send(command: HartCommand): void {
    if (this.#moving === undefined) this.hart.send(command);
    else this.#moving.push(command);
  }

  /** The guest's agent, if the VM was made with a port for one. */
  get agent(): AgentSession | undefined {
    return this.#agent?.session;
  }

  /** The guest's console output, to be taken: when there is no more room, the VM waits. */
  get output(): ByteRing {
    return this.#console.output;
  }

  /** Input for the guest's console. Resolves when all of it is on its way. */
  write(bytes: Uint8Array): Promise<void> {
    return this.#console.write(bytes);
  }

  resize(columns: number, rows: number): void {
    this.#console.resize(columns, rows);
  }

  /** So many pages are to be in the guest's balloon, which takes its driver a while; the memory manager may want more. */
  inflate(pages: number): void {
    this.#allowed = this.#pages - pages;
    this.#balloon(pages);
  }

  entitle(entitlement: Entitlement): void {
    this.#entitlement = entitlement;
    Atomics.store(this.#console.control, Control.guaranteed, entitlement.min);
  }

  get holding(): Holding {
    const word = (at: number): number => Atomics.load(this.#console.control, at);
    return {
      ...this.#entitlement, max: this.#pages, allowed: this.#allowed,
      own: word(Control.own), shared: word(Control.shared), ballooned: word(Control.ballooned), pagedOut: word(Control.pagedOut), active: word(Control.active) / ACTIVE_UNIT,
    };
  }

  /** What the memory manager has decided. */
  obey({ target, balloon, limit, blocked }: MemoryOrder): void {
    this.target = target;
    Atomics.store(this.#console.control, Control.limit, limit);
    Atomics.store(this.#console.control, Control.blocked, Number(blocked));
    if (limit < this.#pages) this.hart.doorbell.ring();
    if (balloon !== this.#wanted) this.#balloon(balloon);
  }

  #balloon(pages: number): void {
    this.#wanted = pages;
    Atomics.store(this.#console.control, Control.balloon, pages);
    this.#look();
  }

  /** Has the guest say how it fares. */
  #look(): void {
    Atomics.add(this.#console.control, Control.looks, 1);
    this.hart.doorbell.ring();
  }

  pause(): void {
    this.#send({ kind: "pause", id: this.id });
  }

  resume(): void {
    this.#send({ kind: "resume", id: this.id });
  }

  /** Ends it where it stands. `result` tells when. */
  stop(): void {
    this.#send({ kind: "stop", id: this.id });
  }

  /** Throws HostelryError if the machine hasn't what the technique takes. */
  async set(allotment: Allotment, technique: Technique): Promise<void> {
    this.allotment = allotment;
    const { refusal } = await this.hart.ask((command) => this.#send(command), (request) => ({ kind: "set", id: this.id, request, allotment, technique }));
    if (refusal !== undefined) throw new HostelryError(refusal.code, refusal.message);
  }

  /** What the guest itself says is what it said when it was asked last, and it is asked now. */
  async stats(): Promise<VmStats> {
    this.#look();
    return (await this.hart.ask((command) => this.#send(command), (request) => ({ kind: "stats", id: this.id, request }))).stats;
  }

  /** The exits from number `since` on that are still remembered. */
  async trace(since: number): Promise<ExitTrace> {
    return (await this.hart.ask((command) => this.#send(command), (request) => ({ kind: "trace", id: this.id, request, since }))).trace;
  }

  async pages(): Promise<VmPages> {
    return (await this.hart.ask((command) => this.#send(command), (request) => ({ kind: "pages", id: this.id, request }))).pages;
  }

  /** Returns whether that was the last of it. */
  heard(report: VmReport): boolean {
    switch (report.kind) {
      case "started":
        this.#listener.started?.();
        return false;
      case "rebooted":
        this.#listener.rebooted?.();
        return false;
      case "yielded": {
        this.hart.send({ kind: "adopt", id: this.id, config: report.config, shared: this.#shared, moved: report.moved });
        this.#arrive();
        return false;
      }
      case "warning":
        this.#listener.warning?.(report.message);
        return false;
      case "refused":
        this.#settle.reject(new HostelryError(report.code, report.message));
        return true;
      case "ended":
        if (report.end.kind === "reboot") {
          this.#send({ kind: "boot", id: this.id, files: this.#files });
          return false;
        }
        // What was asked on the way is answered where it would have come to.
        this.#arrive();
        this.#settle.resolve({ end: report.end, stats: report.stats, exits: ExitRecorder.restored(report.exits) });
        return true;
    }
  }

  #arrive(): void {
    const waiting = this.#moving ?? [];
    this.#moving = undefined;
    for (const command of waiting) this.hart.send(command);
  }

  fail(error: Error): void {
    this.#settle.reject(error);
  }
}
