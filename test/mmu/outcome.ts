/** What an access does, by the model. */
import { cause } from "#machine/csr-bits.ts";
import { Fault, MemoryModel, type GuestPage, type Kind, type Registers } from "./model.ts";
import { codePhysical, device, isLui } from "./scene.ts";
import type { Use } from "./steps.ts";

export interface DeviceWrite {
  readonly address: number;
  readonly size: number;
  readonly value: bigint;
}

/** What a trap into machine mode says beside cause and tval, where V is 1 or the access was as if. */
export interface SecondValues {
  readonly mtval2: bigint;
  readonly mtinst: bigint;
  readonly mpv: bigint;
  readonly gva: bigint;
}

/** A trap, or the value that a2 (after a fetch: t0) gets. */
export type Outcome =
  | { readonly trap: number; readonly value: bigint; readonly guestPage?: GuestPage | undefined; readonly second?: SecondValues }
  | { readonly result: bigint | undefined; readonly device: readonly DeviceWrite[]; readonly wroteTo?: bigint };

/** Device registers read as their own addresses' low bytes. */
export function deviceValue(address: number, size: number): bigint {
  let value = 0n;
  for (let i = size - 1; i >= 0; i--) value = (value << 8n) | BigInt((address + i) & 0xff);
  return value;
}

const trapOf = ({ cause: trap, value, guestPage }: Fault): Outcome => ({ trap, value, guestPage });

const isDevice = (physical: bigint, size: number): boolean =>
  physical >= BigInt(device.base) && physical + BigInt(size) <= BigInt(device.base + device.size);

export class Subject {
  readonly #memory: MemoryModel;

  constructor(memory: MemoryModel) {
    this.#memory = memory;
  }

  /** Undefined if it would execute something that the test can't predict. `conditionalFailed` is what SC answered, which is the hart's choice. */
  access(registers: Registers, use: Use, address: bigint, data: bigint): Outcome | undefined {
    const asGuest = "hypervisor" in use && use.hypervisor && registers.guest;
    const effective = asGuest ? { ...registers, guest: { ...asGuest, isVirtualMachineAccess: true } } : registers;
    try {
      return this.#access(effective, use, address, data);
    } catch (error) {
      if (error instanceof Fault) return trapOf(error);
      throw error;
    }
  }

