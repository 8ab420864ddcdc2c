/** `hostelry run`: a machine in a thread, its console joined to the terminal. */
import { describeSilenced } from "#api/describe-silenced.ts";
import { HostelryError } from "#base/errors.ts";
import { writeFileAtomic } from "#host/node/files.ts";
import { MachineThread } from "#host/node/machine-thread.ts";
import { DEFAULT_APPEND } from "#images/image.ts";
import type { ClockMode } from "#machine/computer.ts";
import type { MachineKind, TlbKind } from "#machine/model.ts";
import type { TechniqueOptions } from "#monitor/cpu/technique.ts";
import type { VmEnd } from "#monitor/vm.ts";
import { flushCompileCache } from "node:module";
import { constants } from "node:os";
import { ConsoleSession, type ConsoleMode } from "./console-session.ts";
import { startBare, startVm, type RunConfig, type Running, type RunResult, type Start } from "./running.ts";
import { ExitStatus } from "./exit-status.ts";
import { DEFAULT_IMAGE, imageCommands } from "./image.ts";
import { formatBytes, formatSeconds, type Messages } from "./messages.ts";
import type { Drive } from "./options.ts";
import { techniqueAmong } from "./parsers.ts";
import { formatSignature } from "./signature.ts";
import { terminalWords } from "./terminal-words.ts";

export interface RunOptions extends TechniqueOptions {
  readonly bare?: boolean;
  readonly kernel?: string;
  readonly initrd?: string;
  readonly append?: string;
  readonly bios?: string;
  readonly machine: MachineKind;
  readonly tlb: TlbKind;
  readonly memory: number;
  readonly cpus: number;
  readonly drive: readonly Drive[];
  readonly clock: ClockMode;
  readonly seed?: number;
  readonly signature?: string;
  readonly signatureGranularity: number;
  readonly stats?: boolean;
  readonly json?: boolean;
  readonly interpreterOnly?: boolean;
  readonly mirror?: string;
}

/** What boots, and by which command line. */
interface BootChoice {
  readonly title: string;
  readonly files: Pick<RunConfig, "kernel" | "initrd" | "firmware">;
  readonly append: string;
  /** Whether its shell is ours, and knows `hostelry.pipe=1`. */
  readonly image: boolean;
}

/** `machine`: a bare one that has begun to start. Returns the exit status. */
export async function run(imageName: string | undefined, options: RunOptions, messages: Messages, machine: MachineThread | undefined): Promise<number> {
  const choice = await choose(imageName, options, messages);
  const interactive = process.stdin.isTTY === true;
  const append = [choice.append, ...(interactive ? terminalWords() : choice.image ? ["hostelry.pipe=1"] : [])].filter((word) => word !== "").join(" ");
  const mode: ConsoleMode = interactive ? "terminal" : /(^| )hostelry\.pipe=1( |$)/.test(append) ? "shell-pipe" : "raw-pipe";
  const technique = techniqueAmong(!isBare(options) && options.tlb === "software" ? { ...options, cpu: options.cpu ?? "trap-and-emulate" } : options);
  if (isBare(options)) refuseForBare(options.cpus, technique);
  const config: RunConfig = {
    model: { kind: options.machine, tlb: options.tlb },
    cpus: options.cpus,
    technique,
    memory: options.memory,
    clock: options.clock,
    ...choice.files,
    append,
    drives: options.drive,
    terminal: { columns: process.stdout.columns ?? 80, rows: process.stdout.rows ?? 24 },
    signature: options.signature !== undefined,
    interpreterOnly: options.interpreterOnly ?? false,
    ...(options.seed === undefined ? {} : { seed: options.seed }),
  };
  const start = isBare(options) ? startBare(machine ?? new MachineThread()) : startVm;
  return runMachine(start, config, mode, choice.title, options, messages);
}

/** M-mode, and test programs that use it, are on the bare machine only. */
function isBare({ bare, bios, signature }: RunOptions): boolean {
  return bare === true || bios !== undefined || signature !== undefined;
}

function refuseForBare(cpus: number, technique: TechniqueOptions): void {
  if (cpus !== 1) throw new HostelryError("bare-cpus", "the bare machine has one hart: leave out --cpus, or run a VM, without --bare");
  const chosen = Object.values(technique).find((choice) => choice !== undefined);
  if (chosen !== undefined) throw new HostelryError("bare-technique", `on the bare machine nothing is virtualized: leave out ${chosen}, or run a VM, without --bare`);
}

