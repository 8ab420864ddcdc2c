/** What many machines on one cost: `npm run bench -- monitor`. The targets are of the machine with its monitor; the bare machine's are in the other groups. */
import { setTimeout as sleep } from "node:timers/promises";
import { HostelryError } from "#base/errors.ts";
import type { VirtualMachine } from "#monitor/vm.ts";
import { EXIT, TestMonitor } from "../test/kit/monitor.ts";
import type { GuestFiles } from "./machines.ts";
import { median } from "./statistics.ts";
import { bootInTurn, withVms, type BenchVm } from "./vms.ts";

export interface MonitorResult {
  readonly name: string;
  readonly value: number;
  readonly unit: string;
  readonly target: string;
  readonly reached: boolean;
  readonly detail: string;
}

export interface MonitorPlan {
  /** The default image, and the one with the driver. */
  readonly shell: GuestFiles;
  readonly driver: GuestFiles;
  readonly rounds: number;
  /** Parts of names of what is to be measured; all without any. */
  readonly filters: readonly string[];
  readonly progress: (line: string) => void;
}

/** Work of about a second, without system calls. */
const WORK = "/bench/coremix 3500";
/** A sixteenth of what all do together. */
const SHARED_WORK = "/bench/coremix 7000";
const ENDLESS = "/bench/coremix 100000000";
const FORK_BOMB = "/bench/bomb";

const MEASUREMENTS = [hypercall, trace, exitsOfBoot, onePerHart, sixteen, tenthBoot, shares, forkBomb, idle] as const;

/** Throws HostelryError `bad-usage` if the filters leave nothing. */
export async function measureMonitor(plan: MonitorPlan): Promise<MonitorResult[]> {
  const chosen = MEASUREMENTS.filter(({ name }) => plan.filters.length === 0 || plan.filters.some((filter) => name.includes(filter)));
  if (chosen.length === 0) throw new HostelryError("bad-usage", `monitor measures ${MEASUREMENTS.map(({ name }) => name).join(", ")}: none is called so`);
  const results: MonitorResult[] = [];
  for (const measure of chosen) {
    plan.progress(`monitor: ${measure.name}`);
    results.push(await measure(plan));
  }
  return results;
}

/** Null hypercalls, by batches, since one alone is below the resolution of any clock here; `next` is called before each. Returns microseconds per call. */
function nullHypercalls(batches: number, next: (vm: VirtualMachine, batch: number) => void = () => {}): number[] {
  const batch = 20_000;
  const turn = 5;
  const monitor = new TestMonitor({ translate: true });
  const guest = monitor.create(`
    li   s0, ${(batches + 1) * batch}
    again:
    li   a7, 0x10
    li   a6, 0
    ecall
    addi s0, s0, -1
    bnez s0, again
    li   a0, 0
    ${EXIT}`, { clock: "host" });
  monitor.start(guest);
  const { computer } = guest.vm;
  const samples: number[] = [];
  let [calls, at] = [0, performance.now()];
  monitor.run(() => {
    const [now, count] = [performance.now(), computer.instret / turn];
    if (count - calls >= batch) {
      samples.push(((now - at) * 1000) / (count - calls));
      next(guest.vm, samples.length);
      [calls, at] = [count, performance.now()];
    }
    computer.longestSlice = turn * batch;
    return guest.end() !== undefined;
  }, 60_000);
  return samples;
}

async function hypercall(): Promise<MonitorResult> {
  const samples = nullHypercalls(50);
  const value = median(samples);
  return { name: "null hypercall through the handler in TypeScript", value, unit: "µs", target: "≤ 0.5", reached: value <= 0.5, detail: `median of ${samples.length} batches, of 20 000 each` };
}

