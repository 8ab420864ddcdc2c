/** What managing memory costs: its tables, its scanner, the host. */
import { setTimeout as sleep } from "node:timers/promises";
import { Hints } from "#monitor/memory/hints.ts";
import { median } from "../statistics.ts";
import { MIB, onMachine, PAGE, type DebianMachine } from "./debian.ts";
import { judge, type Experiment, type Found, type MemoryResult } from "./experiment.ts";
import { bootTogether } from "./sharing.ts";

/** After which a machine's threads have loaded their code; and a guest has come to rest. */
const THREADS_READY = 1500;
const REST = 3000;
const VMS = 10;
/** From this one on, VMs take nothing that is for the first of their kind. */
const FURTHER = 4;

/** Against what VMs are promised: the pmaps, the frames' words and bitmap, the scanner's hints, and the tables that harts walk. */
export function metadata(machine: DebianMachine, name: string): MemoryResult {
  const { total } = machine.harts.frames;
  const promised = machine.vms.reduce((sum, { vm }) => sum + vm.holding.max, 0);
  const tables = machine.harts.frameRuns().reduce((sum, { state, frames }) => sum + (state === "page-table" ? frames : 0), 0);
  const parts = { pmaps: 4 * promised, frames: (4 + 1 / 8) * (total + 1), hints: Hints.create(total + 1).shared.byteLength, tables: PAGE * tables };
  const all = Object.values(parts).reduce((sum, bytes) => sum + bytes, 0);
  const shares = Object.entries(parts).map(([part, bytes]) => `${part} ${((100 * bytes) / (promised * PAGE)).toFixed(3)} %`).join(", ");
  return judge(name, (100 * all) / (promised * PAGE), "% of what is promised", ["≤", 0.5], "below 0.5", shares);
}

/** One after the other on one hart, and the others rest. */
export const further: Experiment = async ({ shell, progress }): Promise<Found> =>
  onMachine({ harts: 1, vms: VMS }, async (machine) => {
    await sleep(THREADS_READY);
    const { scanRate } = machine.harts.memory.settings;
    const [seconds, cpuSeconds, resident, own] = [[] as number[], [] as number[], [] as number[], [] as number[]];
    for (let i = 0; i < VMS; i++) {
      const [before, cpu] = [performance.now(), process.cpuUsage()];
      await (await machine.create(shell)).prompt();
      seconds.push((performance.now() - before) / 1000);
      const { user, system } = process.cpuUsage(cpu);
      cpuSeconds.push((user + system) / 1e6);
      await sleep(REST);
      machine.harts.memory.change({ scanRate: 20_000 });
      await machine.settle();
      machine.harts.memory.change({ scanRate });
      globalThis.gc?.();
      resident.push(process.memoryUsage.rss() / MIB);
      const audit = await machine.audit();
      own.push((audit.mapped - audit.zero - audit.copyOnWrite) / 256);
      progress(`  ${i + 1} VMs: ${seconds[i]!.toFixed(2)} s, ${resident[i]!.toFixed(0)} MiB resident, ${own[i]!.toFixed(0)} MiB of private frames`);
    }
    const listed = (times: readonly number[]): string => times.map((time) => time.toFixed(2)).join(" ");
    const each = (of: readonly number[]): number => (of.at(-1)! - of[FURTHER - 1]!) / (VMS - FURTHER);
    return {
      results: [
        judge("the tenth identical VM's boot against the first's", seconds[9]! / seconds[0]!, "of its time", ["≤", 0.6], "", `${listed(seconds)} s; of CPU time ${listed(cpuSeconds)} s`),
        judge("host memory per further idle VM, beyond its private frames", each(resident) - each(own), "MiB", ["≤", 12], "", `${each(resident).toFixed(1)} MiB, of which ${each(own).toFixed(1)} MiB are private frames; VMs ${FURTHER + 1} to ${VMS}`),
        metadata(machine, "metadata, machine as large as what is promised"),
      ],
    };
  });

const WORKERS = ["/bench/coremix 1500", "/bench/sort 45", "/bench/coremix 1500", "/bench/compress 20"];

/** The scanner at its usual rate and off, in turn; by CPU time of all threads, since others are at work on this host too. */
export const scanner: Experiment = async ({ tools, rounds, progress }): Promise<Found> =>
  onMachine({ vms: WORKERS.length }, async (machine) => {
    await bootTogether(WORKERS.length, () => machine.create(tools));
    const { scanRate } = machine.harts.memory.settings;
    const work = async (rate: number): Promise<number> => {
      machine.harts.memory.change({ scanRate: rate });
      const { user, system } = process.cpuUsage();
      await Promise.all(machine.vms.map((vm, i) => vm.run(WORKERS[i]!)));
      const after = process.cpuUsage();
      return (after.user + after.system - user - system) / 1e6;
    };
    // What most pages have in common has been found then, as on a machine that has run for some minutes.
    machine.harts.memory.change({ scanRate: 20_000 });
    for (let i = 0; i < 2; i++) await work(20_000);
    await machine.settle();
    const ratios: number[] = [];
    for (let round = 0; round < 8 * rounds; round++) {
      // Whoever comes second has warmer translations, and none of the garbage of the first.
      const order = round % 2 === 0 ? [0, scanRate] : [scanRate, 0];
      const seconds = new Map<number, number>();
      for (const rate of order) seconds.set(rate, await work(rate));
      ratios.push(seconds.get(scanRate)! / seconds.get(0)!);
      progress(`  ${seconds.get(0)!.toFixed(2)} s without, ${seconds.get(scanRate)!.toFixed(2)} s with the scanner`);
    }
    const cost = 100 * (median(ratios) - 1);
    return { results: [judge("the scanner's cost to guests", cost, "% of throughput", ["≤", 2], "-1.6 to 1.8", `${scanRate} pages a second, after what was there to share is shared; CPU time, in turn: ${ratios.map((ratio) => ratio.toFixed(3)).join(" ")}`)] };
  });
