import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { silentCsrs, silentInstructions, standardModel, type MachineModel } from "#machine/model.ts";
import type { Declaration } from "#riscv/declaration.ts";
import { classify } from "./classify.ts";
import { subjects } from "./subjects.ts";

const silentModel: MachineModel = { ...standardModel, kind: "silent" };

const csrNames = (name: string, write: string): string[] =>
  [`csrr ${name}`, ...(write === "ignored" ? ["csrrw", "csrrs", "csrrc"].map((operation) => `${operation} ${name}`) : [])];
const silent = [...Object.keys(silentInstructions), ...Object.entries(silentCsrs).flatMap(([name, { write }]) => csrNames(name, write))].sort();

suite("the requirement of Popek and Goldberg", () => {
  test("is met by the standard machine, where all is as declared", () => {
    const { findings, disagreements, violations, relies } = classify({ model: standardModel, subjects: subjects() });
    assert.deepEqual(disagreements, []);
    assert.deepEqual(violations, []);
    assert.deepEqual(relies, ["scounteren", "hstatus.HU"]);
    assert.ok(findings.length > 500);
  });

  test("is violated by the silent one, by exactly what its table says", () => {
    const { disagreements, violations } = classify({ model: silentModel, subjects: subjects() });
    assert.deepEqual([...violations].sort(), silent);
    assert.deepEqual([...disagreements].sort(), silent);
  });
});

const wrong: Readonly<Record<string, Declaration>> = {
  addi: { traps: "user", sensitive: [] },
  add: { traps: "never", sensitive: ["control"] },
  ld: { traps: "never", sensitive: ["behaviour"] },
  "fadd.s": { traps: "never", sensitive: [] },
  "fmul.d": { traps: "senvcfg", sensitive: [] },
  ecall: { traps: "user", sensitive: [] },
  wfi: { traps: "user", sensitive: [] },
  sret: { traps: "user", sensitive: ["behaviour"] },
  "sfence.vma": { traps: "user", sensitive: [] },
  "hfence.gvma": { traps: "user", sensitive: ["behaviour"] },
  "hlv.d": { traps: "user", sensitive: ["behaviour"] },
  "cbo.zero": { traps: "never", sensitive: [] },
  "csrr time": { traps: "scounteren", sensitive: [] },
  "csrr sstatus": { traps: "never", sensitive: ["behaviour"] },
  "csrrw satp": { traps: "user", sensitive: ["behaviour"] },
  "csrrs fflags": { traps: "mstatus.FS", sensitive: ["control"] },
};

test("wrong declarations are found, each and no other", () => {
  const planted = subjects((name, declared) => wrong[name] ?? declared);
  const right = new Set(["sub", "lr.d", "sc.d", "mret", "csrr cycle", "csrrw stvec"]);
  const { disagreements } = classify({ model: standardModel, subjects: planted.filter(({ name }) => name in wrong || right.has(name)) });
  assert.deepEqual([...disagreements].sort(), Object.keys(wrong).sort());
});

test("the same seed shows the same", () => {
  const few = subjects().filter((_, i) => i % 20 === 0);
  const run = () => classify({ model: silentModel, subjects: few, cases: 5, seed: 7 });
  assert.deepEqual(run(), run());
});