async function choose(imageName: string | undefined, options: RunOptions, messages: Messages): Promise<BootChoice> {
  if (options.bios === "none") return withoutFirmware(imageName, options);
  const firmware = options.bios === undefined ? {} : { firmware: options.bios };
  if (options.kernel !== undefined || options.bios !== undefined && imageName === undefined && options.initrd === undefined) {
    if (imageName !== undefined) {
      throw new HostelryError("two-kernels", `both an image (${imageName}) and --kernel are given: leave out one of them`);
    }
    const { kernel, initrd } = options;
    const files = { ...firmware, ...(kernel === undefined ? {} : { kernel }), ...(initrd === undefined ? {} : { initrd }) };
    return { title: kernel ?? options.bios!, files, append: options.append ?? DEFAULT_APPEND, image: false };
  }
  const name = imageName ?? DEFAULT_IMAGE;
  const image = await imageCommands.ensure(name, options.mirror === undefined ? {} : { mirror: options.mirror }, { progress: messages });
  const { manifest } = image;
  return {
    title: `The image ${name}: Linux ${manifest.kernel.release}`,
    files: { ...firmware, kernel: image.kernelPath, initrd: options.initrd ?? image.initrdPath },
    append: [manifest.append, options.append ?? ""].join(" ").trim(),
    image: options.initrd === undefined,
  };
}

/** As with QEMU's `-bios none`: the kernel is what starts in M-mode. */
function withoutFirmware(imageName: string | undefined, { kernel, initrd, append }: RunOptions): BootChoice {
  if (kernel === undefined || imageName !== undefined || initrd !== undefined) {
    throw new HostelryError("no-firmware", "--bios none starts a kernel in M-mode, alone: name it with --kernel, and no image or initrd");
  }
  return { title: kernel, files: { firmware: kernel }, append: append ?? DEFAULT_APPEND, image: false };
}

async function runMachine(start: Start, config: RunConfig, mode: ConsoleMode, title: string, options: RunOptions, messages: Messages): Promise<number> {
  let stopping: number | undefined;
  const began = performance.now();
  const machine = await start(config, {
    warning: (message) => messages.warn(message),
    started: () => {
      const where = isBare(options) ? "on a bare machine" : "in a virtual machine";
      messages.line(`${title} ${where}: 1 hart, ${formatBytes(config.memory)} of memory; started in ${formatSeconds(performance.now() - began)}`);
      if (mode === "terminal") messages.line("Ctrl-A X leaves, Ctrl-A H helps");
      session.start();
      // Kept at once: we may be killed.
      flushCompileCache();
    },
    restarted: () => session.restarted(),
  });
  const stop = (status: number): void => {
    if (stopping !== undefined) return;
    stopping = status;
    machine.stop();
  };
  const session = new ConsoleSession(machine.console, mode, messages, () => stop(ExitStatus.success));
  const release = handleSignals(machine, session, stop);
  let result: RunResult | undefined;
  try {
    result = await machine.result;
  } catch (error) {
    if (stopping === undefined) throw error;
  } finally {
    await session.close();
    release();
  }
  if (options.signature !== undefined && result?.signature !== undefined) {
    await writeFileAtomic(options.signature, formatSignature(result.signature, options.signatureGranularity));
  }
  const silenced = describeSilenced(result?.stats.silenced ?? []);
  if (silenced !== undefined) messages.warn(silenced);
  if (options.stats === true && result !== undefined) printStats(result, options.json === true);
  return stopping ?? statusOf(result!.end, messages);
}

/** Signals end the machine in order; a stop from the keyboard of another terminal pauses it, and its clock. */
function handleSignals(machine: Running, session: ConsoleSession, stop: (status: number) => void): () => void {
  const handlers: [NodeJS.Signals, () => void][] = (["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT"] as const).map((signal) => [
    signal,
    () => stop(ExitStatus.signal + constants.signals[signal]),
  ]);
  const onStop = (): void => {
    machine.pause();
    session.suspend();
    process.kill(process.pid, "SIGSTOP");
  };
  const onContinue = (): void => {
    machine.resume();
    session.resume();
  };
  handlers.push(["SIGTSTP", onStop], ["SIGCONT", onContinue]);
  for (const [signal, handler] of handlers) process.on(signal, handler);
  return () => {
    for (const [signal, handler] of handlers) process.off(signal, handler);
  };
}

function printStats({ stats }: RunResult, json: boolean): void {
  const { rss } = process.memoryUsage();
  const all = { ...stats, memory: { ...stats.memory, resident: rss, peakResident: process.resourceUsage().maxRSS * 1024 } };
  process.stderr.write(`${JSON.stringify(all, null, json ? 0 : 2)}\n`);
}

function statusOf(end: VmEnd, messages: Messages): number {
  switch (end.kind) {
    case "fail":
      return end.code > 255 ? ExitStatus.crash : end.code;
    case "crash":
      messages.error("the guest's kernel panicked: what it printed last says why");
      return ExitStatus.crash;
    case "failed":
      messages.error(end.message);
      return ExitStatus.crash;
    default:
      return ExitStatus.success;
  }
}
