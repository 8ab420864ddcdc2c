/** What the monitor finds out of a guest's use of its memory, against a guest that uses what is known, by every technique. */
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { Random } from "#base/random.ts";
import { Sampler } from "#monitor/memory/sampler.ts";
import { address } from "#platform/memory-map.ts";
import { TestMonitor } from "../kit/monitor.ts";
import { allTechniques, titleOf } from "../kit/techniques.ts";

/** Of 1024 pages, these are written once; and after that, every third is read again and again, passes being counted in a page of its own. */
const [FIRST, PAGES, STEP, PASSES] = [16, 990, 3, 8];
const GUEST = `
  li   s0, ${address.memory + FIRST * 4096}
  li   s1, ${address.memory + (FIRST + PAGES) * 4096}
  li   s2, ${address.memory + PASSES * 4096}
  li   s3, ${STEP * 4096}
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
const USED = PAGES / STEP;

for (const technique of allTechniques) suite(`a working set on ${titleOf(technique)}`, () => {
  const periods = (samplePages: number, count: number): { readonly estimates: readonly number[]; readonly sampler: Sampler } => {
    const monitor = new TestMonitor({ translate: true });
    const guest = monitor.create(GUEST, { technique });
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
    // Beside what it reads: its code, and the page of the passes.
    assert.deepEqual([first, second], [(USED + 2) / 1024, (USED + 2) / 1024]);
  });

  test("is found within 10 points by 100 pages", () => {
    const { estimates, sampler } = periods(100, 6);
    // The first are of few samples.
    for (const estimate of estimates.slice(2)) assert.ok(Math.abs(estimate - (USED + 2) / 1024) < 0.1, `${estimates}`);
    assert.equal(new Sampler({} as ConstructorParameters<typeof Sampler>[0], new Random(1), sampler.save()).estimate, sampler.estimate);
  });
});
