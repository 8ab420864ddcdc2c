/** Host addresses of 2 GiB and more have their highest bit set: code there is translated, and forgotten when it is written to, as anywhere. */
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { RAM, TestHart, tiers } from "../kit/hart.ts";

const GIB = 2 ** 30;
const CODE = RAM + 2.25 * GIB;

suite("code beyond 2 GiB", () => {
  for (const tier of tiers) {
    test(`rewrites itself (${tier})`, () => {
      const hart = new TestHart({ tier, ramSize: 2.5 * GIB });
      // Turns of an inner loop add 1, until the outer loop has put an instruction in its place that adds 3.
      hart.program(`
        li   s0, 0
        li   s1, 2
        la   s3, three
        lw   s4, 0(s3)
        outer:
        li   s2, 5000
        inner:
        place: addi s0, s0, 1
        addi s2, s2, -1
        bnez s2, inner
        la   t0, place
        sw   s4, 0(t0)
        fence.i
        addi s1, s1, -1
        bnez s1, outer
        stay: j stay
        .align 2
        three: addi s0, s0, 3`, CODE);
      hart.state.set("pc", CODE);
      hart.run(50_000);
      assert.equal(hart.x(8), 5000n + 3n * 5000n);
      if (tier === "translator") assert.ok(hart.translatedShare > 0.5);
    });
  }
});