/** In a loop of nothing but exits, recorded and not, in turn; and from that, in a boot, which has more of them than any work that follows. */
async function trace({ shell }: MonitorPlan): Promise<MonitorResult> {
  let recorded: VirtualMachine["record"] | undefined;
  const samples = nullHypercalls(200, (vm, batch) => {
    recorded ??= vm.record.bind(vm);
    vm.record = batch % 2 === 0 ? recorded : () => {};
  });
  const [without, withIt] = [1, 0].map((parity) => median(samples.filter((_, batch) => batch % 2 === parity)));
  const cost = withIt! - without!;
  return withVms(shell, { harts: 1, vms: 1, memory: shell.memory, driver: false }, async ([vm]) => {
    const { exits, guestSeconds, monitorSeconds } = await vm!.stats();
    const count = Object.values(exits).reduce((sum, some) => sum + some, 0);
    const value = ((count * cost) / 1e6 / (guestSeconds + monitorSeconds)) * 100;
    const detail = `${(cost * 1000).toFixed(0)} ns an exit: ${((cost / without!) * 100).toFixed(1)} % of a null hypercall; ${count} exits in a boot of ${(guestSeconds + monitorSeconds).toFixed(2)} s`;
    return { name: "recording exits, of the time of a boot", value, unit: "%", target: "≤ 2", reached: value <= 2, detail };
  });
}

async function exitsOfBoot({ shell }: MonitorPlan): Promise<MonitorResult> {
  return withVms(shell, { harts: 1, vms: 1, memory: shell.memory, driver: false }, async ([vm]) => {
    const { exits, instructions, guestSeconds, monitorSeconds } = await vm!.stats();
    const { slice, wait, ...causes } = exits;
    const all = Object.values(causes).reduce((sum, count) => sum + count, 0);
    const listed = Object.entries({ ...causes, wait, slice }).map(([cause, count]) => `${cause} ${count}`).join(", ");
    return {
      name: "exits of a boot to the shell", value: (all / instructions) * 1e6, unit: "per million instructions", target: "", reached: true,
      detail: `${listed}; ${guestSeconds.toFixed(2)} s in the guest, ${monitorSeconds.toFixed(2)} s in the monitor`,
    };
  });
}

async function onePerHart({ driver, rounds }: MonitorPlan): Promise<MonitorResult> {
  return withVms(driver, { harts: 2, vms: 2 }, async (vms) => {
    for (const vm of vms) await vm.run(WORK);
    const ratios: number[] = [];
    for (let round = 0; round < rounds; round++) {
      for (const vm of vms) {
        const alone = await vm.run(WORK);
        const together = await Promise.all(vms.map((other) => other.run(WORK)));
        ratios.push(alone / together[vms.indexOf(vm)]!);
      }
    }
    const value = median(ratios);
    return { name: "two VMs on two harts, each against itself alone", value, unit: "of its speed", target: "≥ 0.95", reached: value >= 0.95, detail: ratios.map((ratio) => ratio.toFixed(2)).join(" ") };
  });
}

/** The same work in all: a sixteenth in each of sixteen, and half in each of two while the others rest, in turn. */
async function sixteen({ driver, rounds }: MonitorPlan): Promise<MonitorResult> {
  return withVms(driver, { harts: 2, vms: 16 }, async (vms) => {
    const seconds = async (some: readonly BenchVm[], command: string, times: number): Promise<number> => {
      const before = performance.now();
      await Promise.all(some.map(async (vm) => {
        for (let i = 0; i < times; i++) await vm.run(command);
      }));
      return (performance.now() - before) / 1000;
    };
    await seconds(vms, WORK, 1);
    const ratios: number[] = [];
    for (let round = 0; round < rounds; round++) {
      const few = await seconds(vms.slice(0, 2), SHARED_WORK, 8);
      ratios.push(few / (await seconds(vms, SHARED_WORK, 1)));
    }
    const value = median(ratios);
    return { name: "sixteen busy VMs on two harts, their throughput against that of two", value, unit: "of it", target: "≥ 0.92", reached: value >= 0.92, detail: ratios.map((ratio) => ratio.toFixed(2)).join(" ") };
  });
}

