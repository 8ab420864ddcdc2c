/**
 * Two-stage translation and protection on random tables of guests and hypervisors, against the model: guests' accesses, those of HLV, HLVX and HSV,
 * and machine mode's by MPRV and MPV; what traps leave in mtval2 and mtinst; both stages changing under HFENCE.
 */
import { suite, test } from "node:test";
import { seed } from "../kit/effort.ts";
import { Random } from "../kit/random.ts";
import { buildGuestScene, randomGuestAddress, randomGuestLeaf, randomGuestRegisters, viaAlias, type GuestScene } from "./guest-scene.ts";
import { codeOffset, codeSource, Machine } from "./machine.ts";
import { MemoryModel, type GuestRegisters, type Registers } from "./model.ts";
import { isTableOrCode, same, Subject, type Outcome } from "./outcome.ts";
import { hex, runScenes, scenes } from "./run-scenes.ts";
import { codePhysical, firstDifference, global, ramBase, randomLeaf } from "./scene.ts";
import { hypervisorUses, uses, type AccessStep, type Use } from "./steps.ts";

interface GuestAccessStep extends AccessStep {
  /** The host's address space, and the virtual machine. */
  readonly host: number;
  readonly machine: number;
}

interface GuestEditStep {
  readonly type: "edit";
  /** Whose entry it is: a guest's, or that of a second stage. */
  readonly stage: "guest" | number;
  readonly entry: number;
  readonly pte: bigint;
  /** Operands of the fence; absent for x0. */
  readonly address?: bigint;
  readonly id?: number;
}

type Step = GuestAccessStep | GuestEditStep;

const allUses = { ...uses, ...hypervisorUses };
const guestTexts = [...Object.keys(uses), "ld a2, 0(a0)", "sd a1, 0(a0)", "sw a1, 0(a0)", "fetch", "fetch"];
const hostTexts = [...guestTexts, ...Object.keys(hypervisorUses), ...Object.keys(hypervisorUses), ...Object.keys(hypervisorUses)];

function randomSteps(scene: GuestScene, count: number, random: Random): Step[] {
  const environment = (): Pick<Registers, "adue" | "pbmte"> => ({ adue: !random.oneIn(3), pbmte: random.oneIn(2) });
  let current = environment();
  const steps: Step[] = [];
  const recent: GuestAccessStep[] = [];
  while (steps.length < count) {
    if (random.oneIn(40)) current = environment();
    const before = recent.length > 0 ? random.pick(recent) : undefined;
    if (before && random.oneIn(5)) {
      const edit = random.oneIn(2) ? guestEdit(scene, before, random) : stageEdit(scene, random);
      if (edit) steps.push(edit, { ...before, registers: { ...before.registers, ...current } });
      continue;
    }
    const step = accessOf(scene, current, random, random.oneIn(2) ? before : undefined);
    steps.push(step);
    recent.push(step);
    if (recent.length > 12) recent.shift();
  }
  return steps;
}

function accessOf(scene: GuestScene, environment: Pick<Registers, "adue" | "pbmte">, random: Random, before?: GuestAccessStep): GuestAccessStep {
  const space = before === undefined || random.oneIn(3) ? random.below(scene.spaces.length) : before.space;
  const [host, machine] = [random.below(scene.spaces.length), random.below(scene.machines.length)];
  const fresh = randomGuestRegisters(scene, space, host, machine, random);
  const registers = { ...fresh, ...environment };
  const text = random.pick(registers.guest!.v ? guestTexts : hostTexts);
  const use = allUses[text]!;
  let address = before?.address ?? randomGuestAddress(scene, space, machine, random);
  const mustAlign = "size" in use && use.kind !== "load" && use.kind !== "store";
  if ("size" in use && !random.oneIn(10) && (mustAlign || random.oneIn(2))) address &= ~BigInt(use.size - 1);
  if (use.kind === "fetch") address = (address & ~3n) | 2n;
  return { type: "access", text, space, host, machine, registers, address, data: random.u64() };
}

/** The page of an earlier access. Where all spaces share it, the fence is for all. */
function guestEdit(scene: GuestScene, { space, address }: GuestAccessStep, random: Random): GuestEditStep | undefined {
  const mapping = scene.spaces[space]!.mappings.find(({ virtual, level }) => address >> BigInt(12 + 9 * level) === virtual >> BigInt(12 + 9 * level));
  if (mapping === undefined) return undefined;
  const { virtual, level, entry, isShared } = mapping;
  const within = random.u64() & ((1n << BigInt(12 + 9 * level)) - 1n);
  const leaf = randomLeaf(level, scene.hotFrames, random) | (isShared && random.oneIn(2) ? global : 0n);
  return {
    type: "edit",
    stage: "guest",
    entry,
    pte: viaAlias(leaf, scene, random),
    ...(random.oneIn(4) ? {} : { address: virtual + within }),
    ...(isShared || random.oneIn(2) ? {} : { id: scene.spaces[space]!.asid }),
  };
}

function stageEdit(scene: GuestScene, random: Random): GuestEditStep | undefined {
  const stage = random.below(scene.machines.length);
  const { leaves, vmid } = scene.machines[stage]!;
  if (leaves === undefined) return undefined;
  const frame = random.oneIn(3) ? random.below(256) : random.pick(scene.hotFrames);
  const address = BigInt(ramBase + frame * 4096 + random.below(4096)) >> 2n;
  return {
    type: "edit",
    stage,
    entry: leaves + frame * 8,
    pte: randomGuestLeaf(frame, scene.hotFrames, random),
    ...(random.oneIn(2) ? {} : { address }),
    ...(random.oneIn(2) ? {} : { id: vmid }),
  };
}

const machine = new Machine();

