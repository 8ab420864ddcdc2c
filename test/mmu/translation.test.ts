/**
 * Address translation and protection on random page tables, against the model: loads, stores, atomics, cache-block operations and fetches, in every
 * mode; page tables that change under fences of all kinds.
 */
import { suite, test } from "node:test";
import { seed } from "../kit/effort.ts";
import { codeOffset, codeSource, Machine } from "./machine.ts";
import { MemoryModel } from "./model.ts";
import { isTableOrCode, same, Subject } from "./outcome.ts";
import { runScenes, scenes } from "./run-scenes.ts";
import { buildScene, codePhysical, firstDifference, ramBase, type Scene } from "./scene.ts";
import { randomSteps, uses, type AccessStep, type EditStep, type Step } from "./steps.ts";

const machine = new Machine();

/** Runs the steps on both; what differs, or undefined. */
function failure(scene: Scene, steps: readonly Step[]): string | undefined {
  const { hart } = machine;
  machine.prepare(scene);
  const memory = new MemoryModel(Uint8Array.from(hart.ram), ramBase);
  const subject = new Subject(memory);
  const modelRam = new Uint8Array(memory.ram.buffer);
  for (const [index, step] of steps.entries()) {
    if (step.type === "edit") edit(step, memory);
    else {
      const message = compareAccess(scene, step, memory, subject);
      if (message !== undefined) return `step ${index}: ${describe(scene, step)}: ${message}`;
      if (Buffer.compare(modelRam, hart.ram) !== 0) return `step ${index}: ${describe(scene, step)}: ${firstDifference(modelRam, hart.ram)}`;
    }
  }
  return undefined;
}

function edit({ entry, pte, address, asid }: EditStep, memory: MemoryModel): void {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, pte, true);
  machine.hart.load(entry, bytes);
  memory.ram.setBigUint64(entry - ramBase, pte, true);
  machine.step(`sfence.vma ${address === undefined ? "zero" : "a0"}, ${asid === undefined ? "zero" : "a1"}`, BigInt(asid ?? 0), address ?? 0n);
}

function compareAccess({ spaces }: Scene, step: AccessStep, memory: MemoryModel, subject: Subject): string | undefined {
  const { registers, text, address, data, space } = step;
  const use = uses[text]!;
  const { privilege } = registers;
  const base = privilege === 3 ? BigInt(codePhysical) : spaces[space]!.codeVirtual[privilege];
  const pc = use.kind === "fetch" ? address : base + codeOffset(text);
  const before = Uint8Array.from(new Uint8Array(memory.ram.buffer));
  let expected = use.kind === "fetch" ? undefined : subject.fetchCode(registers, pc);
  if (expected === undefined) expected = subject.access(registers, use, address, data);
  if (expected === undefined) {
    new Uint8Array(memory.ram.buffer).set(before);
    return undefined;
  }
  const given = machine.access(step, pc);
  if ("trap" in expected || "trap" in given) return same(given, expected);
  if (use.kind === "conditional") {
    // Whether SC succeeds is the hart's to say, but it must do what it says.
    if (given.result === 0n) subject.writeConditional(expected.wroteTo!, use.size, data);
    else if (given.result !== 1n) return `sc yields ${given.result}`;
  } else {
    const message = same(given, { result: expected.result, device: expected.device });
    if (message !== undefined) return message;
  }
  // Stores over page tables need a fence; those over the test's code are undone.
  if (expected.wroteTo !== undefined && isTableOrCode(expected.wroteTo)) {
    machine.hart.program(codeSource, codePhysical);
    new Uint8Array(memory.ram.buffer).set(machine.hart.ram.subarray(0, 4096));
    machine.step("sfence.vma zero, zero");
  }
  return undefined;
}

function describe({ spaces }: Scene, { text, registers, address, space }: AccessStep): string {
  const { pmp, satp, ...rest } = registers;
  const entries = pmp.map(({ config, address: at }, i) => (config ? ` ${i}:${config.toString(16)}/${(at << 2n).toString(16)}` : "")).join("");
  return `${text} at 0x${address.toString(16)}, satp 0x${satp.toString(16)} (mode ${spaces[space]!.mode}), ${JSON.stringify(rest)}, PMP${entries}`;
}

suite(`translation and protection against the model, seed ${seed}`, () => {
  test(`${scenes} scenes of 150 steps`, () => runScenes({ build: buildScene, steps: randomSteps, failure }));
});
