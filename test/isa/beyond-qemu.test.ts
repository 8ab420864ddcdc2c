/** Instructions that QEMU 7.2 hasn't, or has wrong, against the manual's words in TypeScript. */
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { cases, seed } from "../kit/effort.ts";
import { RAM, TestHart, tiers, type Tier } from "../kit/hart.ts";
import { Random } from "../kit/random.ts";

type Model = (a: bigint, b: bigint) => bigint;

function countTrailingZeros(value: bigint): bigint {
  for (let i = 0n; i < 32n; i++) if ((value >> i) & 1n) return i;
  return 32n;
}

const models: Readonly<Record<string, { readonly text: string; readonly model: Model }>> = {
  "czero.eqz": { text: "czero.eqz a2, a0, a1", model: (a, b) => (b === 0n ? 0n : a) },
  "czero.nez": { text: "czero.nez a2, a0, a1", model: (a, b) => (b !== 0n ? 0n : a) },
  ctzw: { text: "ctzw a2, a0", model: countTrailingZeros },
};

const table = RAM + 0x10000;

/** The instruction on each pair of operands; all twice, so that a translation is used. */
function run(text: string, pairs: readonly (readonly bigint[])[], tier: Tier): bigint[] {
  const hart = new TestHart({ tier });
  hart.program(`
        li    s2, 2
    pass:
        li    s0, ${table}
        li    s1, ${pairs.length}
    loop:
        ld    a0, 0(s0)
        ld    a1, 8(s0)
        ${text}
        sd    a2, 16(s0)
        addi  s0, s0, 24
        addi  s1, s1, -1
        bnez  s1, loop
        addi  s2, s2, -1
        bnez  s2, pass
        wfi
  `);
  const at = (i: number): number => table - RAM + i * 24;
  pairs.forEach(([a, b], i) => {
    hart.view.setBigUint64(at(i), a!, true);
    hart.view.setBigUint64(at(i) + 8, b!, true);
  });
  assert.equal(hart.run(pairs.length * 20 + 100), "wait");
  return pairs.map((_, i) => hart.view.getBigUint64(at(i) + 16, true));
}

suite(`instructions against the manual, seed ${seed}`, () => {
  for (const [name, { text, model }] of Object.entries(models)) {
    for (const tier of tiers) {
      test(`${name}, ${tier}`, () => {
        const random = new Random(seed);
        const pairs = Array.from({ length: cases(500) }, () => [random.operand(), random.oneIn(3) ? 0n : random.operand()]);
        assert.deepEqual(run(text, pairs, tier), pairs.map(([a, b]) => model(a!, b!)));
      });
    }
  }
});
