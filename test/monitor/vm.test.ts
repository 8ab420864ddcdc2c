/** Guests in VMs, from their first instruction to their last, by programs of a few lines. */
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { abandon } from "#monitor/vm.ts";
import { address } from "#platform/memory-map.ts";
import { EXIT, TestMonitor } from "../kit/monitor.ts";

for (const translate of [false, true]) {
  suite(`a guest in a VM, ${translate ? "translated" : "interpreted"}`, () => {
    test("begins as on the bare machine, and ends with its status", () => {
      const { vm, end, x } = new TestMonitor({ translate }).runToEnd(`mv s0, a0\nmv s1, a1\ncsrr s2, sstatus\ncsrr s3, satp\nli a0, 7\n${EXIT}`);
      assert.deepEqual(end(), { kind: "fail", code: 7 });
      assert.equal(x(8), 0n);
      assert.equal(x(18), 2n << 32n);
      assert.equal(x(19), 0n);
      assert.ok(vm.computer.instret > 5);
    });

    test("talks through the UART and through firmware", () => {
      const { output, vm } = new TestMonitor({ translate }).runToEnd(`
        li   t0, ${address.uart}
        li   t1, 85
        sb   t1, 0(t0)
        li   a7, 0x4442434e
        li   a6, 2
        li   a0, 70
        ecall
        li   a7, 1
        li   a0, 76
        ecall
        lbu  a0, 5(t0)
        ${EXIT}`);
      assert.equal(output(), "UFL");
      const counts = vm.exits.counts();
      assert.equal(counts["hypercall"], 2);
      assert.ok(counts["device-write"] >= 2 && counts["device-read"] === 1);
    });

    test("gets frames as it touches pages, scattered, and reads zeros", () => {
      const monitor = new TestMonitor({ translate });
      const free = monitor.frames.available;
      const { vm, x, end } = monitor.runToEnd(`
        li   t0, ${address.memory + 0x10_0000}
        li   t1, 64
        li   t2, 4096
        li   s1, 0
        again:
        ld   t3, 8(t0)
        or   s1, s1, t3
        sd   t1, 8(t0)
        add  t0, t0, t2
        addi t1, t1, -1
        bnez t1, again
        li   a0, 0
        ${EXIT}`);
      assert.deepEqual(end(), { kind: "fail", code: 0 });
      assert.equal(x(9), 0n);
      assert.ok(vm.exits.counts()["first-touch"] >= 64);
      const frames = [...vm.memory.pmap.entries()].map(([, frame]) => frame);
      assert.ok(frames.some((frame, i) => i > 0 && frame !== frames[i - 1]! + 1));
      assert.equal(free - monitor.frames.available, vm.memory.pmap.counts.mapped + vm.memory.tables.size);
      vm.release();
      assert.equal(monitor.frames.available, free);
    });

    test("an address where nothing is: its own fault, as on the bare machine", () => {
      const { x } = new TestMonitor({ translate }).runToEnd(`
        la   t0, handler
        csrw stvec, t0
        li   s2, 0x40000000
        ld   t1, 0(s2)
        j    bad
        .align 2
        handler:
        csrr s0, scause
        csrr s1, stval
        li   a0, 1
        ${EXIT}
        bad:
        li   a0, 2
        ${EXIT.replaceAll("stay", "stay2")}`);
      assert.equal(x(8), 5n);
      assert.equal(x(9), 0x40000000n);
    });

    test("hypervisor's instructions are illegal there", () => {
      const { x } = new TestMonitor({ translate }).runToEnd(`
        la   t0, handler
        csrw stvec, t0
        csrr t1, hgatp
        li   a0, 2
        .align 2
        handler:
        csrr s0, scause
        csrr s1, stval
        li   a0, 1
        ${EXIT}`);
      assert.equal(x(8), 2n);
      assert.equal(x(9) & 0xfff0_0000n, 0x6800_0000n);
    });

    test("a timer that firmware sets is no more pending from then on", () => {
      const { x, end } = new TestMonitor({ translate }).runToEnd(`
        la   t0, handler
        csrw stvec, t0
        li   s0, 0
        li   s1, 2000
        csrw stimecmp, x0
        li   t3, 32
        csrs sie, t3
        csrsi sstatus, 2
        again:
        addi s1, s1, -1
        bnez s1, again
        li   a0, 0
        ${EXIT}
        .align 2
        handler:
        addi s0, s0, 1
        li   a7, 0x54494d45
        li   a6, 0
        li   a0, -1
        ecall
        sret`);
      assert.deepEqual(end(), { kind: "fail", code: 0 });
      assert.equal(x(8), 1n);
    });

    test("its timer comes, and waiting takes no time by the instruction clock", () => {
      const { x, vm } = new TestMonitor({ translate }).runToEnd(`
        la   t0, handler
        csrw stvec, t0
        rdtime t1
        li   t2, 10000000
        add  t1, t1, t2
        csrw stimecmp, t1
        li   t3, 32
        csrs sie, t3
        csrsi sstatus, 2
        again: wfi
        j    again
        .align 2
        handler:
        csrr s0, scause
        rdtime s1
        li   a0, 0
        ${EXIT}`);
      assert.equal(x(8), (1n << 63n) | 5n);
      assert.ok(x(9) >= 10_000_000n);
      assert.ok(vm.computer.instret < 1000, `${vm.computer.instret} instructions, ${JSON.stringify(vm.exits.counts())}`);
    });
  });
}

