/** A hart's registers as whoever follows a flow wants to see them: the guest's by its own names, wherever they stand. */
import { privilege, privilegeMask, sstatusMask, userStatusMask, virtualBit } from "#machine/csr-bits.ts";
import type { HartState } from "#machine/hart.ts";
import { softwareTlbEntries } from "#machine/layout.ts";
import type { FieldName } from "#machine/layout.ts";
import { integerRegisterNames } from "#riscv/registers.ts";

export const privilegeNames = ["U", "S", "M", "VU", "VS"] as const;
export type PrivilegeName = (typeof privilegeNames)[number];

/** `virtual`: what the guest believes. */
export interface Privilege {
  readonly real: PrivilegeName;
  readonly virtual: PrivilegeName;
}

export type Registers = ReadonlyMap<string, bigint>;

const names: Readonly<Record<number, PrivilegeName>> = {
  [privilege.user]: "U",
  [privilege.supervisor]: "S",
  [privilege.machine]: "M",
  [privilege.virtualUser]: "VU",
  [privilege.virtualSupervisor]: "VS",
};

/** Where each of a supervisor's registers stands if the hart is in its world; and if its kernel is deprivileged. */
const supervisors: readonly (readonly [name: string, own: FieldName, parked: FieldName])[] = [
  ["stvec", "stvec", "parkedStvec"],
  ["sscratch", "sscratch", "parkedSscratch"],
  ["sepc", "sepc", "parkedSepc"],
  ["scause", "scause", "parkedScause"],
  ["stval", "stval", "parkedStval"],
  ["satp", "satp", "parkedSatp"],
];

/** Of a TLB that software fills; elsewhere they stay zero. */
const tlbRegisters: readonly (readonly [name: string, field: FieldName])[] = [["stlbhi", "tlbHi"], ["stlblo", "tlbLo"], ["stlbscratch0", "tlbScratch"]];

/** An entry in one number: the virtual page above, the physical one below, as `mappingOf` takes it apart. */
const PAGE_BITS = 44n;
const mapping = (hi: bigint, lo: bigint): bigint => ((hi >> 12n) << PAGE_BITS) | ((lo >> 10n) & ((1n << PAGE_BITS) - 1n));
export const mappingOf = (value: bigint): readonly [virtual: bigint, physical: bigint] => [value >> PAGE_BITS, value & ((1n << PAGE_BITS) - 1n)];

const isDeprivileged = (state: HartState): boolean => state.number("monitored") === 1 && (state.number("privilege") & virtualBit) === 0;

export function privilegeOf(state: HartState): Privilege {
  const real = names[state.number("privilege") & privilegeMask]!;
  if (isDeprivileged(state)) return { real, virtual: state.number("virtualPrivilege") === 1 ? "S" : "U" };
  return { real, virtual: real === "VS" ? "S" : real === "VU" ? "U" : real };
}

/** By name; `hart's satp` is the machine's, where the guest's is another. */
export function registersOf(state: HartState): Registers {
  const deprivileged = isDeprivileged(state);
  const registers = new Map<string, bigint>();
  for (let number = 1; number < 32; number++) registers.set(integerRegisterNames[number]!, state.get("x", number));
  registers.set("pc", state.get("pc"));
  const own = state.get("mstatus");
  registers.set("sstatus", (deprivileged ? (state.get("parkedStatus") & ~userStatusMask) | (own & userStatusMask) : own) & sstatusMask);
  for (const [name, plain, parked] of supervisors) registers.set(name, state.get(deprivileged ? parked : plain));
  if (deprivileged) registers.set("hart's satp", state.get("satp"));
  for (const [name, field] of tlbRegisters) registers.set(name, state.get(field));
  const entries = (name: string, hi: FieldName, lo: FieldName): void => {
    for (let index = 0; index < softwareTlbEntries; index++) {
      if (state.get(lo, index) !== 0n) registers.set(`${name} ${index}`, mapping(state.get(hi, index), state.get(lo, index)));
    }
  };
  if (deprivileged) entries("hart's TLB", "tlbEntryHi", "tlbEntryLo");
  entries("TLB", deprivileged ? "virtualTlbHi" : "tlbEntryHi", deprivileged ? "virtualTlbLo" : "tlbEntryLo");
  return registers;
}
