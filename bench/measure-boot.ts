import { setTimeout as sleep } from "node:timers/promises";
import { GuestFailure, Machine } from "./machine.ts";
import type { GuestFiles, MachineKind } from "./machines.ts";
import type { Role } from "./measure-programs.ts";
import { cpuSeconds, memoryUse, type MemoryUse } from "./usage.ts";

/** Seconds since the machine's process was started. null where the guest's console doesn't show it. */
export interface BootSample {
  readonly firstKernelLine: number | null;
  readonly init: number | null;
  readonly prompt: number;
  readonly hostCpuSeconds: number;
  /** Of the machine's process with all its threads, when the prompt has just been answered. */
  readonly memory: MemoryUse;
}

export interface IdleSample {
  /** CPU time ÷ wall time. */
  readonly cpuShare: number;
  /** At the end of the time, after the kernel's background work. */
  readonly memory: MemoryUse;
}

export interface BootRuns<Sample> {
  readonly samples: Sample[];
  readonly failures: string[];
}

export interface BootPlan {
  readonly machines: Partial<Record<Role, MachineKind>>;
  readonly files: GuestFiles;
  readonly rounds: number;
  readonly progress: (line: string) => void;
}

const BOOT_TIMEOUT = 120_000;
/** Milliseconds. The kernel's self-tests of its ciphers go on after the prompt; idleness begins when they have ended. */
const SETTLE = 8_000;
const OBSERVE = 10_000;

/**
 * A shell's prompt at the end of what was written, on a line that is none of the kernel's; BusyBox asks for the cursor
 * behind it. Or the ENQ by which the default image says to a pipe that its shell is ready.
 */
const PROMPT = /(?:^|\n)(?!\[)[^\n]*[#$] (?:\x1b\[6n)?$|\x05/;

/** Boots to the shell of the image's own init, one machine after the other, in each round. */
export async function measureBoots(plan: BootPlan): Promise<Partial<Record<Role, BootRuns<BootSample>>>> {
  const roles = Object.keys(plan.machines) as Role[];
  const runs = Object.fromEntries(roles.map((role): [Role, BootRuns<BootSample>] => [role, { samples: [], failures: [] }]));
  for (let round = 1; round <= plan.rounds; round++) {
    for (const role of roles) {
      await attempt(runs[role].failures, async () => {
        const { machine, sample } = await bootToPrompt(plan.machines[role]!, plan.files);
        await machine.kill();
        runs[role].samples.push(sample);
        plan.progress(`round ${round} of ${plan.rounds}: boot on ${plan.machines[role]!.name}: prompt after ${sample.prompt.toFixed(2)} s`);
      });
    }
  }
  return runs;
}

/** Both machines idle at the prompt at the same time: there is nothing that they could take from each other. */
export async function measureIdle(plan: BootPlan): Promise<Partial<Record<Role, BootRuns<IdleSample>>>> {
  const roles = Object.keys(plan.machines) as Role[];
  plan.progress(`idle: booting, then ${(SETTLE + OBSERVE) / 1000} s of waiting`);
  const runs = roles.map(async (role): Promise<[Role, BootRuns<IdleSample>]> => {
    const run: BootRuns<IdleSample> = { samples: [], failures: [] };
    await attempt(run.failures, async () => {
      const { machine } = await bootToPrompt(plan.machines[role]!, plan.files);
      run.samples.push(await observeIdle(machine));
    });
    return [role, run];
  });
  return Object.fromEntries(await Promise.all(runs));
}

/** The console to the prompt, and the proof that a shell stands behind it. The machine is left running. */
export async function bootToPrompt(
  kind: MachineKind,
  files: GuestFiles,
  extraArguments: readonly string[] = [],
): Promise<{ machine: Machine; sample: BootSample }> {
  const machine = new Machine([...kind.command(files), ...extraArguments]);
  try {
    const { at } = await machine.waitFor(PROMPT, BOOT_TIMEOUT, "shell prompt");
    const hostCpuSeconds = cpuSeconds(machine.pid);
    machine.send("echo @@$((6*7))");
    await machine.waitFor(/@@42/, 10_000, "answer of the shell");
    const since = (time: number | null) => (time === null ? null : (time - machine.started) / 1000);
    const sample = {
      firstKernelLine: since(machine.arrivalOf(/Linux version [^\n]*\n/)),
      init: since(machine.arrivalOf(/Run \/init as init process[^\n]*\n/)),
      prompt: since(at)!,
      hostCpuSeconds,
      memory: memoryUse(machine.pid),
    };
    return { machine, sample };
  } catch (failure) {
    await machine.kill();
    throw failure;
  }
}

async function observeIdle(machine: Machine): Promise<IdleSample> {
  try {
    await sleep(SETTLE);
    const [cpuBefore, before] = [cpuSeconds(machine.pid), performance.now()];
    await sleep(OBSERVE);
    const cpuShare = (cpuSeconds(machine.pid) - cpuBefore) / ((performance.now() - before) / 1000);
    if (!machine.running) throw new GuestFailure("the machine ended while it idled");
    return { cpuShare, memory: memoryUse(machine.pid) };
  } finally {
    await machine.kill();
  }
}

async function attempt(failures: string[], measure: () => Promise<void>): Promise<void> {
  try {
    await measure();
  } catch (failure) {
    if (!(failure instanceof GuestFailure)) throw failure;
    failures.push(failure.message);
  }
}
