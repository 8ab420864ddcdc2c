/** The small kernel and its programs: the same lines on every machine. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { suite, test } from "node:test";
import { fileURLToPath } from "node:url";
import { parseFirmware } from "#images/kernel.ts";
import { Extension } from "#devices/sbi.ts";
import { hypercalls } from "#monitor/cpu/hypercalls.ts";
import type { CpuTechniqueName } from "#monitor/cpu/technique.ts";
import { victims } from "#monitor/memory/paging.ts";
import type { BootFiles } from "#platform/board.ts";
import { hostelry } from "../kit/hostelry.ts";
import { TestMonitor, type TestVm } from "../kit/monitor.ts";
import { Random } from "../kit/random.ts";
import { TestStore } from "../kit/store.ts";
import { runTool, skipWithout, skipWithoutFile } from "../kit/tools.ts";

const kernel = fileURLToPath(new URL("../../guest/kernel/kernel.elf", import.meta.url));
const OPENSBI = "/usr/lib/riscv64-linux-gnu/opensbi/generic/fw_dynamic.bin";

const commands = "-- true; syscall 100; pipe 20; fork 10; exec 5; memory 3; compute 2; preempt; entropy 5; check";

/** What it prints, but for counts of instructions and ticks; those of the program `check` are -100 less a trap's cause. */
const expected = `
syscall: 100 done
pipe: 20 done
fork: 10 done
fork: 0 pages lost
exec: 5 done
memory: 3 done
compute: 2 done
preempt: the child, while its parent computes
preempt: the parent, after its child
entropy: 5 done
check: read the kernel: -113
check: write the kernel: -115
check: run the kernel: -112
check: read where nothing is: -113
check: read a device: -113
check: read the last page: -113
check: read sstatus: -102
check: sret: -102
check: ebreak: -103
check: an unknown call: -1
check: a write from the kernel's memory: -1
check: a read into nothing: -1
check: a copy of its own: 2 and 1
`.trim();

const linesOf = (output: string): string =>
  output.slice(output.indexOf("syscall: ")).replaceAll("\r", "").split("\n").filter((line) => line !== "" && !line.startsWith("measure ")).join("\n");

