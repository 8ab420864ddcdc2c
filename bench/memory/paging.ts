/** Double paging: a guest that swaps on a machine that pages, against a guest that swaps because its balloon took what the machine hasn't. */
import { setTimeout as sleep } from "node:timers/promises";
import { MIB, onMachine, PAGE, type Debian } from "./debian.ts";
import { withDisks } from "./disk.ts";
import { judge, type Experiment, type Found, type MemoryPlan } from "./experiment.ts";

/** MiB: what the guest was promised; what there is for it; and its swap disk. */
const PROMISED = 256;
const THERE = 160;
const SWAP = 384;
/** More than the guest has, most of it seldom used. */
const WORK = "/bench/pages 200 400000";
const paths = ["host paging", "balloon"] as const;

interface Cost {
  readonly cpuSeconds: number;
  /** Pages: by the host, by the guest. */
  readonly hostIn: number;
  readonly hostOut: number;
  readonly guestIn: number;
  readonly guestOut: number;
}

async function guestSwaps(vm: Debian): Promise<readonly [into: number, out: number]> {
  const text = await vm.run("grep pswp /proc/vmstat");
  const count = (name: string): number => Number(new RegExp(`^${name} (\\d+)`, "m").exec(text)![1]);
  return [count("pswpin"), count("pswpout")];
}

function measure(plan: MemoryPlan, path: (typeof paths)[number]): Promise<Cost> {
  return withDisks((disks) => onMachine({ harts: 1, memory: (path === "balloon" ? PROMISED + 16 : THERE) * MIB, swap: { path: disks.path(), size: 2 * PROMISED * MIB } }, async (machine) => {
    const vm = await machine.create(plan.tools, { memory: PROMISED, managed: false, drives: [{ path: disks.create(SWAP), readOnly: false }] });
    await vm.prompt();
    await vm.run("mkswap /dev/vda >/dev/null && swapon /dev/vda");
    if (path === "balloon") {
      const pages = ((PROMISED - THERE) * MIB) / PAGE;
      vm.vm.inflate(pages);
      while (vm.vm.holding.ballooned < pages) await sleep(100);
    }
    const [paged, swapped, { user, system }] = [await vm.paging(), await guestSwaps(vm), process.cpuUsage()];
    await vm.run(WORK);
    const after = process.cpuUsage();
    const [nowPaged, nowSwapped] = [await vm.paging(), await guestSwaps(vm)];
    const cost = {
      cpuSeconds: (after.user + after.system - user - system) / 1e6, hostIn: nowPaged.ins - paged.ins, hostOut: nowPaged.outs - paged.outs,
      guestIn: nowSwapped[0] - swapped[0], guestOut: nowSwapped[1] - swapped[1],
    };
    plan.progress(`  ${path}: ${JSON.stringify(cost)}`);
    return cost;
  }));
}

export const doublePaging: Experiment = async (plan): Promise<Found> => {
  const [host, balloon] = [await measure(plan, "host paging"), await measure(plan, "balloon")];
  const told = ({ cpuSeconds, hostIn, hostOut, guestIn, guestOut }: Cost): string => `${cpuSeconds.toFixed(1)} s of CPU time, the host pages ${hostOut} out and ${hostIn} in, the guest ${guestOut} and ${guestIn}`;
  const moved = ({ hostIn, hostOut, guestIn, guestOut }: Cost): number => hostIn + hostOut + guestIn + guestOut;
  const detail = `host paging: ${told(host)}; balloon: ${told(balloon)}; ${PROMISED} MiB promised, ${THERE} there`;
  return {
    results: [
      judge("a guest that swaps on a host that pages, against its balloon: pages to and from disks", moved(host) / moved(balloon), "times as many", undefined, "described", detail),
      judge("the same: CPU time", host.cpuSeconds / balloon.cpuSeconds, "times as much", undefined, "", "the disks are files in the host's cache: what the guest pages costs its kernel's and its driver's instructions, what the host pages does not"),
    ],
  };
};
