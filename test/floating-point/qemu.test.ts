/**
 * Every function against QEMU, bit by bit and flag by flag. Corner cases in all combinations and modes, and random cases:
 *
 *   FLOATING_POINT_CASES   random cases per operation (default 50 000)
 *   FLOATING_POINT_SEED    seed of the random cases (default 1)
 */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { NX } from "#riscv/floating-point/environment.ts";
import { probeFusedMultiplyAdd } from "#riscv/floating-point/fused-multiply-add.ts";
import { cornerCasesOf, Random, randomCasesOf } from "./cases.ts";
import { firstDifferences } from "./difference.ts";
import { operations } from "./operations.ts";
import { buildSubject, type Variant } from "./subject.ts";

const count = Number(process.env["FLOATING_POINT_CASES"] ?? 50_000);
const seed = Number(process.env["FLOATING_POINT_SEED"] ?? 1);

const compiler = "riscv64-linux-gnu-gcc";
const qemu = "qemu-riscv64";
const missing = [compiler, qemu].filter((program) => spawnSync(program, ["--version"]).error !== undefined);
const skip = missing.length > 0 ? `${missing.join(" and ")} not installed` : false;

const variants: Variant[] = ["functions", "software"];
if (probeFusedMultiplyAdd()) variants.push("fused", "inlined");

suite(`floating point against QEMU, seed ${seed}`, { skip }, () => {
  let folder = "";
  let reference = "";
  const subjects = variants.map((variant) => ({ variant, subject: buildSubject(variant) }));
  const random = new Random(seed);

  before(() => {
    folder = mkdtempSync(join(tmpdir(), "hostelry-floating-point-"));
    reference = join(folder, "reference");
    const source = join(import.meta.dirname, "reference.c");
    const { status, stderr } = spawnSync(compiler, ["-static", "-O1", source, "-o", reference], { encoding: "utf8" });
    assert.equal(status, 0, stderr);
  });
  after(() => rmSync(folder, { recursive: true, force: true }));

  function runReference(cases: Uint8Array): Uint8Array {
    const { status, stdout, error } = spawnSync(qemu, [reference], { input: cases, maxBuffer: 2 ** 31 });
    assert.equal(error, undefined);
    assert.equal(status, 0);
    return stdout;
  }

  for (const operation of operations) {
    test(operation.name, () => {
      const cases = Buffer.concat([cornerCasesOf(operation), randomCasesOf(operation, count, random)]);
      const expected = runReference(cases);
      for (const { variant, subject } of subjects) {
        const run = subject.get(operation.name);
        if (run === undefined) continue;
        for (const accrued of [0, NX]) {
          const given = run(cases, accrued);
          const differences = firstDifferences(operation, cases, given, expected, accrued);
          assert.equal(differences, "", `${variant}, fflags ${accrued} beforehand`);
        }
      }
    });
  }
});
