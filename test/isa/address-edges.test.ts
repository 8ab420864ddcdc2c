/** Accesses at the edges of pages and of the address space, where translated code checks several at once. */
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { RAM, TestHart, tiers, type Tier } from "../kit/hart.ts";

const loadAccessFault = 5n;

/** Loops over two loads from one base, often enough to be translated; then once from `edge`, and comes back with what the trap says. */
function loadAround(edge: bigint, tier: Tier): { cause: bigint; value: bigint; share: number } {
  const hart = new TestHart({ tier });
  hart.program(`
        la    t0, handler
        csrw  mtvec, t0
        li    s1, 5000
        li    a1, ${RAM + 0x800}
        li    s2, ${edge}
    loop:
        ld    a2, -8(a1)
        ld    a3, 8(a1)
        addi  s1, s1, -1
        bnez  s1, loop
        mv    a1, s2
        li    s1, 1
        j     loop
    handler:
        wfi
  `);
  assert.equal(hart.run(40_000), "wait");
  return { cause: hart.get("mcause"), value: hart.get("mtval"), share: hart.translatedShare };
}

suite("addresses at the edges", () => {
  for (const tier of tiers) {
    for (const edge of [0n, 8n, 1n << 32n, 1n << 56n, -(1n << 63n), BigInt(RAM)]) {
      test(`a span that begins outside of memory faults, base ${edge}, ${tier}`, () => {
        const { cause, value, share } = loadAround(edge, tier);
        assert.equal(cause, loadAccessFault);
        assert.equal(value, BigInt.asUintN(64, edge - 8n));
        if (tier === "translator") assert.ok(share > 0.5, `only ${share} was translated`);
      });
    }

    test(`a span over two pages is read and written right, and stays translated, ${tier}`, () => {
      const hart = new TestHart({ tier });
      hart.program(`
            li    s1, 20000
            li    a1, ${RAM + 0x4000}
        loop:
            ld    a2, -8(a1)
            ld    a3, 8(a1)
            addi  a2, a2, 1
            addi  a3, a3, 2
            sd    a2, -8(a1)
            sd    a3, 8(a1)
            addi  s1, s1, -1
            bnez  s1, loop
            wfi
      `);
      assert.equal(hart.run(200_000), "wait");
      assert.equal(hart.view.getBigUint64(0x4000 - 8, true), 20_000n);
      assert.equal(hart.view.getBigUint64(0x4000 + 8, true), 40_000n);
      if (tier === "translator") assert.ok(hart.translatedShare > 0.5, `only ${hart.translatedShare} was translated`);
    });
  }

  for (const tier of tiers) {
    test(`the last halfword of memory is a procedure, ${tier}`, () => {
      const hart = new TestHart({ tier });
      const last = hart.map.ramSize - 2;
      hart.program(`
            li    a0, ${RAM + last}
            li    s1, 3000
        loop:
            jalr  a0
            addi  s1, s1, -1
            bnez  s1, loop
            wfi
      `);
      hart.view.setUint16(last, 0x8082, true); // ret
      assert.equal(hart.run(20_000), "wait");
      assert.equal(hart.x(9), 0n);
    });
  }

  for (const [what, half, behind] of [["a compressed instruction", 0x0001, 0n], ["the first half of an instruction", 0x0003, 2n]] as const) {
    test(`behind ${what} in memory's last halfword, memory has ended`, () => {
      const hart = new TestHart();
      const end = BigInt(RAM + hart.map.ramSize);
      hart.program(`
            la    t0, handler
            csrw  mtvec, t0
            li    a0, ${end - 2n}
            jr    a0
        handler:
            wfi
      `);
      hart.view.setUint16(hart.map.ramSize - 2, half, true);
      assert.equal(hart.run(100), "wait");
      assert.deepEqual([hart.get("mcause"), hart.get("mtval"), hart.get("mepc")], [1n, end, end - behind]);
    });
  }
});
