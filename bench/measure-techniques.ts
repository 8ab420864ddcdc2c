/** What an operation costs on the bare machine and by each technique: `npm run bench -- techniques`. */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { Doorbell } from "#base/doorbell.ts";
import { parseFirmware } from "#images/kernel.ts";
import { Machine } from "#machine/machine.ts";
import { RegionCompiler } from "#machine/translate/compile.ts";
import { ImmediateCompiler, TranslationRegistry } from "#machine/translate/registry.ts";
import { guestKnows, techniqueOf, type Technique } from "#monitor/cpu/technique.ts";
import { Board, type BootFiles } from "#platform/board.ts";
import { address } from "#platform/memory-map.ts";
import { assemble } from "#riscv/assemble.ts";
import { QuietHost, TestMonitor } from "../test/kit/monitor.ts";
import { allTechniques, titleOf } from "../test/kit/techniques.ts";
import type { MonitorResult } from "./measure-monitor.ts";
import { median } from "./statistics.ts";
import { operations, type Operation } from "./technique-operations.ts";

export interface TechniquePlan {
  readonly rounds: number;
  /** Parts of names of operations or techniques; all without any. */
  readonly filters: readonly string[];
  readonly progress: (line: string) => void;
}

/** Of one operation. */
export interface Cost {
  readonly instructions: number;
  readonly nanoseconds: number;
  readonly exits: number;
  /** Those that CSRs and traps are the reason for, not devices and tables. */
  readonly cpuExits: number;
}

export interface TechniqueTable {
  readonly machines: readonly string[];
  readonly rows: readonly { readonly operation: string; readonly costs: readonly Cost[] }[];
}

/** The guest is none for this technique. */
const NO_COST: Cost = { instructions: NaN, nanoseconds: NaN, exits: NaN, cpuExits: NaN };

const MIB = 1 << 20;
const MEMORY = 8 * MIB;
/** The small kernel. */
export const KERNEL = fileURLToPath(new URL("../guest/kernel/kernel.elf", import.meta.url));
const BARE = "the bare machine";

interface Totals {
  readonly instructions: number;
  readonly seconds: number;
  readonly exits: number;
  readonly cpuExits: number;
}

type Runner = (files: BootFiles) => Totals;

function filesOf(operation: Operation, count: number): BootFiles {
  const guest = operation.guest(count);
  if ("source" in guest) return { kernel: { format: "raw", bytes: assemble(guest.source, { base: address.memory }) }, append: "" };
  return { kernel: parseFirmware(readFileSync(KERNEL), KERNEL), append: `-- ${guest.command}` };
}

/** CPU time of this thread, in seconds: others may be at work on the host. */
function cpuSeconds(): number {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1e6;
}

const onBareMachine: Runner = (files) => {
  const machine = new Machine({ ramSize: MEMORY, clock: "instructions", outside: new QuietHost(), doorbell: new Doorbell(), hypervisor: false });
  const { processor } = machine;
  const compiler = new RegionCompiler(processor.memory.buffer, processor.map, processor.hart.imports, processor.programOptions);
  const port = new ImmediateCompiler((requests) => compiler.compile(requests), () => 0);
  processor.translator = new TranslationRegistry(processor.memory, processor.map, processor.state, processor.hart, port, { patience: 0 });
  const board = new Board({ computer: machine.computer, drives: [], terminal: { columns: 80, rows: 24 }, warn: () => {}, output: () => {} });
  board.boot(files);
  const before = cpuSeconds();
  machine.run();
  return { instructions: machine.computer.instret, seconds: cpuSeconds() - before, exits: 0, cpuExits: 0 };
};

const byTechnique = (technique: Technique): Runner => (files) => {
  const monitor = new TestMonitor({ memory: MEMORY + 4 * MIB, translate: true });
  const guest = monitor.create(files, { memory: MEMORY, technique });
  monitor.start(guest);
  const before = cpuSeconds();
  monitor.run(() => guest.end() !== undefined, 120_000);
  const counts = guest.vm.exits.counts();
  const { slice, wait, ...exits } = counts;
  return {
    instructions: guest.vm.computer.instret,
    seconds: cpuSeconds() - before,
    exits: Object.values(exits).reduce((sum, count) => sum + count, 0),
    cpuExits: counts["privileged-instruction"] + counts["guest-trap"] + counts["interrupt"] + counts["hypercall"],
  };
};

