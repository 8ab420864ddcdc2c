/** A machine that can't be virtualized by traps: Debian goes wrong on it under trap-and-emulate, and boots under binary translation. */
import { describeSilenced } from "#api/describe-silenced.ts";
import type { SilencedInstruction } from "#monitor/action.ts";
import { rewritePolicies, techniqueOf, type Technique } from "#monitor/cpu/technique.ts";
import { formatSeconds, type Messages } from "../messages.ts";
import { printJson } from "../table.ts";
import { Debian, openImage, type Image } from "./debian.ts";

export interface SilentOptions {
  readonly memory: number;
  readonly json?: boolean;
}

interface Attempt {
  readonly technique: Technique;
  readonly outcome: "boots" | "fails";
  /** To the shell's prompt, or to its failure. */
  readonly seconds: number;
  /** How it failed. */
  readonly end: string | null;
  /** What its kernel said last of what went wrong. */
  readonly lastWords: string | null;
  readonly silenced: readonly SilencedInstruction[];
}

const attempts: readonly Technique[] = [
  techniqueOf({ cpu: "trap-and-emulate" }),
  ...rewritePolicies.map((rewrite) => techniqueOf({ cpu: "binary-translation", rewrite })),
];

const titleOf = ({ cpu, rewrite }: Technique): string => (cpu === "binary-translation" ? `${cpu} --rewrite ${rewrite}` : cpu);

export async function demoSilent({ memory, json = false }: SilentOptions, messages: Messages): Promise<void> {
  const image = await openImage(messages);
  const done: Attempt[] = [];
  if (!json) process.stdout.write(`Debian's kernel ${image.release} on the silent machine\n`);
  for (const technique of attempts) {
    const title = titleOf(technique).padEnd(35);
    // A line that is alive, where it can be.
    const isLive = !json && process.stdout.isTTY === true;
    if (isLive) process.stdout.write(`${title} …`);
    const attempt = await tried(technique, memory, image);
    done.push(attempt);
    if (!json) process.stdout.write(`${isLive ? "\r\x1b[K" : ""}${title} ${describe(attempt)}\n`);
  }
  if (json) printJson({ machine: "silent", kernel: image.release, attempts: done });
}

async function tried(technique: Technique, memory: number, image: Image): Promise<Attempt> {
  const before = performance.now();
  const debian = await Debian.start({ machine: "silent", memory, technique }, image);
  const failure = await debian.booted();
  const seconds = (performance.now() - before) / 1000;
  const words = debian.lastLine((line) => /panic|BUG|Oops|Unable to handle|WARNING/.test(line));
  const silenced = (await debian.stats())?.silenced ?? [];
  await debian.stop();
  return {
    technique,
    outcome: failure === undefined ? "boots" : "fails",
    seconds: Number(seconds.toFixed(3)),
    end: failure ?? null,
    lastWords: (failure === undefined ? undefined : words)?.replace(/^\[ *[\d.]+\] /, "") ?? null,
    silenced,
  };
}

function describe({ outcome, seconds, end, lastWords, silenced }: Attempt): string {
  const time = formatSeconds(seconds * 1000);
  if (outcome === "boots") return `boots: at its prompt after ${time}`;
  const why = describeSilenced(silenced);
  return `fails after ${time}: ${lastWords ?? end}${why === undefined ? "" : `\n  ${why}`}`;
}