suite("the small kernel", () => {
  const machines: readonly (readonly [name: string, args: readonly string[]])[] = [
    ["on the bare machine", ["--bare", "--memory", "64M", "--clock", "instructions"]],
    ["on a machine whose TLB software fills", ["--bare", "--tlb", "software", "--memory", "64M", "--clock", "instructions"]],
    ["in a VM, by hardware", ["--memory", "8M", "--clock", "instructions"]],
  ];
  for (const [name, args] of machines) {
    test(`runs its programs ${name}`, async () => {
      const { status, stdout, stderr } = await hostelry(["run", "--clock", "instructions", ...args, "--kernel", kernel, "--append", commands]);
      assert.equal(status, 0, stderr);
      assert.equal(linesOf(stdout), expected);
    });
  }

  test("fills its TLB in U-mode as on the bare machine, to the last instruction", async () => {
    const outputs = await Promise.all([["--bare"], ["--cpu", "trap-and-emulate"], ["--cpu", "binary-translation"]].map(async (where) =>
      (await hostelry(["run", "--tlb", "software", ...where, "--clock", "instructions", "--seed", "1", "--memory", "8M", "--kernel", kernel, "--append", commands])).stdout));
    assert.match(outputs[0]!, /measure syscall 100 /);
    // Of the ticks, only the rounding may differ: a VM's device tree is longer by its balloon, so that its kernel boots some instructions later.
    const [onBare, ...inVms] = outputs.map((output) => output.replaceAll(/^(measure .*) \d+\r?$/gm, "$1"));
    assert.deepEqual(inVms, [onBare, onBare]);
  });

  test("runs its programs above OpenSBI", { skip: skipWithoutFile(OPENSBI, "opensbi") }, async () => {
    const { status, stdout } = await hostelry(["run", "--clock", "instructions", "--bios", OPENSBI, "--memory", "64M", "--kernel", kernel, "--append", commands]);
    assert.equal(status, 0);
    assert.equal(linesOf(stdout), expected);
  });

  test("runs its programs on QEMU's board", { skip: skipWithout("system") }, () => {
    const devices = ["-global", "virtio-mmio.force-legacy=false", "-device", "virtio-rng-device"];
    const output = runTool("system", ["-M", "virt", "-m", "64M", "-nographic", "-icount", "shift=3", ...devices, "-kernel", kernel, "-append", commands]);
    assert.equal(linesOf(output.toString("latin1")), expected);
  });

  const boots = (append: string): BootFiles => ({ kernel: parseFirmware(readFileSync(kernel), kernel), append });

  /** In a VM of its own machine, to its end. */
  const runIn = (cpu: CpuTechniqueName, append: string, translate = false): TestVm => {
    const monitor = new TestMonitor({ translate });
    const vm = monitor.create(boots(append), { memory: 8 << 20, cpu });
    monitor.start(vm);
    monitor.run(() => vm.end() !== undefined);
    assert.deepEqual(vm.end(), { kind: "poweroff" });
    return vm;
  };

  for (const cpu of ["trap-and-emulate", "paravirtual"] as const) {
    test(`runs its programs in a VM, by ${cpu}, interpreted and translated`, () => {
      const [interpreted, translated] = [false, true].map((translate) => runIn(cpu, commands, translate)) as [TestVm, TestVm];
      assert.equal(linesOf(interpreted.output()), expected);
      assert.equal(translated.output(), interpreted.output());
      assert.equal(translated.vm.computer.instret, interpreted.vm.computer.instret);
      for (let i = 1; i < 32; i++) assert.equal(translated.x(i), interpreted.x(i), `x${i}`);
    });
  }

  for (const cpu of ["hardware", "trap-and-emulate", "binary-translation", "paravirtual"] as const) {
    test(`notices nothing, by ${cpu}, when its pages come and go and are looked for`, () => {
      const [store, random] = [new TestStore(2048), new Random(1)];
      const monitor = new TestMonitor({ translate: true, store });
      const vm = monitor.create(boots(commands), { memory: 8 << 20, cpu });
      const { computer, memory } = vm.vm;
      computer.longestSlice = 3000;
      monitor.start(vm);
      monitor.run(() => {
        if (vm.end() !== undefined) return true;
        memory.settle();
        memory.pageOut(victims(memory, 1 + random.below(40), random));
        memory.hide(victims(memory, 1 + random.below(40), random));
        return false;
      }, 60_000);
      assert.equal(linesOf(vm.output()), expected);
      assert.equal(computer.instret, runIn(cpu, commands, true).vm.computer.instret);
      assert.ok(memory.paging.ins > 10, JSON.stringify(memory.paging));
    });
  }

  test("that knows of its monitor comes out five times less often, where it forks", () => {
    const forks = 100;
    const exits = (["trap-and-emulate", "paravirtual"] as const).map((cpu) => {
      const [some, more] = [10, 10 + forks].map((count) => runIn(cpu, `-- fork ${count}`, true).vm.exits.total) as [number, number];
      return (more - some) / forks;
    });
    assert.ok(exits[0]! >= 5 * exits[1]!, `exits a fork: ${exits[0]} and ${exits[1]}`);
  });

  test("talks over rings: neither what is typed nor what it writes takes a call to firmware", () => {
    const monitor = new TestMonitor();
    const vm = monitor.create(boots(""), { memory: 8 << 20, cpu: "paravirtual" });
    monitor.start(vm);
    monitor.run(() => vm.output() !== "");
    vm.host.arrivals.push({ kind: "console", bytes: Buffer.from("check\rfork 2\roff\r") });
    monitor.run(() => vm.end() !== undefined);
    assert.deepEqual(vm.end(), { kind: "poweroff" });
    assert.match(vm.output(), /check: read the kernel: -113\s+[^]*fork: 2 done/);
    const { base, reset } = Extension;
    const calls = vm.vm.exits.trace().exits.filter(({ kind, detail }) => kind === "hypercall" && detail >= hypercalls.length).map(({ detail }) => detail);
    assert.ok(calls.length > 0);
    assert.deepEqual(calls.filter((extension) => extension !== base && extension !== reset), []);
  });

  test("goes on where it was when its VM has moved", () => {
    const monitor = new TestMonitor({ translate: true });
    const options = { memory: 8 << 20, cpu: "paravirtual" } as const;
    const before = monitor.create(boots(commands), options);
    monitor.start(before);
    monitor.run(() => before.output().includes("pipe: "));
    monitor.monitor.stop(before.vm);
    const saved = structuredClone(before.vm.save());
    const after = monitor.create(undefined, { ...options, id: before.vm.id }, saved);
    monitor.start(after);
    monitor.run(() => after.end() !== undefined);
    assert.equal(linesOf(before.output() + after.output()), expected);
    after.vm.release();
    assert.equal(monitor.frames.available, monitor.frames.usable);
  });

  test("begins anew in a VM that is restarted", () => {
    const monitor = new TestMonitor();
    const vm = monitor.create(boots("-- fork 3; true"), { memory: 8 << 20, cpu: "paravirtual" });
    for (const times of [1, 2]) {
      monitor.start(vm);
      monitor.run(() => vm.output().split("fork: 3 done").length > times && vm.vm.ended !== undefined);
      monitor.monitor.stop(vm.vm);
      vm.vm.boot(boots("-- fork 3; true"));
    }
    assert.equal(vm.output().match(/fork: 0 pages lost/g)?.length, 2);
  });

  test("takes commands from the console, and says what went wrong", () => {
    const monitor = new TestMonitor();
    const vm = monitor.create(boots(""), { memory: 8 << 20 });
    monitor.start(vm);
    monitor.run(() => vm.output().endsWith("$ "));
    vm.host.arrivals.push({ kind: "console", bytes: Buffer.from("true; nothing\ncheck 1\noff\n") });
    monitor.run(() => vm.end() !== undefined);
    assert.match(vm.output(), /nothing: no such program\nnothing: status 127\n.*check: read the kernel: -113/s);
    assert.deepEqual(vm.end(), { kind: "poweroff" });
  });
});
