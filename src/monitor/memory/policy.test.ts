import assert from "node:assert/strict";
import { suite, test } from "node:test";
import fc from "fast-check";
import { adjustedRatio, allocate, nextReclaimState, policyRules, type Claim, type MemoryPolicy, type ReclaimState } from "./policy.ts";

const MIB = 256;
const runs = { numRuns: 300, seed: 2002 };
const thresholds = { high: 0.06, soft: 0.04, hard: 0.02, low: 0.01 };
const taxed = (idleTax: number): MemoryPolicy => ({ rule: "idle-tax", idleTax, ...thresholds });
/** Leaves nothing free: its figures are easier to read. */
const bare = (policy: MemoryPolicy): MemoryPolicy => ({ ...policy, high: 0 });

/** All of it mapped. */
const vm = (memory: number, active: number, shares = memory, min = 0): Claim => ({ shares, min: min * MIB, max: memory * MIB, mapped: memory * MIB, withheld: 0, active: active * MIB });
const inMiB = (pages: readonly number[]): number[] => pages.map((count) => Math.round(count / MIB));
const sum = (numbers: readonly number[]): number => numbers.reduce((all, one) => all + one, 0);
/** On a machine of so many MiB. */
const share = (claims: readonly Claim[], memory: number, policy: MemoryPolicy): number[] =>
  inMiB(allocate(claims, memory * MIB - sum(claims.map(({ mapped }) => mapped)), memory * MIB, bare(policy)));

const someClaim: fc.Arbitrary<Claim> = fc
  .record({ shares: fc.integer({ min: 1, max: 100_000 }), max: fc.integer({ min: 1, max: 2000 }), min: fc.nat(1000), mapped: fc.nat(2000), withheld: fc.nat(2000), active: fc.nat(2000) })
  .map(({ shares, max, min, mapped, withheld, active }) => ({
    shares, max, min: Math.min(min, max), mapped: Math.min(mapped, max), withheld: Math.min(withheld, max - Math.min(mapped, max)), active: Math.min(active, mapped, max),
  }));
const somePolicy: fc.Arbitrary<MemoryPolicy> = fc.record({ rule: fc.constantFrom(...policyRules), idleTax: fc.integer({ min: 0, max: 99 }).map((percent) => percent / 100) })
  .map((policy) => ({ ...policy, ...thresholds }));
const someScene = fc.record({ claims: fc.array(someClaim, { minLength: 1, maxLength: 8 }), free: fc.nat(4000), policy: somePolicy });
const wanted = ({ min, max, mapped, withheld }: Claim): number => Math.min(max, Math.max(min, mapped + withheld));

