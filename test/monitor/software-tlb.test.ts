/**
 * A guest that fills its TLB, with its kernel in U-mode: miss → monitor → the guest's handler → its write of the entry traps → the monitor installs
 * the frame's → its return traps. And what the hart's own entries lead to.
 */
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { softwareTlbEntries } from "#machine/layout.ts";
import { standardModel } from "#machine/model.ts";
import { assemble } from "#riscv/assemble.ts";
import { disassemble } from "#riscv/disassemble.ts";
import { EXIT, TestMonitor, type TestVm } from "../kit/monitor.ts";

/** A kernel in one wired entry, its table behind stlbcontext, and a program that reads one page of its own and calls back. */
const kernel = `
        la    t0, refill
        csrw  stlbvec, t0
        la    t0, back
        csrw  stvec, t0
        csrwi stlbwired, 1
        li    t0, 0x80000000
        csrw  stlbhi, t0
        li    t0, 0x400000200000ef     # 2 MiB, global, the kernel's
        csrw  stlblo, t0
        csrwi stlbop, 1
        la    t0, entries
        addi  t0, t0, -0x80           # which begin with page 0x10
        csrw  stlbcontext, t0
        li    t0, 0xe005000000000000  # mode 14, address space 0x50
        csrw  satp, t0
        li    t0, 0x10000
        csrw  sepc, t0
        sret
        .align 2
refill: csrw  stlbscratch0, t0
        csrr  t0, stlbcontext
        ld    t0, (t0)
        csrw  stlblo, t0
        csrwi stlbop, 2
        csrr  t0, stlbscratch0
        sret
        .align 2
back:   csrr  a0, scause
        addi  a0, a0, -8
        snez  a0, a0
        bne   s0, s1, wrong
        j     done
wrong:  li    a0, 2
done:   csrw  satp, zero
${EXIT}
        .align 3
entries: .dword 0x20000c5b, 0x200010d7
        .zero 4096
`;
const program = "li t0, 0x11000\nld s0, 8(t0)\nld s1, 8(t0)\necall";

function run(cpu: "trap-and-emulate" | "binary-translation"): { readonly vm: TestVm; readonly monitor: TestMonitor } {
  const monitor = new TestMonitor({ model: { ...standardModel, tlb: "software" } });
  const vm = monitor.create(kernel, { cpu });
  // Where the kernel's entries say: the program, and its page.
  const put = (address: number, bytes: Uint8Array): void => vm.vm.memory.writable(address, bytes.length).set(bytes);
  put(0x80003000, assemble(program));
  put(0x80004008, new Uint8Array(new BigUint64Array([77n]).buffer));
  monitor.start(vm);
  monitor.run(() => vm.end() !== undefined);
  return { vm, monitor };
}

suite("a guest that fills its TLB, its kernel in U-mode", () => {
  test("comes to its end, by traps and by translation", () => {
    for (const cpu of ["trap-and-emulate", "binary-translation"] as const) {
      const { vm } = run(cpu);
      assert.deepEqual(vm.end(), { kind: "fail", code: 0 }, cpu);
      assert.equal(vm.x(8), 77n, cpu);
    }
  });

  test("the flow of a miss, step by step", () => {
    const { vm } = run("trap-and-emulate");
    const steps = vm.vm.exits.trace(0).exits
      .filter(({ kind }) => kind === "privileged-instruction" || kind === "true-fault")
      .map(({ kind, detail, pc }) => (kind === "true-fault" ? `miss ${detail} at ${pc.toString(16)}` : disassemble(detail)));
    const refill = ["csrrw zero, stlbscratch0, t0", "csrrs t0, stlbcontext, zero", "csrrw zero, stlblo, t0", "csrrwi zero, stlbop, 2", "csrrs t0, stlbscratch0, zero", "sret"];
    const first = steps.findIndex((step) => step.startsWith("miss"));
    assert.deepEqual(steps.slice(first, first + 14), ["miss 24 at 10000", ...refill, "miss 25 at 10004", ...refill]);
  });

  test("the hart's entries lead to the guest's frames, and nowhere else", () => {
    const { vm } = run("trap-and-emulate");
    const { state } = vm.vm.cores[0]!;
    const own = new Set([...vm.vm.memory.pmap.entries()].map(([, frame]) => vm.vm.memory.machine.pageNumber(frame)));
    let valid = 0;
    for (let index = 0; index < softwareTlbEntries; index++) {
      const lo = state.get("tlbEntryLo", index);
      if ((lo & 1n) === 0n) continue;
      valid++;
      assert.ok(own.has(Number(lo >> 10n)), `entry ${index}: ${lo.toString(16)}`);
      assert.equal(lo & 0x30n, 0x10n, "a user's, and of its address space");
    }
    assert.ok(valid > 0);
  });
});
