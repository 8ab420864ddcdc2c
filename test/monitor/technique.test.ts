/** Guests by every technique, and from one to another while they run. */
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { operations } from "../../bench/technique-operations.ts";
import { rewriting } from "#machine/csr-bits.ts";
import { techniqueOf } from "#monitor/cpu/technique.ts";
import { address } from "#platform/memory-map.ts";
import { EXIT, TestMonitor, type TestVmOptions } from "../kit/monitor.ts";
import { Random } from "../kit/random.ts";
import { allTechniques, fitting, titleOf } from "../kit/techniques.ts";
import { DATA, kernel, L0, USER } from "./guest-kernel.ts";

/** Adds up in memory what timer interrupts find, and ends with their number. */
const TICKING = `
  la   t0, handler
  csrw stvec, t0
  li   s0, 0
  li   s1, 0
  li   t1, 0x20
  csrs sie, t1
  rdtime t1
  addi t1, t1, 50
  csrw stimecmp, t1
  csrsi sstatus, 2
  la   s2, sum
  work:
  addi s1, s1, 1
  ld   t1, 0(s2)
  add  t1, t1, s1
  sd   t1, 0(s2)
  li   t1, 12
  bne  s0, t1, work
  ld   s3, 0(s2)
  mv   a0, s0
  ${EXIT}
  .align 4
  handler:
  csrr t3, scause
  addi s0, s0, 1
  rdtime t2
  addi t2, t2, 50
  csrw stimecmp, t2
  sret
  .align 12
  sum: .dword 0
`;

/** What its kernel writes to its registers, it finds there. */
const REGISTERS = `
  li   t0, 0x1235
  csrw sscratch, t0
  csrw sepc, t0
  csrr s0, sscratch
  csrr s1, sepc
  csrw sie, t0
  csrr s2, sie
  csrrsi t1, sstatus, 2
  csrrci t1, sstatus, 2
  li   a0, 0
  ${EXIT}
`;

/** Two address spaces by Sv39, whose pages at one address are remapped all the time: counts what it finds wrong. */
const [ROOTS, MIDDLES, TABLES, PAGES] = [0x10_0000, 0x11_0000, 0x12_0000, 0x20_0000].map((offset) => address.memory + offset) as [number, number, number, number];
const VIRTUAL = 0x4000_0000;
const PAGE = 4096;
const ROUNDS = 300;
const pointer = (to: number): number => (to / PAGE) * 1024 + 1;
const REMAPPING = `
  li   t0, 0x40000
  csrs sstatus, t0
  ${[0, 1].map((space) => `
    li   t0, ${ROOTS + space * PAGE}
    li   t1, ${pointer(MIDDLES + space * PAGE)}
    sd   t1, 8(t0)
    li   t1, ${(address.memory / PAGE) * 1024 + 0xef}
    sd   t1, 16(t0)
    li   t0, ${MIDDLES + space * PAGE}
    li   t1, ${pointer(TABLES + space * PAGE)}
    sd   t1, 0(t0)`).join("")}
  ${Array.from({ length: 8 }, (_, page) => `
    li   t0, ${PAGES + page * PAGE}
    li   t1, ${page}
    sd   t1, 0(t0)`).join("")}
  li   s0, 0
  li   s1, 0
  li   s2, ${VIRTUAL}
  round:
  ${[0, 1].map((space) => `
    li   t0, ${((8n << 60n) | (BigInt(space + 1) << 44n) | BigInt((ROOTS + space * PAGE) / PAGE)).toString()}
    csrw satp, t0
    andi s3, s0, 3
    addi s3, s3, ${space * 4}
    li   t0, ${(PAGES / PAGE) * 1024 + 0xd7}
    slli t1, s3, 10
    add  t0, t0, t1
    li   t2, ${TABLES + space * PAGE}
    sd   t0, 0(t2)
    li   t3, ${space + 1}
    ${space === 0 ? "sfence.vma zero, t3" : "sfence.vma s2, t3"}
    ld   t4, 0(s2)
    sub  t4, t4, s3
    snez t4, t4
    add  s1, s1, t4`).join("")}
  addi s0, s0, 1
  li   t0, ${ROUNDS}
  bne  s0, t0, round
  mv   a0, s1
  csrw satp, zero
  ${EXIT}
`;

const ILLEGAL = `
  la   t0, handler
  csrw stvec, t0
  csrr s0, sstatus
  li   t1, 0x6000
  csrc sstatus, t1
  fadd.d f0, f1, f2
  .word 0xffffffff
  csrr t1, mscratch
  mv   a0, s1
  ${EXIT}
  .align 4
  handler:
  addi s1, s1, 1
  csrr t2, sepc
  addi t2, t2, 4
  csrw sepc, t2
  sret
`;

const run = (source: string, options: TestVmOptions) => new TestMonitor({ translate: true }).runToEnd(source, options);

