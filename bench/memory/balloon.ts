/** What a ballooned guest does against one that was made so small: figure 2 of the paper. */
import { setTimeout as sleep } from "node:timers/promises";
import { median } from "../statistics.ts";
import { MIB, onMachine, PAGE, type Debian } from "./debian.ts";
import { mountNew, mountOld, withDisks, type Disks } from "./disk.ts";
import { judge, type Experiment, type Found, type MemoryPlan } from "./experiment.ts";

/** MiB. */
const FULL = 256;
const SIZES = [128, 192];
export const DISK = 256;
/** Of 256 KiB each. */
const FILES = 440;
const OPERATIONS = 20_000;
const WORK = `/bench/files /data ${FILES} ${OPERATIONS}`;

/** A disk with files. */
export async function prepareDisk({ tools }: MemoryPlan, disks: Disks, files: number): Promise<string> {
  const disk = disks.create(DISK);
  await onMachine({ each: FULL }, async (machine) => {
    const vm = await machine.create(tools, { memory: FULL, drives: [{ path: disk, readOnly: false }] });
    await vm.prompt();
    await vm.run(`${mountNew} && /bench/files /data ${files} 1 && umount /data && sync`);
  });
  return disk;
}

/** CPU seconds of this process, whose only busy guest it is: others are at work on this host, too. */
async function cost(vm: Debian): Promise<number> {
  const { user, system } = process.cpuUsage();
  await vm.run(WORK);
  const after = process.cpuUsage();
  return (after.user + after.system - user - system) / 1e6;
}

async function inflated(vm: Debian, size: number): Promise<void> {
  vm.vm.inflate(((FULL - size) * MIB) / PAGE);
  for (let i = 0; vm.vm.holding.ballooned < 0.98 * ((FULL - size) * MIB) / PAGE; i++) {
    if (i > 600) throw new Error(`the balloon has only ${vm.vm.holding.ballooned} pages`);
    await sleep(100);
  }
}

interface Compared {
  readonly size: number;
  /** Operations for each second of CPU time. */
  readonly ballooned: number;
  readonly made: number;
  readonly ratios: readonly number[];
}

export const balloon: Experiment = async (plan): Promise<Found> => withDisks(async (disks) => {
  const disk = await prepareDisk(plan, disks, FILES);
  const found: Compared[] = [];
  for (const size of SIZES) {
    found.push(await onMachine({ vms: 2, each: FULL }, async (machine) => {
      const drives = () => [{ path: disks.copy(disk), readOnly: false }];
      const large = await machine.create(plan.tools, { memory: FULL, drives: drives() });
      const small = await machine.create(plan.tools, { memory: size, drives: drives() });
      for (const vm of [large, small]) {
        await vm.prompt();
        await vm.run(mountOld);
      }
      await inflated(large, size);
      for (const vm of [large, small, large, small]) await vm.run(WORK);
      const [costs, ratios] = [{ large: [] as number[], small: [] as number[] }, [] as number[]];
      for (let round = 0; round < 2 * plan.rounds; round++) {
        // Whoever comes second has translations that the first one waited for.
        for (const which of round % 2 === 0 ? (["large", "small"] as const) : (["small", "large"] as const)) costs[which].push(await cost({ large, small }[which]));
        ratios.push(costs.small.at(-1)! / costs.large.at(-1)!);
      }
      plan.progress(`  ${size} MiB: ${ratios.map((ratio) => ratio.toFixed(3)).join(" ")}`);
      return { size, ballooned: OPERATIONS / median(costs.large), made: OPERATIONS / median(costs.small), ratios };
    }));
  }
  const half = found[0]!;
  const each = found.map(({ size, ratios }) => `${size} MiB: ${(100 * (1 - median(ratios))).toFixed(1)} %`).join(", ");
  const series = (of: (compared: Compared) => number) => found.map((compared) => [compared.size, of(compared)] as const);
  return {
    results: [judge("a balloon of half the guest against a guest made that size", 100 * (1 - median(half.ratios)), "% of throughput", ["≤", 5], "4.4 to 1.4", `${each}; a guest of ${FULL} MiB, ${FILES / 4} MiB of files, operations for each second of CPU time`)],
    figures: {
      "balloon-overhead": {
        title: "Work on files in a ballooned guest", x: { label: "MiB left to the guest", min: 128, max: 256 }, y: { label: "operations for each CPU second", max: Math.ceil(Math.max(...found.flatMap(({ ballooned, made }) => [ballooned, made])) / 1000) * 1000 },
        series: [{ name: `balloon in ${FULL} MiB`, points: series(({ ballooned }) => ballooned) }, { name: "made so large", points: series(({ made }) => made) }],
      },
    },
  };
});
