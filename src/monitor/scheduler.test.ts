import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { Scheduler } from "./scheduler.ts";

/** Lets `until` milliseconds pass; everyone awake always wants to run, for slices of a length of their own. Returns who ran for how long. */
function simulate(scheduler: Scheduler<string>, until: number, slice: (item: string) => number = () => 5, now = 0): Record<string, number> {
  const ran: Record<string, number> = {};
  while (now < until) {
    const next = scheduler.next(now);
    if ("at" in next) {
      now = Math.min(next.at, until);
      continue;
    }
    const time = slice(next.run);
    now += time;
    scheduler.ran(next.run, time, now);
    ran[next.run] = (ran[next.run] ?? 0) + time;
  }
  return ran;
}

function near(actual: number | undefined, expected: number, tolerance: number): void {
  assert.ok(Math.abs((actual ?? 0) / expected - 1) <= tolerance, `${actual} is not near ${expected}`);
}

suite("the scheduler", () => {
  test("shares 1:2:4, though slices differ", () => {
    const scheduler = new Scheduler<string>();
    for (const [item, shares] of [["a", 1], ["b", 2], ["c", 4]] as const) scheduler.add(item, { shares, cap: 1 }, 0);
    const ran = simulate(scheduler, 10_000, (item) => ({ a: 1, b: 7, c: 3 })[item]!);
    near(ran["a"], 10_000 / 7, 0.01);
    near(ran["b"], 20_000 / 7, 0.01);
    near(ran["c"], 40_000 / 7, 0.01);
  });

  test("a cap holds though nobody else wants the hart", () => {
    const scheduler = new Scheduler<string>();
    scheduler.add("a", { shares: 1, cap: 0.25 }, 0);
    near(simulate(scheduler, 10_000)["a"], 2500, 0.02);
  });

  test("what a cap leaves goes to the others", () => {
    const scheduler = new Scheduler<string>();
    scheduler.add("a", { shares: 10, cap: 0.2 }, 0);
    scheduler.add("b", { shares: 1, cap: 1 }, 0);
    const ran = simulate(scheduler, 10_000);
    near(ran["a"], 2000, 0.03);
    near(ran["b"], 8000, 0.03);
  });

  test("sleeping saves nothing up", () => {
    const scheduler = new Scheduler<string>();
    scheduler.add("a", { shares: 1, cap: 1 }, 0);
    scheduler.add("b", { shares: 1, cap: 1 }, 0);
    scheduler.sleep("a", 0);
    assert.deepEqual(Object.keys(simulate(scheduler, 1000)), ["b"]);
    scheduler.wake("a", 1000);
    const ran = simulate(scheduler, 2000, () => 5, 1000);
    near(ran["a"], 500, 0.03);
  });

  test("new shares hold from now on", () => {
    const scheduler = new Scheduler<string>();
    scheduler.add("a", { shares: 1, cap: 1 }, 0);
    scheduler.add("b", { shares: 1, cap: 1 }, 0);
    simulate(scheduler, 1000);
    scheduler.set("a", { shares: 3, cap: 1 });
    near(simulate(scheduler, 2000, () => 5, 1000)["a"], 750, 0.03);
  });

  test("tells who wanted to run for how long, though it ran less", () => {
    const scheduler = new Scheduler<string>();
    scheduler.add("a", { shares: 1, cap: 1 }, 0);
    scheduler.add("b", { shares: 1, cap: 1 }, 0);
    simulate(scheduler, 1000);
    scheduler.sleep("b", 1000);
    assert.equal(scheduler.awakeFor("a", 1500), 1500);
    assert.equal(scheduler.awakeFor("b", 1500), 1000);
  });

  test("nobody awake: nobody runs", () => {
    const scheduler = new Scheduler<string>();
    scheduler.add("a", { shares: 1, cap: 1 }, 0);
    scheduler.sleep("a", 0);
    assert.deepEqual(scheduler.next(0), { at: Infinity });
  });
});
