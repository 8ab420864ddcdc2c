/** What the tax on idle memory does: figure 7 of the paper. */
import { setTimeout as sleep } from "node:timers/promises";
import { DISK, prepareDisk } from "./balloon.ts";
import { MIB, onMachine, PAGE } from "./debian.ts";
import { mountOld, withDisks } from "./disk.ts";
import { judge, type Experiment, type Found } from "./experiment.ts";

/** MiB: of each of the two, which have the same shares; and of the machine. */
const EACH = 256;
const MACHINE = 350;
/** Of 256 KiB each. */
const FILES = 600;
const TAX = 0.75;
/** Seconds: before the tax is raised; after it, until the balloons have followed; and at the end of each part, in which throughput is taken. */
const BEFORE = 40;
const AFTER = 60;
const LAST = 20;

interface Point {
  readonly at: number;
  /** MiB of frames of its own. */
  readonly idle: number;
  readonly busy: number;
  /** Operations so far, and CPU seconds of this process. */
  readonly operations: number;
  readonly cpu: number;
}

export const tax: Experiment = async (plan): Promise<Found> => withDisks(async (disks) => {
  const disk = await prepareDisk(plan, disks, FILES);
  return onMachine({ memory: MACHINE * MIB, policy: { idleTax: 0, samplePeriod: 4, samplePages: 400 } }, async (machine) => {
    const create = () => machine.create(plan.tools, { memory: EACH, drives: [{ path: disks.copy(disk), readOnly: false }] });
    const [idle, busy] = [await create(), await create()];
    for (const vm of [idle, busy]) {
      await vm.prompt();
      await vm.run(mountOld);
    }
    // Has read files, as others zero their pages when they boot, and never uses them again.
    await idle.run("cat /data/[0-9]* >/dev/null");
    busy.start(`/bench/files /data ${FILES} 0`);
    const points: Point[] = [];
    const watch = async (seconds: number): Promise<void> => {
      const start = performance.now();
      while (performance.now() - start < 1000 * seconds) {
        await sleep(1000);
        const { user, system } = process.cpuUsage();
        const [its, others] = [idle.vm.holding, busy.vm.holding];
        const operations = [...busy.text.matchAll(/^(\d+)\r?$/gm)].reduce((sum, [, count]) => sum + Number(count), 0);
        points.push({ at: (performance.now() - began) / 1000, idle: (its.own * PAGE) / MIB, busy: (others.own * PAGE) / MIB, operations, cpu: (user + system) / 1e6 });
      }
    };
    const began = performance.now();
    await watch(BEFORE);
    const before = points.length - 1;
    machine.harts.memory.change({ idleTax: TAX });
    await watch(AFTER);
    const rate = (end: number): number => {
      const [last, first] = [points[end]!, points.findLast(({ at }) => at <= points[end]!.at - LAST)!];
      return (last.operations - first.operations) / (last.cpu - first.cpu);
    };
    const [slow, quick] = [rate(before), rate(points.length - 1)];
    const amounts = (point: Point): string => `${point.idle.toFixed(0)} and ${point.busy.toFixed(0)} MiB`;
    const detail = `the idle and the busy VM have ${amounts(points[before]!)} without it, ${amounts(points.at(-1)!)} with it; ${slow.toFixed(0)} operations for each CPU second before, ${quick.toFixed(0)} after; ${EACH} MiB each on ${MACHINE}, ${FILES / 4} of ${DISK} MiB of files`;
    plan.progress(`  ${detail}`);
    const line = (of: (point: Point) => number) => points.map((point) => [point.at, of(point)] as const);
    const step = points[before]!.at;
    return {
      results: [judge("idle tax from 0 to 75 %: the busy VM's gain", 100 * (quick / slow - 1), "% of throughput", ["≥", 30], "over 30", detail)],
      figures: {
        "tax-step": {
          title: "Frames of their own, as the tax rises from 0 to 75 %", x: { label: "seconds", max: Math.ceil(points.at(-1)!.at) }, y: { label: "MiB", max: EACH },
          series: [{ name: "idle VM", points: line((point) => point.idle) }, { name: "busy VM", points: line((point) => point.busy) }, { name: "the tax rises", points: [[step, 0], [step, EACH]], reference: true }],
        },
      },
    };
  });
});
