/** A machine in the place of `Harts`, whose VMs do what a test says. */
import type { Note, StreamMessage, StreamPort } from "#api/stream.ts";
import { ByteRing } from "#base/byte-ring.ts";
import { HostelryError } from "#base/errors.ts";
import type { VmConfig } from "#host/node/hart-messages.ts";
import type { VmListener, VmResult } from "#host/node/harts.ts";
import { exitKinds, type ExitKind, type FrameRunDescription, type VmEnd, type VmStats } from "#monitor/action.ts";
import { techniqueOf, type Technique } from "#monitor/cpu/technique.ts";
import type { ExitTrace } from "#monitor/exits.ts";
import { MemoryManager, type Entitlement } from "#monitor/memory/manager.ts";
import type { Allotment } from "#monitor/scheduler.ts";
import type { Agent } from "./agent.ts";
import type { MachinePort, VmPort } from "./machine-port.ts";

export class TestMachine implements MachinePort {
  readonly frames: { readonly total: number; readonly free: number };
  readonly memory = new MemoryManager<unknown>();
  readonly swap = { total: 0, used: 0 };
  readonly vms: TestVm[] = [];
  /** Why the next VM can't be made. */
  refusal: Error | undefined;
  agent: Agent | undefined;
  closed = false;

  constructor(memory: number) {
    this.frames = { total: memory / 4096, free: memory / 4096 };
  }

  create(config: VmConfig, _files: unknown, listener: VmListener): TestVm {
    const vm = new TestVm(config, listener, this.agent);
    this.vms.push(vm);
    const { refusal } = this;
    this.refusal = undefined;
    queueMicrotask(() => (refusal === undefined ? listener.started?.() : vm.fail(refusal)));
    return vm;
  }

  frameRuns(): FrameRunDescription[] {
    const runs = this.vms.map(({ config: { name: owner } }, i) => ({ first: i, frames: 1, state: "private" as const, owner }));
    return [...runs, { first: runs.length, frames: this.frames.total - runs.length, state: "free", owner: null }];
  }

  async close(): Promise<void> {
    this.closed = true;
  }

  get last(): TestVm {
    return this.vms.at(-1)!;
  }
}

export class TestVm implements VmPort {
  readonly config: VmConfig;
  readonly listener: VmListener;
  readonly agent?: Agent;
  readonly output = ByteRing.create(1024);
  readonly result: Promise<VmResult>;
  /** Why its settings can't be others. */
  refusal: Error | undefined;
  /** What was done with it. */
  readonly done: string[] = [];
  #settle!: { readonly resolve: (result: VmResult) => void; readonly reject: (error: Error) => void };

  constructor(config: VmConfig, listener: VmListener, agent: Agent | undefined) {
    this.config = config;
    this.listener = listener;
    if (agent !== undefined) this.agent = agent;
    this.result = new Promise((resolve, reject) => (this.#settle = { resolve, reject }));
    this.result.catch(() => {});
  }

  say(text: string): void {
    this.output.push(Buffer.from(text, "latin1"));
  }

  end(end: VmEnd): void {
    this.#settle.resolve({ end, stats: TEST_STATS, exits: { trace: testTrace } });
  }

  fail(error: Error): void {
    this.#settle.reject(error);
  }

  async write(bytes: Uint8Array): Promise<void> {
    this.done.push(`write ${Buffer.from(bytes).toString("latin1")}`);
  }

  resize = (columns: number, rows: number): void => void this.done.push(`resize ${columns} ${rows}`);
  inflate = (pages: number): void => void this.done.push(`inflate ${pages}`);
  entitle = ({ min, shares }: Entitlement): void => void this.done.push(`entitle ${min} ${shares}`);
  get target(): number {
    return this.config.memory / 4096;
  }

  pause = (): void => void this.done.push("pause");
  resume = (): void => void this.done.push("resume");
  set = async ({ shares, cap }: Allotment, { cpu, mmu }: Technique): Promise<void> => {
    if (this.refusal !== undefined) throw this.refusal;
    this.done.push(`set ${shares} ${cap} ${cpu} ${mmu}`);
  };
  stop = (): void => this.end({ kind: "stopped" });
  stats = async (): Promise<VmStats> => TEST_STATS;
  trace = async (since: number) => testTrace(since);
}

const testTrace = (since = 0): ExitTrace => ({ started: 1000, exits: [{ kind: "wait", time: 1001.5, pc: 0xffffffff80002000n, detail: since }], next: since + 1 });

const TEST_STATS: VmStats = {
  instructions: 5,
  guestSeconds: 1,
  monitorSeconds: 0.5,
  exits: Object.fromEntries(exitKinds.map((kind) => [kind, 0])) as Record<ExitKind, number>,
  technique: techniqueOf({}),
  shadow: null,
  silenced: [],
  memory: { promised: 4096, mapped: 0, shared: 0, zero: 0, saved: 0, active: 0, tables: 0, ballooned: 0, pagedOut: 0, target: 4096 },
  paging: { outs: 0, ins: 0, prefetched: 0, prefetchedUsed: 0 },
  guest: null,
  translations: { places: 0, shared: 0 },
};

/** The server's end of a conversation with a client that is the test itself. */
export class TestPort implements StreamPort {
  readonly closed: Promise<void>;
  readonly messages: AsyncIterable<StreamMessage>;
  /** Output, channels apart. */
  readonly heard = { input: "", output: "", error: "" };
  readonly notes: Note[] = [];
  readonly #incoming: StreamMessage[] = [];
  /** Whether it reads at all. */
  readonly #deaf: boolean;
  #open = true;
  #changed = (): void => {};
  #close!: () => void;

  constructor({ deaf = false } = {}) {
    this.#deaf = deaf;
    this.closed = new Promise((resolve) => (this.#close = resolve));
    this.messages = this.#take();
  }

  get open(): boolean {
    return this.#open;
  }

  /** To the server. */
  say(message: StreamMessage): void {
    this.#incoming.push(message);
    this.#changed();
  }

  async send(message: StreamMessage): Promise<void> {
    if (this.#deaf) return new Promise(() => {});
    if (message.kind === "bytes") this.heard[message.channel] += Buffer.from(message.bytes).toString("latin1");
    else this.notes.push(message);
  }

  close(): void {
    this.#open = false;
    this.#close();
    this.#changed();
  }

  async *#take(): AsyncGenerator<StreamMessage> {
    while (this.#open) {
      const message = this.#incoming.shift();
      if (message !== undefined) yield message;
      else await new Promise<void>((resolve) => (this.#changed = resolve));
    }
  }
}

/** Until it holds; what waits for it is other promises only. */
export async function until(condition: () => boolean): Promise<void> {
  for (let turns = 0; !condition(); turns++) {
    if (turns > 10_000) throw new HostelryError("test", `never: ${condition.toString()}`);
    await new Promise((resolve) => void setImmediate(resolve));
  }
}
