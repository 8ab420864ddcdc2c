/** What a guest uses, estimated by sampling: figure 6 of the paper. */
import { setTimeout as sleep } from "node:timers/promises";
import { onMachine } from "./debian.ts";
import { judge, type Experiment, type Found } from "./experiment.ts";

/** MiB: of the VM; and what is touched, for so many periods, one after the other. It takes the slow average a while to come down. */
const MEMORY = 256;
const PHASES = [[0, 8], [60, 8], [120, 8], [30, 22]] as const;
/** Seconds. */
const PERIOD = 1.5;
/** Periods before it is looked at: it was busy until then. */
const WARM_UP = 12;
/** Those at the end of a phase by which the estimate is judged. */
const LAST = 4;
const SAMPLES = { few: 100, many: 4000 } as const;

interface Point {
  readonly at: number;
  readonly touched: number;
  readonly estimate: number;
}

async function follow({ tools, progress }: Parameters<Experiment>[0], samplePages: number): Promise<readonly Point[]> {
  return onMachine({ harts: 1, each: MEMORY, policy: { samplePages, samplePeriod: PERIOD } }, async (machine) => {
    const vm = await machine.create(tools, { memory: MEMORY });
    await vm.prompt();
    const most = Math.max(...PHASES.map(([touched]) => touched));
    await vm.run(`echo 0 >/tmp/touch; (/bench/toucher /tmp/touch 50 ${most} >/tmp/touched &)`);
    const points: Point[] = [];
    await sleep(1000 * PERIOD * WARM_UP);
    const start = performance.now();
    for (const [touched, periods] of PHASES) {
      await vm.run(`echo ${touched} >/tmp/touch; until [ "$(tail -n 1 /tmp/touched)" = "${touched === 0 ? "" : touched}" ]; do sleep 0.1; done`);
      for (let i = 0; i < periods; i++) {
        await sleep(1000 * PERIOD);
        points.push({ at: (performance.now() - start) / 1000, touched, estimate: vm.vm.holding.active * MEMORY });
      }
    }
    progress(`  ${samplePages} pages a period: ${points.map(({ touched, estimate }) => `${estimate.toFixed(0)}/${touched}`).join(" ")}`);
    return points;
  });
}

/** The largest distance of the estimate from what is touched, in parts of all memory, at the ends of phases. */
function worst(points: readonly Point[]): number {
  let [end, most] = [0, 0];
  for (const [, periods] of PHASES) {
    end += periods;
    const last = points.slice(end - LAST, end);
    const estimate = last.reduce((sum, point) => sum + point.estimate, 0) / LAST;
    most = Math.max(most, Math.abs(estimate - last[0]!.touched) / MEMORY);
  }
  return most;
}

export const workingSet: Experiment = async (plan): Promise<Found> => {
  const [few, many] = await Promise.all([follow(plan, SAMPLES.few), follow(plan, SAMPLES.many)]);
  const detail = (samples: number): string => `${samples} pages each ${PERIOD} s; ${PHASES.map(([touched]) => touched).join(", ")} of ${MEMORY} MiB touched; the mean of a phase's last ${LAST} periods`;
  const line = (points: readonly Point[], of: (point: Point) => number) => points.map((point) => [point.at, of(point)] as const);
  return {
    results: [
      judge("working set, the estimate's largest error", 100 * worst(few), "points of all memory", ["≤", 10], "", detail(SAMPLES.few)),
      judge("working set, the same with more samples", 100 * worst(many), "points of all memory", ["≤", 3], "", detail(SAMPLES.many)),
    ],
    figures: {
      "active-memory": {
        title: "Active memory over time", x: { label: "seconds", max: Math.ceil(Math.max(few.at(-1)!.at, many.at(-1)!.at)) }, y: { label: "MiB", max: 160 },
        series: [
          { name: "touched", points: line(few, ({ touched }) => touched), reference: true },
          { name: `estimate, ${SAMPLES.few} pages`, points: line(few, ({ estimate }) => estimate) }, { name: `estimate, ${SAMPLES.many} pages`, points: line(many, ({ estimate }) => estimate) },
        ],
      },
    },
  };
};
