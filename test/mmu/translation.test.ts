/**
 * Address translation and protection on random page tables, against the model: loads, stores, atomics, cache-block operations and fetches, in every
 * mode; page tables that change under fences of all kinds.
 */
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { cases, seed } from "../kit/effort.ts";
import { TestHart } from "../kit/hart.ts";
import { Random } from "../kit/random.ts";
import { shrink } from "../kit/shrink.ts";
import { MemoryModel } from "./model.ts";
import { deviceValue, isTableOrCode, Subject, type DeviceWrite, type Outcome } from "./outcome.ts";
import { buildScene, codePhysical, device, ramBase, ramSize, type Scene } from "./scene.ts";
import { randomSteps, uses, type AccessStep, type EditStep, type Step } from "./steps.ts";

/** The code page: a handler that goes nowhere, then all instructions that the test uses, each at its place. */
const texts = [
  "j .",
  "csrw mstatus, a1",
  "csrw satp, a1",
  "csrw menvcfg, a1",
  "sfence.vma zero, zero",
  "sfence.vma a0, zero",
  "sfence.vma zero, a1",
  "sfence.vma a0, a1",
  ...Object.keys(uses).filter((text) => text !== "fetch"),
];
const codeSource = texts.join("\n");
const codeOffset = (text: string): bigint => BigInt(texts.indexOf(text) * 4);

const A0 = 10;
const A1 = 11;
const A2 = 12;
const T0 = 5;
const untouched = 0x5a5a5a5a5a5a5a5an;

class Machine {
  readonly hart: TestHart;
  readonly writes: DeviceWrite[] = [];

  constructor() {
    const inDevice = (address: number, size: number): boolean => address >= device.base && address + size <= device.base + device.size;
    this.hart = new TestHart({
      ramSize,
      // Few, so that they are thrown away now and then.
      predecodedPages: 24,
      host: {
        mmioRead: (_state, address, size) => {
          if (!inDevice(address >>> 0, size)) return 1;
          this.hart.state.set("mmioValue", deviceValue(address, size));
          return 0;
        },
        mmioWrite: (_state, address, size) => {
          if (!inDevice(address >>> 0, size)) return 1;
          this.writes.push({ address, size, value: BigInt.asUintN(8 * size, this.hart.get("mmioValue")) });
          return 0;
        },
      },
    });
  }

  prepare(scene: Scene): void {
    const { hart } = this;
    hart.reset();
    hart.load(ramBase, scene.ram);
    hart.program(codeSource, codePhysical);
    scene.pmp.forEach(({ config, address }, i) => {
      hart.state.set("pmpaddr", address, i);
      const half = i >> 3;
      hart.state.set("pmpcfg", hart.get("pmpcfg", half) | (BigInt(config) << BigInt(8 * (i & 7))), half);
    });
    hart.state.set("mtvec", BigInt(codePhysical));
    hart.state.set("senvcfg", 0xf0n);
    hart.settle();
  }

  /** One instruction in machine mode. */
  step(text: string, a1 = 0n, a0 = 0n): void {
    const { state, instance, map } = this.hart;
    state.set("privilege", 3);
    instance.exports.selectBank(map.hart);
    state.set("x", a0, A0);
    state.set("x", a1, A1);
    state.set("pc", BigInt(codePhysical) + codeOffset(text));
    this.hart.run(1);
  }

  /** One instruction of the test; what became of it. */
  access({ text, registers, address, data }: AccessStep, pc: bigint): Outcome {
    const { hart } = this;
    const { privilege, sum, mxr, mprv, mpp, satp, adue, pbmte } = registers;
    this.step("csrw satp, a1", satp);
    const environment = (BigInt(adue) << 61n) | (BigInt(pbmte) << 62n) | 0xf0n;
    if (environment !== hart.get("menvcfg")) this.step("csrw menvcfg, a1", environment);
    const below = privilege === 3 ? mpp : privilege;
    const status = (BigInt(below) << 11n) | (BigInt(mprv) << 17n) | (BigInt(sum) << 18n) | (BigInt(mxr) << 19n);
    this.step("csrw mstatus, a1", status);
    // Not by MRET: the hart fetches ahead of its budget, and would take that trap at once.
    hart.state.set("privilege", privilege);
    hart.instance.exports.selectBank(hart.map.hart);
    this.writes.length = 0;
    const result = text === "fetch" ? T0 : A2;
    for (const [register, value] of [[A0, address], [A1, data], [result, untouched]] as const) hart.state.set("x", value, register);
    hart.state.set("mcause", untouched);
    hart.state.set("pc", pc);
    hart.run(1);
    const trap = hart.get("mcause");
    if (trap !== untouched) {
      assert.equal(hart.get("mepc"), pc, "mepc");
      assert.equal(hart.get("privilege"), 3n);
      // The handler is in machine mode, with what it is allowed there.
      return { trap: Number(trap), value: hart.get("mtval") };
    }
    const value = hart.x(result);
    return { result: value === untouched ? undefined : value, device: [...this.writes] };
  }
}

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

const show = (outcome: Outcome): string =>
  "trap" in outcome
    ? `trap ${outcome.trap}, tval 0x${outcome.value.toString(16)}`
    : `result ${outcome.result?.toString(16)}, device ${outcome.device.map(({ address, size, value }) => `${address.toString(16)}/${size}=${value.toString(16)}`).join(" ") || "untouched"}`;

function same(given: Outcome, expected: Outcome): string | undefined {
  const [ours, wanted] = [show(given), show(expected)];
  return ours === wanted ? undefined : `${ours}; the model: ${wanted}`;
}

function firstDifference(expected: Uint8Array, given: Uint8Array): string {
  const at = expected.findIndex((byte, i) => byte !== given[i]);
  const bytes = (memory: Uint8Array): string => Buffer.from(memory.subarray(at & ~7, (at & ~7) + 8)).toString("hex");
  return `memory at 0x${(ramBase + (at & ~7)).toString(16)} is ${bytes(given)}; the model: ${bytes(expected)}`;
}

function describe({ spaces }: Scene, { text, registers, address, space }: AccessStep): string {
  const { pmp, satp, ...rest } = registers;
  const entries = pmp.map(({ config, address: at }, i) => (config ? ` ${i}:${config.toString(16)}/${(at << 2n).toString(16)}` : "")).join("");
  return `${text} at 0x${address.toString(16)}, satp 0x${satp.toString(16)} (mode ${spaces[space]!.mode}), ${JSON.stringify(rest)}, PMP${entries}`;
}

suite(`translation and protection against the model, seed ${seed}`, () => {
  const scenes = cases(60);

  test(`${scenes} scenes of 150 steps`, () => {
    for (let i = 0; i < scenes; i++) {
      const random = new Random(seed * 10_000 + i);
      const scene = buildScene(random);
      const steps = randomSteps(scene, 150, random);
      if (failure(scene, steps) === undefined) continue;
      const { list, message } = shrink(steps, (shorter) => failure(scene, shorter));
      const hex = (_key: string, value: unknown): unknown => (typeof value === "bigint" ? `0x${value.toString(16)}` : value);
      const edits = list.filter(({ type }) => type === "edit").map((step) => JSON.stringify(step, hex));
      assert.fail(`scene ${i}, ${list.length} steps are enough: ${message}\n${edits.join("\n")}`);
    }
  });
});
