/** What the monitor finds out of a guest's use of its memory, against a guest that uses what is known, by every technique. */
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { Random } from "#base/random.ts";
import { Sampler } from "#monitor/memory/sampler.ts";
import { address } from "#platform/memory-map.ts";
import { TestMonitor } from "../kit/monitor.ts";
import { allTechniques, titleOf } from "../kit/techniques.ts";

const [FIRST, PASSES] = [16, 8];
/** So many pages are written once; and after that, each `step`th is read again and again, passes being counted in a page of its own. */
const program = (pages: number, step: number): string => `
  li   s0, ${address.memory + FIRST * 4096}
  li   s1, ${address.memory + (FIRST + pages) * 4096}
  li   s2, ${address.memory + PASSES * 4096}
  li   s3, ${step * 4096}
  li   s4, 4096
  mv   t0, s0
  fill:
  sd   t0, 0(t0)
  add  t0, t0, s4
  bltu t0, s1, fill
  pass:
  ld   t1, 0(s2)
  addi t1, t1, 1
  sd   t1, 0(s2)
  mv   t0, s0
  touch:
  ld   t1, 0(t0)
  add  t0, t0, s3
  bltu t0, s1, touch
  j    pass`;

/** Of a VM with so many pages, of which it uses those that a `program` does. */
interface Case {
  readonly memory: number;
  readonly pages: number;
  readonly step: number;
}

const SMALL: Case = { memory: 1024, pages: 990, step: 3 };
/** Beside what it reads: its code, and the page of the passes. */
const used = ({ memory, pages, step }: Case): number => (Math.ceil(pages / step) + 2) / memory;

for (const technique of allTechniques) suite(`a working set on ${titleOf(technique)}`, () => {
  const periods = (samplePages: number, count: number, { memory: size, pages, step } = SMALL): { readonly estimates: readonly number[]; readonly sampler: Sampler } => {
    const monitor = new TestMonitor({ translate: true });
    const guest = monitor.create(program(pages, step), { technique, memory: size * 4096 });
    const { memory } = guest.vm;
    const passes = (): number => new DataView(memory.readable(address.memory + PASSES * 4096, 8).slice().buffer).getUint32(0, true);
    monitor.start(guest);
    const more = (some: number): void => {
      const before = passes();
      monitor.run(() => passes() >= before + some);
    };
    more(2);
    const sampler = new Sampler(memory, new Random(1));
    const estimates: number[] = [];
    for (let period = 0; period <= count; period++) {
      sampler.attend(30_000 * period, { samplePages, samplePeriod: 30 });
      if (period > 0) estimates.push(sampler.estimate);
      more(2);
    }
    return { estimates, sampler };
  };

  test("is found to a page, where all are sampled", () => {
    const [first, second] = periods(1024, 2).estimates;
    assert.deepEqual([first, second], [used(SMALL), used(SMALL)]);
  });

  test("is found within 10 points by 100 pages", () => {
    const { estimates, sampler } = periods(100, 6);
    // The first are of few samples.
    for (const estimate of estimates.slice(2)) assert.ok(Math.abs(estimate - used(SMALL)) < 0.1, `${estimates}`);
    assert.equal(new Sampler({} as ConstructorParameters<typeof Sampler>[0], new Random(1), sampler.save()).estimate, sampler.estimate);
  });

  for (const step of [1, 2, 20]) test(`is found within 3 points by 1500 pages of 4096, if it is one in ${step}`, () => {
    const some = { memory: 4096, pages: 4000, step };
    const { estimates } = periods(1500, 2, some);
    for (const estimate of estimates) assert.ok(Math.abs(estimate - used(some)) < 0.03, `${estimates}, and it is ${used(some)}`);
  });
});
