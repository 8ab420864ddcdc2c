/** What was measured, in the documentation: a table and figures in docs/memory.md. Experiments that were left out keep what they had. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { cpus, loadavg } from "node:os";
import { fileURLToPath } from "node:url";
import type { Found, MemoryResult } from "./experiment.ts";
import { svg, type Figure } from "./plot.ts";

const DOCS = fileURLToPath(new URL("../../docs/", import.meta.url));
const RECORD = fileURLToPath(new URL("../results/memory.json", import.meta.url));
const [BEGIN, END] = ["<!-- measured: from here on written by the benchmark -->", "<!-- measured: to here -->"];

interface Recorded {
  /** ISO 8601, a day; and the host. */
  readonly date: string;
  readonly host: string;
  readonly results: readonly MemoryResult[];
  readonly figures: Readonly<Record<string, Figure>>;
}

export function writeMeasured(found: Readonly<Record<string, Found>>): void {
  const record = existsSync(RECORD) ? (JSON.parse(readFileSync(RECORD, "utf8")) as Record<string, Recorded>) : {};
  const [date, host] = [new Date().toISOString().slice(0, 10), `${cpus().length} × ${cpus()[0]!.model}, load ${loadavg()[0]!.toFixed(1)}`];
  for (const [name, { results, figures = {} }] of Object.entries(found)) record[name] = { date, host, results, figures };
  writeFileSync(RECORD, `${JSON.stringify(record, null, 1)}\n`);
  mkdirSync(`${DOCS}memory`, { recursive: true });
  for (const { figures } of Object.values(record)) for (const [name, figure] of Object.entries(figures)) writeFileSync(`${DOCS}memory/${name}.svg`, svg(figure));
  const file = `${DOCS}memory.md`;
  writeFileSync(file, replaceMeasured(readFileSync(file, "utf8"), render(record)));
}

/** Throws if there is no place for it. */
export function replaceMeasured(page: string, measured: string): string {
  const [begin, end] = [page.indexOf(BEGIN), page.indexOf(END)];
  if (begin < 0 || end < begin) throw new Error("docs/memory.md has no place for what was measured");
  return `${page.slice(0, begin + BEGIN.length)}\n${measured}${page.slice(end)}`;
}

function render(record: Readonly<Record<string, Recorded>>): string {
  const rows = Object.entries(record).flatMap(([name, { date, host, results }]) =>
    results.map((row) => `| ${row.name} | ${row.value.toPrecision(3)} ${row.unit} | ${row.target}${row.target === "" || row.reached ? "" : ", missed"} | ${row.paper} | ${row.detail} | \`${name}\`, ${date}, ${host} |`));
  const figures = Object.values(record).flatMap(({ figures }) => Object.entries(figures).map(([name, { title }]) => `![${title}](memory/${name}.svg)`));
  return ["", "| what | measured | must reach | ESX | in detail | experiment |", "|---|---|---|---|---|---|", ...rows, "", ...figures.flatMap((figure) => [figure, ""])].join("\n");
}
