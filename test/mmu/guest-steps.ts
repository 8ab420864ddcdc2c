/** What a test does to a machine with guests whose page tables are a scene: accesses, and changes of the tables of either stage with the fence that they need. */
import type { Random } from "../kit/random.ts";
import { largeLeaf, randomGuestAddress, randomGuestLeaf, randomGuestRegisters, viaAlias, type GuestScene } from "./guest-scene.ts";
import type { Registers } from "./model.ts";
import { frames, global, ramBase, randomLeaf } from "./scene.ts";
import { hypervisorUses, mappingOf, uses, type AccessStep } from "./steps.ts";

export interface GuestAccessStep extends AccessStep {
  /** The host's address space, and the virtual machine. */
  readonly host: number;
  readonly machine: number;
}

export interface GuestEditStep {
  readonly type: "edit";
  /** Whose entry it is: a guest's, or that of a second stage. */
  readonly stage: "guest" | number;
  readonly entry: number;
  readonly pte: bigint;
  /** Operands of the fence; absent for x0. */
  readonly address?: bigint;
  readonly id?: number;
  readonly fence: "fence" | "inval";
  /** If the guest's kernel fences its own tables: as whom. */
  readonly kernel?: { readonly space: number; readonly registers: Registers };
}

export type GuestStep = GuestAccessStep | GuestEditStep;

export const allUses = { ...uses, ...hypervisorUses };
const guestTexts = [...Object.keys(uses), "ld a2, 0(a0)", "sd a1, 0(a0)", "sw a1, 0(a0)", "fetch", "fetch"];
const hostTexts = [...guestTexts, ...Object.keys(hypervisorUses), ...Object.keys(hypervisorUses), ...Object.keys(hypervisorUses)];

type Environment = Pick<Registers, "adue" | "pbmte">;

/** menvcfg and henvcfg: they change seldom, since that empties the TLB. */
interface Environments {
  readonly host: Environment;
  readonly guest: Environment;
}

const within = (registers: Registers, { host, guest }: Environments): Registers => ({
  ...registers,
  ...host,
  guest: { ...registers.guest!, ...guest },
});

export function randomGuestSteps(scene: GuestScene, count: number, random: Random): GuestStep[] {
  const environment = (): Environments => ({
    host: { adue: !random.oneIn(3), pbmte: random.oneIn(2) },
    guest: { adue: random.oneIn(2), pbmte: random.oneIn(2) },
  });
  let current = environment();
  const steps: GuestStep[] = [];
  const recent: GuestAccessStep[] = [];
  while (steps.length < count) {
    if (random.oneIn(40)) current = environment();
    const before = recent.length > 0 ? random.pick(recent) : undefined;
    if (before && random.oneIn(5)) {
      const edit = random.oneIn(2) ? guestEdit(scene, before, current, random) : stageEdit(scene, before, random);
      const again = { ...before, registers: within(before.registers, current) };
      // Twice, so that the TLB has it when its page changes.
      if (edit) steps.push(again, edit, again);
      continue;
    }
    const step = accessOf(scene, current, random, random.oneIn(2) ? before : undefined);
    steps.push(step);
    recent.push(step);
    if (recent.length > 12) recent.shift();
  }
  return steps;
}

function accessOf(scene: GuestScene, environments: Environments, random: Random, before?: GuestAccessStep): GuestAccessStep {
  const space = before === undefined || random.oneIn(3) ? random.below(scene.spaces.length) : before.space;
  const [host, machine] = [random.below(scene.spaces.length), random.below(scene.machines.length)];
  const registers = within(randomGuestRegisters(scene, space, host, machine, random), environments);
  const text = random.pick(registers.guest!.v ? guestTexts : hostTexts);
  const use = allUses[text]!;
  let address = before?.address ?? randomGuestAddress(scene, space, machine, random);
  const mustAlign = "size" in use && use.kind !== "load" && use.kind !== "store";
  if ("size" in use && !random.oneIn(10) && (mustAlign || random.oneIn(2))) address &= ~BigInt(use.size - 1);
  if (use.kind === "fetch") address = (address & ~3n) | 2n;
  return { type: "access", text, space, host, machine, registers, address, data: random.u64() };
}

/** The page of an earlier access. Where all spaces share it, the fence is for all. */
function guestEdit(
  scene: GuestScene,
  { space, host, address }: GuestAccessStep,
  environments: Environments,
  random: Random,
): GuestEditStep | undefined {
  const mapping = mappingOf(scene.spaces[space]!, address);
  if (mapping === undefined) return undefined;
  const { virtual, level, entry, isShared } = mapping;
  const offset = random.u64() & ((1n << BigInt(12 + 9 * level)) - 1n);
  const leaf = randomLeaf(level, scene.hotFrames, random) | (isShared && random.oneIn(2) ? global : 0n);
  const current = random.below(scene.spaces.length);
  const registers = within(randomGuestRegisters(scene, current, host, 0, random), environments);
  return {
    type: "edit",
    stage: "guest",
    entry,
    pte: viaAlias(leaf, scene, random),
    fence: random.pick(["fence", "inval"] as const),
    ...(random.oneIn(2) ? {} : { kernel: { space: current, registers } }),
    ...(random.oneIn(4) ? {} : { address: virtual + offset }),
    ...(isShared || random.oneIn(2) ? {} : { id: scene.spaces[space]!.asid }),
  };
}

/** Mostly, of the page of an earlier access. */
function stageEdit(scene: GuestScene, before: GuestAccessStep, random: Random): GuestEditStep | undefined {
  const stage = random.oneIn(4) ? random.below(scene.machines.length) : before.machine;
  const { leaves, larges, vmid } = scene.machines[stage]!;
  if (leaves === undefined) return undefined;
  const guestPhysical = guestPhysicalOf(scene, before);
  const wanted = Number(guestPhysical - BigInt(ramBase)) >> 12;
  const frame = wanted >= 0 && wanted < frames ? wanted : random.pick(scene.hotFrames);
  const small = { entry: leaves + frame * 8, page: BigInt(ramBase + frame * 4096), size: 4096n };
  const large = larges.find(({ page, size }) => guestPhysical >= page && guestPhysical < page + size);
  const { entry, page, size } = large ?? small;
  return {
    type: "edit",
    stage,
    entry,
    pte: large ? largeLeaf(large.frame, random) : randomGuestLeaf(frame, scene.hotFrames, random),
    fence: random.pick(["fence", "inval"] as const),
    ...(random.oneIn(2) ? {} : { address: (page + (random.u64() & (size - 1n))) >> 2n }),
    ...(random.oneIn(2) ? {} : { id: vmid }),
  };
}

/** As the guest's tables were in the beginning. */
function guestPhysicalOf(scene: GuestScene, { space, address }: GuestAccessStep): bigint {
  const mapping = mappingOf(scene.spaces[space]!, address);
  if (mapping === undefined) return address;
  const leaf = new DataView(scene.ram.buffer).getBigUint64(mapping.entry - ramBase, true);
  return ((leaf >> 10n) & 0xfffffffffffn) * 4096n + (address & ((1n << BigInt(12 + 9 * mapping.level)) - 1n));
}
