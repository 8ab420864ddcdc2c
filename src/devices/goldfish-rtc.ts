import { cells64 } from "#base/device-tree.ts";
import { StateReader, type Saveable, type SavedState } from "#base/saved-state.ts";
import type { AccessSize, Clock, DeviceTreeNode, DevicePlace, InterruptLine, MmioDevice } from "#machine/bus.ts";

/*
 * The real-time clock of Google's goldfish platform: nanoseconds since 1970 as an unsigned 64-bit number.
 *
 *     0x00 TIME_LOW         read latches TIME_HIGH; writes set the clock
 *     0x04 TIME_HIGH
 *     0x08 ALARM_LOW        a write arms the alarm, so drivers write ALARM_HIGH first
 *     0x0c ALARM_HIGH
 *     0x10 IRQ_ENABLED
 *     0x14 CLEAR_ALARM      write
 *     0x18 ALARM_STATUS     read: 1 while armed
 *     0x1c CLEAR_INTERRUPT  write
 */
const Register = {
  timeLow: 0x00, timeHigh: 0x04, alarmLow: 0x08, alarmHigh: 0x0c,
  irqEnabled: 0x10, clearAlarm: 0x14, alarmStatus: 0x18, clearInterrupt: 0x1c,
} as const;

const NANOSECONDS_PER_TICK = 100n;

/** A timer that the machine keeps for a device. */
export interface DeviceTimer {
  /** Call `expire()` of the device when the clock stands at `ticks` or later. A further call replaces the last. */
  arm(ticks: number): void;
  disarm(): void;
}

export class GoldfishRtc implements MmioDevice, Saveable {
  readonly name = "rtc";
  readonly size = 0x1000;
  readonly #line: InterruptLine;
  readonly #clock: Clock;
  readonly #timer: DeviceTimer;
  /** What the guest's writes to the time have added to the host's. */
  #offset = 0n;
  #latchedHigh = 0;
  #alarm = 0n;
  #armed = false;
  #pending = false;
  #enabled = false;

  constructor(line: InterruptLine, clock: Clock, timer: DeviceTimer) {
    this.#line = line;
    this.#clock = clock;
    this.#timer = timer;
  }

  /** The timer has run out. The host's clock may have been set meanwhile, so the alarm may not be due yet. */
  expire(): void {
    if (this.#armed) this.#arm();
  }

  read(offset: number, size: AccessSize): number {
    if (size !== 4) return 0;
    switch (offset) {
      case Register.timeLow: {
        const now = this.#now();
        this.#latchedHigh = high(now);
        return low(now);
      }
      case Register.timeHigh: return this.#latchedHigh;
      case Register.alarmLow: return low(this.#alarm);
      case Register.alarmHigh: return high(this.#alarm);
      case Register.irqEnabled: return Number(this.#enabled);
      case Register.alarmStatus: return Number(this.#armed);
      default: return 0;
    }
  }

  write(offset: number, size: AccessSize, value: number): void {
    if (size !== 4) return;
    switch (offset) {
      case Register.timeLow: return this.#setTime(withLow(this.#now(), value));
      case Register.timeHigh: return this.#setTime(withHigh(this.#now(), value));
      case Register.alarmLow:
        this.#alarm = withLow(this.#alarm, value);
        return this.#arm();
      case Register.alarmHigh:
        this.#alarm = withHigh(this.#alarm, value);
        return;
      case Register.irqEnabled:
        this.#enabled = (value & 1) !== 0;
        return this.#update();
      case Register.clearAlarm: return this.#disarm();
      case Register.clearInterrupt:
        this.#pending = false;
        return this.#update();
    }
  }

  deviceTreeNode(place: DevicePlace): DeviceTreeNode {
    return {
      name: `rtc@${place.address.toString(16)}`,
      properties: {
        compatible: "google,goldfish-rtc",
        reg: [...cells64(place.address), ...cells64(this.size)],
        interrupts: [place.interrupt ?? 0],
        "interrupt-parent": [place.interruptParent ?? 0],
      },
    };
  }

  /** A real clock keeps its time over a reset, and so does this. */
  reset(): void {
    this.#latchedHigh = 0;
    this.#alarm = 0n;
    this.#pending = this.#enabled = false;
    this.#disarm();
    this.#update();
  }

  save(): SavedState {
    return {
      kind: "goldfish-rtc",
      version: 1,
      offset: `${this.#offset}`,
      latchedHigh: this.#latchedHigh,
      alarm: `${this.#alarm}`,
      armed: this.#armed,
      pending: this.#pending,
      enabled: this.#enabled,
    };
  }

  restore(state: unknown): void {
    const from = StateReader.open(state, "goldfish-rtc", 1);
    const [offset, latchedHigh, alarm] = [from.bigint("offset"), from.uint("latchedHigh", 32), from.bigint("alarm")];
    const [armed, pending, enabled] = [from.flag("armed"), from.flag("pending"), from.flag("enabled")];
    this.#offset = BigInt.asUintN(64, offset);
    this.#latchedHigh = latchedHigh;
    this.#alarm = BigInt.asUintN(64, alarm);
    this.#pending = pending;
    this.#enabled = enabled;
    if (armed) this.#arm();
    else this.#disarm();
    this.#update();
  }

  #now(): bigint {
    return BigInt.asUintN(64, this.#clock.realTime() + this.#offset);
  }

  #setTime(time: bigint): void {
    this.#offset = BigInt.asUintN(64, time - this.#clock.realTime());
    if (this.#armed) this.#arm();
  }

  /** Fires if the alarm's time has come; else sets the timer for it. */
  #arm(): void {
    const wait = this.#alarm - this.#now();
    if (wait <= 0n) {
      this.#disarm();
      this.#pending = true;
      return this.#update();
    }
    this.#armed = true;
    this.#timer.arm(this.#clock.ticks() + Number((wait + NANOSECONDS_PER_TICK - 1n) / NANOSECONDS_PER_TICK));
  }

  #disarm(): void {
    this.#armed = false;
    this.#timer.disarm();
  }

  #update(): void {
    this.#line.set(this.#pending && this.#enabled);
  }
}

function low(value: bigint): number {
  return Number(value & 0xffff_ffffn);
}

function high(value: bigint): number {
  return Number(value >> 32n);
}

function withLow(value: bigint, word: number): bigint {
  return (BigInt(high(value)) << 32n) | BigInt(word);
}

function withHigh(value: bigint, word: number): bigint {
  return (BigInt(word) << 32n) | BigInt(low(value));
}