/** One after the other; those before it rest. */
async function tenthBoot({ shell, rounds }: MonitorPlan): Promise<MonitorResult> {
  const [first, tenth] = [[] as number[], [] as number[]];
  for (let round = 0; round < rounds; round++) {
    const boots = await bootInTurn(shell, 10);
    first.push(boots[0]!);
    tenth.push(boots[9]!);
  }
  const value = median(tenth) / median(first);
  return { name: "the tenth identical VM's boot against the first's", value, unit: "of its time", target: "≤ 0.6", reached: value <= 0.6, detail: `${median(tenth).toFixed(2)} s against ${median(first).toFixed(2)} s` };
}

async function shares({ driver }: MonitorPlan): Promise<MonitorResult> {
  const wanted = [1, 2, 4];
  return withVms(driver, { harts: 1, vms: 3, shares: wanted }, async (vms) => {
    for (const vm of vms) vm.start(ENDLESS);
    await sleep(3000);
    const used = (): Promise<number[]> => Promise.all(vms.map(hartSeconds));
    const before = await used();
    await sleep(10_000);
    const after = await used();
    const times = after.map((time, i) => time - before[i]!);
    const total = times.reduce((sum, time) => sum + time, 0);
    const errors = times.map((time, i) => Math.abs(time / total / (wanted[i]! / 7) - 1));
    const value = Math.max(...errors) * 100;
    return { name: "shares 1:2:4 on one hart over 10 s, the largest deviation", value, unit: "%", target: "≤ 3", reached: value <= 3, detail: times.map((time) => `${time.toFixed(2)} s`).join(" ") };
  });
}

/** What a VM has had of its hart. */
async function hartSeconds(vm: BenchVm): Promise<number> {
  const { guestSeconds, monitorSeconds } = await vm.stats();
  return guestSeconds + monitorSeconds;
}

/** The victim against itself alone, the bomb's VM paused: half of the hart is its share, if the bomb uses the other half. */
async function forkBomb({ driver, rounds }: MonitorPlan): Promise<MonitorResult> {
  return withVms(driver, { harts: 1, vms: 2 }, async ([victim, bomber]) => {
    await victim!.run(WORK);
    bomber!.start(FORK_BOMB);
    await sleep(3000);
    const [costs, uses] = [[] as number[], [] as number[]];
    for (let round = 0; round < 3 * rounds; round++) {
      bomber!.vm.pause();
      const alone = await victim!.run(SHARED_WORK);
      bomber!.vm.resume();
      const before = await hartSeconds(bomber!);
      const attacked = await victim!.run(SHARED_WORK);
      costs.push((attacked / (2 * alone) - 1) * 100);
      uses.push(((await hartSeconds(bomber!)) - before) / attacked);
    }
    const [value, used] = [median(costs), median(uses)];
    const lived = used > 0.4;
    const detail = `${costs.map((cost) => cost.toFixed(1)).join(" ")}; the bomb used ${(used * 100).toFixed(1)} % of the hart${lived ? "" : ", which is too little to say anything"}`;
    return { name: "a fork bomb in another VM, beyond its share", value, unit: "%", target: "≤ 5", reached: lived && value <= 5, detail };
  });
}

async function idle({ shell }: MonitorPlan): Promise<MonitorResult> {
  return withVms(shell, { harts: 1, vms: 1, memory: shell.memory, driver: false }, async () => {
    await sleep(8000);
    const before = process.cpuUsage();
    await sleep(10_000);
    const { user, system } = process.cpuUsage(before);
    const value = (user + system) / 1e5;
    return { name: "an idle VM's host CPU", value, unit: "%", target: "≤ 0.5", reached: value <= 0.5, detail: "ten seconds at the prompt, after eight" };
  });
}

export function renderMonitor(results: readonly MonitorResult[]): string {
  return results.map(({ name, value, unit, target, reached, detail }) => {
    const verdict = target === "" ? "" : ` (${target}: ${reached ? "reached" : "not reached"})`;
    return `${name}: ${value.toPrecision(3)} ${unit}${verdict}\n    ${detail}\n`;
  }).join("");
}
