import type { BootSample, IdleSample } from "./measure-boot.ts";
import type { Phase, ProgramResult, Role } from "./measure-programs.ts";
import { type BenchmarkRecord, medianCpuSeconds, medianOf, medianSeconds, ratio, summarizeGroups } from "./record.ts";
import { spread } from "./statistics.ts";

/** A table of text: printed in columns in a terminal, with bars in Markdown. Columns but the first are numbers, flush right. */
export interface Table {
  readonly title: string;
  readonly columns: readonly string[];
  readonly rows: readonly (readonly string[])[];
  /** A line below it. */
  readonly note?: string;
}

/** What is not to be exceeded by a machine of 512 MiB at the prompt. */
const PROMPT_RATIO_TARGET = 1.0;
const MEMORY_TARGET_MB = 250;
const IDLE_TARGET = 0.01;

export function makeTables(record: BenchmarkRecord): Table[] {
  const tables = [groupTable(record), programTable(record), bootTable(record), crossingsTable(record)];
  return tables.filter((table) => table !== null);
}

export function renderText(record: BenchmarkRecord): string {
  const tables = makeTables(record).map((table) => [table.title, ...columns([table.columns, ...table.rows]), ...notes(table)].join("\n"));
  return `${[...tables, ...failures(record), circumstances(record).join("\n")].join("\n\n")}\n`;
}

export function renderMarkdown(record: BenchmarkRecord): string {
  const row = (cells: readonly string[]) => `| ${cells.join(" | ")} |`;
  const tables = makeTables(record).map((table) =>
    [`## ${table.title}`, "", row(table.columns), row(table.columns.map((_, index) => (index === 0 ? "---" : "---:"))), ...table.rows.map(row), ...notes(table)].join("\n"),
  );
  const intro = "Written by `npm run bench`; what the numbers mean is in [README.md](README.md).";
  const lines = circumstances(record).map((line) => `- ${line}`);
  return `${["# Benchmark results", intro, lines.join("\n"), ...tables, ...failures(record)].join("\n\n")}\n`;
}

function groupTable(record: BenchmarkRecord): Table | null {
  const groups = summarizeGroups(record.programs);
  if (groups.length === 0 || record.machines.reference === undefined) return null;
  return {
    title: `Speed against ${record.machines.reference.name} (its time ÷ ours: above 1, ours is faster)`,
    columns: ["group, geometric mean", "steady", "first run", "target", ""],
    rows: groups.map(({ group, steady, first, target, missing }) => {
      const verdict = missing.length > 0 ? `without ${missing.join(", ")}` : steady !== null && steady >= target ? "reached" : "not reached";
      return [group, number(steady), number(first), `≥ ${number(target)}`, verdict];
    }),
  };
}

function programTable(record: BenchmarkRecord): Table | null {
  if (record.programs.length === 0) return null;
  const compared = record.machines.reference !== undefined;
  const roles: Role[] = compared ? ["reference", "ours"] : ["ours"];
  const wall = (phase: Phase) => (result: ProgramResult) => roles.map((role) => seconds(medianSeconds(result, role, phase)));
  const repeated = (result: ProgramResult) => roles.map((role) => number(spread(result.runs[role]!.steady.map((sample) => sample.seconds))));
  const ratios = (result: ProgramResult) => [ratio(result, "steady"), ratio(result, "first"), ratio(result, "steady", medianCpuSeconds)].map(number);
  const perRole = (what: string) => roles.map((role) => `${name(record, role)}, ${what}`);
  return {
    title: "Programs",
    columns: ["program", ...(compared ? ["steady", "first run", "CPU"] : []), ...perRole("steady"), ...perRole("first"), ...perRole("spread")],
    rows: record.programs.map((result) => [
      `${result.program.group}: ${result.program.name}`,
      ...(compared ? ratios(result) : []),
      ...[...wall("steady")(result), ...wall("first")(result), ...repeated(result)],
    ]),
    note:
      (compared ? "steady, first run, CPU: ratios of medians of wall time, and of the host's CPU time of the steady runs. " : "") +
      "spread: slowest ÷ fastest of the steady runs.",
  };
}