suite("allocation of memory", () => {
  test("where there is enough, everyone may have all of its own", () => {
    assert.deepEqual(share([vm(256, 0), vm(256, 256)], 512, taxed(0.75)), [256, 256]);
    assert.deepEqual(share([{ ...vm(256, 10), mapped: 10 * MIB }, vm(256, 256)], 300, taxed(0.75)), [256, 256]);
  });

  test("tax 0 and pure shares: you get what you pay for, and the idle may hoard", () => {
    const [idle, busy] = [vm(256, 0, 200), vm(256, 256, 100)];
    assert.deepEqual(share([idle, busy], 300, taxed(0)), [200, 100]);
    assert.deepEqual(share([idle, busy], 300, { ...taxed(0.75), rule: "pure-shares" }), [200, 100]);
  });

  // The paper's figure 8, with an idle VM that uses a tenth of its memory.
  test("75 %: an idle page costs four times as much, so that memory goes from the idle to the busy", () => {
    const [idle, busy] = [vm(256, 26), vm(256, 256)];
    assert.deepEqual(share([idle, busy], 360, taxed(0)), [180, 180]);
    assert.deepEqual(share([idle, busy], 360, taxed(0.75)), [104, 256]);
    // Of P pages 26 are active, and the others cost four times as much: 26 + 4 (P - 26) = 300 - P.
    assert.deepEqual(share([idle, busy], 300, taxed(0.75)), [76, 224]);
  });

  test("the working set alone: shares count for nothing", () => {
    assert.deepEqual(share([vm(256, 50, 1000), vm(256, 200, 1)], 250, { ...taxed(0.75), rule: "working-set" }), [50, 200]);
  });

  test("whoever holds less than its target may grow to it, at others' cost", () => {
    const small = { ...vm(256, 40), mapped: 40 * MIB };
    const targets = share([small, vm(256, 256), vm(256, 256)], 360, taxed(0));
    assert.deepEqual(targets, [160, 160, 160]);
  });

  test("what was guaranteed stays, though it is idle", () => {
    assert.deepEqual(share([vm(256, 0, 1, 200), vm(256, 256)], 300, taxed(0.99)), [200, 100]);
  });

  test("each has from its minimum to its maximum; together all that there is, but for a page of each", () => {
    fc.assert(fc.property(someScene, ({ claims, free, policy }) => {
      const total = 10_000;
      const targets = allocate(claims, free, total, policy);
      claims.forEach(({ min, max }, i) => assert.ok(Number.isInteger(targets[i]) && targets[i]! >= min && targets[i]! <= max));
      const available = free + sum(claims.map(({ mapped }) => mapped)) - Math.ceil(1.2 * 0.06 * total);
      const held = sum(claims.map((claim, i) => Math.min(targets[i]!, wanted(claim))));
      assert.ok(held <= Math.max(available, sum(claims.map(({ min }) => min))));
      if (sum(claims.map(wanted)) > available) assert.ok(held >= available - claims.length);
      else assert.deepEqual(targets, claims.map(({ max }) => max));
    }), runs);
  });

  test("is what comes of taking a page at a time from whoever pays least", () => {
    fc.assert(fc.property(someScene, ({ claims, free, policy }) => {
      const targets = allocate(claims, free, 10_000, policy);
      const available = free + sum(claims.map(({ mapped }) => mapped)) - Math.ceil(1.2 * 0.06 * 10_000);
      const pages = claims.map(wanted);
      if (sum(pages) <= available) return;
      while (sum(pages) > available) {
        const rich = claims.map((_, i) => i).filter((i) => pages[i]! > claims[i]!.min);
        if (rich.length === 0) break;
        const victim = rich.reduce((least, i) => (adjustedRatio(claims[i]!, pages[i]!, policy) < adjustedRatio(claims[least]!, pages[least]!, policy) ? i : least));
        pages[victim]!--;
      }
      // Several may pay the same: their last pages go in any order.
      claims.forEach((claim, i) => assert.ok(Math.abs(Math.min(targets[i]!, wanted(claim)) - pages[i]!) <= claims.length, `${targets} ${pages}`));
    }), { ...runs, numRuns: 60 });
  });

  test("more shares, or more activity under a tax, is never less memory", () => {
    fc.assert(fc.property(someScene, fc.nat(100_000), fc.nat(2000), ({ claims, free, policy }, shares, active) => {
      const target = (first: Claim, by: MemoryPolicy): number => allocate([first, ...claims.slice(1)], free, 10_000, by)[0]!;
      const claim = claims[0]!;
      const close = claims.length;
      assert.ok(target({ ...claim, shares: claim.shares + shares }, policy) >= target(claim, policy) - close);
      assert.ok(target({ ...claim, active: Math.min(claim.active + active, claim.max) }, policy) >= target(claim, policy) - close);
      const pure = taxed(0);
      assert.equal(target({ ...claim, active: 0 }, pure), target(claim, pure));
    }), runs);
  });

  test("an idle page is paid for with 1 / (1 - tax) times the shares", () => {
    for (const tax of [0, 0.5, 0.75, 0.99]) {
      const [idle, busy] = [vm(256, 0, 100), vm(256, 256, 100)].map((claim) => adjustedRatio(claim, claim.max, taxed(tax)));
      assert.ok(Math.abs(busy! / idle! - 1 / (1 - tax)) < 1e-9);
    }
  });
});

suite("states of reclaiming", () => {
  const after = (before: ReclaimState, percent: number): ReclaimState => nextReclaimState(before, percent / 100, thresholds);

  test("get worse below a threshold, by as many as there are", () => {
    assert.deepEqual([7, 4.1, 3.9, 2, 1.9, 1, 0.9].map((percent) => after("high", percent)), ["high", "high", "soft", "soft", "hard", "hard", "low"]);
  });

  test("get better only clearly above one", () => {
    assert.deepEqual([0, 1.5, 2.1, 2.3, 4.2, 4.5, 6.5, 6.7].map((percent) => after("low", percent)), ["low", "low", "low", "hard", "hard", "soft", "soft", "high"]);
    assert.deepEqual([3.9, 4.3, 6.1, 6.5].map((percent) => after("soft", percent)), ["soft", "soft", "soft", "soft"]);
  });

  test("do not go to and fro at a threshold", () => {
    let [state, changes] = ["high" as ReclaimState, 0];
    for (let i = 0; i < 100; i++) {
      const next = after(state, i % 2 === 0 ? 3.95 : 4.05);
      if (next !== state) changes++;
      state = next;
    }
    assert.equal(changes, 1);
  });
});
