import { cells64 } from "#base/device-tree.ts";
import { StateReader, type Saveable, type SavedState } from "#base/saved-state.ts";
import type { AccessSize, Clock, DeviceTreeNode, DevicePlace, MmioDevice } from "#machine/bus.ts";

/*
 * The core-local interruptor: the MSWI and MTIMER devices of the RISC-V ACLINT Specification 1.0, at the offsets of the
 * older SiFive CLINT, by whose name the device tree calls it.
 *
 *     0x0000  msip of hart h      at 4h   bit 0: software interrupt
 *     0x4000  mtimecmp of hart h  at 8h   timer interrupt while mtime ≥ mtimecmp
 *     0xbff8  mtime                       all harts' time
 *
 * mtime and mtimecmp are 64 bits wide for the guest. They are kept as numbers of ticks, exact below 2^53: at 10 MHz, 28 years.
 */
const MTIMECMP = 0x4000;
const MTIME = 0xbff8;
const SIZE = 0x1_0000;

/** High words of mtime beyond this are cut, so that it stays exact as a number. */
const MTIME_HIGH_MASK = 0x1f_ffff;

/** Interrupt numbers of a hart's own controller. */
const MACHINE_SOFTWARE = 3;
const MACHINE_TIMER = 7;

/** What the interruptor asks of the harts. The machine decides when the timer lines rise: it knows when time passes. */
export interface HartTimers {
  setSoftwareInterrupt(hart: number, level: boolean): void;
  /** `mtimecmp` of the hart is now `ticks` of mtime; Infinity if it is beyond 2^53. The line is high while `mtime() >= ticks`. */
  timecmpChanged(hart: number, ticks: number): void;
  /** mtime was written: it, and the harts' `time` CSR, is now the clock's ticks + `offset`. All timer lines need another look. */
  timeOffsetChanged(offset: number): void;
}

export class Aclint implements MmioDevice, Saveable {
  readonly name = "clint";
  readonly size = SIZE;
  readonly #clock: Clock;
  readonly #timers: HartTimers;
  readonly #hartCount: number;
  readonly #msip: Uint8Array;
  /** Low and high word of each hart's mtimecmp. */
  readonly #mtimecmp: Uint32Array;
  #offset = 0;
  #latchedHigh: number | undefined;

  constructor(hartCount: number, clock: Clock, timers: HartTimers) {
    this.#clock = clock;
    this.#timers = timers;
    this.#hartCount = hartCount;
    this.#msip = new Uint8Array(hartCount);
    this.#mtimecmp = new Uint32Array(2 * hartCount).fill(0xffff_ffff);
  }

  /** mtime, in ticks. */
  mtime(): number {
    return this.#clock.ticks() + this.#offset;
  }

  /** mtimecmp of a hart, in ticks of mtime; Infinity if it is beyond 2^53. */
  timecmp(hart: number): number {
    const high = this.#mtimecmp[2 * hart + 1]!;
    return high > MTIME_HIGH_MASK ? Infinity : high * 2 ** 32 + this.#mtimecmp[2 * hart]!;
  }

  read(offset: number, size: AccessSize): number {
    if (size !== 4 || offset % 4 !== 0) return 0;
    if (offset === MTIME) return this.#readTimeLow();
    if (offset === MTIME + 4) return this.#readTimeHigh();
    if (offset < MTIMECMP) return this.#msip[offset / 4] ?? 0;
    return this.#mtimecmp[(offset - MTIMECMP) / 4] ?? 0;
  }

  write(offset: number, size: AccessSize, value: number): void {
    if (size !== 4 || offset % 4 !== 0) return;
    if (offset === MTIME) this.#writeTime(Math.floor(this.mtime() / 2 ** 32), value);
    else if (offset === MTIME + 4) this.#writeTime(value & MTIME_HIGH_MASK, this.mtime() % 2 ** 32);
    else if (offset < MTIMECMP) this.#writeSoftwareInterrupt(offset / 4, value & 1);
    else this.#writeTimecmp((offset - MTIMECMP) / 4, value);
  }

  deviceTreeNode(place: DevicePlace): DeviceTreeNode {
    return {
      name: `clint@${place.address.toString(16)}`,
      properties: {
        compatible: ["sifive,clint0", "riscv,clint0"],
        reg: [...cells64(place.address), ...cells64(this.size)],
        "interrupts-extended": (place.hartControllers ?? []).flatMap((hart) => [hart, MACHINE_SOFTWARE, hart, MACHINE_TIMER]),
      },
    };
  }

  /** mtime follows the clock again. mtimecmp is unspecified after reset (ACLINT, section 2.1): the latest time keeps it silent. */
  reset(): void {
    this.#msip.fill(0);
    this.#mtimecmp.fill(0xffff_ffff);
    this.#offset = 0;
    this.#latchedHigh = undefined;
    this.#tellAll();
  }

  save(): SavedState {
    return {
      kind: "aclint",
      version: 1,
      msip: [...this.#msip],
      mtimecmp: [...this.#mtimecmp],
      // The clock goes on where it stood: that is for its owner to see to.
      offset: `${this.#offset}`,
    };
  }

  restore(state: unknown): void {
    const from = StateReader.open(state, "aclint", 1);
    const [msip, mtimecmp, offset] = [
      from.uints("msip", 1, this.#hartCount), from.uints("mtimecmp", 32, 2 * this.#hartCount), Number(from.bigint("offset")),
    ];
    this.#msip.set(msip);
    this.#mtimecmp.set(mtimecmp);
    this.#offset = offset;
    this.#latchedHigh = undefined;
    this.#tellAll();
  }

  /**
   * A 64-bit load arrives as two reads, low half first, and time may pass between them. So the low half latches the high one,
   * for the next read only: a 32-bit driver, which reads high, low, high until both highs agree, is served as well.
   */
  #readTimeLow(): number {
    const now = this.mtime();
    this.#latchedHigh = Math.floor(now / 2 ** 32);
    return now % 2 ** 32;
  }

  #readTimeHigh(): number {
    const high = this.#latchedHigh ?? Math.floor(this.mtime() / 2 ** 32);
    this.#latchedHigh = undefined;
    return high;
  }

  #writeTime(high: number, low: number): void {
    this.#offset = high * 2 ** 32 + low - this.#clock.ticks();
    this.#latchedHigh = undefined;
    this.#timers.timeOffsetChanged(this.#offset);
  }

  #writeSoftwareInterrupt(hart: number, bit: number): void {
    if (hart >= this.#hartCount) return;
    this.#msip[hart] = bit;
    this.#timers.setSoftwareInterrupt(hart, bit === 1);
  }

  #writeTimecmp(word: number, value: number): void {
    if (word >= this.#mtimecmp.length) return;
    this.#mtimecmp[word] = value;
    const hart = word >> 1;
    this.#timers.timecmpChanged(hart, this.timecmp(hart));
  }

  #tellAll(): void {
    this.#timers.timeOffsetChanged(this.#offset);
    for (let hart = 0; hart < this.#hartCount; hart++) {
      this.#timers.setSoftwareInterrupt(hart, this.#msip[hart] === 1);
      this.#timers.timecmpChanged(hart, this.timecmp(hart));
    }
  }
}
