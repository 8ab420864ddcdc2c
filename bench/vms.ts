/** Guests of the benchmark's driver in VMs, many on one machine, all of it in this process. */
import { setTimeout as sleep } from "node:timers/promises";
import { readShared } from "#host/node/boot-files.ts";
import { Harts, type Vm } from "#host/node/harts.ts";
import type { VmStats } from "#monitor/action.ts";
import type { BootFiles } from "#platform/board.ts";
import { WatchedConsole } from "../test/kit/watched-console.ts";
import type { GuestFiles } from "./machines.ts";

/** Sixteen at once on two cores take their time. */
const BOOT_TIMEOUT = 600_000;

export class BenchVm {
  readonly vm: Vm;
  readonly #console: WatchedConsole;

  constructor(vm: Vm) {
    this.vm = vm;
    this.#console = new WatchedConsole(vm);
  }

  async ready(): Promise<void> {
    await this.#console.until(/@@ready\n/, BOOT_TIMEOUT);
  }

  /** Until its console shows `pattern`. */
  async shows(pattern: RegExp): Promise<void> {
    await this.#console.until(pattern, BOOT_TIMEOUT);
  }

  /** Runs one command line of the driver to its end; returns its seconds of wall time. Throws if it fails. */
  async run(command: string, timeout = 600_000): Promise<number> {
    const before = performance.now();
    this.start(command);
    const [, status] = await this.#console.until(/@@done (\d+) \d+ \d+ \d+\n/, timeout);
    if (status !== "0") throw new Error(`${command} ended with status ${status}`);
    return (performance.now() - before) / 1000;
  }

  /** Begins one, and doesn't wait. */
  start(command: string): void {
    this.#console.text = "";
    this.#console.type(`${command}\n`);
  }

  stats(): Promise<VmStats> {
    return this.vm.stats();
  }
}

const MIB = 1 << 20;

const SHELL_PROMPT = /[#$] (\x1b\[6n)?$/;
/** After which a machine's threads have loaded their code. */
const THREADS_READY = 1500;
/** After which a guest has come to rest. */
const REST = 2000;

/** Runs `use` with so many VMs, each at the driver's prompt (or, without the driver, at its shell's). */
export async function withVms<Result>(
  files: GuestFiles,
  { harts, vms, memory = 128, driver = true, shares = [] }: { harts: number; vms: number; memory?: number; driver?: boolean; shares?: readonly number[] },
  use: (vms: readonly BenchVm[]) => Promise<Result>,
): Promise<Result> {
  const machine = new Harts({ harts, memory: Math.ceil(vms * memory * 1.02 + 4) * MIB });
  try {
    const boot = await readBoot(driver ? { ...files, append: `${files.append} rdinit=/bench/init` } : files);
    const made = Array.from({ length: vms }, (_, i) => create(machine, boot, { number: i, memory, shares: shares[i] ?? 1 }));
    await Promise.all(made.map((vm) => (driver ? vm.ready() : vm.shows(SHELL_PROMPT))));
    return await use(made);
  } finally {
    await machine.close();
  }
}

/** Seconds from the start of each of so many VMs to its shell's prompt: one after the other on one hart. */
export async function bootInTurn(files: GuestFiles, vms: number, memory = 128): Promise<readonly number[]> {
  const machine = new Harts({ harts: 1, memory: Math.ceil(vms * memory * 1.02 + 4) * MIB });
  try {
    const boot = await readBoot(files);
    await sleep(THREADS_READY);
    const seconds: number[] = [];
    for (let number = 0; number < vms; number++) {
      const before = performance.now();
      await create(machine, boot, { number, memory, shares: 1 }).shows(SHELL_PROMPT);
      seconds.push((performance.now() - before) / 1000);
      await sleep(REST);
    }
    return seconds;
  } finally {
    await machine.close();
  }
}

function readBoot({ kernel, initrd, append }: GuestFiles): Promise<BootFiles> {
  return readShared({ kernel, initrd, append });
}

interface Definition {
  readonly number: number;
  readonly memory: number;
  readonly shares: number;
}

function create(machine: Harts, boot: BootFiles, { number, memory, shares }: Definition): BenchVm {
  return new BenchVm(machine.create({
    name: `vm${number}`, cpus: 1, memory: memory * MIB, clock: "host", drives: [], terminal: { columns: 80, rows: 24 }, allotment: { shares, cap: 1 },
  }, boot));
}
