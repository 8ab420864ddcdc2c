/** What the commands for many VMs do, as clients of a server. */
import type { Client } from "#api/client.ts";
import { describeEnd } from "#api/describe-end.ts";
import { describeSilenced } from "#api/describe-silenced.ts";
import { HostelryError } from "#base/errors.ts";
import { exitKinds, type Changes, type MachineDescription, type Surroundings, type Technique, type TracedExit, type VmDescription, type VmStats } from "#monitor/action.ts";
import type { TechniqueOptions } from "#monitor/cpu/technique.ts";
import { resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { connect, type ClientOptions } from "./client.ts";
import { DEFAULT_IMAGE, imageCommands } from "./image.ts";
import { formatBytes, formatPercent, formatSeconds, type Messages } from "./messages.ts";
import type { Drive } from "./options.ts";
import { techniqueAmong } from "./parsers.ts";
import { joinCommand, joinConsole } from "./remote-console.ts";
import { printJson, printTable } from "./table.ts";
import { terminalWords } from "./terminal-words.ts";

export interface SetOptions extends ClientOptions, TechniqueOptions {
  readonly shares?: number;
  readonly cap?: number;
  readonly memoryMin?: number;
  readonly memoryShares?: number;
}

export interface CreateOptions extends SetOptions {
  readonly memory: number;
  readonly cpus: number;
  readonly kernel?: string;
  readonly initrd?: string;
  readonly append?: string;
  readonly drive: readonly Drive[];
  readonly shareGroup?: string;
  readonly start?: boolean;
  readonly mirror?: string;
}

/** So often one asks what is new, in milliseconds. */
const FOLLOW_INTERVAL = 200;

export async function create(name: string, image: string | undefined, options: CreateOptions, messages: Messages): Promise<void> {
  const { memory, cpus, kernel, initrd, append, drive, shareGroup, start, mirror } = options;
  if (kernel !== undefined && image !== undefined) throw new HostelryError("two-kernels", `both an image (${image}) and --kernel are given: leave out one of them`);
  const client = connect(options);
  // Before an image is built for it.
  await client.do({ kind: "machine" });
  const from = kernel === undefined ? { image: image ?? DEFAULT_IMAGE } : { kernel: resolve(kernel) };
  if (from.image !== undefined) await imageCommands.ensure(from.image, mirror === undefined ? {} : { mirror }, { progress: messages });
  const drives = drive.map(({ path, readOnly }) => ({ path: resolve(path), readOnly }));
  // Whoever joins its console first sits here, as a rule.
  const words = [append ?? "", ...(kernel === undefined && process.stdout.isTTY ? terminalWords() : [])].join(" ").trim();
  const vm = await client.do({ kind: "create", name, ...from, initrd: initrd && resolve(initrd), append: words, memory, cpus, drives, shareGroup: shareGroup === "none" ? null : shareGroup, ...settingsAmong(options), start });
  tell(vm, `${name} is ${start === true ? "created, and runs" : `created: "hostelry start ${name}" boots it`}`, options, messages);
}

/** Actions on some VMs, one after the other. */
export async function each(kind: "start" | "stop" | "pause" | "resume", names: readonly string[], options: ClientOptions, messages: Messages): Promise<void> {
  const done = { start: "runs", stop: "is stopped", pause: "is paused", resume: "goes on" } as const;
  const client = connect(options);
  for (const name of names) tell(await client.do({ kind, name }), `${name} ${done[kind]}`, options, messages);
}

export async function remove(names: readonly string[], options: ClientOptions & { readonly force?: boolean }, messages: Messages): Promise<void> {
  const client = connect(options);
  for (const name of names) tell(await client.do({ kind: "remove", name, force: options.force }), `${name} is removed`, options, messages);
}

export async function set(name: string, options: SetOptions, messages: Messages): Promise<void> {
  const changes = settingsAmong(options);
  if (Object.values(changes).every((value) => value === undefined)) throw new HostelryError("nothing-to-set", 'nothing is to be set: see "hostelry set --help"');
  const vm = await connect(options).do({ kind: "set", name, ...changes });
  tell(vm, `${name} has ${describeSettings(vm)}`, options, messages);
}

const settingsAmong = ({ shares, cap, memoryMin, memoryShares, ...rest }: SetOptions): Changes => ({ shares, cap, memoryMin, memoryShares, ...techniqueAmong(rest) });

function describeSettings({ shares, cap, memory, memoryMin, memoryShares, ...technique }: VmDescription): string {
  const time = `${shares} shares, and ${cap === 1 ? "no cap" : `${formatPercent(cap)} of a hart at most`}`;
  return `${time}; of ${formatBytes(memory)}, ${formatBytes(memoryMin)} guaranteed and ${memoryShares} shares; ${describeTechnique(technique)}`;
}

export async function balloon(name: string, size: number, options: ClientOptions, messages: Messages): Promise<void> {
  const vm = await connect(options).do({ kind: "balloon", name, size });
  tell(vm, `${formatBytes(size)} of ${formatBytes(vm.memory)} are to be left to ${name}: "hostelry stats ${name}" says how far its guest is`, options, messages);
}

export async function list(options: ClientOptions, messages: Messages): Promise<void> {
  const vms = await connect(options).do({ kind: "list" });
  if (options.json === true) return printJson(vms);
  if (vms.length === 0) return messages.line('No VMs yet: "hostelry create NAME" makes one');
  const rows = vms.map(({ name, state, end, cpus, memory, shares, cap, image, kernel, cpu, mmu }) =>
    [name, end === null ? state : `${state}: ${describeEnd(end)}`, String(cpus), formatBytes(memory), String(shares), formatPercent(cap), cpu, mmu, image ?? kernel ?? "-"]);
  printTable([["NAME", "STATE", "CPUS", "MEMORY", "SHARES", "CAP", "CPU", "MMU", "IMAGE"], ...rows]);
}

/** Of one VM, or of the machine and all that were started. */
export async function stats(name: string | undefined, options: ClientOptions): Promise<void> {
  const client = connect(options);
  if (name === undefined) return statsOfAll(client, options);
  const stats = await client.do({ kind: "stats", name });
  if (options.json === true) return printJson(stats);
  printTable([STATS_HEADS, statsRow(name, stats)]);
  const silenced = describeSilenced(stats.silenced);
  process.stdout.write(`\n${describeBalloon(stats)}${describeShadows(stats)}${silenced === undefined ? "" : `On this machine, ${silenced}\n`}\n`);
  printTable([["EXIT", "COUNT"], ...exitKinds.map((kind) => [kind, String(stats.exits[kind])])]);
}

async function statsOfAll(client: Client, { json }: ClientOptions): Promise<void> {
  const machine = await client.do({ kind: "machine" });
  const started = (await client.do({ kind: "list" })).filter((vm) => vm.started !== null);
  const vms = await Promise.all(started.map(async ({ name }) => ({ name, ...(await client.do({ kind: "stats", name })) })));
  if (json === true) return printJson({ machine, vms });
  process.stdout.write(`${describeMachine(machine)}\n`);
  if (vms.length > 0) process.stdout.write("\n");
  if (vms.length > 0) printTable([STATS_HEADS, ...vms.map(({ name, ...rest }) => statsRow(name, rest))]);
}

function describeMachine({ harts, memory: { total, promised, guaranteed, free } }: MachineDescription): string {
  return `The machine: ${harts === 1 ? "1 hart" : `${harts} harts`}, ${formatBytes(total)} of memory; ${formatBytes(promised)} promised, ${formatBytes(guaranteed)} guaranteed, ${formatBytes(free)} free`;
}

function describeBalloon({ memory: { ballooned, target }, guest }: VmStats): string {
  const { free, available, caches } = guest ?? {};
  const said = Object.entries({ free, available, caches }).flatMap(([what, bytes]) => (bytes === undefined ? [] : [`${formatBytes(bytes)} ${what}`])).join(", ");
  return `Its balloon holds ${formatBytes(ballooned)}, and is to leave ${formatBytes(target)}${said === "" ? "" : `; its guest last said: ${said}`}\n`;
}

function describeShadows({ technique, shadow }: VmStats): string {
  if (shadow === null) return "";
  return `Shadow tables, ${technique.shadow}: ${shadow.tables} of ${shadow.addressSpaces} address spaces; ${shadow.evictions} evicted\n`;
}

const STATS_HEADS = ["NAME", "CPU", "MMU", "INSTRUCTIONS", "IN GUEST", "IN MONITOR", "EXITS", "MEMORY", "TABLES", "TRANSLATED"];

function statsRow(name: string, { instructions, guestSeconds, monitorSeconds, exits, technique, memory, translations }: VmStats): string[] {
  const count = exitKinds.reduce((sum, kind) => sum + exits[kind], 0);
  return [
    name, technique.cpu, technique.mmu, String(instructions), formatSeconds(guestSeconds * 1000), formatSeconds(monitorSeconds * 1000), String(count),
    `${formatBytes(memory.mapped)} of ${formatBytes(memory.promised)}`, formatBytes(memory.tables), `${translations.places}, ${translations.shared} shared`,
  ];
}

export async function trace(name: string, options: ClientOptions & { readonly follow?: boolean }, messages: Messages): Promise<void> {
  const client = connect(options);
  const print = options.json === true ? (exit: TracedExit) => `${JSON.stringify(exit)}\n` : traceLine;
  for (let since = 0; ; await sleep(FOLLOW_INTERVAL)) {
    const { ended, exits, next } = await client.do({ kind: "trace", name, since });
    since = next;
    const text = exits.map(print).join("");
    if (text !== "" && !process.stdout.write(text)) await new Promise<void>((go) => void process.stdout.once("drain", go));
    if (ended || options.follow !== true) break;
  }
  // What left no trace.
  warnOfSilenced(await client.do({ kind: "stats", name }), messages);
}

function warnOfSilenced({ silenced }: VmStats, messages: Messages): void {
  const text = describeSilenced(silenced);
  if (text !== undefined) messages.warn(text);
}

function traceLine({ time, pc, kind, detail }: TracedExit): string {
  return `${(time / 1000).toFixed(6).padStart(13)}  ${pc.padEnd(18)}  ${kind.padEnd(20)}  0x${detail.toString(16)}\n`;
}

/** Returns the exit status. */
export async function console(name: string, options: ClientOptions, messages: Messages): Promise<number> {
  return joinConsole(name, await connect(options).converse({ kind: "console", name }), messages);
}

/** Returns the command's exit status. */
export async function exec(name: string, command: readonly string[], { env, cwd, ...options }: ClientOptions & Surroundings): Promise<number> {
  return joinCommand(await connect(options).converse({ kind: "exec", name, command, env, cwd }));
}

function describeTechnique({ cpu, mmu, shadow }: Technique): string {
  return `${cpu}, ${mmu === "shadow" ? `${shadow} shadow tables` : mmu}`;
}

function tell(vm: VmDescription, text: string, { json }: ClientOptions, messages: Messages): void {
  if (json === true) printJson(vm);
  else messages.line(text);
}