function failure(scene: GuestScene, steps: readonly Step[]): string | undefined {
  const { hart } = machine;
  machine.prepare(scene);
  const memory = new MemoryModel(Uint8Array.from(hart.ram), ramBase);
  const subject = new Subject(memory);
  const modelRam = new Uint8Array(memory.ram.buffer);
  for (const [index, step] of steps.entries()) {
    if (step.type === "edit") edit(scene, step, memory);
    else {
      const message = compareAccess(scene, step, memory, subject);
      const difference = message ?? (Buffer.compare(modelRam, hart.ram) === 0 ? undefined : firstDifference(modelRam, hart.ram));
      if (difference !== undefined) return `step ${index}: ${describe(step)}: ${difference}`;
    }
  }
  return undefined;
}

function edit({ machines }: GuestScene, { stage, entry, pte, address, id }: GuestEditStep, memory: MemoryModel): void {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, pte, true);
  machine.hart.load(entry, bytes);
  memory.ram.setBigUint64(entry - ramBase, pte, true);
  const operands = `${address === undefined ? "zero" : "a0"}, ${id === undefined ? "zero" : "a1"}`;
  // Both virtual machines have the guest's tables, and so has the host.
  if (stage === "guest") {
    for (const { hgatp } of machines) {
      machine.step("csrw hgatp, a1", hgatp);
      machine.step(`hfence.vvma ${operands}`, BigInt(id ?? 0), address ?? 0n);
    }
    machine.step(`sfence.vma ${operands}`, BigInt(id ?? 0), address ?? 0n);
  } else machine.step(`hfence.gvma ${operands}`, BigInt(id ?? 0), address ?? 0n);
}

/** Everything that any table maps may be found anew. */
function fenceAll(): void {
  machine.step("sfence.vma zero, zero");
  machine.step("hfence.gvma zero, zero");
}

const kindOf = (use: Use) => (use.kind === "fetch" ? "execute" : "read");

function compareAccess(scene: GuestScene, step: GuestAccessStep, memory: MemoryModel, subject: Subject): string | undefined {
  const { registers, text, address, data, space, host } = step;
  const guest = registers.guest!;
  const use = allUses[text]!;
  const { privilege } = registers;
  const codeSpace = scene.spaces[guest.v ? space : host]!;
  const base = privilege === 3 ? BigInt(codePhysical) : codeSpace.codeVirtual[privilege];
  const pc = use.kind === "fetch" ? address : base + codeOffset(text);
  const before = Uint8Array.from(new Uint8Array(memory.ram.buffer));
  let isFetch = use.kind === "fetch";
  let expected = isFetch ? undefined : subject.fetchCode(registers, pc);
  if (expected !== undefined) isFetch = true;
  else expected = subject.access(registers, use, address, data);
  if (expected === undefined) {
    new Uint8Array(memory.ram.buffer).set(before);
    return undefined;
  }
  const given = machine.access(step, pc);
  if ("trap" in expected) {
    const asGuest = isFetch ? guest.v : memory.accessor(withUse(registers, use), kindOf(use)).v;
    return same(given, { ...expected, second: secondValues(expected, step, asGuest, isFetch) });
  }
  if ("trap" in given) return same(given, expected);
  if (use.kind === "conditional") {
    if (given.result === 0n) subject.writeConditional(expected.wroteTo!, use.size, data);
    else if (given.result !== 1n) return `sc yields ${given.result}`;
  } else {
    const message = same(given, { result: expected.result, device: expected.device });
    if (message !== undefined) return message;
  }
  if (expected.wroteTo !== undefined && isTableOrCode(expected.wroteTo)) {
    machine.hart.program(codeSource, codePhysical);
    new Uint8Array(memory.ram.buffer).set(machine.hart.ram.subarray(0, 4096));
    fenceAll();
  }
  return undefined;
}

const withUse = (registers: Registers, use: Use): Registers =>
  "hypervisor" in use && use.hypervisor
    ? { ...registers, guest: { ...(registers.guest as GuestRegisters), isVirtualMachineAccess: true } }
    : registers;

function secondValues(trap: Extract<Outcome, { trap: number }>, { text, address, registers }: GuestAccessStep, asGuest: boolean, isFetch: boolean) {
  const { guestPage, value } = trap;
  const implicit = guestPage?.implicit ?? 0n;
  const isTransformed = asGuest && !isFetch && implicit === 0n;
  return {
    mtval2: (guestPage?.physical ?? 0n) >> 2n,
    mtinst: isTransformed ? transformed(text, value - address) : implicit,
    mpv: registers.guest!.v ? 1n : 0n,
    gva: asGuest ? 1n : 0n,
  };
}

/** The instruction without its address, by the manual's figures. */
function transformed(text: string, offset: bigint): bigint {
  const word = machine.hart.view.getUint32(Number(codeOffset(text)), true);
  const fields: Record<number, number> = { 0x03: 0x7fff, 0x23: 0x01f0707f, 0x2f: ~(31 << 15), 0x73: ~(31 << 15) };
  const kept = fields[word & 0x7f];
  return kept === undefined ? 0n : BigInt((word & kept) >>> 0) | (offset << 15n);
}

function describe({ text, registers, address, space, machine: vm }: GuestAccessStep): string {
  const { pmp, guest, ...rest } = registers;
  const entries = pmp.map(({ config, address: at }, i) => (config ? ` ${i}:${config.toString(16)}/${(at << 2n).toString(16)}` : "")).join("");
  return `${text} at 0x${address.toString(16)}, space ${space}, machine ${vm}, ${JSON.stringify({ ...rest, guest }, hex)}, PMP${entries}`;
}

suite(`two-stage translation against the model, seed ${seed}`, () => {
  test(`${scenes} scenes of 150 steps`, () => runScenes({ build: buildGuestScene, steps: randomSteps, failure }));
});
