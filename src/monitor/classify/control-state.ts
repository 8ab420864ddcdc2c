/**
 * Control state: what decides how the machine goes on, and is for higher modes to write. Random ones, such that one instruction can be executed:
 * no interrupt is due, memory is open, and where returns from traps lead, there is code.
 */
import { envcfg, hypervisorStatus, privilege, sstatusMask, status } from "#machine/csr-bits.ts";
import { architecturalFields, type FieldName } from "#machine/layout.ts";
import type { Setting } from "#riscv/declaration.ts";
import { middle, place, rootRegister, type Space } from "./address-space.ts";
import type { Dice } from "./dice.ts";

/** Where a field has several elements, those from the first on. */
export type ControlState = Map<FieldName, bigint | readonly bigint[]>;

/** State that isn't control state: what programs see, what counts the run, reservations, and what only the board sets. */
const others: ReadonlySet<FieldName> = new Set<FieldName>([
  "x", "f", "pc", "fflags", "frm", "instretTarget", "budget", "reserve", "lines", "instructionsPerTick", "firmware", "monitored", "emulated", "guestFloat",
  "reservation", "reservationValue",
]);

export const controlFields: readonly FieldName[] = architecturalFields.filter((name) => !others.has(name));

const bit = (position: number): bigint => 1n << BigInt(position);
const statusBits = sstatusMask | bit(status.mie) | bit(status.mpie) | bit(status.gva);
const trapsForSupervisor = bit(status.tvm) | bit(status.tw) | bit(status.tsr);
const cacheBlocks = bit(envcfg.cbze) | bit(envcfg.cbcfe) | (3n << BigInt(envcfg.cbie));
const interrupts = 0x666n;
const counters = 0xffffffffn;
const floatMask = 3n << BigInt(status.fs);

/** One region of all memory; the others are off, whatever they name. */
const openRegion = { index: 15, address: (1n << 54n) - 1n, config: 0x1fn };

export function randomControlState(dice: Dice, space: Space, guestSpace: Space): ControlState {
  const some = (mask: bigint): bigint => dice.u64() & mask;
  const somewhere = (page: number): bigint => BigInt(page + middle + 4 * dice.below(1000));
  const pending = dice.oneIn(4) ? 0n : some(interrupts);
  const mpp = dice.pick([privilege.user, privilege.supervisor, privilege.machine]);
  let mstatus = some(statusBits) | (BigInt(mpp) << BigInt(status.mpp)) | (dice.oneIn(4) ? some(trapsForSupervisor) : 0n) | some(bit(status.mpv));
  if (pending !== 0n) mstatus &= ~(bit(status.sie) | bit(status.mie));
  const spp = mstatus & bit(status.spp);
  const landing = { 0: place.landingUser, 1: place.landingSupervisor, 3: place.landingSupervisor }[mpp]!;
  const fields: Partial<Record<FieldName, bigint | readonly bigint[]>> = {
    mstatus,
    sepc: somewhere(spp ? place.landingSupervisor : place.landingUser),
    mepc: somewhere(landing),
    mip: pending,
    mie: some(interrupts) & ~pending,
    medeleg: some(0xf0b7ffn),
    mideleg: some(0x222n),
    hedeleg: some(0xb1ffn),
    hideleg: some(0x444n),
    mtvec: somewhere(place.landingSupervisor),
    stvec: somewhere(place.landingSupervisor),
    parkedStvec: somewhere(place.landingSupervisor),
    mcounteren: some(counters),
    scounteren: some(counters),
    hcounteren: some(counters),
    menvcfg: some(bit(envcfg.fiom) | cacheBlocks | bit(envcfg.stce) | bit(envcfg.adue)),
    senvcfg: some(bit(envcfg.fiom) | cacheBlocks),
    henvcfg: some(bit(envcfg.fiom) | cacheBlocks | bit(envcfg.stce) | bit(envcfg.adue)),
    satp: rootRegister(space, 8 * dice.below(1 << 13)),
    stimecmp: (1n << 62n) | dice.u64(),
    vstimecmp: (1n << 62n) | dice.u64(),
    hstatus: some(bit(hypervisorStatus.gva) | bit(hypervisorStatus.spv) | bit(hypervisorStatus.spvp) | bit(hypervisorStatus.hu) | bit(hypervisorStatus.vtvm)),
    htimedelta: some(0xffffffffn),
    // Numbers of address spaces are such that the hart caches the supervisor's and the guest's in different places.
    hgatp: BigInt(1024 * dice.below(1 << 4)) << 44n,
    // With SUM, since the guest's pages are its programs'.
    parkedStatus: some(sstatusMask) | bit(status.sum),
    parkedSepc: somewhere(place.landingSupervisor),
    parkedSatp: rootRegister(guestSpace, 8 * dice.below(1 << 13) + 1),
    pmpcfg: [some(0x0707070707070707n), some(0x0007070707070707n) | (openRegion.config << 56n)],
    pmpaddr: [...Array.from({ length: openRegion.index }, () => some((1n << 54n) - 1n)), openRegion.address],
    hartId: BigInt(dice.below(8)),
    timeOffset: BigInt(dice.below(1 << 30)),
    tselect: 0n,
    tdata1: 0n,
    tdata2: 0n,
  };
  return new Map(controlFields.map((name) => [name, fields[name] ?? (name === "privilege" ? 0n : dice.u64())]));
}

/** With it, instructions that ask for the setting don't trap for it; without, they do. */
export const settingValues: Readonly<Record<Setting, (state: ControlState, open: boolean) => void>> = {
  "mstatus.FS": (state, open) => change(state, "mstatus", floatMask, open ? bit(status.fs) : 0n),
  scounteren: (state, open) => {
    if (open) change(state, "mcounteren", counters, counters);
    change(state, "scounteren", counters, open ? counters : 0n);
  },
  senvcfg: (state, open) => {
    if (open) change(state, "menvcfg", cacheBlocks, cacheBlocks);
    change(state, "senvcfg", cacheBlocks, open ? cacheBlocks : 0n);
  },
  "hstatus.HU": (state, open) => change(state, "hstatus", bit(hypervisorStatus.hu), open ? -1n : 0n),
};

function change(state: ControlState, name: FieldName, mask: bigint, value: bigint): void {
  state.set(name, ((state.get(name) as bigint) & ~mask) | (value & mask));
}

/** What is compared of a field: of FS only whether it is off, since dirty and clean decide nothing of what the machine may do. */
export function significant(name: FieldName, value: bigint): bigint {
  return name === "mstatus" && (value & floatMask) !== 0n ? value | floatMask : value;
}
