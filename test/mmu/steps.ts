/** What a test does to a machine whose page tables are a scene: accesses, and changes of the tables with the fence that they need. */
import type { Random } from "../kit/random.ts";
import type { Registers } from "./model.ts";
import { global, randomAddress, randomLeaf, randomRegisters, type AddressSpace, type Mapping, type Scene } from "./scene.ts";

/** How an instruction uses the address in a0. Data is in a1, the result in a2. */
export type Use =
  | {
      readonly kind: "load" | "store" | "atomic" | "reserve" | "conditional";
      readonly size: number;
      readonly signed?: boolean;
      /** HLV, HLVX, HSV; HLVX reads what may be executed. */
      readonly hypervisor?: boolean;
      readonly executable?: boolean;
    }
  | { readonly kind: "zero" | "manage" | "fetch" };

export const uses: Readonly<Record<string, Use>> = {
  "lb a2, 0(a0)": { kind: "load", size: 1, signed: true },
  "lbu a2, 0(a0)": { kind: "load", size: 1 },
  "lh a2, 0(a0)": { kind: "load", size: 2, signed: true },
  "lhu a2, 0(a0)": { kind: "load", size: 2 },
  "lw a2, 0(a0)": { kind: "load", size: 4, signed: true },
  "lwu a2, 0(a0)": { kind: "load", size: 4 },
  "ld a2, 0(a0)": { kind: "load", size: 8 },
  "sb a1, 0(a0)": { kind: "store", size: 1 },
  "sh a1, 0(a0)": { kind: "store", size: 2 },
  "sw a1, 0(a0)": { kind: "store", size: 4 },
  "sd a1, 0(a0)": { kind: "store", size: 8 },
  "amoswap.w a2, a1, (a0)": { kind: "atomic", size: 4 },
  "amoswap.d a2, a1, (a0)": { kind: "atomic", size: 8 },
  "lr.w a2, (a0)": { kind: "reserve", size: 4 },
  "lr.d a2, (a0)": { kind: "reserve", size: 8 },
  "sc.w a2, a1, (a0)": { kind: "conditional", size: 4 },
  "sc.d a2, a1, (a0)": { kind: "conditional", size: 8 },
  "cbo.zero (a0)": { kind: "zero" },
  "cbo.clean (a0)": { kind: "manage" },
  "cbo.flush (a0)": { kind: "manage" },
  "cbo.inval (a0)": { kind: "manage" },
  /** A jump to a0. */
  fetch: { kind: "fetch" },
};

/** Those of a hypervisor, which are its guest's accesses. */
export const hypervisorUses: Readonly<Record<string, Use>> = {
  "hlv.b a2, (a0)": { kind: "load", size: 1, signed: true, hypervisor: true },
  "hlv.bu a2, (a0)": { kind: "load", size: 1, hypervisor: true },
  "hlv.h a2, (a0)": { kind: "load", size: 2, signed: true, hypervisor: true },
  "hlv.hu a2, (a0)": { kind: "load", size: 2, hypervisor: true },
  "hlvx.hu a2, (a0)": { kind: "load", size: 2, hypervisor: true, executable: true },
  "hlv.w a2, (a0)": { kind: "load", size: 4, signed: true, hypervisor: true },
  "hlv.wu a2, (a0)": { kind: "load", size: 4, hypervisor: true },
  "hlvx.wu a2, (a0)": { kind: "load", size: 4, hypervisor: true, executable: true },
  "hlv.d a2, (a0)": { kind: "load", size: 8, hypervisor: true },
  "hsv.b a1, (a0)": { kind: "store", size: 1, hypervisor: true },
  "hsv.h a1, (a0)": { kind: "store", size: 2, hypervisor: true },
  "hsv.w a1, (a0)": { kind: "store", size: 4, hypervisor: true },
  "hsv.d a1, (a0)": { kind: "store", size: 8, hypervisor: true },
};

export interface AccessStep {
  readonly type: "access";
  readonly text: string;
  readonly space: number;
  readonly registers: Registers;
  readonly address: bigint;
  readonly data: bigint;
}

export interface EditStep {
  readonly type: "edit";
  readonly space: number;
  /** Physical address of the leaf entry, and what it becomes. */
  readonly entry: number;
  readonly pte: bigint;
  /** For SFENCE.VMA: an address of the page, and the address space; absent for x0. */
  readonly address?: bigint;
  readonly asid?: number;
}

export type Step = AccessStep | EditStep;

const weighted = [...Object.keys(uses), "ld a2, 0(a0)", "sd a1, 0(a0)", "sw a1, 0(a0)", "fetch", "fetch", "fetch"];

export function randomSteps(scene: Scene, count: number, random: Random): Step[] {
  const environment = (): Pick<Registers, "adue" | "pbmte"> => ({ adue: random.oneIn(2), pbmte: random.oneIn(2) });
  // It changes seldom, since that empties the TLB.
  let current = environment();
  const steps: Step[] = [];
  // Accesses come back, so that what the TLB holds is used; some when their page has changed.
  const recent: AccessStep[] = [];
  while (steps.length < count) {
    if (random.oneIn(40)) current = environment();
    const before = recent.length > 0 ? random.pick(recent) : undefined;
    const mapping = before && mappingOf(scene.spaces[before.space]!, before.address);
    if (before && mapping && random.oneIn(5)) {
      steps.push(editOf(scene, before.space, mapping, random), { ...before, registers: { ...before.registers, ...current } });
      continue;
    }
    const step = accessOf(scene, current, random, random.oneIn(2) ? before : undefined);
    steps.push(step);
    recent.push(step);
    if (recent.length > 12) recent.shift();
  }
  return steps;
}

export function mappingOf({ mappings }: AddressSpace, address: bigint): Mapping | undefined {
  return mappings.find(({ virtual, level }) => {
    const size = 12n + 9n * BigInt(level);
    return address >> size === virtual >> size;
  });
}

/** The fence names any address of the page, and the address space; or not. Where others have the page too, it is for all. */
function editOf(scene: Scene, space: number, { virtual, level, entry, isShared }: Mapping, random: Random): EditStep {
  const within = random.u64() & ((1n << BigInt(12 + 9 * level)) - 1n);
  return {
    type: "edit",
    space,
    entry,
    pte: randomLeaf(level, scene.hotFrames, random) | (isShared && random.oneIn(2) ? global : 0n),
    ...(random.oneIn(4) ? {} : { address: virtual + within }),
    ...(isShared || random.oneIn(2) ? {} : { asid: scene.spaces[space]!.asid }),
  };
}

/** At the address of an earlier access, if one is given. */
function accessOf(scene: Scene, environment: Pick<Registers, "adue" | "pbmte">, random: Random, before?: AccessStep): AccessStep {
  const text = random.pick(weighted);
  const use = uses[text]!;
  // The same address in the other space is something else.
  const space = before === undefined || random.oneIn(3) ? random.below(scene.spaces.length) : before.space;
  let address = before?.address ?? randomAddress(scene, space, random);
  const mustAlign = "size" in use && use.kind !== "load" && use.kind !== "store";
  if ("size" in use && !random.oneIn(10) && (mustAlign || random.oneIn(2))) address &= ~BigInt(use.size - 1);
  if (use.kind === "fetch") address = (address & ~3n) | 2n;
  const fresh = randomRegisters(scene.spaces[space]!, scene.pmp, random);
  const registers = before && random.oneIn(2) ? { ...before.registers, satp: fresh.satp } : fresh;
  return { type: "access", text, space, registers: { ...registers, ...environment }, address, data: random.u64() };
}
