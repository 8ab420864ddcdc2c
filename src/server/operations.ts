/** The VMs of a machine, by name, and what is done with them: every action has its row. */
import type { StreamPort } from "#api/stream.ts";
import { HostelryError } from "#base/errors.ts";
import { VERSION } from "#base/version.ts";
import { frameStates, type ActionOf, type Named, type RequestKind, type Results, type StreamKind, type VmDefinition, type VmDescription } from "#monitor/action.ts";
import { framesByState } from "#monitor/memory/frame-map.ts";
import type { BootFiles } from "#platform/board.ts";
import { join } from "node:path";
import { ConsoleLog } from "./console-log.ts";
import { refuseSharedDrives } from "./drives.ts";
import type { MachinePort } from "./machine-port.ts";
import { ManagedVm, type MemoryNeeds } from "./managed-vm.ts";
import { didYouMean } from "./suggest.ts";

export interface OperationsOptions {
  readonly machine: MachinePort;
  readonly harts: number;
  /** Whether VMs may be promised more memory, together, than the machine has. */
  readonly overcommit: boolean;
  /** Directory of the logs. */
  readonly logs: string;
  /** What a VM boots. */
  readonly files: (definition: VmDefinition) => Promise<BootFiles>;
  readonly warn: (message: string) => void;
  /** Hears of our own bugs. */
  readonly bug: (error: unknown) => void;
}

type Handlers = { readonly [Kind in RequestKind]: (action: ActionOf<Kind>) => Promise<Results[Kind]> };
const PAGE = 4096;
const MIB = 2 ** 20;

export class Operations {
  readonly #options: OperationsOptions;
  readonly #vms = new Map<string, ManagedVm>();
  #closing = false;
  readonly #handlers: Handlers = {
    machine: async () => this.#describe(),
    create: (action) => this.#create(action),
    list: async () => [...this.#vms.values()].map((vm) => vm.description).sort(byName),
    show: (action) => this.#after(action.name, async () => {}),
    start: ({ name }) => this.#after(name, (vm) => vm.start()),
    stop: ({ name }) => this.#after(name, (vm) => vm.stop()),
    pause: ({ name }) => this.#after(name, (vm) => vm.pause()),
    resume: ({ name }) => this.#after(name, (vm) => vm.resume()),
    set: (changes) => this.#after(changes.name, (vm) => vm.set(changes)),
    memory: ({ map = false }) => this.#memory(map),
    policy: async () => this.#options.machine.memory.settings,
    setPolicy: async ({ kind: _, ...changes }) => {
      const { memory } = this.#options.machine;
      memory.change(changes);
      return memory.settings;
    },
    balloon: ({ name, size }) => this.#after(name, (vm) => vm.balloon(size)),
    remove: ({ name, force = false }) => this.#remove(name, force),
    stats: async ({ name }) => this.#vm(name).stats(),
    trace: async ({ name, since = 0 }) => this.#vm(name).trace(since),
  };

  constructor(options: OperationsOptions) {
    this.#options = options;
  }

  /** Throws HostelryError for what can't be done: nothing has changed then. */
  do<Kind extends RequestKind>(action: ActionOf<Kind>): Promise<Results[Kind]> {
    const kind: Kind = action.kind;
    return this.#handlers[kind](action);
  }

  /** What it takes to have this conversation, until it is over. Throws HostelryError if it can't begin. */
  converse(action: ActionOf<StreamKind>): (port: StreamPort) => Promise<void> {
    const vm = this.#vm(action.name);
    return action.kind === "console" ? vm.console() : vm.exec(action);
  }

  /** Switches all off. */
  async close(): Promise<void> {
    this.#closing = true;
    await Promise.all(this.#residents.map((vm) => vm.stop()));
    await this.#options.machine.close();
  }

  #vm(name: string): ManagedVm {
    const vm = this.#vms.get(name);
    if (vm === undefined) throw new HostelryError("no-vm", `there is no VM ${name}${didYouMean(name, this.#vms.keys()) || ': see "hostelry ps"'}`);
    return vm;
  }