/** Less says more of starting and translating than of the operation. */
const LEAST_SECONDS = 0.2;
const MOST_COUNT = 50_000_000;

/** Of one operation: what three times as many take longer, so that the start is left out. */
function costOf(operation: Operation, run: Runner, rounds: number): Cost {
  const { each = 1 } = operation;
  let { count } = operation;
  while (count < MOST_COUNT && run(filesOf(operation, count)).seconds < LEAST_SECONDS) count *= 4;
  const costs = Array.from({ length: rounds }, () => {
    const [once, thrice] = [count, 3 * count].map((times) => run(filesOf(operation, times)));
    const per = (name: keyof Totals): number => (thrice![name] - once![name]) / (2 * count * each);
    return { instructions: per("instructions"), nanoseconds: per("seconds") * 1e9, exits: per("exits"), cpuExits: per("cpuExits") };
  });
  const of = (name: keyof Cost): number => median(costs.map((cost) => cost[name]));
  return { instructions: of("instructions"), nanoseconds: of("nanoseconds"), exits: of("exits"), cpuExits: of("cpuExits") };
}

export function measureTechniques({ rounds, filters, progress }: TechniquePlan): TechniqueTable {
  const isWanted = (name: string, among: readonly string[]): boolean => {
    const relevant = filters.filter((filter) => among.some((other) => other.includes(filter)));
    return relevant.length === 0 || relevant.some((filter) => name.includes(filter));
  };
  const techniques = [...allTechniques, techniqueOf({ cpu: "paravirtual" })];
  const titles = techniques.map(titleOf);
  const wanted = techniques.filter((one) => isWanted(titleOf(one), titles));
  const machines = [{ name: BARE, run: onBareMachine, knows: false }, ...wanted.map((one) => ({ name: titleOf(one), run: byTechnique(one), knows: guestKnows(one) }))];
  const names = operations.map(({ name }) => name);
  const rows = operations.filter(({ name }) => isWanted(name, names)).map((operation) => {
    progress(`techniques: ${operation.name}`);
    return { operation: operation.name, costs: machines.map(({ run, knows }) => (knows && !operation.knows ? NO_COST : costOf(operation, run, rounds))) };
  });
  return { machines: machines.map(({ name }) => name), rows };
}

export function renderTechniques({ machines, rows }: TechniqueTable): string {
  const lines = [["ns (exits)", "instructions", ...machines]];
  for (const { operation, costs } of rows) {
    const cells = costs.map(({ nanoseconds, exits }) => `${format(nanoseconds)} (${format(exits)})`);
    lines.push([operation, format(costs[0]!.instructions), ...cells]);
  }
  const markdown = (cells: readonly string[]): string => `| ${cells.join(" | ")} |\n`;
  const [head, ...body] = lines;
  return markdown(head!) + markdown(head!.map((_, i) => (i === 0 ? "---" : "---:"))) + body.map(markdown).join("");
}

function format(value: number): string {
  if (Number.isNaN(value)) return "–";
  if (value !== 0 && Math.abs(value) < 0.005) return "0";
  return Math.abs(value) >= 100 || Number.isInteger(value) ? value.toFixed(0) : value.toPrecision(3);
}

/** What the table says of the targets. */
export function techniqueTargets({ machines, rows }: TechniqueTable): MonitorResult[] {
  const cost = (operation: string, machine: string): Cost | undefined => rows.find((row) => row.operation === operation)?.costs[machines.indexOf(machine)];
  const ratio = (name: string, of: keyof Cost, more: string, less: string, among: readonly string[], least: number): MonitorResult[] => {
    const sum = (machine: string): number => among.reduce((all, operation) => all + (cost(operation, machine)?.[of] ?? NaN), 0);
    const value = sum(more) / sum(less);
    if (Number.isNaN(value)) return [];
    return [{ name, value, unit: "times fewer", target: `≥ ${least}`, reached: value >= least, detail: `${format(sum(more))} against ${format(sum(less))} exits, for ${among.join(", ")}` }];
  };
  return [
    ...ratio("exits for CSRs and traps, binary translation against trap-and-emulate", "cpuExits", "trap-and-emulate on cached shadows", "binary-translation on cached shadows", ["system call", "interrupts off and on"], 10),
    ...ratio("exits of a fork, paravirtual against trap-and-emulate", "exits", "trap-and-emulate on cached shadows", "paravirtual on direct tables", ["fork"], 5),
  ];
}
