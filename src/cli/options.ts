/** Values on the command line. What can't be one is refused with a line that says what can. */
import { HostelryError } from "#base/errors.ts";

const UNITS: Readonly<Record<string, number>> = { K: 2 ** 10, M: 2 ** 20, G: 2 ** 30 };
const PAGE = 4096;
const SMALLEST_MEMORY = 1 << 20;

/** Bytes of memory, from `512M`, `1.5G`, `65536K`. */
export function parseMemory(text: string, what = "--memory"): number {
  const match = /^(\d+(?:\.\d+)?)([KMG])(?:i?B)?$/i.exec(text);
  if (match === null) {
    const hint = /^\d+$/.test(text) ? `${text} has no unit: say ${text}M, for instance` : `${JSON.stringify(text)} is no size: say 512M, 65536K or 2G`;
    throw new HostelryError("bad-size", `${what} ${hint}`);
  }
  const bytes = Number(match[1]) * UNITS[match[2]!.toUpperCase()]!;
  if (bytes < SMALLEST_MEMORY) throw new HostelryError("bad-size", `${what} ${text} is too little for any machine: give 1M at least`);
  if (!Number.isSafeInteger(bytes) || bytes % PAGE !== 0) throw new HostelryError("bad-size", `${what} ${text} is no multiple of ${PAGE} bytes, a page: say 512M, for instance`);
  return bytes;
}

/** The same, which may be nothing. */
export const parseMemoryOrNone = (what: string) => (text: string): number => (/^0[KMG]?$/i.test(text) ? 0 : parseMemory(text, what));

export interface Drive {
  readonly path: string;
  readonly readOnly: boolean;
}

/** `FILE` or `FILE,ro`. */
export function parseDrive(text: string): Drive {
  const match = /^(.*?)(?:,(ro|rw))?$/s.exec(text)!;
  const [path, mode] = [match[1]!, match[2]];
  if (path === "") throw new HostelryError("bad-drive", "--drive names no file: say --drive FILE, or --drive FILE,ro for reading only");
  return { path, readOnly: mode === "ro" };
}

/** `NAME=value` for an environment. */
export function parseVariable(text: string): string {
  if (/^[^=]+=/.test(text)) return text;
  throw new HostelryError("bad-variable", `--env ${JSON.stringify(text)} is no variable: say --env NAME=value`);
}

/** Bytes in a line of a signature. */
export function parseGranularity(text: string): number {
  const bytes = Number(text);
  if (![1, 2, 4, 8, 16].includes(bytes)) throw new HostelryError("bad-granularity", `--signature-granularity ${JSON.stringify(text)} is not 1, 2, 4, 8 or 16 bytes`);
  return bytes;
}

/** An integer of up to 53 bits. */
export function parseSeed(text: string): number {
  const seed = Number(text);
  if (!/^(0x[0-9a-f]+|\d+)$/i.test(text) || !Number.isSafeInteger(seed)) {
    throw new HostelryError("bad-seed", `--seed ${JSON.stringify(text)} is no number from 0 to 2^53 - 1`);
  }
  return seed;
}

/** vCPUs of a VM. */
export function parseCpus(text: string): number {
  const count = Number(text);
  if (!/^\d+$/.test(text) || count < 1 || count > 8) throw new HostelryError("bad-cpus", `--cpus ${text}: a VM has 1 to 8`);
  return count;
}

/** Part of a hart's time, above 0 and at most 1, from `0.5` or `50%`. */
export function parseCap(text: string): number {
  const cap = partOf(text) ?? 0;
  if (!(cap > 0 && cap <= 1)) throw new HostelryError("bad-cap", `--cap ${JSON.stringify(text)} is no part of a hart: say 50% or 0.5; 100% is no cap`);
  return cap;
}

/** A part of something, from 0 to `most`, from `0.5` or `50%`. */
export function parsePart(option: string, most = 1): (text: string) => number {
  return (text) => {
    const part = partOf(text);
    if (part !== undefined && part <= most) return part;
    throw new HostelryError("bad-part", `${option} ${JSON.stringify(text)} is no part of up to ${100 * most}%: say 50% or 0.5`);
  };
}

function partOf(text: string): number | undefined {
  const match = /^(\d+(?:\.\d+)?)(%?)$/.exec(text);
  return match === null ? undefined : Number(match[1]) / (match[2] === "%" ? 100 : 1);
}

/** Seconds, which may have a fraction. */
export function parseSeconds(option: string): (text: string) => number {
  return (text) => {
    if (/^\d+(\.\d+)?$/.test(text) && Number(text) > 0) return Number(text);
    throw new HostelryError("bad-seconds", `${option} ${JSON.stringify(text)} is no number of seconds above 0`);
  };
}

/** What is said for short. */
const SHORT: Readonly<Record<string, string>> = { trap: "trap-and-emulate", binary: "binary-translation" };

/** One of the choices that a technique has. */
export function parseTechnique<T extends string>(option: string, choices: readonly T[]): (text: string) => T {
  return (text) => {
    const choice = choices.find((name) => name === (SHORT[text] ?? text));
    if (choice !== undefined) return choice;
    throw new HostelryError("technique", `${option} ${JSON.stringify(text)} is none of its choices: ${choices.join(", ")}`);
  };
}

/** A whole number from 1 on. */
export function parseCount(option: string): (text: string) => number {
  return (text) => {
    const count = Number(text);
    if (/^\d+$/.test(text) && count >= 1 && Number.isSafeInteger(count)) return count;
    throw new HostelryError("bad-count", `${option} ${JSON.stringify(text)} is no whole number from 1 on`);
  };
}
