/**
 * Every function against QEMU, bit by bit and flag by flag. Corner cases in all combinations and modes, and random cases:
 *
 *   FLOATING_POINT_CASES   random cases per operation (default 50 000)
 *   FLOATING_POINT_SEED    seed of the random cases (default 1)
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { before, suite, test } from "node:test";
import { NX } from "#riscv/floating-point/environment.ts";
import { probeFusedMultiplyAdd } from "#riscv/floating-point/fused-multiply-add.ts";
import { Random } from "../kit/random.ts";
import { runTool, skipWithout, temporaryFolder } from "../kit/tools.ts";
import { cornerCasesOf, randomCasesOf } from "./cases.ts";
import { firstDifferences } from "./difference.ts";
import { operations } from "./operations.ts";
import { buildSubject, type Variant } from "./subject.ts";

const count = Number(process.env["FLOATING_POINT_CASES"] ?? 50_000);
const seed = Number(process.env["FLOATING_POINT_SEED"] ?? 1);

const skip = skipWithout("compiler", "user");

const variants: Variant[] = ["functions", "software"];
if (probeFusedMultiplyAdd()) variants.push("fused", "inlined");

suite(`floating point against QEMU, seed ${seed}`, { skip }, () => {
  const folder = temporaryFolder();
  const reference = join(folder, "reference");
  const subjects = variants.map((variant) => ({ variant, subject: buildSubject(variant) }));
  const random = new Random(seed);

  before(() => {
    runTool("compiler", ["-static", "-O1", join(import.meta.dirname, "reference.c"), "-o", reference]);
  });

  for (const operation of operations) {
    test(operation.name, () => {
      const cases = Buffer.concat([cornerCasesOf(operation), randomCasesOf(operation, count, random)]);
      const expected = runTool("user", [reference], cases);
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
