/**
 * `npm run bench`: measures Hostelry against QEMU on the same kernel and the same programs. README.md says what and how.
 * Exit status: 0 measured, 1 measured with failures, 2 can't be measured as asked.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { loadavg } from "node:os";
import { fileURLToPath } from "node:url";
import { HostelryError } from "#base/errors.ts";
import { techniqueOf } from "#monitor/cpu/technique.ts";
import { buildPath, buildPrograms } from "./build.ts";
import { findImages, kernelRelease, type Image } from "./images.ts";
import { writeInitramfs } from "./initramfs.ts";
import { GuestFailure, Machine } from "./machine.ts";
import { type GuestFiles, type MachineKind, findMachine } from "./machines.ts";
import { type BootPlan, measureBoots, measureIdle } from "./measure-boot.ts";
import { type Crossings, measureCrossings } from "./measure-crossings.ts";
import { measureMemory } from "./memory/measure-memory.ts";
import { writeMeasured } from "./memory/measured.ts";
import { measureMonitor, renderMonitor } from "./measure-monitor.ts";
import { manySmallVms } from "./measure-small-vms.ts";
import { measureTechniques, renderTechniques, techniqueTargets } from "./measure-techniques.ts";
import { type Role, measurePrograms } from "./measure-programs.ts";
import { HELP, type Options, parseOptions } from "./options.ts";
import { GROUPS, selectPrograms } from "./programs.ts";
import { type BenchmarkRecord, describeHost } from "./record.ts";
import { renderMarkdown, renderText } from "./report.ts";

const RESULTS = fileURLToPath(new URL("./results/", import.meta.url));
const SUMMARY = fileURLToPath(new URL("./RESULTS.md", import.meta.url));
const QUICK_DIVISOR = 4;

/** What there is to measure besides programs. */
const OTHERS = ["boot", "idle", "crossings"] as const;

async function main(args: string[]): Promise<number> {
  const options = parseOptions(args);
  if (options === null) {
    process.stdout.write(HELP);
    return 0;
  }
  if (options.filters.includes("memory")) return memory(options);
  if (options.filters.includes("monitor")) return monitor(options);
  if (options.filters.includes("techniques")) return techniques(options);
  const record = await measure(options);
  process.stdout.write(options.json ? `${JSON.stringify(record, null, 1)}\n` : renderText(record));
  keep(record, options);
  return hasFailures(record) ? 1 : 0;
}

async function measure(options: Options): Promise<BenchmarkRecord> {
  const programs = selectPrograms(options.filters);
  const others = new Set(OTHERS.filter((other) => options.filters.length === 0 || options.filters.includes(other)));
  if (programs.length === 0 && others.size === 0) {
    throw new HostelryError("bad-usage", `nothing is called ${options.filters.join(" or ")}: groups are ${[...GROUPS, ...OTHERS].join(", ")}`);
  }
  const loadBefore = loadavg()[0];
  const machines: Partial<Record<Role, MachineKind>> = {
    ...(options.reference === null ? {} : { reference: findMachine(options.reference) }),
    ours: findMachine(options.ours),
  };
  const binaries = buildPrograms(options.march);
  const images = findImages({ ...options, packages: programs.some(({ group }) => group === "real") });
  const initramfs = buildPath("initramfs");
  writeInitramfs(initramfs, images.programs.initrd, binaries);

  const shell: GuestFiles = { ...images.shell, memory: options.memory };
  const driver: GuestFiles = { ...images.programs, initrd: initramfs, memory: options.memory };
  const plan: BootPlan = { machines, files: shell, rounds: options.rounds, progress };
  const boots = others.has("boot") ? await measureBoots(plan) : {};
  const idle = others.has("idle") ? await measureIdle(plan) : {};
  const crossings = others.has("crossings") ? await crossingsOf(machines.ours!, shell, driver) : { crossings: [], crossingsFailure: null };
  const divisor = options.quick ? QUICK_DIVISOR : 1;
  const results = programs.length === 0 ? [] : await measurePrograms({ ...plan, files: driver, programs, divisor, timeout: options.timeout });

  return {
    format: 1,
    date: new Date().toISOString(),
    host: describeHost(loadBefore),
    guest: { kernel: kernelRelease(shell.kernel), append: images.shell.append, memoryMiB: options.memory, march: options.march },
    machines: Object.fromEntries(Object.entries(machines).map(([role, kind]) => [role, { name: kind.name, version: kind.version() }])),
    rounds: options.rounds,
    divisor,
    programs: results,
    boots,
    idle,
    ...crossings,
  };
}

