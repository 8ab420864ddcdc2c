/** More VMs than the machine has memory for: 4 GiB promised on 1 GiB. */
import { setTimeout as sleep } from "node:timers/promises";
import { metadata } from "./costs.ts";
import { MIB, onMachine, PAGE } from "./debian.ts";
import { withDisks } from "./disk.ts";
import { median } from "../statistics.ts";
import { judge, type Experiment, type Found } from "./experiment.ts";
import { bootTogether } from "./sharing.ts";

const VMS = 32;
const MEMORY = 1024;
const SWAP = 1024;
/** Milliseconds. */
const REST = 5000;

export const many: Experiment = async ({ shell, progress }): Promise<Found> => withDisks((disks) =>
  onMachine({ memory: MEMORY * MIB, swap: { path: disks.path(), size: SWAP * MIB } }, async (machine) => {
    const before = performance.now();
    await bootTogether(VMS, () => {
      const { free, total } = machine.harts.frames;
      progress(`  ${machine.vms.length} VMs after ${((performance.now() - before) / 1000).toFixed(0)} s: ${Math.round((100 * free) / total)} % free`);
      return machine.create(shell);
    });
    const seconds = (performance.now() - before) / 1000;
    await sleep(REST);
    const answers: number[] = [];
    for (const vm of machine.vms) answers.push(await vm.time("echo $((6 * 7)) | grep 42"));
    const killed = (await Promise.all(machine.vms.map((vm) => vm.run("dmesg | grep -c -i 'out of memory' | cat")))).filter((text) => !/^0\r?$/m.test(text)).length;
    const audit = await machine.audit();
    const use = await machine.use();
    const sum = (of: (each: (typeof use)[number]) => number): string => `${Math.round(use.reduce((all, each) => all + of(each), 0) / MIB)} MiB`;
    const inMiB = (pages: number): string => `${Math.round((pages * PAGE) / MIB)} MiB`;
    const detail = `half of them within ${median(answers).toFixed(2)} s; all at a shell after ${seconds.toFixed(0)} s; ${killed} with a process killed for want of memory; ${inMiB(audit.mapped)} mapped, of which ${inMiB(audit.zero)} zeros; \
${inMiB(audit.reclaimed)} reclaimed by sharing, ${sum((each) => each.ballooned)} ballooned, ${sum((each) => each.pagedOut)} paged out; ${inMiB(machine.harts.frames.free)} free`;
    const slowest = judge("32 VMs of 128 MiB on 1 GiB: the slowest answer", Math.max(...answers), "s", ["≤", 1], "", detail);
    return { results: [{ ...slowest, reached: slowest.reached && killed === 0 }, metadata(machine, "metadata, four times as much promised as there is")] };
  }));
