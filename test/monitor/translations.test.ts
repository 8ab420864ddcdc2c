/** VMs with the same code share its translations, though it stands in other frames; and nothing else than the same code. */
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { EXIT, TestMonitor, type TestMonitorOptions, type TestVm } from "../kit/monitor.ts";

/** Turns of a loop with a call, whose sum ends in s0. */
const program = (step = 3): string => `
  li   s0, 0
  li   s1, 20000
  again:
  call add
  addi s1, s1, -1
  bnez s1, again
  li   a0, 0
  ${EXIT}
  add:
  addi s0, s0, ${step}
  ret`;

/** As the other, in s1 turns; when s2 of them are left, it writes an instruction anew. */
const rewriting = `
  li   s0, 0
  again:
  call add
  addi s1, s1, -1
  bne  s1, s2, same
  la   t0, add
  la   t1, other
  lw   t1, 0(t1)
  sw   t1, 0(t0)
  fence.i
  same:
  bnez s1, again
  li   a0, 0
  ${EXIT}
  .align 2
  add:
  addi s0, s0, 3
  ret
  .align 2
  other:
  addi s0, s0, 5`;

const sum = (vm: TestVm): bigint => vm.x(8);

/** Runs programs one after the other on one hart; what each ends in, and what the translator had done by then. */
function runAll(sources: readonly string[], options: TestMonitorOptions = { translate: true }) {
  const monitor = new TestMonitor(options);
  return sources.map((source) => {
    const vm = monitor.runToEnd(source);
    return { sum: sum(vm), instructions: vm.vm.computer.instret, places: [...(monitor.translations?.places() ?? [])].length, ...monitor.translations?.stats() };
  });
}

/** It takes turns with others often. */
function startRewriting(monitor: TestMonitor, turns: bigint, left: bigint): TestVm {
  const vm = monitor.create(rewriting);
  const { state } = vm.vm.cores[0]!;
  state.set("x", turns, 9);
  state.set("x", left, 18);
  vm.vm.computer.longestSlice = 1000;
  monitor.start(vm);
  return vm;
}

suite("translations of several VMs", () => {
  test("the same code is compiled once", () => {
    const [first, second, third] = runAll([program(), program(), program()]);
    assert.equal(first!.sum, 60_000n);
    assert.ok(first!.requested! > 0);
    assert.equal(first!.shared, 0);
    for (const later of [second!, third!]) {
      assert.equal(later.sum, first!.sum);
      assert.equal(later.requested, first!.requested);
      assert.equal(later.modules, first!.modules);
    }
    assert.ok(second!.shared! > 0);
    assert.ok(third!.shared! > second!.shared!);
  });

  test("instructions are counted as if nothing were shared, or translated", () => {
    const counts = [
      runAll([program(), program()]).map(({ instructions }) => instructions),
      runAll([program(), program()], { translate: false }).map(({ instructions }) => instructions),
    ];
    assert.deepEqual(counts[0], counts[1]);
    assert.equal(counts[0]![0], counts[0]![1]);
  });

  test("other bytes at the same addresses are other code", () => {
    const [first, other, again] = runAll([program(3), program(4), program(3)]);
    assert.deepEqual([first!.sum, other!.sum, again!.sum], [60_000n, 80_000n, 60_000n]);
    assert.ok(other!.requested! > first!.requested!);
    assert.equal(again!.requested, other!.requested);
  });

  test("who writes to his code leaves the others theirs", () => {
    const monitor = new TestMonitor({ translate: true });
    // The write is about the last that it does.
    const [writer, reader] = [startRewriting(monitor, 20_000n, 1n), startRewriting(monitor, 5_000_000n, -1n)];
    monitor.run(() => writer.end() !== undefined);
    assert.equal(reader.end(), undefined);
    const { shared, invalidated } = monitor.translations!.stats();
    assert.ok(shared > 0);
    assert.ok(invalidated > 0);
    monitor.run(() => reader.end() !== undefined);
    assert.deepEqual([sum(writer), sum(reader)], [60_002n, 15_000_000n]);
    assert.equal(monitor.translations!.stats().shared, shared);
  });

  test("code that was written comes back to its translation when it is as it was", () => {
    const monitor = new TestMonitor({ translate: true });
    const run = (): number => {
      const vm = startRewriting(monitor, 20_000n, 10_000n);
      monitor.run(() => vm.end() !== undefined);
      assert.equal(sum(vm), 80_000n);
      return monitor.translations!.stats().requested;
    };
    assert.equal(run(), run());
  });

  test("where time is spent is seen alike in one guest and in four that take turns", () => {
    const requested = (guests: number): number => {
      const monitor = new TestMonitor({ translate: true });
      const vms = Array.from({ length: guests }, () => monitor.create(`li s1, ${20_000_000 / guests}; again: addi s1, s1, -1; bnez s1, again; li a0, 0; ${EXIT}`.replaceAll(";", "\n")));
      for (const vm of vms) monitor.start(vm);
      monitor.run(() => vms.every((vm) => vm.end() !== undefined));
      return monitor.translations!.stats().requested;
    };
    // The loop, and the loop unrolled.
    assert.deepEqual([requested(1), requested(4)], [2, 2]);
  });

  test("VMs that take turns keep their TLBs, as many as a hart of a busy machine has", () => {
    const monitor = new TestMonitor({ memory: 256 << 20 });
    const touching = `li s1, -1; la s2, page; again: sd s1, 0(s2); addi s1, s1, -1; bnez s1, again; ${EXIT}; .align 12; page:`.replaceAll(";", "\n");
    // On two harts, every other VM is on this one.
    const vms = Array.from({ length: 32 }, (_, i) => monitor.create(touching, { memory: 5 << 20, id: 2 * i + 1 }));
    for (const vm of vms) {
      vm.vm.computer.longestSlice = 1000;
      monitor.start(vm);
    }
    const allRanTo = (count: number): boolean => vms.every(({ vm }) => vm.computer.instret >= count);
    monitor.run(() => allRanTo(10_000));
    const before = monitor.processor.state.counter("tlbMisses");
    monitor.run(() => allRanTo(20_000));
    assert.equal(monitor.processor.state.counter("tlbMisses"), before);
  });

  const twenty = Array.from({ length: 40 }, (_, i) => program(i % 20));
  const sums = twenty.map((_, i) => BigInt((i % 20) * 20_000));

  test("modules are let go when there are too many", () => {
    const results = runAll(twenty, { translate: true, registry: { moduleBytes: 4000 } });
    assert.deepEqual(results.map(({ sum }) => sum), sums);
    const [first] = runAll(twenty.slice(0, 1));
    // The second time, none of the twenty is there any more.
    assert.equal(results[39]!.requested, 40 * first!.requested!);
  });

  test("places are let go when there are too many, and nothing has to be compiled for that", () => {
    const results = runAll(twenty, { translate: true, registry: { places: 5 } });
    assert.deepEqual(results.map(({ sum }) => sum), sums);
    assert.equal(results[39]!.requested, results[19]!.requested);
    assert.ok(results.every(({ places }) => places < 10));
  });
});
