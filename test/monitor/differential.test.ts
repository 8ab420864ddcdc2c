/**
 * The same guest, seed and instruction clock on the bare machine and in a VM: after so many instructions the same registers and the same memory,
 * to the last byte. (Accessed and dirty bits are the guest's own in both: they come out equal too.) By every technique, and from each to each.
 */
import assert from "node:assert/strict";
import { hash } from "node:crypto";
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
const STOPS = [1_000_000, 4_000_000, 20_000_000, 120_000_000] as const;
/** Instructions by one technique before the next has its turn. */
const SHIFT = 3_000_000;

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

/** What is compared. */
interface Snapshot {
  readonly pc: string;
  readonly registers: readonly string[];
  /** A digest of each page of memory. */
  readonly pages: readonly string[];
}

function snapshot(run: Run): Snapshot {
  const hex = (value: bigint): string => value.toString(16);
  return {
    pc: hex(run.pc()),
    registers: Array.from({ length: 32 }, (_, index) => hex(run.register(index))),
    pages: Array.from({ length: MEMORY / PAGE }, (_, page) => hash("sha1", run.page(address.memory / PAGE + page), "base64")),
  };
}

const found = await defaultImage();

suite("Debian on the bare machine and in a VM is in the same state after the same number of instructions", { skip: "skip" in found && found.skip }, async () => {
  const { image } = found as Exclude<typeof found, { skip: string }>;
  const files = {
    kernel: await parseKernel(await readFile(image.kernelPath), "the kernel"),
    initrd: await readFile(image.initrdPath),
    append: image.manifest.append,
  };
  const bare = onBareMachine(files);
  const expected = STOPS.map((stop) => {
    bare.to(stop);
    return { stop, ...snapshot(bare), output: bare.output() };
  });
  assert.match(bare.output(), /Linux version/);

  const same = (techniques: readonly Technique[], until: number): void => {
    const vm = inVm(files, techniques);
    for (const { stop, pc, registers, pages, output } of expected) {
      if (stop > until) break;
      vm.to(stop);
      const now = snapshot(vm);
      const where = `after ${stop} instructions`;
      assert.deepEqual([now.pc, now.registers], [pc, registers], where);
      const other = pages.findIndex((page, index) => page !== now.pages[index]);
      assert.equal(other, -1, `page ${(other + address.memory / PAGE).toString(16)} ${where}`);
      assert.equal(vm.output(), output, where);
    }
  };
  const isQuick = ({ cpu }: Technique): boolean => cpu !== "emulated";
  for (const technique of allTechniques) test(titleOf(technique), () => same([technique], isQuick(technique) ? Infinity : STOPS[1]));
  test("all in turn", () => same(allTechniques, STOPS[2]));
  test("all in turn that are quick", () => same(allTechniques.filter(isQuick), Infinity));
});
