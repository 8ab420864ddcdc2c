import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { sstatusMask, status, virtualInterrupts } from "#machine/csr-bits.ts";
import { HartState } from "#machine/hart.ts";
import { architecturalSize, type FieldName } from "#machine/layout.ts";
import { Random } from "../../test/kit/random.ts";
import { HardwareConfinement, UserModeConfinement } from "./confinement.ts";

const HGATP = (8n << 60n) | (3n << 44n) | 0x80200n;
const FLOAT = 3n << BigInt(status.fs);
/** What a guest's kernel can read or write, but for sstatus, sie and sip. */
const own: readonly FieldName[] = ["pc", "fflags", "frm", "stvec", "sscratch", "sepc", "scause", "stval", "satp", "scounteren", "senvcfg", "vstimecmp"];

/** In the common form. */
function randomGuest(random: Random): HartState {
  const state = new HartState(new Uint8Array(architecturalSize()), 0);
  for (const name of own) state.set(name, random.u64());
  for (let i = 1; i < 32; i++) state.set("x", random.u64(), i);
  const float = random.below(4);
  const shown = float === 0 ? 0n : random.pick([1n, 3n]);
  state.setNumber("guestFloat", float);
  state.set("mstatus", (random.u64() & sstatusMask & ~FLOAT) | (shown << BigInt(status.fs)));
  state.setNumber("privilege", random.pick([4, 5]));
  state.set("mie", random.u64() & BigInt(virtualInterrupts));
  state.set("mip", random.u64() & BigInt(virtualInterrupts));
  new HardwareConfinement(HGATP, false).enter(state);
  return state;
}

/** As the guest sees it, and as the hart is told. */
function seen(state: HartState): unknown {
  const used = (state.get("mstatus") & FLOAT) === FLOAT;
  return {
    ...Object.fromEntries(own.map((name) => [name, state.get(name)])),
    x: Array.from({ length: 32 }, (_, i) => state.get("x", i)),
    status: state.get("mstatus") & sstatusMask & ~FLOAT,
    float: [used ? 3 : state.number("guestFloat"), (state.get("mstatus") & FLOAT) === 0n],
    interrupts: [state.get("mie"), state.get("mip")],
    hart: [state.number("privilege"), state.number("monitored"), state.get("hgatp"), state.get("hedeleg"), state.get("parkedStatus"), state.number("rewrites")],
  };
}

suite("a guest's state goes from one confinement to another and back", () => {
  test("by kernels and programs in U-mode", () => {
    const random = new Random(1);
    for (let i = 0; i < 1000; i++) {
      const state = randomGuest(random);
      const before = seen(state);
      const user = new UserModeConfinement(HGATP, random.pick(["none", "silent", "all"]), () => 5n);
      user.enter(state);
      assert.equal(state.number("privilege") & 3, 0);
      assert.equal(state.get("satp"), 5n);
      user.leave(state);
      new HardwareConfinement(HGATP, false).enter(state);
      assert.deepEqual(seen(state), before);
    }
  });

  test("by emulation, of which nothing stays", () => {
    const state = randomGuest(new Random(2));
    const before = seen(state);
    const emulated = new HardwareConfinement(HGATP, true);
    emulated.enter(state);
    assert.equal(state.number("emulated"), 1);
    emulated.leave();
    new HardwareConfinement(HGATP, false).enter(state);
    assert.equal(state.number("emulated"), 0);
    assert.deepEqual(seen(state), before);
  });
});
