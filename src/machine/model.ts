/**
 * Which machine it is, where there is a choice.
 *
 * `tlb`: who fills the TLB. `software`: a miss is a trap, instead of a walk of page tables; see docs/software-tlb.md.
 *
 * `silent` is one that can't be virtualized by traps alone: some sensitive instructions don't trap
 * in user mode, but do nothing, or tell what the hart's own registers hold. So x86 was until 2005: seventeen of its instructions (Robin & Irvine,
 * "Analysis of the Intel Pentium's Ability to Support a Secure Virtual Machine Monitor", 2000). In all other modes both are alike.
 */
import { csrNumbers } from "#riscv/csr-names.ts";
import { decode } from "#riscv/table.ts";

export const machineKinds = ["standard", "silent"] as const;
export type MachineKind = (typeof machineKinds)[number];

export const tlbKinds = ["hardware", "software"] as const;
export type TlbKind = (typeof tlbKinds)[number];

export interface MachineModel {
  readonly kind: MachineKind;
  readonly tlb: TlbKind;
}

export const standardModel: MachineModel = { kind: "standard", tlb: "hardware" };

/** What user mode gets in the place of a trap; why somebody might build it so; and which of x86's instructions did the like. */
export interface Silence {
  readonly effect: string;
  readonly why: string;
  readonly like: string;
}

export interface SilentCsr extends Silence {
  readonly write: "ignored" | "traps";
}

/** By name. Read, they tell what the hart's own register holds: the monitor's, where a deprivileged kernel asks. */
export const silentCsrs: Readonly<Record<string, SilentCsr>> = {
  sstatus: {
    write: "ignored",
    effect: "reads the hart's own status; a write, of the interrupt bit too, changes nothing",
    why: "a program may read and write the flags, and none of these is a program's to change",
    like: "PUSHF, POPF, SMSW",
  },
  sie: {
    write: "ignored",
    effect: "reads the hart's own mask of interrupts; a write changes nothing",
    why: "as sstatus",
    like: "PUSHF, POPF",
  },
  sip: {
    write: "ignored",
    effect: "reads the hart's own pending interrupts; a write changes nothing",
    why: "as sstatus",
    like: "PUSHF, POPF",
  },
  stvec: {
    write: "traps",
    effect: "reads where the hart's own handler stands",
    why: "where handlers stand is no secret, moving them is refused",
    like: "SIDT",
  },
  satp: {
    write: "traps",
    effect: "reads the root of the page tables that the hart really uses",
    why: "which tables are in use is no secret, using others is refused",
    like: "SGDT, SLDT, STR",
  },
};

const noStaleTranslations = {
  effect: "changes nothing",
  why: "a program can't change page tables, so that it has nothing to fence",
  like: "none: INVLPG traps",
};

/** By name. */
export const silentInstructions: Readonly<Record<string, Silence>> = {
  "sfence.vma": noStaleTranslations,
  "sinval.vma": noStaleTranslations,
  wfi: {
    effect: "goes on at once",
    why: "a program that waits must not wait for ever: the manual allows this (privileged manual, 3.3.3)",
    like: "none: HLT traps",
  },
};

const silentNumbers = new Map(Object.entries(silentCsrs).map(([name, csr]) => [csrNumbers.get(name)!, csr]));

export function silentCsr(number: number): SilentCsr | undefined {
  return silentNumbers.get(number);
}

/** Of the silent machine, what executing this instruction word in user mode does in the place of a trap; undefined if it is as on the standard one. */
export function silence(word: number): Silence | undefined {
  const { instruction: { name }, rs1, imm } = decode(word);
  if (!name.startsWith("csrr")) return silentInstructions[name];
  const csr = silentCsr(imm & 0xfff);
  const writes = name.startsWith("csrrw") || rs1 !== 0 || imm >>> 12 !== 0;
  return csr?.write === "traps" && writes ? undefined : csr;
}
