/**
 * A guest that fills its TLB, with its kernel in U-mode: miss → monitor → the guest's handler → its write of the entry traps → the monitor installs
 * the frame's → its return traps. And what the hart's own entries lead to.
 */
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { softwareTlbEntries } from "#machine/layout.ts";
import { Doorbell } from "#base/doorbell.ts";
import { Machine } from "#machine/machine.ts";
import { standardModel } from "#machine/model.ts";
import { Board } from "#platform/board.ts";
import { address } from "#platform/memory-map.ts";
import { assemble } from "#riscv/assemble.ts";
import { disassemble } from "#riscv/disassemble.ts";
import { cases, seed } from "../kit/effort.ts";
import { EXIT, QuietHost, TestMonitor, type TestVm } from "../kit/monitor.ts";
import { Random } from "../kit/random.ts";

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

const model = { ...standardModel, tlb: "software" } as const;
const memory = 4 << 20;

function run(cpu: "trap-and-emulate" | "binary-translation"): { readonly vm: TestVm; readonly monitor: TestMonitor } {
  const monitor = new TestMonitor({ model });
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

/** Virtual pages that random kernels use, and guest-physical ones: some are nowhere. */
const pages = [0x10000, 0x11000, 0x12000, 0x13000, 0x2000000, 0x2001000, 0x2100000, 0x7ffff000];
const physical = [...Array.from({ length: 8 }, (_, i) => address.memory + 0x100000 + i * 4096), 0xc0000000];
const USER_STUB = 0x40000000;
const MIX = "slli t6, s0, 5\nadd s0, s0, t6\nadd s0, s0, t2";

/** One thing that a kernel does to its TLB, or with it; what comes of it goes into s0. */
function randomStep(random: Random, number: number): string {
  const page = (): number => random.pick(pages);
  const hi = (): number => page() + random.below(3);
  const flags = random.oneIn(3) ? random.below(256) : 0xcf | (random.oneIn(2) ? 16 : 0) | (random.oneIn(4) ? 32 : 0);
  const size = random.oneIn(5) ? 1 : 0;
  const frame = size === 1 ? address.memory + 0x200000 : random.pick(physical);
  const lo = (BigInt(size) << 54n) | (BigInt(frame / 4096) << 10n) | BigInt(flags);
  const at = page() + 8 * random.below(4) + (random.oneIn(8) ? 0x100000 : 0);
  const steps: readonly (() => string)[] = [
    () => `li t0, ${hi()}\ncsrw stlbhi, t0\nli t0, ${lo}\ncsrw stlblo, t0\n${random.oneIn(2) ? "csrwi stlbop, 2" : `csrwi stlbindex, ${2 + random.below(8)}\ncsrwi stlbop, 1`}`,
    () => `li t0, ${(14n << 60n) | (BigInt(random.below(3)) << 44n)}\ncsrrw t2, satp, t0\n${MIX}`,
    () => `li t0, ${hi()}\ncsrw stlbhi, t0\ncsrwi stlbop, 3\ncsrr t2, stlbindex\n${MIX}`,
    () => `csrwi stlbindex, ${random.below(10)}\ncsrwi stlbop, 0\ncsrr t2, stlblo\n${MIX}\ncsrr t2, stlbhi\n${MIX}\ncsrr t2, stlbcontext\n${MIX}\ncsrr t2, stlbnext\n${MIX}`,
    () => `li t0, ${random.pick([0x40000, 0x80000])}\n${random.pick(["csrs", "csrc"])} sstatus, t0`,
    () => `li t1, ${at}\nli t2, 0\n${random.pick(["ld t2, 0(t1)", "ld t2, 0(t1)", "sd s0, 0(t1)", "sd s0, 0(t1)", "amoadd.d t2, s0, (t1)", "cbo.clean (t1)", "cbo.zero (t1)"])}\n${MIX}`,
    () => `li a1, ${at}\nla s11, after${number}\nli t0, ${USER_STUB + (random.oneIn(2) ? 0 : 16)}\ncsrw sepc, t0\nli t0, 0x100\ncsrc sstatus, t0\nsret\nafter${number}: mv t2, a2\n${MIX}`,
    () => "sfence.vma",
  ];
  return random.pick([...steps, steps[0]!, steps[0]!, steps[5]!, steps[6]!, steps[6]!])();
}

const randomKernel = (random: Random): string => `
        la    t0, handler
        csrw  stvec, t0
        csrwi stlbwired, 31
        csrwi stlbindex, 0
        li    t0, ${address.memory}
        csrw  stlbhi, t0
        li    t0, 0x400000200000ef
        csrw  stlblo, t0
        csrwi stlbop, 1
        csrwi stlbindex, 1
        li    t0, ${USER_STUB}
        csrw  stlbhi, t0
        la    t0, stub
        srli  t0, t0, 12
        slli  t0, t0, 10
        addi  t0, t0, 0x7b            # V R X U G A
        csrw  stlblo, t0
        csrwi stlbop, 1
        li    t0, ${14n << 60n}
        csrw  satp, t0
${Array.from({ length: 300 }, (_, i) => randomStep(random, i)).join("\n")}
        csrw  satp, zero
        li    a0, 0
${EXIT}
        .align 2
handler: csrr t2, scause
        li    t3, 8
        beq   t2, t3, resume
        ${MIX}
        csrr  t2, stval
        ${MIX}
        csrr  t2, stlbhi
        ${MIX}
        li    a2, 1
        csrr  t2, sstatus
        andi  t2, t2, 0x100
        beqz  t2, resume
        csrr  t2, sepc
        addi  t2, t2, 4
        csrw  sepc, t2
        li    t2, 3
        sret
resume: li    t2, 0x100
        csrs  sstatus, t2
        csrw  sepc, s11
        sret
        .align 12
stub:   li    a2, 0
        ld    a2, 0(a1)
        ecall
        nop
        li    a2, 5
        sd    a2, 0(a1)
        ecall
`;

test("random kernels come to the same on the bare machine, by traps and by translation", () => {
  const random = new Random(seed);
  const causes = new Set<number>();
  for (let kernelNumber = 0; kernelNumber < cases(12); kernelNumber++) {
    const source = randomKernel(random);
    const machine = new Machine({ ramSize: memory, model, hypervisor: false, clock: "instructions", outside: new QuietHost(), doorbell: new Doorbell() });
    new Board({ computer: machine.computer, drives: [], output: () => {}, terminal: { columns: 80, rows: 24 }, warn: () => {} })
      .boot({ kernel: { format: "raw", bytes: assemble(source, { base: address.memory }) }, append: "" });
    const end = machine.run();
    assert.deepEqual(end, { kind: "fail", code: 0 });
    for (let number = 0; number < 32; number++) if (machine.state.get("traps", number) > 0n) causes.add(number);
    for (const cpu of ["trap-and-emulate", "binary-translation"] as const) {
      const vm = new TestMonitor({ model }).runToEnd(source, { cpu, memory });
      const where = `kernel ${kernelNumber} of seed ${seed}, ${cpu}`;
      assert.equal(vm.x(8), machine.state.get("x", 8), where);
      assert.equal(vm.vm.computer.instret, machine.computer.instret, where);
      const { pmap, machine: frames } = vm.vm.memory;
      for (const page of physical.slice(0, 8)) {
        const frame = pmap.frame(page / 4096);
        const bare = machine.processor.dma.readable(page, 4096);
        assert.ok(frame < 0 ? bare.every((byte) => byte === 0) : Buffer.compare(frames.readable(frame), bare) === 0, `${where}: page ${page.toString(16)}`);
      }
    }
  }
  for (const cause of [5, 7, 13, 15, 25, 27]) assert.ok(causes.has(cause), `no trap ${cause} among ${[...causes].join()}`);
});
