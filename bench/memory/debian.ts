/** Debian in VMs on one machine whose memory is managed, all of it in this process. */
import { setTimeout as sleep } from "node:timers/promises";
import { readShared } from "#host/node/boot-files.ts";
import { Harts, type HartsOptions, type Vm } from "#host/node/harts.ts";
import type { VmConfig } from "#host/node/hart-messages.ts";
import type { MemoryUse, VmStats } from "#monitor/action.ts";
import { footprint } from "#monitor/memory/footprint.ts";
import type { SharingAudit } from "#monitor/memory/audit.ts";
import { defaultMemorySettings, type MemoryChanges } from "#monitor/memory/settings.ts";
import type { BootFiles } from "#platform/board.ts";
import { WatchedConsole } from "../../test/kit/watched-console.ts";
import type { Image } from "../images.ts";

export const MIB = 2 ** 20;
export const PAGE = 4096;

const SHELL_PROMPT = /[#$] (\x1b\[6n)?$/;
const TIMEOUT = 300_000;

/** A Debian at its shell. */
export class Debian {
  readonly vm: Vm;
  readonly #console: WatchedConsole;

  constructor(vm: Vm) {
    this.vm = vm;
    this.#console = new WatchedConsole(vm);
  }

  /** All that its console has shown since its last command. */
  get text(): string {
    return this.#console.text;
  }

  async prompt(): Promise<void> {
    await this.#until(SHELL_PROMPT, TIMEOUT);
  }

  /** Types a command, and doesn't wait for its end. */
  start(command: string): void {
    this.#console.text = "";
    // What is echoed is not what is printed.
    this.#console.type(`${command}; echo "@@"done $?\n`);
  }

  /** The end of what was started: what it has written. Throws if it fails. */
  async done(timeout = TIMEOUT): Promise<string> {
    const match = await this.#until(/@@done (\d+)\r?\n/, timeout);
    const text = this.#console.text.slice(0, match.index);
    if (match[1] !== "0") throw new Error(`a command in ${this.vm.name} ended with status ${match[1]}: ${JSON.stringify(text.slice(-300))}`);
    return text;
  }

  async run(command: string, timeout = TIMEOUT): Promise<string> {
    this.start(command);
    return this.done(timeout);
  }

  /** Seconds that a command takes. */
  async time(command: string): Promise<number> {
    const before = performance.now();
    await this.run(command);
    return (performance.now() - before) / 1000;
  }

  /** What it has had of its hart, in seconds. */
  async hartSeconds(): Promise<number> {
    const { guestSeconds, monitorSeconds } = await this.vm.stats();
    return guestSeconds + monitorSeconds;
  }

  /** Throws if it doesn't come, and as soon as it can't come any more. */
  #until(pattern: RegExp, timeout: number): Promise<RegExpExecArray> {
    const ended = this.vm.result.then(({ end }) => {
      throw new Error(`${this.vm.name} has ended: ${JSON.stringify(end)}`);
    });
    return Promise.race([this.#console.until(pattern, timeout), ended]);
  }

  async memory(): Promise<MemoryUse> {
    return (await this.vm.stats()).memory;
  }

  async paging(): Promise<VmStats["paging"]> {
    return (await this.vm.stats()).paging;
  }
}

export interface MachineOptions extends Partial<HartsOptions> {
  readonly policy?: MemoryChanges;
}

export interface DebianOptions {
  /** In MiB; and of that, what is guaranteed to it. */
  readonly memory?: number;
  readonly min?: number;
  readonly memoryShares?: number;
  readonly drives?: VmConfig["drives"];
  /** Whether the memory manager has a say; true unless given. */
  readonly managed?: boolean;
}

export class DebianMachine {
  readonly harts: Harts;
  readonly vms: Debian[] = [];
  readonly size: number;

  constructor({ policy = {}, ...options }: MachineOptions & Pick<HartsOptions, "memory">) {
    this.size = options.memory;
    this.harts = new Harts({ harts: 2, ...options });
    this.harts.memory.change(policy);
  }

  /** Boots one: it is at its prompt later. */
  async create(files: Image, { memory = 128, min = 0, memoryShares = 10 * memory, drives = [], managed = true }: DebianOptions = {}): Promise<Debian> {
    const boot = await readBoot(files);
    const debian = new Debian(this.harts.create({
      name: `vm${this.vms.length}`, cpus: 1, memory: memory * MIB, clock: "host", drives, terminal: { columns: 80, rows: 24 },
      allotment: { shares: 1, cap: 1 }, ...(managed ? { entitlement: { min: (min * MIB) / PAGE, shares: memoryShares } } : {}),
    }, boot));
    this.vms.push(debian);
    return debian;
  }

  /** Waits until the scanner finds no more: until what is shared has not grown by a hundredth for three times so many milliseconds. */
  async settle(period = 1500): Promise<void> {
    for (let [before, quiet] = [0, 0]; quiet < 3; quiet++) {
      await sleep(period);
      const saved = (await this.use()).reduce((sum, use) => sum + use.saved, 0);
      if (saved > before * 1.01) [before, quiet] = [saved, -1];
    }
  }

  use(): Promise<MemoryUse[]> {
    return Promise.all(this.vms.map((vm) => vm.memory()));
  }

  /** Both what the tables say and what is counted, while nothing changes. Throws if they differ. */
  async audit(): Promise<SharingAudit> {
    const { scanRate } = this.harts.memory.settings;
    this.harts.memory.change({ scanRate: 0 });
    for (const { vm } of this.vms) vm.pause();
    const [audit, use] = [await this.harts.audit(), await this.use()];
    for (const { vm } of this.vms) vm.resume();
    this.harts.memory.change({ scanRate });
    const counted = (field: keyof MemoryUse): number => Math.round(use.reduce((sum, each) => sum + each[field], 0) / PAGE);
    const [walked, told] = [
      [audit.mapped, audit.zero, audit.copyOnWrite, audit.reclaimed + audit.zero],
      [counted("mapped"), counted("zero"), counted("shared"), counted("saved")],
    ];
    if (audit.wrong > 0 || `${walked}` !== `${told}`) throw new Error(`the tables say ${walked}, but hostelry memory says ${told}, and ${audit.wrong} pages are not as they should be`);
    return audit;
  }

  async close(): Promise<void> {
    await this.harts.close();
  }
}

/** Files are read once for all VMs. */
const read = new Map<string, Promise<BootFiles>>();
function readBoot({ kernel, initrd, append }: Image): Promise<BootFiles> {
  const key = `${kernel} ${initrd} ${append}`;
  const files = read.get(key) ?? readShared({ kernel, initrd, append });
  read.set(key, files);
  return files;
}

/** Runs `use` on a machine; with room for all that VMs of such a size, in MiB, are promised, unless its memory is given. */
export async function onMachine<Result>(options: MachineOptions & { readonly vms?: number; readonly each?: number }, use: (machine: DebianMachine) => Promise<Result>): Promise<Result> {
  const { vms = 1, each = 128, memory = Math.ceil((vms * footprint(each * MIB, "nested")) / 0.9 / MIB) * MIB, ...rest } = options;
  const machine = new DebianMachine({ memory, ...rest });
  try {
    return await use(machine);
  } finally {
    await machine.close();
  }
}

export const scanRate = defaultMemorySettings.scanRate;