  #access(registers: Registers, use: Use, address: bigint, data: bigint): Outcome | undefined {
    const memory = this.#memory;
    const { ram } = memory;
    switch (use.kind) {
      case "fetch": {
        const low = this.fetchHalf(registers, address);
        if ((low & 3) !== 3) return undefined;
        const word = (low | (this.fetchHalf(registers, BigInt.asUintN(64, address + 2n)) << 16)) >>> 0;
        return isLui(word) ? { result: BigInt.asUintN(64, BigInt(word & ~0xfff)), device: [] } : undefined;
      }
      case "load": {
        const value = this.#load(registers, address, use.size, use.executable ? "readExecutable" : "read");
        return { result: BigInt.asUintN(64, use.signed ? BigInt.asIntN(8 * use.size, value) : value), device: [] };
      }
      case "store": {
        const log: DeviceWrite[] = [];
        const wroteTo = this.#store(registers, address, use.size, data, log);
        return wroteTo === undefined ? undefined : { result: undefined, device: log, wroteTo };
      }
      case "atomic":
      case "reserve":
      case "conditional": {
        const isRead = use.kind === "reserve";
        if (address % BigInt(use.size) !== 0n) throw new Fault(isRead ? cause.loadMisaligned : cause.storeMisaligned, address);
        const physical = memory.place(registers, address, use.size, isRead ? "read" : "write");
        if (!memory.isRam(physical)) throw new Fault(isRead ? cause.loadAccess : cause.storeAccess, address);
        const old = BigInt.asUintN(64, BigInt.asIntN(8 * use.size, this.#read(physical, use.size)));
        if (use.kind === "atomic") this.#write(physical, use.size, data);
        return use.kind === "conditional"
          ? { result: undefined, device: [], wroteTo: physical }
          : { result: old, device: [], ...(isRead ? {} : { wroteTo: physical }) };
      }
      case "zero":
      case "manage": {
        const kind = use.kind === "zero" ? "write" : "read";
        const block = address & ~63n;
        let physical: bigint;
        try {
          physical = memory.place(registers, block, 64, kind);
        } catch (error) {
          if (!(error instanceof Fault)) throw error;
          const asStore: Record<number, number> = {
            [cause.loadPage]: cause.storePage, [cause.loadAccess]: cause.storeAccess, [cause.loadGuestPage]: cause.storeGuestPage,
          };
          throw new Fault(asStore[error.cause] ?? error.cause, address, error.guestPage);
        }
        if (use.kind === "manage") return { result: undefined, device: [] };
        if (!memory.isRam(physical)) throw new Fault(cause.storeAccess, address);
        for (let i = 0; i < 64; i += 8) ram.setBigUint64(memory.offset(physical) + i, 0n, true);
        return { result: undefined, device: [], wroteTo: physical };
      }
    }
  }

  /** Instructions are fetched in parcels of 16 bits. */
  fetchHalf(registers: Registers, address: bigint): number {
    const physical = this.#memory.place(registers, address, 2, "execute");
    if (!this.#memory.isRam(physical)) throw new Fault(cause.instructionAccess, address);
    return this.#memory.ram.getUint16(this.#memory.offset(physical), true);
  }

  /** The four bytes of the test's instruction at this address; its trap if they can't be fetched. */
  fetchCode(registers: Registers, pc: bigint): Outcome | undefined {
    try {
      this.fetchHalf(registers, pc);
      this.fetchHalf(registers, pc + 2n);
      return undefined;
    } catch (error) {
      if (error instanceof Fault) return trapOf(error);
      throw error;
    }
  }

  #load(registers: Registers, address: bigint, size: number, kind: Kind): bigint {
    if (!crossesPage(address, size)) return this.#loadPart(registers, address, size, kind);
    this.#placeBoth(registers, address, size, kind);
    let value = 0n;
    for (let i = 0; i < size; i++) value |= this.#loadPart(registers, BigInt.asUintN(64, address + BigInt(i)), 1, kind) << BigInt(8 * i);
    return value;
  }

  /** Nothing of what crosses a page is read or written before both are known to be there, with memory behind them; then it is by bytes. */
  #placeBoth(registers: Registers, address: bigint, size: number, kind: Kind): [bigint, bigint] {
    const place = (at: bigint): bigint => {
      const physical = this.#memory.place(registers, at, 1, kind);
      if (!this.#memory.isRam(physical)) throw new Fault(kind === "write" ? cause.storeAccess : cause.loadAccess, at);
      return physical;
    };
    return [place(address), place(BigInt.asUintN(64, address + BigInt(size - 1)) & ~4095n)];
  }

  #loadPart(registers: Registers, address: bigint, size: number, kind: Kind): bigint {
    const physical = this.#memory.place(registers, address, size, kind);
    if (this.#memory.isRam(physical)) return this.#read(physical, size);
    if (!isDevice(physical, size) || physical % BigInt(size) !== 0n) throw new Fault(cause.loadAccess, address);
    return deviceValue(Number(physical), size);
  }

  /** Yields where the first byte went; undefined if that can't be predicted. */
  #store(registers: Registers, address: bigint, size: number, data: bigint, log: DeviceWrite[]): bigint | undefined {
    if (!crossesPage(address, size)) return this.#storePart(registers, address, size, data, log);
    const [first, second] = this.#placeBoth(registers, address, size, "write");
    // The first bytes may change where the others go, or not: that would need a fence.
    if (isTableOrCode(first) || isTableOrCode(second)) return undefined;
    for (let i = 0; i < size; i++) {
      this.#storePart(registers, BigInt.asUintN(64, address + BigInt(i)), 1, data >> BigInt(8 * i), log);
    }
    return first;
  }

  #storePart(registers: Registers, address: bigint, size: number, data: bigint, log: DeviceWrite[]): bigint {
    const physical = this.#memory.place(registers, address, size, "write");
    if (this.#memory.isRam(physical)) this.#write(physical, size, data);
    else {
      if (!isDevice(physical, size) || physical % BigInt(size) !== 0n) throw new Fault(cause.storeAccess, address);
      log.push({ address: Number(physical), size, value: BigInt.asUintN(8 * size, data) });
    }
    return physical;
  }

  #read(physical: bigint, size: number): bigint {
    let value = 0n;
    for (let i = size - 1; i >= 0; i--) value = (value << 8n) | BigInt(this.#memory.ram.getUint8(this.#memory.offset(physical) + i));
    return value;
  }

  #write(physical: bigint, size: number, data: bigint): void {
    for (let i = 0; i < size; i++) this.#memory.ram.setUint8(this.#memory.offset(physical) + i, Number((data >> BigInt(8 * i)) & 0xffn));
  }

  /** What SC writes, if the hart says that it did. */
  writeConditional(physical: bigint, size: number, data: bigint): void {
    this.#write(physical, size, data);
  }
}

export const crossesPage = (address: bigint, size: number): boolean => Number(address & 4095n) + size > 4096;

export const isTableOrCode = (physical: bigint): boolean => physical - BigInt(codePhysical) < 100n * 4096n;

const show = (outcome: Outcome): string =>
  "trap" in outcome
    ? `trap ${outcome.trap}, tval 0x${outcome.value.toString(16)}${Object.entries(outcome.second ?? {}).map(([name, value]) => `, ${name} 0x${value.toString(16)}`).join("")}`
    : `result ${outcome.result?.toString(16)}, device ${outcome.device.map(({ address, size, value }) => `${address.toString(16)}/${size}=${value.toString(16)}`).join(" ") || "untouched"}`;

/** What differs, or undefined. */
export function same(given: Outcome, expected: Outcome): string | undefined {
  const [ours, wanted] = [show(given), show(expected)];
  return ours === wanted ? undefined : `${ours}; the model: ${wanted}`;
}
