/** The two kinds of machines that `run` runs, seen alike: the bare one in a thread, and a VM on a machine with a monitor. */
import { readShared } from "#host/node/boot-files.ts";
import { Harts, type Vm } from "#host/node/harts.ts";
import type { MachineConfig } from "#host/node/machine-config.ts";
import type { MachineListener, MachineThread } from "#host/node/machine-thread.ts";
import type { VmStats } from "#monitor/action.ts";
import { techniqueOf, type TechniqueOptions } from "#monitor/cpu/technique.ts";
import { footprint } from "#monitor/memory/footprint.ts";
import type { VmEnd } from "#monitor/vm.ts";
import type { ConsolePort } from "./console-session.ts";

export interface RunResult {
  readonly end: VmEnd;
  readonly stats: { readonly memory: object } & Partial<Omit<VmStats, "memory">>;
  /** Of a test program on the bare machine: see MachineResult. */
  readonly signature?: Uint8Array;
}

export interface Running {
  readonly console: ConsolePort;
  /** Settles when it has ended; rejects with HostelryError for what the user can mend. */
  readonly result: Promise<RunResult>;
  pause(): void;
  resume(): void;
  stop(): void;
  /** Of a VM, so far. Rejects with HostelryError `vm-ended`. */
  stats?(): Promise<VmStats>;
}

export interface RunConfig extends MachineConfig {
  readonly cpus: number;
  /** Of a VM. */
  readonly technique: TechniqueOptions;
}

export type Start = (config: RunConfig, listener: MachineListener) => Promise<Running>;

export function startBare(machine: MachineThread): Start {
  return async (config, listener) => ({
    console: machine,
    result: machine.run(config, listener),
    pause: () => machine.command("pause"),
    resume: () => machine.command("run"),
    stop: () => machine.stop(),
  });
}

/** On a machine that has a hart and is as large as the VM needs. */
export const startVm: Start = async (config, listener) => {
  const technique = techniqueOf(config.technique);
  const harts = new Harts({ harts: 1, memory: footprint(config.memory, technique.mmu), interpreterOnly: config.interpreterOnly, ...(config.model === undefined ? {} : { model: config.model }) });
  try {
    const files = await readShared(config);
    const vm = harts.create({ ...config, technique, name: "run", allotment: { shares: 1, cap: 1 } }, files, {
      started: () => listener.started(),
      rebooted: () => listener.restarted(),
      warning: (message) => listener.warning(message),
    });
    return { ...runningOf(vm), result: vm.result.finally(() => harts.close()) };
  } catch (error) {
    await harts.close();
    throw error;
  }
};

export function runningOf(vm: Vm): Running {
  return {
    console: vm,
    result: vm.result,
    stats: () => vm.stats(),
    pause: () => vm.pause(),
    resume: () => vm.resume(),
    stop: () => vm.stop(),
  };
}
