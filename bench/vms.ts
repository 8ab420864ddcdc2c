/** Guests of the benchmark's driver in VMs, many on one machine, all of it in this process. */
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

/** Runs `use` with so many VMs, each at the driver's prompt (or, without the driver, at its shell's). */
export async function withVms<Result>(
  files: GuestFiles,
  { harts, vms, memory = 128, driver = true, shares = [] }: { harts: number; vms: number; memory?: number; driver?: boolean; shares?: readonly number[] },
  use: (vms: readonly BenchVm[]) => Promise<Result>,
): Promise<Result> {
  const machine = new Harts({ harts, memory: Math.ceil(vms * memory * 1.02 + 4) * MIB });
  try {
    const boot: BootFiles = await readShared({ kernel: files.kernel, initrd: files.initrd, append: driver ? `${files.append} rdinit=/bench/init` : files.append });
    const made = Array.from({ length: vms }, (_, i) => new BenchVm(machine.create({
      name: `vm${i}`, cpus: 1, memory: memory * MIB, clock: "host", drives: [], terminal: { columns: 80, rows: 24 }, allotment: { shares: shares[i] ?? 1, cap: 1 },
    }, boot)));
    await Promise.all(made.map((vm) => (driver ? vm.ready() : vm.shows(/[#$] (\x1b\[6n)?$/))));
    return await use(made);
  } finally {
    await machine.close();
  }
}