  async #after(name: string, work: (vm: ManagedVm) => Promise<void>): Promise<VmDescription> {
    const vm = this.#vm(name);
    await work(vm);
    return vm.description;
  }

  async #create({ start = false, ...definition }: ActionOf<"create">): Promise<VmDescription> {
    const { name } = definition;
    if (this.#vms.has(name)) throw new HostelryError("name-taken", `there is a VM ${name} already: choose another name, or remove that one`);
    const { machine, overcommit, logs, files, warn, bug } = this.#options;
    const log = new ConsoleLog(join(logs, `${name}.log`), warn);
    const vm = new ManagedVm(overcommit ? { memoryMin: 0, ...definition } : definition, { machine, log, files: () => files(definition), admit: (some, needs) => this.#admit(some, needs), bug });
    this.#requireSize(vm);
    this.#vms.set(name, vm);
    if (!start) return vm.description;
    try {
      await vm.start();
      return vm.description;
    } catch (error) {
      this.#vms.delete(name);
      throw error;
    }
  }

  async #remove(name: string, force: boolean): Promise<VmDescription> {
    const vm = this.#vm(name);
    await vm.remove(force);
    this.#vms.delete(name);
    return vm.description;
  }

  #requireSize(vm: ManagedVm): void {
    const total = this.#options.machine.frames.total * PAGE;
    if ((this.#options.overcommit ? vm.needs.guaranteed : vm.footprint) <= total) return;
    throw new HostelryError("not-enough-memory", `${vm.name} is to have ${vm.memory / MIB} MiB, which with its tables is more than the machine's ${inMiB(total)}: give it less, or start the server with more (serve --memory)`);
  }

  #admit(vm: ManagedVm, { min, guaranteed: needed }: MemoryNeeds): void {
    if (this.#closing) throw new HostelryError("server-gone", `${vm.name} is not started: the server comes to its end`);
    const others = this.#residents.filter((other) => other !== vm);
    refuseSharedDrives(vm.description, others.map((other) => other.description));
    const left = this.#options.machine.frames.total * PAGE - guaranteed(others);
    if (needed <= left) return;
    const [wanted, missing] = [`${inMiB(min)}, with its tables ${inMiB(needed)}`, inMiB(needed - left)];
    throw new HostelryError("not-enough-memory", `${vm.name} is to be guaranteed ${wanted}, but only ${Math.floor(left / MIB)} MiB of the machine's memory are not guaranteed to others, ${missing} too few: \
give it a smaller --memory-min, stop one, or start the server with more (serve --memory, serve --overcommit)`);
  }

  get #residents(): readonly ManagedVm[] {
    return [...this.#vms.values()].filter((vm) => vm.resident);
  }

  #describe(): Results["machine"] {
    return { version: VERSION, harts: this.#options.harts, memory: this.#amounts() };
  }

  #amounts(): Results["machine"]["memory"] {
    const { frames } = this.#options.machine;
    return { total: frames.total * PAGE, promised: promised(this.#residents), guaranteed: guaranteed(this.#residents), free: frames.free * PAGE };
  }

  async #memory(map: boolean): Promise<Results["memory"]> {
    const { machine } = this.#options;
    const runs = machine.frameRuns();
    const frames = framesByState(runs);
    for (const state of frameStates) frames[state] *= PAGE;
    const vms = await Promise.all(this.#residents.map((vm) => vm.memoryUse()));
    return { ...this.#amounts(), state: machine.memory.state, swap: { total: machine.swap.total, used: machine.swap.used }, frames, vms: vms.sort(byName), map: map ? runs : null };
  }
}

const byName = (a: Named, b: Named): number => (a.name < b.name ? -1 : 1);
const promised = (vms: readonly ManagedVm[]): number => vms.reduce((sum, vm) => sum + vm.footprint, 0);
const guaranteed = (vms: readonly ManagedVm[]): number => vms.reduce((sum, vm) => sum + vm.needs.guaranteed, 0);
/** Rounded up. */
const inMiB = (bytes: number): string => `${Math.ceil(bytes / MIB)} MiB`;
