/**
 * Random programs with branches, loops, calls, self-modification, faults and interrupts at random points: our hart, in both tiers, and QEMU's
 * system mode end with the same registers, the same memory and the same log of traps.
 */
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { suite, test } from "node:test";
import { cases, seed } from "../kit/effort.ts";
import { RAM, TestHart, tiers, type Tier } from "../kit/hart.ts";
import { Random } from "../kit/random.ts";
import { shrink } from "../kit/shrink.ts";
import { runTool, skipWithout, temporaryFolder } from "../kit/tools.ts";
import { Generator, idsOf, keep, readable, textOf, type Program } from "./generate.ts";
import { buildImage, firstDifference, programLimit } from "./image.ts";
import { device } from "./runtime.ts";

const memorySize = 8 << 20;
const machineTimer = 1 << 7;

/** QEMU's memory is a file: what is in it before is what the machine starts with, and what is in it after is the result. */
function runQemu(image: Uint8Array, path: string): Uint8Array {
  const memory = new Uint8Array(memorySize);
  memory.set(image);
  writeFileSync(path, memory);
  runTool("system", [
    "-M", "virt,memory-backend=ram", "-cpu", "rv64,zba=true,zbb=true,zbs=true", "-m", `${memorySize >> 20}M`,
    "-object", `memory-backend-file,id=ram,size=${memorySize},mem-path=${path},share=on`,
    "-bios", "none", "-display", "none", "-serial", "none", "-monitor", "none", "-net", "none",
  ]);
  return readFileSync(path).subarray(0, image.length);
}

/** Interrupts come between slices of random length. */
function runOurs(image: Uint8Array, tier: Tier, random: Random): Uint8Array {
  let done = false;
  const hart: TestHart = new TestHart({
    ramSize: memorySize,
    tier,
    unrolls: random.oneIn(2),
    slice: random.pick([30, 300, 3000]),
    predecodedPages: random.pick([40, 1024]),
    host: {
      mmioRead: (_state, address) => {
        hart.state.set("mmioValue", 0);
        return address === device.mtime ? 0 : 1;
      },
      mmioWrite: (_state, address) => {
        if (address === device.test) done = true;
        else if (address === device.mtimecmp) hart.state.setNumber("lines", hart.state.number("lines") & ~machineTimer);
        else return 1;
        return 0;
      },
    },
  });
  hart.load(RAM, image);
  hart.state.set("mie", machineTimer);
  for (let i = 0; i < 2_000_000 && !done; i++) {
    hart.run(random.oneIn(3) ? 1 + random.below(20) : 1 + random.below(3000));
    if (random.oneIn(2)) hart.state.setNumber("lines", hart.state.number("lines") | machineTimer);
  }
  assert.ok(done, "the programs come to an end");
  if (tier === "translator" && image.length > 2 ** 20) assert.ok(hart.translatedShare > 0.02, `all but ${hart.translatedShare} was interpreted`);
  return hart.ram.slice(0, image.length);
}

suite(`random programs against QEMU, seed ${seed}`, { skip: skipWithout("system") }, () => {
  const path = join(temporaryFolder(), "memory");

  /** What differs for one program alone. */
  function failure(program: Program, tier: Tier, ids: readonly number[], random: number): string | undefined {
    const image = buildImage([{ ...program, items: keep(program.items, new Set(ids)) }]);
    return firstDifference(runOurs(image, tier, new Random(random)), runQemu(image, path), 1)?.message;
  }

  const rounds = cases(3);
  for (let round = 0; round < rounds; round++) {
    test(`round ${round + 1} of ${rounds}`, async (t) => {
      const generator = new Generator(new Random(seed * 1000 + round));
      const programs = Array.from({ length: Math.min(programLimit, 60) }, () => generator.program());
      const image = buildImage(programs);
      const expected = runQemu(image, path);
      for (const tier of tiers) {
        await t.test(tier, () => {
          const given = runOurs(image, tier, new Random(seed + round));
          const found = firstDifference(given, expected, programs.length);
          if (found === undefined) return;
          const program = programs[found.index]!;
          const all = idsOf(program.items);
          const title = `program ${found.index} (${program.mode} mode${program.paging ? ", paging" : ""})`;
          // Alone it may behave: interrupts come elsewhere.
          if (failure(program, tier, all, seed) === undefined) assert.fail(`${title}, only among others:\n${found.message}`);
          const { list, message } = shrink(all, (ids) => failure(program, tier, ids, seed), 150);
          const text = textOf({ ...program, items: keep(program.items, new Set(list)) }, []);
          assert.fail(`${title}:\n${message}\n${readable(text)}`);
        });
      }
    });
  }
});