function bootTable(record: BenchmarkRecord): Table | null {
  const roles = (["reference", "ours"] as const).filter((role) => record.boots[role] !== undefined || record.idle[role] !== undefined);
  if (roles.length === 0) return null;
  const boot = (label: string, value: (sample: BootSample) => number | null, show: (value: number | null) => string, target = "") => [
    ...[label, ...roles.map((role) => show(medianOf(record.boots[role], value)))],
    target,
  ];
  const idle = (label: string, value: (sample: IdleSample) => number | null, show: (value: number | null) => string, target = "") => [
    ...[label, ...roles.map((role) => show(medianOf(record.idle[role], value)))],
    target,
  ];
  const prompt = (role: Role) => medianOf(record.boots[role], (sample) => sample.prompt);
  const [ours, reference] = [prompt("ours"), prompt("reference")];
  return {
    title: "From the start of the process to the prompt, and idling there",
    columns: ["", ...roles.map((role) => name(record, role)), "target"],
    rows: [
      boot("first line of the kernel", (sample) => sample.firstKernelLine, seconds),
      boot("init", (sample) => sample.init, seconds),
      boot("shell prompt", (sample) => sample.prompt, seconds, `ours ÷ reference ≤ ${number(PROMPT_RATIO_TARGET)}: ${number(ours !== null && reference !== null ? ours / reference : null)}`),
      boot("host CPU to the prompt", (sample) => sample.hostCpuSeconds, seconds),
      boot("resident at the prompt", (sample) => sample.memory.current, megabytes, `≤ ${MEMORY_TARGET_MB} MB`),
      boot("peak until the prompt", (sample) => sample.memory.peak, megabytes),
      idle("resident after idling", (sample) => sample.memory.current, megabytes),
      idle("host CPU while idle", (sample) => sample.cpuShare, percent, `≤ ${percent(IDLE_TARGET)}`),
    ],
  };
}

function crossingsTable(record: BenchmarkRecord): Table | null {
  const { crossings } = record;
  if (crossings.length === 0) return null;
  const kinds = [...new Set(crossings.flatMap(({ perMillion }) => Object.keys(perMillion)))];
  return {
    title: "Crossings from wasm to JavaScript for each million guest instructions",
    columns: ["", ...crossings.map(({ work }) => work)],
    rows: [
      ["million instructions", ...crossings.map(({ instructions }) => (instructions / 1e6).toFixed(0))],
      ...kinds.map((kind) => [kind, ...crossings.map(({ perMillion }) => number(perMillion[kind] ?? null))]),
    ],
  };
}

function failures(record: BenchmarkRecord): string[] {
  const roles: Role[] = ["ours", "reference"];
  const lines = [
    ...record.programs.flatMap(({ program, runs }) => roles.flatMap((role) => (runs[role]?.failures ?? []).map((failure) => `${program.name} on ${name(record, role)}: ${failure}`))),
    ...roles.flatMap((role) => (record.boots[role]?.failures ?? []).map((failure) => `boot on ${name(record, role)}: ${failure}`)),
    ...roles.flatMap((role) => (record.idle[role]?.failures ?? []).map((failure) => `idle on ${name(record, role)}: ${failure}`)),
    ...(record.crossingsFailure === null ? [] : [`crossings: ${record.crossingsFailure}`]),
  ];
  return lines.length === 0 ? [] : [["Failed:", "", ...lines.map((line) => `- ${line}`)].join("\n")];
}

function circumstances(record: BenchmarkRecord): string[] {
  const { host, guest, machines } = record;
  const load = host.loadBefore > 0.5 ? `; others were at work (load ${host.loadBefore.toFixed(1)} before the start)` : "";
  return [
    `${record.date.slice(0, 16).replace("T", " ")} UTC; ${host.cpu}, ${host.cores} cores, ${host.memoryGiB} GiB; Linux ${host.kernel}; Node ${host.node}${load}`,
    ...Object.values(machines).map(({ name, version }) => `${name}: ${version}`),
    `guest: Linux ${guest.kernel ?? "of unknown version"}, ${guest.memoryMiB} MiB, command line "${guest.append}"; programs for ${guest.march}`,
    `medians of ${record.rounds} ${record.rounds === 1 ? "round" : "rounds"}${record.divisor === 1 ? "" : `; work divided by ${record.divisor}: a look, not a result`}`,
  ];
}

function name(record: BenchmarkRecord, role: Role): string {
  const own = record.machines[role]?.name ?? "–";
  // A machine that is measured against itself.
  return record.machines.ours?.name === record.machines.reference?.name ? `${own} (${role})` : own;
}

function notes(table: Table): string[] {
  return table.note === undefined ? [] : ["", table.note];
}

function columns(rows: readonly (readonly string[])[]): string[] {
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)));
  return rows.map((row) => row.map((cell, column) => (column === 0 ? cell.padEnd(widths[column]) : cell.padStart(widths[column]))).join("  ").trimEnd());
}

function number(value: number | null): string {
  return value === null || Number.isNaN(value) ? "–" : value >= 1000 ? value.toFixed(0) : value.toPrecision(3);
}

/** Also for the time of a unit of work, which may be microseconds. */
function seconds(value: number | null): string {
  return value === null ? "–" : value < 0.01 ? `${(value * 1e6).toPrecision(3)} µs` : `${value.toFixed(2)} s`;
}

function megabytes(bytes: number | null): string {
  return bytes === null ? "–" : `${(bytes / 1e6).toFixed(0)} MB`;
}

function percent(share: number | null): string {
  return share === null ? "–" : `${(share * 100).toFixed(1)} %`;
}

