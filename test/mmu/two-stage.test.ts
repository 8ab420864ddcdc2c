/**
 * Two-stage translation and protection on random tables of guests and hypervisors, against the model: guests' accesses, those of HLV, HLVX and HSV,
 * and machine mode's by MPRV and MPV; what traps leave in mtval2 and mtinst; both stages changing under the fences of the hypervisor and of the guest.
 */
import { suite, test } from "node:test";
import { seed } from "../kit/effort.ts";
import { buildGuestScene, type GuestScene } from "./guest-scene.ts";
import { allUses, randomGuestSteps, type GuestAccessStep, type GuestEditStep, type GuestStep } from "./guest-steps.ts";
import { codeOffset, codeSource, Machine } from "./machine.ts";
import { MemoryModel, type GuestRegisters, type Registers } from "./model.ts";
import { isTableOrCode, same, Subject, type Outcome } from "./outcome.ts";
import { hex, runScenes, scenes } from "./run-scenes.ts";
import { codePhysical, firstDifference, ramBase } from "./scene.ts";
import type { Use } from "./steps.ts";

const machine = new Machine();

function failure(scene: GuestScene, steps: readonly GuestStep[]): string | undefined {
  const { hart } = machine;
  machine.prepare(scene);
  const memory = new MemoryModel(Uint8Array.from(hart.ram), ramBase);
  const subject = new Subject(memory);
  const modelRam = new Uint8Array(memory.ram.buffer);
  for (const [index, step] of steps.entries()) {
    const message = step.type === "edit" ? edit(scene, step, memory, subject) : compareAccess(scene, step, memory, subject);
    const difference = message ?? (Buffer.compare(modelRam, hart.ram) === 0 ? undefined : firstDifference(modelRam, hart.ram));
    if (difference !== undefined) return `step ${index}: ${step.type === "edit" ? "edit" : describe(step)}: ${difference}`;
  }
  return undefined;
}

function edit(scene: GuestScene, step: GuestEditStep, memory: MemoryModel, subject: Subject): string | undefined {
  const { stage, entry, pte, address, id, fence, kernel } = step;
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, pte, true);
  machine.hart.load(entry, bytes);
  memory.ram.setBigUint64(entry - ramBase, pte, true);
  const text = (letter: "s" | "h", of: "vma" | "vvma" | "gvma"): string =>
    `${letter}${fence}.${of} ${address === undefined ? "zero" : "a0"}, ${id === undefined ? "zero" : "a1"}`;
  const operands = [BigInt(id ?? 0), address ?? 0n] as const;
  if (fence === "inval") machine.step("sfence.w.inval");
  if (stage !== "guest") machine.step(text("h", "gvma"), ...operands);
  // Both virtual machines have the guest's tables, and so has the host.
  else {
    for (const { hgatp } of scene.machines) {
      const outcome = kernel && kernelFence(scene, kernel, hgatp, text("s", "vma"), operands, subject);
      if (outcome?.difference !== undefined) return outcome.difference;
      if (outcome?.isDone) continue;
      machine.step("csrw hgatp, a1", hgatp);
      machine.step(text("h", "vvma"), ...operands);
    }
    machine.step(text("s", "vma"), ...operands);
  }
  if (fence === "inval") machine.step("sfence.inval.ir");
  return undefined;
}

/** A fence in VS-mode: done, unless the instruction could not be fetched. */
function kernelFence(
  { spaces }: GuestScene,
  { space, registers }: NonNullable<GuestEditStep["kernel"]>,
  hgatp: bigint,
  text: string,
  [data, address]: readonly [bigint, bigint],
  subject: Subject,
): { readonly isDone: boolean; readonly difference: string | undefined } {
  const inKernel: Registers = { ...registers, privilege: 1, mprv: false, guest: { ...registers.guest!, v: true, hgatp } };
  const pc = spaces[space]!.codeVirtual[1] + codeOffset(text);
  const refused = subject.fetchCode(inKernel, pc);
  const given = machine.access({ type: "access", text, space, registers: inKernel, address, data }, pc);
  const trap = refused && "trap" in refused ? refused : undefined;
  const second = trap && { mtval2: (trap.guestPage?.physical ?? 0n) >> 2n, mtinst: trap.guestPage?.implicit ?? 0n, mpv: 1n, gva: 1n };
  const expected = trap === undefined ? { result: undefined, device: [] } : { ...trap, second: second! };
  return { isDone: trap === undefined, difference: same(given, expected) };
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
    mtinst: isTransformed ? transformed(text, BigInt.asUintN(64, value - address)) : implicit,
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
  test(`${scenes} scenes of 150 steps`, () => runScenes({ build: buildGuestScene, steps: randomGuestSteps, failure }));
});
