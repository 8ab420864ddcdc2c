import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { Random } from "#base/random.ts";
import { sample, WorkingSet } from "./working-set.ts";

const PAGES = 65_536;

/** Periods in which a guest touches the same part of its memory, wherever that lies; returns the estimate at the end of each. */
function watch(parts: readonly number[], samplePages: number, seed: number): number[] {
  const [set, random] = [new WorkingSet(), new Random(seed)];
  return parts.map((part) => {
    const pages = sample(samplePages, PAGES, random);
    set.begin(pages.length);
    // What it uses is every k-th page or so: a sample must not mind.
    for (const page of pages) if ((page * 40_503) % PAGES < part * PAGES) set.touched();
    set.end();
    return set.estimate;
  });
}

const steady = (part: number): readonly number[] => Array.from({ length: 20 }, () => part);

suite("a working set, estimated", () => {
  // Periods are independent; the fast average of 100 pages has a standard deviation of 2.9 points at most, and the largest of three is a bit too large.
  for (const [samplePages, points] of [[100, 10], [2000, 3]] as const) {
    test(`by ${samplePages} pages in a period, is within ${points} points`, () => {
      for (const part of [0, 0.1, 0.35, 0.5, 0.8, 1]) {
        for (let seed = 0; seed < 20; seed++) {
          for (const estimate of watch(steady(part), samplePages, seed).slice(5)) assert.ok(Math.abs(estimate - part) < points / 100, `${estimate} of ${part}, seed ${seed}`);
        }
      }
    });
  }

  test("is not far off on average", () => {
    const all = Array.from({ length: 200 }, (_, seed) => watch(steady(0.4), 100, seed).at(-1)!);
    const mean = all.reduce((sum, one) => sum + one, 0) / all.length;
    assert.ok(mean > 0.4 && mean < 0.43, `${mean}`);
  });

  test("grows at once, and shrinks slowly", () => {
    const grown = watch([...steady(0.1), 0.9, 0.9, 0.9], 1000, 1).slice(20);
    assert.ok(grown[0]! > 0.45 && grown[2]! > 0.75, `${grown}`);
    const shrunk = watch([...steady(0.9), 0.1, 0.1, 0.1, ...steady(0.1)], 1000, 1).slice(20);
    assert.ok(shrunk[2]! > 0.55 && shrunk.at(-1)! < 0.2, `${shrunk}`);
  });

  test("sees what is touched before the period is over", () => {
    const set = new WorkingSet();
    assert.equal(set.estimate, 1, "nothing is known yet");
    set.begin(10);
    set.end();
    assert.equal(set.estimate, 0);
    set.begin(10);
    for (let i = 0; i < 8; i++) set.touched();
    assert.equal(set.estimate, 0.4);
    const moved = new WorkingSet(structuredClone(set.save()));
    moved.end();
    assert.equal(moved.estimate, 0.4);
  });

  test("a period without a sample says nothing", () => {
    const set = new WorkingSet();
    set.begin(0);
    set.end();
    assert.equal(set.estimate, 1);
  });
});

suite("a sample", () => {
  test("has so many different pages, or all", () => {
    const random = new Random(3);
    for (const [count, limit] of [[0, 10], [1, 1], [10, 10], [20, 10], [100, 1000]] as const) {
      const pages = sample(count, limit, random);
      assert.equal(new Set(pages).size, Math.min(count, limit));
      assert.equal(pages.length, Math.min(count, limit));
      assert.ok(pages.every((page) => page >= 0 && page < limit));
    }
  });

  test("takes each page as often as any other", () => {
    const [counts, random] = [new Array<number>(20).fill(0), new Random(4)];
    for (let i = 0; i < 4000; i++) for (const page of sample(5, 20, random)) counts[page]!++;
    // Each is binomial: 1000 on average, with a standard deviation of 27.
    for (const count of counts) assert.ok(Math.abs(count - 1000) < 110, `${counts}`);
  });
});
