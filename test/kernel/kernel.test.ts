/** The small kernel and its programs: the same lines on every machine. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { suite, test } from "node:test";
import { fileURLToPath } from "node:url";
import { parseFirmware } from "#images/kernel.ts";
import { hostelry } from "../kit/hostelry.ts";
import { TestMonitor } from "../kit/monitor.ts";
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
    ["on the bare machine", ["--bare", "--memory", "64M"]],
    ["on a machine whose TLB software fills", ["--bare", "--tlb", "software", "--memory", "64M"]],
    ["in a VM, by hardware", ["--memory", "8M"]],
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
    assert.deepEqual([outputs[1], outputs[2]], [outputs[0], outputs[0]]);
  });

  test("runs its programs above OpenSBI", { skip: skipWithoutFile(OPENSBI, "opensbi") }, async () => {
    const { status, stdout } = await hostelry(["run", "--clock", "instructions", "--bios", OPENSBI, "--memory", "64M", "--kernel", kernel, "--append", commands]);
    assert.equal(status, 0);
    assert.equal(linesOf(stdout), expected);
  });

  test("runs its programs on QEMU's board", { skip: skipWithout("system") }, () => {
    const devices = ["-global", "virtio-mmio.force-legacy=false", "-device", "virtio-rng-device"];
    const output = runTool("system", ["-M", "virt", "-m", "64M", "-nographic", ...devices, "-kernel", kernel, "-append", commands]);
    assert.equal(linesOf(output.toString("latin1")), expected);
  });

  test("takes commands from the console, and says what went wrong", () => {
    const monitor = new TestMonitor();
    const vm = monitor.create({ kernel: parseFirmware(readFileSync(kernel), kernel), append: "" }, { memory: 8 << 20 });
    monitor.start(vm);
    monitor.run(() => vm.output().endsWith("$ "));
    vm.host.arrivals.push({ kind: "console", bytes: Buffer.from("true; nothing\ncheck 1\noff\n") });
    monitor.run(() => vm.end() !== undefined);
    assert.match(vm.output(), /nothing: no such program\nnothing: status 127\n.*check: read the kernel: -113/s);
    assert.deepEqual(vm.end(), { kind: "poweroff" });
  });
});
