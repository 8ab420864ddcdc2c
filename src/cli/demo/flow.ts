/** A flow on the screen: process, operating system and VMM in three columns, and beside them the bare machine. */
import { techniqueOf, type TechniqueOptions } from "#monitor/cpu/technique.ts";
import { followBare, followVm, type Change, type Step } from "#monitor/follow/follow.ts";
import { mappingOf } from "#monitor/follow/registers.ts";
import type { Scene } from "#monitor/follow/scene.ts";
import { createInterface } from "node:readline/promises";
import { printJson } from "../table.ts";
import { heads, row, type Column } from "./columns.ts";

export interface FlowOptions extends TechniqueOptions {
  /** False: it does not stop for Enter. */
  readonly wait: boolean;
  readonly json?: boolean;
}

const columns: readonly Column[] = [
  { head: "", width: 2 },
  { head: "PROCESS", width: 24 },
  { head: "OPERATING SYSTEM", width: 24 },
  { head: "VMM", width: 31 },
  { head: "ON THE BARE MACHINE", width: 24 },
];
const columnOf = { process: 1, OS: 2, VMM: 3 } as const;
const BARE = 4;

export async function showFlow(scene: Scene, { wait, json = false, ...options }: FlowOptions): Promise<void> {
  const technique = techniqueOf(options);
  const bare = followBare(scene);
  const steps = followVm(scene, technique);
  if (json) return printJson({ flow: scene.title, technique, vm: steps.map(plain), bare: bare.map(plain) });
  process.stdout.write(`${scene.title}, by ${technique.cpu}; and on the bare machine\n\n${heads(columns)}`);
  const pause = wait && process.stdin.isTTY === true && process.stdout.isTTY === true ? enterPressed : undefined;
  for (const [number, step] of steps.entries()) {
    const isFirst = step.index !== steps[number - 1]?.index;
    process.stdout.write(row(columns, cells(number + 1, step, isFirst ? bare.find(({ index }) => index === step.index) : undefined)));
    if (pause !== undefined && number < steps.length - 1 && !(await pause())) return;
  }
  process.stdout.write(`\n${summary(steps, bare)}\n`);
}

function cells(number: number, step: Step, bare: Step | undefined): string[][] {
  const all: string[][] = columns.map(() => []);
  all[0] = [String(number)];
  all[columnOf[step.actor]] = step.actor === "VMM" ? [reason(step), ...step.changes.map(changed)] : instruction(step);
  if (bare !== undefined) all[BARE] = instruction(bare);
  return all;
}

function instruction({ instruction: text, pc, privilege: { real, virtual }, event, changes }: Step): string[] {
  const where = `${hex(pc)}  ${real === virtual ? `in ${real}` : `in ${real}, not ${virtual}`}`;
  const traps = changes.length === 0 ? "traps to the VMM" : "traps to the OS";
  return [text, where, ...(event === "trap" ? [traps] : []), ...changes.map(changed)];
}

/** Why the monitor was called, and what it does. */
function reason({ event, instruction: text }: Step): string {
  if (event === "true-fault") return "A miss that is the OS's: call its TLB handler, at reduced privilege";
  if (text.includes("stlbop")) return "The OS tried to update the TLB: note its VPN → PFN, and install VPN → MFN";
  if (event === "guest-trap") return "The process trapped: call the OS's trap handler, at reduced privilege";
  if (event === "hidden-fault") return "The hart has no translation for this page yet: fill it in, and say nothing";
  if (event !== "privileged-instruction") return `${event}: do what is to be done`;
  if (text === "sret") return "The OS tried to return from its trap: do the real return";
  return "Privileged, and legal in S: do it on the OS's own registers";
}

function changed({ register, to }: Change): string {
  if (/TLB \d/.test(register)) return `${register} ← ${mappingOf(to).map(hex).join(" → ")}`;
  return `${register} ← ${register === "sstatus" ? status(to) : hex(to)}`;
}

const hex = (value: bigint): string => (value < 10n ? `${value}` : `0x${value.toString(16)}`);

/** What a trap and the return from it change (privileged manual, 12.1.1). */
function status(value: bigint): string {
  const bit = (name: string, position: bigint): string => `${name} ${(value >> position) & 1n}`;
  return [bit("SPP", 8n), bit("SPIE", 5n), bit("SIE", 1n)].join(", ");
}

function summary(steps: readonly Step[], bare: readonly Step[]): string {
  const exits = steps.filter(({ actor }) => actor === "VMM").length;
  return `${bare.length} instructions. In the VM, ${exits} times in the VMM: ${exits === 0 ? "the machine does what the bare one does" : "each costs a switch there and back"}.`;
}

function plain({ pc, changes, ...rest }: Step): object {
  return { ...rest, pc: hex16(pc), changes: changes.map(({ register, from, to }) => ({ register, from: hex16(from), to: hex16(to) })) };
}

const hex16 = (value: bigint): string => `0x${value.toString(16)}`;

/** False if that was enough. */
async function enterPressed(): Promise<boolean> {
  const terminal = createInterface({ input: process.stdin, output: process.stdout });
  try {
    return !/^q/i.test(await terminal.question(""));
  } catch {
    return false;
  } finally {
    terminal.close();
  }
}