/** On its own, since its reference is the machine without a monitor and not another. */
async function monitor(options: Options): Promise<number> {
  const binaries = buildPrograms(options.march);
  const images = findImages({ ...options, packages: false });
  const initramfs = buildPath("initramfs");
  writeInitramfs(initramfs, images.programs.initrd, binaries);
  const results = await measureMonitor({
    shell: { ...images.shell, memory: options.memory },
    driver: { ...images.programs, initrd: initramfs, memory: options.memory },
    rounds: options.rounds,
    filters: options.filters.filter((filter) => filter !== "monitor"),
    progress,
  });
  process.stdout.write(options.json ? `${JSON.stringify(results, null, 1)}\n` : renderMonitor(results));
  return 0;
}

/** On its own too: against the bare machine. */
async function techniques(options: Options): Promise<number> {
  const filters = options.filters.filter((filter) => !["techniques", "many"].includes(filter));
  const many = options.filters.includes("many");
  const table = many && filters.length === 0 ? undefined : measureTechniques({ rounds: options.rounds, filters, progress });
  const results = table === undefined ? [] : techniqueTargets(table);
  if (many || filters.length === 0) {
    for (const cpu of ["hardware", "paravirtual"] as const) {
      progress(`techniques: many small VMs, ${cpu}`);
      results.push(await manySmallVms(options.rounds, techniqueOf({ cpu })));
    }
  }
  const text = table === undefined ? "" : `${renderTechniques(table)}\n`;
  process.stdout.write(options.json ? `${JSON.stringify({ table, results }, null, 1)}\n` : `${text}${renderMonitor(results)}`);
  return 0;
}

/** Against what a paper says. */
async function memory(options: Options): Promise<number> {
  const binaries = buildPrograms(options.march);
  const { shell, programs } = findImages({ ...options, packages: true });
  const withPrograms = (image: Image, name: string): Image => {
    writeInitramfs(buildPath(name), image.initrd, binaries);
    return { ...image, initrd: buildPath(name) };
  };
  const images = { shell, tools: withPrograms(shell, "initramfs-tools"), programs: withPrograms(programs, "initramfs-packages") };
  const { found, failures } = await measureMemory({ ...images, rounds: options.rounds, progress }, options.filters.filter((filter) => filter !== "memory"));
  if (options.write) writeMeasured(found);
  const results = Object.values(found).flatMap((each) => each.results);
  process.stdout.write(options.json ? `${JSON.stringify(results, null, 1)}\n` : renderMonitor(results));
  for (const failure of failures) progress(failure);
  return failures.length > 0 ? 1 : 0;
}

async function crossingsOf(kind: MachineKind, shell: GuestFiles, driver: GuestFiles): Promise<{ crossings: Crossings[]; crossingsFailure: string | null }> {
  if (kind.stats === undefined) return { crossings: [], crossingsFailure: null };
  progress(`crossings: three lives of ${kind.name}`);
  try {
    return { crossings: await measureCrossings(kind, shell, driver), crossingsFailure: null };
  } catch (failure) {
    if (!(failure instanceof GuestFailure)) throw failure;
    return { crossings: [], crossingsFailure: failure.message };
  }
}

/** Only a whole run of Hostelry belongs in the repository; any run can be looked at again. */
function keep(record: BenchmarkRecord, options: Options): void {
  const json = `${JSON.stringify(record, null, 1)}\n`;
  writeFileSync(buildPath("last.json"), json);
  if (options.filters.length > 0 || options.quick || options.ours !== "hostelry" || record.machines.reference === undefined) {
    progress("a part of the benchmark: kept in bench/build/last.json only");
    return;
  }
  mkdirSync(RESULTS, { recursive: true });
  const file = `${record.date.slice(0, 16).replace(":", "")}.json`;
  writeFileSync(RESULTS + file, json);
  writeFileSync(SUMMARY, renderMarkdown(record));
  progress(`recorded in bench/results/${file} and bench/RESULTS.md`);
}

function hasFailures(record: BenchmarkRecord): boolean {
  const runs = [...record.programs.flatMap((result) => Object.values(result.runs)), ...Object.values(record.boots), ...Object.values(record.idle)];
  return record.crossingsFailure !== null || runs.some(({ failures }) => failures.length > 0);
}

function progress(line: string): void {
  process.stderr.write(`${line}\n`);
}

process.on("exit", () => Machine.killAll());
for (const [signal, status] of [["SIGINT", 130], ["SIGTERM", 143], ["SIGHUP", 129]] as const) process.on(signal, () => process.exit(status));

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  if (!(error instanceof HostelryError)) throw error;
  process.stderr.write(`bench: ${error.message}\n`);
  process.exitCode = 2;
}
