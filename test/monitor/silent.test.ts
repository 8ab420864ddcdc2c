/** A deprivileged kernel on the silent machine: what goes wrong for it, and that the monitor can say which instructions did it. */
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { standardModel } from "#machine/model.ts";
import { EXIT, TestMonitor } from "../kit/monitor.ts";

/** Ends with 0 if SIE and SUM hold what is written to them, 200 times, and a trap's vector too, which no machine is silent about. */
const kernel = `
        li    s0, 200
        li    s1, 0
again:  csrsi sstatus, 2
        csrr  t0, sstatus
        andi  t0, t0, 2
        li    t1, 2
        beq   t0, t1, held
        addi  s1, s1, 1
held:   csrci sstatus, 2
        sfence.vma
        addi  s0, s0, -1
        bnez  s0, again
        csrw  stvec, s0
        snez  a0, s1
${EXIT}`;

suite("a kernel in U-mode", () => {
  const run = (kind: "standard" | "silent", cpu: "trap-and-emulate" | "hardware", translate: boolean) => {
    const vm = new TestMonitor({ model: { ...standardModel, kind }, translate }).runToEnd(kernel, { cpu });
    return { end: vm.end(), lost: vm.x(9), silenced: vm.vm.silenced };
  };

  for (const translate of [false, true]) {
    const tier = translate ? "with the translator" : "interpreted";
    test(`notices nothing on the standard machine, ${tier}`, () => {
      const { end, silenced } = run("standard", "trap-and-emulate", translate);
      assert.deepEqual([end, silenced], [{ kind: "fail", code: 0 }, []]);
    });

    test(`loses its status on the silent one, and the monitor says by what, ${tier}`, () => {
      const { end, lost, silenced } = run("silent", "trap-and-emulate", translate);
      assert.deepEqual(end, { kind: "fail", code: 1 });
      assert.equal(lost, 200n);
      assert.deepEqual(silenced, [
        { what: "sstatus", times: 600, since: 3, first: { pc: 0x80000008n, instruction: "csrrsi zero, sstatus, 2" } },
        { what: "sfence.vma", times: 200, since: 10, first: { pc: 0x80000024n, instruction: "sfence.vma zero, zero" } },
      ]);
    });
  }

  test("that isn't deprivileged notices nothing on either", () => {
    const { end, silenced } = run("silent", "hardware", false);
    assert.deepEqual([end, silenced], [{ kind: "fail", code: 0 }, []]);
  });
});
