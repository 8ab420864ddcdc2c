/**
 * The same guest, seed and instruction clock on the bare machine and in a VM: after so many instructions the same registers and the same memory,
 * to the last byte. (Accessed and dirty bits are the guest's own in both: they come out equal too.) By every technique, and from each to each.
 */
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { suite, test } from "node:test";
import { Doorbell } from "#base/doorbell.ts";
import { parseKernel } from "#images/kernel.ts";
import type { Computer } from "#machine/computer.ts";
import { Machine } from "#machine/machine.ts";
import { Board, type BootFiles } from "#platform/board.ts";
import { address } from "#platform/memory-map.ts";
import type { Technique } from "#monitor/cpu/technique.ts";
import { defaultImage } from "../kit/hostelry.ts";
import { watchExits } from "../kit/confinement.ts";
import { QuietHost, TestMonitor } from "../kit/monitor.ts";
import { allTechniques, titleOf } from "../kit/techniques.ts";

const MIB = 1 << 20;
const MEMORY = 96 * MIB;
const PAGE = 4096;
/** Where the two are compared: in early boot, before and after the MMU is on, and in the middle of drivers. */
const SHIFT = 3_000_000;
const STOPS = [1_000_000, 20_000_000, 120_000_000];

interface Run {
  readonly to: (instret: number) => void;
  readonly register: (index: number) => bigint;
  readonly pc: () => bigint;
  readonly page: (page: number) => Uint8Array;
  readonly output: () => string;
}

/** Lets the computer's slices end where it is to be looked at. */
function stopAt(computer: Computer, instret: number): boolean {
  computer.longestSlice = Math.max(1, Math.min(1_000_000, instret - computer.instret));
  return computer.instret >= instret;
}

function onBareMachine(files: BootFiles): Run {
  let output = "";
  let stop = 0;
  const machine: Machine = new Machine({
    ramSize: MEMORY, clock: "instructions", outside: new QuietHost(), doorbell: new Doorbell(), hypervisor: false,
    command: () => (stopAt(machine.computer, stop) ? "stop" : "run"),
  });
  const board = new Board({
    computer: machine.computer, drives: [], terminal: { columns: 80, rows: 24 }, warn: assert.fail,
    output: (bytes) => void (output += Buffer.from(bytes).toString("latin1")),
  });
  board.boot(files);
  return {
    to(instret) {
      stop = instret;
      assert.deepEqual(machine.run(), { kind: "stopped" });
    },
    register: (index) => machine.state.get("x", index),
    pc: () => machine.state.get("pc"),
    page: (page) => machine.processor.dma.readable(page * PAGE, PAGE),
    output: () => output,
  };
}

/** By these techniques in turn, each for `SHIFT` instructions. */
function inVm(files: BootFiles, techniques: readonly Technique[]): Run {
  const monitor = new TestMonitor({ memory: MEMORY + 24 * MIB, translate: true });
  const test = monitor.create(files, { memory: MEMORY, technique: techniques[0]! });
  const { vm } = test;
  watchExits(monitor.memory, vm);
  monitor.start(test);
  let shifts = 0;
  const shift = (): void => {
    if (techniques.length === 1 || vm.computer.instret < SHIFT * (shifts + 1)) return;
    vm.setTechnique(techniques[++shifts % techniques.length]!);
  };
  const untouched = new Uint8Array(PAGE);
  return {
    to: (instret) => monitor.run(() => (shift(), stopAt(vm.computer, instret)), Infinity),
    register: test.x,
    pc: () => vm.core.state.get("pc"),
    page: (page) => (vm.memory.pmap.frame(page) < 0 ? untouched : monitor.memory.readable(vm.memory.pmap.frame(page))),
    output: test.output,
  };
}

const found = await defaultImage();

suite("Debian on the bare machine and in a VM", { skip: "skip" in found && found.skip }, () => {
  test("is in the same state after the same number of instructions", async () => {
    const { image } = found as Exclude<typeof found, { skip: string }>;
    const files = {
      kernel: await parseKernel(await readFile(image.kernelPath), "the kernel"),
      initrd: await readFile(image.initrdPath),
      append: image.manifest.append,
    };
    const bare = onBareMachine(files);
    const vms = [...allTechniques.map((technique) => [titleOf(technique), inVm(files, [technique])] as const), ["all in turn", inVm(files, allTechniques)] as const];
    for (const stop of STOPS) {
      bare.to(stop);
      for (const [title, vm] of vms) {
        vm.to(stop);
        const where = `after ${stop} instructions by ${title}`;
        assert.equal(vm.pc().toString(16), bare.pc().toString(16), `pc ${where}`);
        for (let i = 0; i < 32; i++) assert.equal(vm.register(i).toString(16), bare.register(i).toString(16), `x${i} ${where}`);
        for (let page = address.memory / PAGE; page < (address.memory + MEMORY) / PAGE; page++) {
          assert.ok(Buffer.compare(bare.page(page), vm.page(page)) === 0, `page ${page.toString(16)} ${where}`);
        }
      }
    }
    assert.match(bare.output(), /Linux version/);
    for (const [title, vm] of vms) assert.equal(vm.output(), bare.output(), title);
  });
});
