/** One Debian and one workload by each technique, beside the bare machine: a row as each is done. */
import { HostelryError } from "#base/errors.ts";
import { exitKinds, type ExitKind } from "#monitor/action.ts";
import { everyTechnique, type Technique } from "#monitor/cpu/technique.ts";
import type { Messages } from "../messages.ts";
import { printJson } from "../table.ts";
import { row, type Column } from "./columns.ts";
import { Debian, openImage, type Image } from "./debian.ts";

export interface TechniquesOptions {
  readonly memory: number;
  /** Names of CPU techniques; all if absent. */
  readonly cpu?: readonly string[];
  readonly json?: boolean;
}

type Exits = Readonly<Record<ExitKind, number>>;

interface Measured {
  /** Of a boot to the shell's prompt, or of one operation: CPU time of the host, with all that this process does; and what a clock shows. */
  readonly cpuSeconds: number;
  readonly seconds: number;
  /** As many; null on the bare machine. */
  readonly exits: Exits | null;
}

interface Result {
  /** Null: the bare machine. */
  readonly technique: Technique | null;
  /** Why there is nothing to measure, or no more. */
  readonly failure: string | null;
  readonly boot: Measured | null;
  readonly fork: Measured | null;
  readonly call: Measured | null;
}

/** Of busybox: a subshell is a fork, an exit and a wait; dd reads and writes a byte at a time. */
const FORKS = 300;
const fork = `i=0; while [ $i -lt ${FORKS} ]; do ( : ); i=$((i+1)); done`;
const CALLS = 100_000;
const call = `dd if=/dev/zero of=/dev/null bs=1 count=${CALLS / 2} 2>/dev/null`;

const columns: readonly Column[] = [
  { head: "CPU", width: 18 },
  { head: "MMU", width: 6 },
  ...["BOOT", "FORK", "CALL"].map((head) => ({ head, width: 15 })),
  { head: "EXITS OF BOOT", width: 13 },
  { head: "HIDDEN", width: 6 },
  { head: "TRUE FAULTS", width: 11 },
  { head: "OF FORK", width: 7 },
  { head: "OF CALL", width: 7 },
];

export async function demoTechniques({ memory, cpu: wanted, json = false }: TechniquesOptions, messages: Messages): Promise<void> {
  const techniques = everyTechnique().filter(({ cpu }) => wanted?.includes(cpu) ?? true);
  if (techniques.length === 0) throw new HostelryError("technique", `Debian's kernel does not run by ${wanted!.join(", ")}: choose ${[...new Set(everyTechnique().map(({ cpu }) => cpu))].join(", ")}`);
  const image = await openImage(messages);
  if (!json) process.stdout.write(`Debian's kernel ${image.release}: to the prompt, a fork, a system call, in CPU time of this host; × is times the bare machine's\n\n${row(columns, columns.map(({ head }) => [head]))}`);
  const results: Result[] = [];
  for (const technique of [null, ...techniques]) {
    const isLive = !json && process.stdout.isTTY === true;
    const names = [technique?.cpu ?? "bare machine", technique?.mmu ?? ""];
    const progress = (what: string): void => void (isLive && process.stdout.write(`\r\x1b[K${names.join(" ")}: ${what} …`));
    const result = await measure(technique, memory, image, progress);
    results.push(result);
    if (!json) process.stdout.write((isLive ? "\r\x1b[K" : "") + row(columns, cells(names, result, results[0]!)) + (result.failure === null ? "" : `  no further: ${result.failure}\n`));
  }
  if (json) return printJson({ kernel: image.release, operations: { fork: FORKS, call: CALLS }, results });
  process.stdout.write(`\n${exitsByCause(results)}`);
}

