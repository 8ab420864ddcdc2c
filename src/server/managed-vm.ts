/** One VM of the server's: what it was created as, what it does, its console and its log. */
import { describeEnd } from "#api/describe-end.ts";
import { describeSilenced } from "#api/describe-silenced.ts";
import type { StreamMessage, StreamPort } from "#api/stream.ts";
import { HostelryError } from "#base/errors.ts";
import type { VmResult } from "#host/node/harts.ts";
import { AgentChannel } from "#host/node/agent-channel.ts";
import {
  definitionDefaults, type ActionOf, type Changes, type Settings, type Trace, type VmDefinition, type VmDescription, type VmEnd, type VmMemory, type VmState, type VmStats,
} from "#monitor/action.ts";
import { techniqueOf } from "#monitor/cpu/technique.ts";
import { footprint } from "#monitor/memory/footprint.ts";
import type { Entitlement } from "#monitor/memory/manager.ts";
import type { BootFiles } from "#platform/board.ts";
import { converseWithProcess } from "./agent.ts";
import { ConsoleHub } from "./console-hub.ts";
import type { ConsoleLog } from "./console-log.ts";
import type { MachinePort, VmPort } from "./machine-port.ts";

export interface ManagedVmOptions {
  readonly machine: MachinePort;
  readonly log: ConsoleLog;
  /** What it boots: read anew for each start. */
  readonly files: () => Promise<BootFiles>;
  /** Throws HostelryError if the machine can't hold it beside the others that it holds. */
  readonly admit: (vm: ManagedVm, needs: MemoryNeeds) => void;
  /** Hears of our own bugs. */
  readonly bug: (error: unknown) => void;
}

/** Of the machine's memory, in bytes. */
export interface MemoryNeeds {
  /** Of its own memory; and with the tables that map it. */
  readonly min: number;
  readonly guaranteed: number;
}

const PAGE = 4096;
const MIB = 2 ** 20;
/** What a terminal has of old, until somebody tells of another. */
const TERMINAL = { columns: 80, rows: 24 };

export class ManagedVm {
  readonly name: string;
  readonly memory: number;
  readonly #cpus: number;
  readonly #definition: VmDefinition;
  readonly #options: ManagedVmOptions;
  readonly #console = new ConsoleHub();
  readonly #created = now();
  #settings: Settings;
  #state: VmState = "created";
  #started: string | null = null;
  #end: VmEnd | null = null;
  /** The last that somebody told of. */
  #terminal = TERMINAL;
  /** On the machine. */
  #vm: VmPort | undefined;
  /** What it did, since it has ended. */
  #past: Pick<VmResult, "stats" | "exits"> | undefined;
  /** Of the actions so far: one after the other. */
  #turn: Promise<unknown> = Promise.resolve();
  #gone: Promise<void> = Promise.resolve();

  /** Throws HostelryError `technique`, `memory-min`. */
  constructor(definition: VmDefinition, options: ManagedVmOptions) {
    const { name, memory = definitionDefaults.memory, cpus = definitionDefaults.cpus, shares = definitionDefaults.shares, cap = definitionDefaults.cap } = definition;
    const { memoryMin = memory, memoryShares = Math.ceil((definitionDefaults.memorySharesPerMiB * memory) / MIB) } = definition;
    this.name = name;
    this.memory = memory;
    this.#cpus = cpus;
    this.#definition = definition;
    this.#settings = { shares, cap, memoryMin, memoryShares, ...techniqueOf(definition) };
    this.#options = options;
    this.#requireMin(memoryMin);
  }

  /** Bytes of the machine's memory that it takes at most. */
  get footprint(): number {
    return footprint(this.memory, this.#settings.mmu);
  }

  get needs(): MemoryNeeds {
    return this.#needsWith(this.#settings);
  }

  get description(): VmDescription {
    const { image = null, kernel = null, drives = [], shareGroup = definitionDefaults.shareGroup } = this.#definition;
    return {
      name: this.name,
      state: this.#state,
      end: this.#end,
      memory: this.memory,
      cpus: this.#cpus,
      image,
      kernel,
      drives: drives.map(({ path, readOnly = false }) => ({ path, readOnly })),
      shareGroup,
      ...this.#settings,
      created: this.#created,
      started: this.#started,
      log: this.#options.log.path,
    };
  }

  /** Whether the machine holds memory for it. */
  get resident(): boolean {
    return this.#vm !== undefined;
  }

  start(): Promise<void> {
    return this.#inTurn(async () => {
      if (this.#vm !== undefined) throw this.#wrongState("is on already");
      const files = await this.#options.files();
      this.#options.admit(this, this.needs);
      await this.#boot(files);
    });
  }