suite("techniques", () => {
  for (const technique of allTechniques) {
    test(`${titleOf(technique)}: as by hardware, to the last instruction, and every frame comes back`, () => {
      const monitor = new TestMonitor({ translate: true });
      const free = monitor.frames.available;
      const guest = monitor.runToEnd(TICKING, { technique });
      const expected = run(TICKING, {});
      assert.deepEqual(guest.end(), { kind: "fail", code: 12 });
      assert.deepEqual([guest.x(9), guest.x(19), guest.vm.computer.instret], [expected.x(9), expected.x(19), expected.vm.computer.instret]);
      guest.vm.release();
      assert.equal(monitor.frames.available, free);
    });
  }

  for (const [title, source] of [["timer", TICKING], ["address spaces", REMAPPING]] as const) {
    test(`a running VM goes from each to each other, and its guest notices nothing: ${title}`, () => {
      const monitor = new TestMonitor({ translate: true });
      const free = monitor.frames.available;
      const guest = monitor.create(source);
      const random = new Random(1);
      const pairs = allTechniques.flatMap((from) => allTechniques.flatMap((to) => [from, to]));
      let shifts = 0;
      monitor.start(guest);
      const { vm } = guest;
      monitor.run(() => {
        vm.computer.longestSlice = 1 + random.below(60);
        vm.setTechnique(pairs[shifts++ % pairs.length]!);
        return guest.end() !== undefined;
      });
      const expected = run(source, {});
      assert.deepEqual(guest.end(), expected.end());
      assert.ok(shifts > pairs.length);
      assert.deepEqual([guest.x(9), guest.x(19), vm.computer.instret], [expected.x(9), expected.x(19), expected.vm.computer.instret]);
      vm.release();
      assert.equal(monitor.frames.available, free);
    });
  }

  test("each shows its guest the address space of the moment", () => {
    for (const technique of allTechniques) assert.deepEqual(run(REMAPPING, { technique }).end(), { kind: "fail", code: 0 }, titleOf(technique));
  });

  test("what is illegal in the guest's kernel is its own fault, or its end", () => {
    for (const technique of allTechniques) assert.deepEqual(run(ILLEGAL, { technique }).end(), { kind: "fail", code: 3 }, titleOf(technique));
    const stopping = allTechniques.flatMap((technique) => fitting({ onIllegal: "stop" }, technique));
    assert.ok(stopping.length >= 2);
    for (const technique of stopping) {
      const end = run(ILLEGAL, { technique }).end();
      assert.ok(end?.kind === "failed" && end.code === "illegal-instruction", `${titleOf(technique)}: ${JSON.stringify(end)}`);
      // The float instruction before it only waits for floating point to be on.
      assert.match(end.message, /0xffffffff at 0x80/);
    }
  });

  test("an instruction that wrote to tables and does so no more is itself again", () => {
    const { vm } = new TestMonitor().runToEnd(kernel(`
      li   s3, 1000
      li   s5, ${L0 + 8 * 40}
      li   t0, 0x40000
      csrs sstatus, t0
      write: sd x0, 0(s5)
      sfence.vma
      li   t0, ${USER}
      ld   t2, 0(t0)
      addi s3, s3, -1
      li   t0, 960
      bgtu s3, t0, write
      li   s5, ${DATA}
      bnez s3, write`), { cpu: "binary-translation" });
    const { "call-out": callOuts, "table-write": writes } = vm.exits.counts();
    assert.ok(writes >= 16 && callOuts > 16 && callOuts < 80, `${writes} writes that faulted, ${callOuts} call-outs`);
  });

  test("an instruction that writes to tables often becomes a call to the monitor, and writes the same", () => {
    const often = operations.find(({ name }) => name.startsWith("page-table write"))!;
    const exits = (["trap-and-emulate", "binary-translation"] as const).map((cpu) => {
      const { vm } = new TestMonitor({ translate: true }).runToEnd((often.guest(200) as { readonly source: string }).source, { cpu });
      return { ...vm.exits.counts(), instructions: vm.computer.instret };
    });
    const [trapping, translating] = exits;
    assert.equal(trapping!["call-out"], 0);
    assert.ok(translating!["call-out"] > 150, `${translating!["call-out"]} call-outs`);
    assert.equal(translating!["call-out"] + translating!["table-write"], trapping!["table-write"]);
    assert.equal(translating!.instructions, trapping!.instructions);
  });

  test("what is rewritten traps where it is not", () => {
    const counts = (["none", "silent", "all"] as const).map((rewrite) => {
      const technique = rewrite === "none" ? techniqueOf({ cpu: "trap-and-emulate" }) : techniqueOf({ cpu: "binary-translation", rewrite });
      return run(REGISTERS, { technique }).vm.exits.counts()["privileged-instruction"];
    });
    // Those of sstatus and sie don't trap on the silent machine, those of sscratch and sepc do.
    assert.deepEqual(counts, [8, 4, 0]);
  });

  test("a rewrite that is wrong shows", () => {
    const results = [false, true].map((planted) => {
      const monitor = new TestMonitor();
      const { map, memory } = monitor.processor;
      const rows = new Uint8Array(memory.buffer, map.csrIndex + rewriting.all * 4096, 4096);
      const [sscratch, sepc] = [0x140, 0x141];
      if (planted) [rows[sscratch], rows[sepc]] = [rows[sepc]!, rows[sscratch]!];
      const { x } = monitor.runToEnd(REGISTERS, { cpu: "binary-translation" });
      return [8, 9, 18].map(x);
    });
    const expected = run(REGISTERS, {});
    assert.deepEqual(results[0], [8, 9, 18].map(expected.x));
    assert.notDeepEqual(results[1], results[0]);
  });
});