async function measure(technique: Technique | null, memory: number, image: Image, progress: (what: string) => void): Promise<Result> {
  const result = { technique, failure: null, boot: null, fork: null, call: null };
  progress("boots");
  const before: Mark = { ...clocks(), exits: undefined };
  const debian = await Debian.start({ machine: "standard", memory, technique }, image);
  try {
    const boot = await timed(debian, before, 1, () => debian.booted());
    if (typeof boot === "string") return { ...result, failure: boot };
    progress("forks");
    const forks = await operations(debian, fork, FORKS);
    if (typeof forks === "string") return { ...result, boot, failure: forks };
    progress("calls its kernel");
    const calls = await operations(debian, call, CALLS);
    return typeof calls === "string" ? { ...result, boot, fork: forks, failure: calls } : { ...result, boot, fork: forks, call: calls };
  } finally {
    await debian.stop();
  }
}

/** Once to get warm, and once for the clock. */
async function operations(debian: Debian, commands: string, count: number): Promise<Measured | string> {
  const failure = await debian.execute(commands);
  if (failure !== undefined) return failure;
  const exits = (await debian.stats())?.exits;
  return timed(debian, { ...clocks(), exits }, count, () => debian.execute(commands));
}

/** Where something begins. */
interface Mark {
  readonly cpuSeconds: number;
  readonly seconds: number;
  readonly exits: Exits | undefined;
}

function clocks(): Omit<Mark, "exits"> {
  const { user, system } = process.cpuUsage();
  return { cpuSeconds: (user + system) / 1e6, seconds: performance.now() / 1000 };
}

/** Returns why it failed, if it did. */
async function timed(debian: Debian, before: Mark, count: number, work: () => Promise<string | undefined>): Promise<Measured | string> {
  const failure = await work();
  if (failure !== undefined) return failure;
  const now = clocks();
  const after = (await debian.stats())?.exits;
  const each = (name: "cpuSeconds" | "seconds"): number => (now[name] - before[name]) / count;
  return {
    cpuSeconds: each("cpuSeconds"),
    seconds: each("seconds"),
    exits: after === undefined ? null : (Object.fromEntries(exitKinds.map((kind) => [kind, (after[kind] - (before.exits?.[kind] ?? 0)) / count])) as Record<ExitKind, number>),
  };
}

function cells(names: readonly string[], result: Result, bare: Result): string[][] {
  const { boot, fork: forks, call: calls } = result;
  const compared = (measured: Measured | null, base: Measured | null): string =>
    measured === null ? "-" : `${duration(measured.cpuSeconds)}${base === null || base === measured ? "" : `, ${(measured.cpuSeconds / base.cpuSeconds).toFixed(1)} ×`}`;
  const measured = [compared(boot, bare.boot), compared(forks, bare.fork), compared(calls, bare.call)];
  const ofBoot = (kind: ExitKind): string => (boot?.exits ? String(boot.exits[kind]) : "-");
  return [...names, ...measured, total(boot), ofBoot("hidden-fault"), ofBoot("true-fault"), total(forks), total(calls)].map((text) => [text]);
}

const total = (measured: Measured | null): string =>
  measured?.exits ? rounded(exitKinds.reduce((sum, kind) => sum + measured.exits![kind], 0)) : "-";

const rounded = (value: number): string => String(Number(value.toFixed(value < 10 ? 1 : 0)));

function duration(seconds: number): string {
  if (seconds >= 0.1) return `${seconds.toFixed(1)} s`;
  return seconds >= 0.0001 ? `${(seconds * 1e3).toFixed(2)} ms` : `${(seconds * 1e6).toFixed(1)} µs`;
}

/** Of boots, by why the guests came out. */
function exitsByCause(results: readonly Result[]): string {
  const booted = results.filter(({ boot }) => boot?.exits);
  if (booted.length === 0) return "";
  const names = booted.map(({ technique }) => `${technique!.cpu}, ${technique!.mmu}`);
  const table: readonly Column[] = [{ head: "EXITS OF A BOOT", width: 22 }, ...names.map((head) => ({ head, width: head.length }))];
  const kinds = exitKinds.filter((kind) => booted.some(({ boot }) => boot!.exits![kind] > 0));
  const lines = kinds.map((kind) => [kind, ...booted.map(({ boot }) => String(boot!.exits![kind]))]);
  return [table.map(({ head }) => head), ...lines].map((line) => row(table, line.map((text) => [text]))).join("");
}