  stop(): Promise<void> {
    return this.#inTurn(async () => {
      this.#resident.stop();
      await this.#gone;
    });
  }

  pause(): Promise<void> {
    return this.#inTurn(async () => {
      if (this.#state !== "running") throw this.#wrongState("does not run");
      this.#resident.pause();
      this.#state = "paused";
    });
  }

  resume(): Promise<void> {
    return this.#inTurn(async () => {
      if (this.#state !== "paused") throw this.#wrongState("is not paused");
      this.#resident.resume();
      this.#state = "running";
    });
  }

  set(changes: Changes): Promise<void> {
    return this.#inTurn(async () => {
      const before = this.#settings;
      const technique = techniqueOf(changes, before);
      const { shares = before.shares, cap = before.cap, memoryMin = before.memoryMin, memoryShares = before.memoryShares } = changes;
      this.#requireMin(memoryMin);
      const needs = this.#needsWith({ memoryMin, mmu: technique.mmu });
      const vm = this.#vm;
      if (vm !== undefined && needs.guaranteed > this.needs.guaranteed) this.#options.admit(this, needs);
      // It may end meanwhile.
      if (vm !== undefined) await Promise.race([vm.set({ shares, cap }, technique), vm.result]);
      this.#settings = { shares, cap, memoryMin, memoryShares, ...technique };
      vm?.entitle(entitlementOf(this.#settings));
    });
  }

  balloon(size: number): Promise<void> {
    return this.#inTurn(async () => {
      if (size > this.memory) throw new HostelryError("balloon-size", `${this.name} has ${this.memory / MIB} MiB, and its balloon can't leave it ${size / MIB} MiB: give at most what it has`);
      this.#resident.inflate((this.memory - size) / PAGE);
    });
  }

  /** It is to be forgotten. */
  remove(force: boolean): Promise<void> {
    return this.#inTurn(async () => {
      if (this.#vm !== undefined && !force) throw this.#wrongState("is on: stop it first, or remove it by force");
      this.#vm?.stop();
      await this.#gone;
      this.#options.log.remove();
    });
  }

  async stats(): Promise<VmStats> {
    const vm = this.#vm;
    // It may end while it is asked.
    const stats = vm === undefined ? this.#past?.stats : await Promise.race([vm.stats(), vm.result.then((result) => result.stats)]);
    if (stats === undefined) throw this.#wrongState("has not been started yet");
    return stats;
  }

  /** Of one that is on. */
  async memoryUse(): Promise<VmMemory> {
    const { memoryMin: min, memoryShares: shares } = this.#settings;
    const { memory } = await this.stats();
    return { name: this.name, min, shares, ...memory, target: (this.#vm?.target ?? 0) * PAGE };
  }

  async trace(since: number): Promise<Trace> {
    const vm = this.#vm;
    const trace = vm === undefined ? this.#past?.exits.trace(since) : await Promise.race([vm.trace(since), vm.result.then(({ exits }) => exits.trace(since))]);
    if (trace === undefined) throw this.#wrongState("has not been started yet");
    const { started, exits, next } = trace;
    const plain = exits.map(({ time, pc, kind, detail }) => ({ time: time - started, at: new Date(time).toISOString(), pc: `0x${pc.toString(16)}`, kind, detail }));
    return { ended: vm === undefined, exits: plain, next };
  }

  /** What it takes to join a client to its console, until one of the two has gone. */
  console(): (port: StreamPort) => Promise<void> {
    const vm = this.#resident;
    return async (port) => {
      this.#console.attach(port);
      void port.closed.then(() => this.#console.detach(port));
      for await (const message of port.messages) {
        if (message.kind === "bytes" && message.channel === "input") await vm.write(message.bytes);
        else if (message.kind === "resize") this.#resize(vm, message);
      }
    };
  }

  /** What it takes to join a client to a command within. */
  exec(action: ActionOf<"exec">): (port: StreamPort) => Promise<void> {
    const { agent } = this.#resident;
    if (agent === undefined) throw new HostelryError("no-agent", `the guest of ${this.name} has no agent that executes commands: the default image brings one`);
    return (port) => converseWithProcess(agent, action, port);
  }

  #resize(vm: VmPort, { columns, rows }: StreamMessage & { readonly kind: "resize" }): void {
    this.#terminal = { columns, rows };
    vm.resize(columns, rows);
  }

  #needsWith({ memoryMin: min, mmu }: Pick<Settings, "memoryMin" | "mmu">): MemoryNeeds {
    return { min, guaranteed: footprint(this.memory, mmu) - this.memory + min };
  }

  #requireMin(min: number): void {
    if (min <= this.memory) return;
    throw new HostelryError("memory-min", `${this.name} has ${this.memory / MIB} MiB, and ${min / MIB} MiB of it can't be guaranteed: give at most what it has`);
  }

  get #resident(): VmPort {
    if (this.#vm === undefined) throw this.#wrongState(`is not on: start it with "hostelry start ${this.name}"`);
    return this.#vm;
  }

  async #boot(files: BootFiles): Promise<void> {
    const { machine, log } = this.#options;
    const { name, memory, cpus, drives, kernel, shareGroup } = this.description;
    const { shares, cap } = this.#settings;
    const started = Promise.withResolvers<void>();
    log.line("starts");
    const vm = machine.create({ name, memory, cpus, clock: "host", drives, shareGroup, terminal: this.#terminal, allotment: { shares, cap }, entitlement: entitlementOf(this.#settings), technique: techniqueOf({}, this.#settings) }, files, {
      started: () => {
        this.#state = "running";
        this.#end = null;
        this.#started = now();
        started.resolve();
      },
      rebooted: () => {
        log.line("rebooted");
        this.#console.note({ kind: "rebooted" });
      },
      warning: (message) => log.line(message),
    }, kernel === null ? new AgentChannel() : undefined);
    this.#vm = vm;
    this.#gone = this.#follow(vm);
    await Promise.race([started.promise, vm.result]);
  }

  /** Until it has ended. */
  async #follow(vm: VmPort): Promise<void> {
    const pumped = this.#pump(vm);
    let end: VmEnd;
    try {
      const result = await vm.result;
      this.#past = result;
      end = result.end;
    } catch (error) {
      const { code, message } = error instanceof HostelryError ? error : { code: "internal", message: "a bug in Hostelry: the server's stderr says where" };
      if (!(error instanceof HostelryError)) this.#options.bug(error);
      end = { kind: "failed", code, message };
    }
    await pumped;
    this.#vm = undefined;
    // What was refused has not begun.
    if (this.#state !== "running" && this.#state !== "paused") return this.#options.log.line(`does not start: ${describeEnd(end)}`);
    this.#state = "ended";
    this.#end = end;
    this.#options.log.line(`ended: ${describeEnd(end)}`);
    const silenced = describeSilenced(this.#past?.stats.silenced ?? []);
    if (silenced !== undefined) this.#options.log.line(silenced);
    this.#console.note({ kind: "ended", end });
    this.#console.close();
  }

  /** Takes the console's output, to the last. */
  async #pump(vm: VmPort): Promise<void> {
    const end = (): void => vm.output.end();
    vm.result.then(end, end);
    while (!vm.output.ended || vm.output.length > 0) {
      await vm.output.waitForBytes();
      const bytes = vm.output.shift();
      if (bytes.length === 0) continue;
      this.#options.log.write(bytes);
      await this.#console.write(bytes);
    }
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#turn.then(work);
    this.#turn = result.catch(() => {});
    return result;
  }

  #wrongState(why: string): HostelryError {
    return new HostelryError("wrong-state", `the VM ${this.name} ${why}`);
  }
}

const entitlementOf = ({ memoryMin, memoryShares }: Settings): Entitlement => ({ min: memoryMin / PAGE, shares: memoryShares });

function now(): string {
  return new Date().toISOString();
}
