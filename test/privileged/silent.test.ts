/** The silent machine: what its table says of user mode, and that nothing else differs from the standard one. */
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { silence, silentCsrs, silentInstructions, standardModel, type MachineModel } from "#machine/model.ts";
import { assemble } from "#riscv/assemble.ts";
import { csrNumbers } from "#riscv/csr-names.ts";
import { tiers, TestHart, RAM } from "../kit/hart.ts";
import { HypervisorBench, type AnyMode } from "./hypervisor-bench.ts";

const model: MachineModel = { ...standardModel, kind: "silent" };
const standard = new HypervisorBench();
const silent = new HypervisorBench({ model });

/** A status with SIE, SPP and SUM, a page table's root, and so on: what a program should not learn. */
const own = {
  mstatus: 0x46122n, mie: 0x220n, mip: 0x2n, mideleg: 0x222n, stvec: 0x8000_2000n, satp: 0x0_0042_0000_1234n,
  parkedStatus: 0x80002n, parkedStvec: 0x8000_3000n, parkedSatp: 0x0_0043_0000_4321n,
} as const;
const shown: Readonly<Record<string, readonly [user: bigint, virtualUser: bigint]>> = {
  sstatus: [0x8000_0002_0004_6122n, 0x2_0008_0002n],
  sie: [0x220n, 0n],
  sip: [2n, 0n],
  stvec: [own.stvec, own.parkedStvec],
  satp: [own.satp, own.parkedSatp],
};

function attempt(bench: HypervisorBench, text: string, mode: AnyMode) {
  bench.reset();
  bench.set(own);
  const before = Object.keys(own).map((name) => bench.get(name as keyof typeof own));
  const outcome = bench.attempt(text, mode, { a0: 77n, a1: -1n });
  const unchanged = Object.keys(own).every((name, i) => bench.get(name as keyof typeof own) === before[i]);
  return { ...outcome, unchanged };
}

const userModes = ["user", "virtualUser"] as const;

suite("the silent machine", () => {
  for (const [name, { write }] of Object.entries(silentCsrs)) {
    test(`${name} in user mode: read, it tells what the hart holds; a write ${write === "ignored" ? "is ignored" : "traps"}`, () => {
      userModes.forEach((mode, i) => {
        const read = attempt(silent, `csrr a0, ${name}`, mode);
        assert.deepEqual([read.trap, read.a0, read.unchanged], [undefined, shown[name]![i], true], mode);
        assert.notEqual(attempt(standard, `csrr a0, ${name}`, mode).trap, undefined, `${mode} on the standard machine`);
        for (const text of [`csrw ${name}, a1`, `csrrs a0, ${name}, a1`, `csrrc a0, ${name}, a1`, `csrrsi a0, ${name}, 2`, `csrrwi a0, ${name}, 0`]) {
          const written = attempt(silent, text, mode);
          if (write === "ignored") assert.deepEqual([written.trap, written.unchanged], [undefined, true], `${text}, ${mode}`);
          else assert.deepEqual([written.trap?.cause, written.a0], [mode === "user" ? 2n : 22n, 77n], `${text}, ${mode}`);
        }
      });
    });
  }

  for (const name of Object.keys(silentInstructions)) {
    test(`${name} in user mode does nothing`, () => {
      for (const mode of userModes) {
        const { trap, exit, pc, unchanged } = attempt(silent, name === "wfi" ? name : `${name} a0, a1`, mode);
        assert.deepEqual([trap, exit, pc, unchanged], [undefined, "slice", BigInt(RAM + 4), true], mode);
        assert.notEqual(attempt(standard, name === "wfi" ? name : `${name} a0, a1`, mode).trap, undefined, `${mode} on the standard machine`);
      }
    });
  }

  test("is as the standard one where its table says nothing, and in all other modes", () => {
    const texts = [
      ...[...csrNumbers.keys()].flatMap((name) => [`csrr a0, ${name}`, `csrrw a0, ${name}, a1`]),
      "sret", "mret", "wfi", "ecall", "ebreak", "sfence.vma a0, a1", "sinval.vma a0, a1", "sfence.w.inval", "hfence.vvma a0, a1", "hlv.d a0, (a1)",
    ];
    for (const mode of ["user", "supervisor", "machine", "virtualUser", "virtualSupervisor"] as const) {
      for (const text of texts) {
        const word = new DataView(assemble(text).buffer).getInt32(0, true);
        const isUser = mode === "user" || mode === "virtualUser";
        if (isUser && silence(word) !== undefined) continue;
        assert.deepEqual(attempt(silent, text, mode), attempt(standard, text, mode), `${text}, ${mode}`);
      }
    }
  });

  for (const tier of tiers) {
    test(`in a loop of user mode, ${tier}`, () => {
      const hart = new TestHart({ tier, model });
      hart.openMemory();
      hart.state.set("privilege", 0);
      hart.state.set("mstatus", 2);
      hart.program("li a0, 200\nloop: csrrci a1, sstatus, 2\nadd a2, a2, a1\nsfence.vma\naddi a0, a0, -1\nbnez a0, loop\nstay: j stay");
      hart.settle();
      hart.run(2000);
      assert.equal(hart.x(12), BigInt.asUintN(64, 200n * 0x2_0000_0002n));
      assert.equal(hart.get("mstatus"), 2n);
      assert.equal(hart.get("traps", 2), 0n);
    });
  }
});
