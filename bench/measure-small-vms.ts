/** Many small VMs on a machine of two harts: `npm run bench -- techniques many`. */
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { Harts, type Vm } from "#host/node/harts.ts";
import { parseFirmware } from "#images/kernel.ts";
import { techniqueOf, type Technique } from "#monitor/cpu/technique.ts";
import { WatchedConsole } from "../test/kit/watched-console.ts";
import { titleOf } from "../test/kit/techniques.ts";
import type { MonitorResult } from "./measure-monitor.ts";
import { KERNEL } from "./measure-techniques.ts";
import { median } from "./statistics.ts";

const MIB = 1 << 20;
const MEMORY = 8 * MIB;

/** Sieves 100 000 bytes, again and again: it has no end here, so that all that take part in a window work from its first moment to its last. */
const ENDLESS = "compute 100000000";
const WARMING = 5000;
/** Between resuming and measuring, so that queues and caches are those of the window. */
const SETTLING = 500;
const WINDOW = 4000;

/**
 * The throughput of many VMs that compute, 32 to a hart, against that of one for each hart: instructions retired by all, a second of wall time. Both are
 * measured on the same machine, in windows that take turns: in one all VMs run, in the other the first of each hart, while the rest are paused. So
 * both execute the same translations, all of them long since made, and what is compared is what it costs to take turns: machine switches, TLBs that
 * others took over, the host's caches. Starting VMs and programs, and translating, is no part of it. The detail has the same by CPU time of the process,
 * for hosts with other work, and how evenly the VMs got on.
 */
export async function manySmallVms(rounds: number, technique: Technique = techniqueOf({}), count = 64): Promise<MonitorResult> {
  const machine = new Harts({ harts: 2, memory: (count * 10 + 8) * MIB });
  try {
    const vms = await startAll(machine, technique, count);
    const few = [...Map.groupBy(vms, ({ hart }) => hart).values()].map(([first]) => first!);
    for (const vm of vms) vm.pause();
    const [ratios, byCpuTime, shares] = [[] as number[], [] as number[], [] as number[]];
    for (let round = 0; round < rounds; round++) {
      const alone = await window(few);
      const together = await window(vms);
      const [less, more] = [sum(alone.instructions), sum(together.instructions)];
      ratios.push(more / together.seconds / (less / alone.seconds));
      byCpuTime.push(more / together.cpuSeconds / (less / alone.cpuSeconds));
      shares.push(...together.instructions.map((own) => (own / more) * count));
    }
    const value = median(ratios);
    const list = (values: readonly number[]): string => values.map((one) => one.toFixed(2)).join(" ");
    const detail = `${list(ratios)}; by CPU time ${list(byCpuTime)}; a VM did ${Math.round(Math.min(...shares) * 100)} to ${Math.round(Math.max(...shares) * 100)} % of its share`;
    return { name: `${count} busy small-kernel VMs on two harts by ${titleOf(technique)}, their throughput against that of two`, value, unit: "of it", target: "≥ 0.92", reached: value >= 0.92, detail };
  } finally {
    await machine.close();
  }
}

async function startAll(machine: Harts, technique: Technique, count: number): Promise<Vm[]> {
  const files = { kernel: parseFirmware(readFileSync(KERNEL), KERNEL), append: "" };
  const consoles = Array.from({ length: count }, (_, i) => new WatchedConsole(machine.create({
    name: `small${i}`, cpus: 1, memory: MEMORY, clock: "host", technique, drives: [], terminal: { columns: 80, rows: 24 }, allotment: { shares: 1, cap: 1 },
  }, files)));
  await Promise.all(consoles.map((console) => console.until(/\$ $/, 120_000)));
  for (const console of consoles) console.type(`${ENDLESS}\n`);
  await sleep(WARMING);
  return consoles.map(({ vm }) => vm);
}

interface Window {
  /** Of each VM. */
  readonly instructions: readonly number[];
  readonly seconds: number;
  readonly cpuSeconds: number;
}

/** In which only these run. */
async function window(vms: readonly Vm[]): Promise<Window> {
  const counts = async (): Promise<number[]> => (await Promise.all(vms.map((vm) => vm.stats()))).map(({ instructions }) => instructions);
  for (const vm of vms) vm.resume();
  await sleep(SETTLING);
  const [before, from, cpu] = [await counts(), performance.now(), process.cpuUsage()];
  await sleep(WINDOW);
  const [after, to, { user, system }] = [await counts(), performance.now(), process.cpuUsage(cpu)];
  for (const vm of vms) vm.pause();
  return { instructions: after.map((count, i) => count - before[i]!), seconds: (to - from) / 1000, cpuSeconds: (user + system) / 1e6 };
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
