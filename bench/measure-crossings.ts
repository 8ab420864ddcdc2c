import { Guest } from "./guest.ts";
import { GuestFailure } from "./machine.ts";
import type { GuestFiles, MachineKind } from "./machines.ts";
import { bootToPrompt } from "./measure-boot.ts";
import { PROGRAMS } from "./programs.ts";

/** Numbers of a statistics object by their dotted path: {"traps": {"ecall": 3}} gives traps.ecall = 3. */
export type Counters = ReadonlyMap<string, number>;

/** How often the machine left wasm for JavaScript, by what for, for each million guest instructions. */
export interface Crossings {
  readonly work: string;
  readonly instructions: number;
  readonly perMillion: Record<string, number>;
  /** The whole object, as the machine printed it (for getppid: less what the boot before it counted). */
  readonly counters: Record<string, number>;
}

const RUN_TIMEOUT = 120_000;

/**
 * Two pieces of work: a boot to the shell, and a million system calls. What a machine prints covers its whole life, so that the
 * system calls are what a life with them counts more than one without.
 */
export async function measureCrossings(kind: MachineKind, bootFiles: GuestFiles, driverFiles: GuestFiles): Promise<Crossings[]> {
  const toPrompt = await countersOfBoot(kind, bootFiles);
  const without = await countersOfDriver(kind, driverFiles, []);
  const withCalls = await countersOfDriver(kind, driverFiles, ["getppid"]);
  return [
    describe("boot to the shell, power off", toPrompt),
    describe("getppid", new Map([...withCalls].map(([path, value]) => [path, value - (without.get(path) ?? 0)]))),
  ];
}

async function countersOfBoot(kind: MachineKind, files: GuestFiles): Promise<Counters> {
  const { machine } = await bootToPrompt(kind, files, kind.stats);
  machine.send("poweroff -f");
  await machine.finish(RUN_TIMEOUT);
  return findCounters(machine.errors) ?? findCounters(machine.console) ?? noCounters();
}

async function countersOfDriver(kind: MachineKind, files: GuestFiles, names: readonly string[]): Promise<Counters> {
  const guest = await Guest.boot(kind, files, kind.stats);
  try {
    for (const program of PROGRAMS.filter(({ name }) => names.includes(name))) await guest.run(program, program.iterations, RUN_TIMEOUT);
  } finally {
    await guest.powerOff();
  }
  return findCounters(guest.output) ?? noCounters();
}

/**
 * The last JSON object in a text that has other things around it, on one line or several. The fields are the machine's own affair:
 * whatever is a number is taken.
 */
export function findCounters(text: string): Counters | null {
  let found: object | null = null;
  for (let start = nextObject(text, 0); start >= 0; ) {
    const { value, end } = longestObject(text, start);
    found = value ?? found;
    start = nextObject(text, end);
  }
  return found === null ? null : new Map(flatten(found, ""));
}

/** The next brace that begins its line. */
function nextObject(text: string, from: number): number {
  const offset = text.slice(from).search(/^\s*\{/m);
  return offset < 0 ? -1 : text.indexOf("{", from + offset);
}

/** The longest, since an object holds others; `end` is where to look on. */
function longestObject(text: string, start: number): { value: object | null; end: number } {
  for (let end = text.lastIndexOf("}"); end > start; end = text.lastIndexOf("}", end - 1)) {
    const value = parseObject(text.slice(start, end + 1));
    if (value !== null) return { value, end: end + 1 };
  }
  return { value: null, end: start + 1 };
}

function parseObject(text: string): object | null {
  try {
    return JSON.parse(text) as object;
  } catch {
    return null;
  }
}

function* flatten(value: object, prefix: string): Generator<[string, number]> {
  for (const [key, field] of Object.entries(value)) {
    if (typeof field === "number") yield [prefix + key, field];
    else if (typeof field === "object" && field !== null) yield* flatten(field, `${prefix}${key}.`);
  }
}

function describe(work: string, counters: Counters): Crossings {
  const instructions = [...counters].find(([path]) => /(^|\.)(instructions|instret|retired)(\.total)?$/i.test(path))?.[1];
  if (instructions === undefined) throw new GuestFailure(`its statistics have no count of instructions, only ${[...counters.keys()].join(", ")}`);
  const crossings = [...counters].filter(([path]) => /crossing/i.test(path));
  const perMillion = Object.fromEntries(crossings.map(([path, count]) => [path.replace(/^crossings\./, ""), (count / instructions) * 1e6]));
  return { work, instructions, perMillion, counters: Object.fromEntries(counters) };
}

function noCounters(): never {
  throw new GuestFailure("it printed no statistics");
}