suite("one that can't be made", () => {
  test("leaves no frame behind", () => {
    const monitor = new TestMonitor();
    const { frames } = monitor;
    assert.throws(() => monitor.create(undefined, { cpu: "paravirtual", cpus: 2 }), { code: "one-hart" });
    assert.throws(() => monitor.create(undefined, { drives: Array.from({ length: 7 }, () => assert.fail) as never }), { code: "too-many-drives" });
    assert.equal(frames.available, frames.usable);
    const root = frames.takeRoot(99);
    while (frames.take(99, "device") >= 0);
    for (let frame = root; frame < root + 4; frame++) frames.release(frame);
    for (const cpu of ["paravirtual", "trap-and-emulate"] as const) {
      assert.throws(() => monitor.create(undefined, { cpu }), { code: "no-frames" });
      assert.equal(frames.available, 4);
    }
  });

  test("nor does one that can't go on elsewhere", () => {
    for (const cpu of ["paravirtual", "trap-and-emulate"] as const) {
      const monitor = new TestMonitor();
      const { frames } = monitor;
      const { vm } = monitor.create("j 0", { cpu });
      const saved = vm.save();
      const others: number[] = [];
      for (let frame; (frame = frames.take(99, "device")) >= 0; ) others.push(frame);
      assert.throws(() => monitor.create(undefined, { cpu, id: vm.id }, saved), { code: "no-frames" });
      abandon(monitor.memory, vm.id, saved);
      for (const frame of others) frames.release(frame);
      assert.equal(frames.available, frames.usable);
    }
  });
});

suite("several VMs on a hart", () => {
  test("keep their registers and memory apart", () => {
    const monitor = new TestMonitor({ translate: true });
    const vms = [1, 2, 3].map((seed) => monitor.create(`
      li   s0, ${seed}
      li   s1, ${address.memory + 0x8_0000}
      li   s2, 300000
      li   s5, 1103515245
      again:
      mul  s0, s0, s5
      addi s0, s0, ${seed}
      ld   s4, 0(s1)
      add  s4, s4, s0
      sd   s4, 0(s1)
      addi s2, s2, -1
      bnez s2, again
      li   a0, 0
      ${EXIT}`));
    for (const vm of vms) monitor.start(vm);
    monitor.run(() => vms.every(({ end }) => end() !== undefined));
    vms.forEach(({ x, end }, i) => {
      assert.deepEqual(end(), { kind: "fail", code: 0 });
      let [value, sum] = [BigInt(i + 1), 0n];
      for (let n = 0; n < 300_000; n++) {
        value = BigInt.asUintN(64, value * 1103515245n + BigInt(i + 1));
        sum = BigInt.asUintN(64, sum + value);
      }
      assert.equal(x(20), sum);
    });
  });

  test("a second vCPU is started by the first, and interrupts it", () => {
    const monitor = new TestMonitor();
    const { end, x } = monitor.runToEnd(`
      la   t0, handler
      csrw stvec, t0
      li   a7, 0x48534d
      li   a6, 0
      li   a0, 1
      la   a1, second
      li   a2, 42
      ecall
      mv   s3, a0
      li   t3, 2
      csrs sie, t3
      csrsi sstatus, 2
      again: wfi
      j    again
      .align 2
      handler:
      csrr s0, scause
      la   t0, word
      ld   s1, 0(t0)
      li   a0, 5
      ${EXIT}
      second:
      la   t0, word
      sd   a1, 0(t0)
      li   a7, 0x735049
      li   a6, 0
      li   a0, 1
      li   a1, 0
      ecall
      spin: j spin
      .align 3
      word: .dword 0`, { cpus: 2 });
    assert.deepEqual(end(), { kind: "fail", code: 5 });
    assert.equal(x(8), (1n << 63n) | 1n);
    assert.equal(x(9), 42n);
    assert.equal(x(19), 0n);
  });
});
