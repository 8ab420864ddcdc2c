/** Every instruction's semantics on random operands, against QEMU's user mode, in both tiers. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { before, suite, test } from "node:test";
import { decoderGroups, instructions } from "#riscv/table.ts";
import { cases, seed } from "../kit/effort.ts";
import { RAM, TestHart, tiers, type Tier } from "../kit/hart.ts";
import { Random } from "../kit/random.ts";
import { runTool, skipWithout, temporaryFolder } from "../kit/tools.ts";
import { buildCase, buildImage, describe, record, type Case, type Image } from "./image.ts";

/** Zicond is newer than QEMU 7.2, and what traps has its own tests. */
const isTested = (number: number): boolean => {
  const { name, flow, syntax } = instructions[number]!;
  return number !== 0 && (flow !== "system" || syntax.startsWith("rd, csr") || name === "fence.i") && !name.startsWith("czero");
};

const rows = decoderGroups.flat().filter(({ number }) => isTested(number));
const casesPerRow = 60;

function buildCases(random: Random): Case[] {
  return rows.flatMap((row) => {
    const found: Case[] = [];
    for (let tries = 0; found.length < casesPerRow && tries < 100 * casesPerRow; tries++) {
      const one = buildCase(row, random);
      if (one) found.push(one);
    }
    assert.equal(found.length, casesPerRow, row.encoding.text);
    return found;
  });
}

const waitHere = [0x73, 0x00, 0x50, 0x10];

function runOurs(image: Image, tier: Tier): { readonly memory: Uint8Array; readonly hart: TestHart } {
  const hart = new TestHart({ ramSize: image.bytes.length + 4096, predecodedPages: 4096, tier });
  const back = RAM + image.bytes.length;
  hart.load(RAM, image.bytes);
  hart.load(back, Uint8Array.from(waitHere));
  hart.view.setBigUint64(8, BigInt(back), true);
  hart.state.set("mstatus", 3n << 13n);
  assert.equal(hart.run(image.cases.length * 100), "wait");
  return { memory: hart.ram.slice(0, image.bytes.length), hart };
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");

/** Up to eight cases that went otherwise. */
function differences({ cases: all, records }: Image, given: Uint8Array, expected: Uint8Array): string {
  const lines: string[] = [];
  all.forEach((one, i) => {
    const at = records + i * record.size;
    for (let part = 0; part < record.size && lines.length < 8; part += 8) {
      const [ours, theirs] = [given, expected].map((bytes) => hex(bytes.slice(at + part, at + part + 8)));
      if (ours !== theirs) lines.push(`${describe(one)}: at ${part} of its record ${ours}, QEMU has ${theirs} (bytes, lowest first)`);
    }
  });
  return lines.join("\n");
}

suite(`instructions against QEMU, seed ${seed}`, { skip: skipWithout("compiler", "user") }, () => {
  const folder = temporaryFolder();
  const harness = join(folder, "harness");
  before(() => {
    runTool("compiler", ["-static", "-O1", join(import.meta.dirname, "harness.c"), "-o", harness]);
  });

  for (let round = 0; round < cases(1); round++) {
    test(`round ${round + 1} of ${cases(1)}: ${rows.length} encodings`, async (t) => {
      const image = buildImage(buildCases(new Random(seed * 1000 + round)));
      const expected = runTool("user", ["-cpu", "rv64,zba=true,zbb=true,zbs=true", harness, `${image.bytes.length}`], image.bytes);
      for (const tier of tiers) {
        await t.test(tier, () => {
          const { memory, hart } = runOurs(image, tier);
          assert.equal(differences(image, memory, expected), "");
          if (tier === "translator") assert.ok(hart.translatedShare > 0.3, `of the second pass, all but ${hart.translatedShare} was interpreted`);
        });
      }
    });
  }
});
