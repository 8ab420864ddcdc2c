import { cells64 } from "#base/device-tree.ts";
import { StateReader, type Saveable, type SavedState } from "#base/saved-state.ts";
import type { AccessSize, DeviceTreeNode, DevicePlace, InterruptLine, MmioDevice } from "#machine/bus.ts";
import { ByteQueue } from "./byte-queue.ts";

/*
 * A 16550A serial port, as in the National Semiconductor PC16550D data sheet, whose transmitter and receiver take no time:
 *
 *   offset  read                        write
 *     0     RBR received byte           THR byte to send            (DLAB=1: divisor, low byte)
 *     1     IER interrupt enable        IER                         (DLAB=1: divisor, high byte)
 *     2     IIR interrupt identity      FCR FIFO control
 *     3     LCR line control            LCR; bit 7 is DLAB
 *     4     MCR modem control           MCR
 *     5     LSR line status             -
 *     6     MSR modem status            -
 *     7     SCR scratch                 SCR
 */
const Ier = { received: 1, transmitterEmpty: 2, lineStatus: 4, modemStatus: 8 } as const;
const Fcr = { enable: 1, clearReceiver: 2, clearTransmitter: 4, dmaMode: 8, triggerShift: 6 } as const;
const Lcr = { divisorLatch: 0x80 } as const;
const Mcr = { dtr: 1, rts: 2, out1: 4, out2: 8, loopback: 0x10 } as const;
const Lsr = { dataReady: 1, overrun: 2, breakReceived: 0x10, errors: 0x1e, transmitHoldingEmpty: 0x20, transmitterEmpty: 0x40 } as const;
const Msr = { cts: 0x10, dsr: 0x20, ri: 0x40, dcd: 0x80, deltas: 0x0f, trailingRi: 0x04 } as const;

/** Interrupt identities, the most urgent first as they are looked for. `none` has bit 0 set. */
const Iir = { lineStatus: 6, received: 4, timeout: 0x0c, transmitterEmpty: 2, modemStatus: 0, none: 1, fifosEnabled: 0xc0 } as const;

const FIFO_SIZE = 16;
const TRIGGER_LEVELS = [1, 4, 8, 14] as const;

/** What stands on the wire before the receiver: enough for a paste, bounded against a host that never stops. */
const WIRE_SIZE = 64 * 1024;

/** The other end is always there: carrier, ready to talk, clear to send. */
const LINE_PRESENT = Msr.dcd | Msr.dsr | Msr.cts;

/** The clock that `virt`'s device tree states; bauds have no effect here. */
const CLOCK_FREQUENCY = 3_686_400;

export interface SerialBackend {
  /** Bytes that the guest has sent. They are the back end's to keep. Comes byte by byte: gather them before a costly call. */
  write(bytes: Uint8Array): void;
  /** After `receive` refused some bytes: there is room again. */
  ready?(): void;
}

export class Uart16550 implements MmioDevice, Saveable {
  readonly name = "serial";
  readonly size = 0x100;
  readonly #line: InterruptLine;
  readonly #backend: SerialBackend;
  readonly #fifo = new ByteQueue(FIFO_SIZE);
  readonly #wire = new ByteQueue(WIRE_SIZE);
  #refused = false;
  #ier = 0;
  #fcr = 0;
  #lcr = 0;
  #mcr = 0;
  #scr = 0;
  #divisor = 0;
  #overrun = false;
  #modemStatus: number = LINE_PRESENT;
  /** The transmitter has become empty, and neither a read of IIR nor a new byte has answered that. */
  #transmitterEmptyPending = false;

  constructor(line: InterruptLine, backend: SerialBackend) {
    this.#line = line;
    this.#backend = backend;
  }

  /** Bytes from the other end of the wire. Returns how many were taken; after fewer than all, `ready` says when there is room. */
  receive(bytes: Uint8Array): number {
    const taken = this.#wire.push(bytes);
    if (taken < bytes.length) this.#refused = true;
    this.#update();
    return taken;
  }

  read(offset: number, _size: AccessSize): number {
    switch (offset) {
      case 0: return this.#divisorLatch ? this.#divisor & 0xff : this.#readReceived();
      case 1: return this.#divisorLatch ? this.#divisor >> 8 : this.#ier;
      case 2: return this.#readIdentity();
      case 3: return this.#lcr;
      case 4: return this.#mcr;
      case 5: return this.#readLineStatus();
      case 6: return this.#readModemStatus();
      case 7: return this.#scr;
      default: return 0;
    }
  }

  write(offset: number, _size: AccessSize, value: number): void {
    const byte = value & 0xff;
    switch (offset) {
      case 0:
        if (this.#divisorLatch) this.#divisor = (this.#divisor & 0xff00) | byte;
        else this.#transmit(byte);
        break;
      case 1:
        if (this.#divisorLatch) this.#divisor = (this.#divisor & 0xff) | (byte << 8);
        else this.#writeInterruptEnable(byte);
        break;
      case 2: this.#writeFifoControl(byte); break;
      case 3: this.#lcr = byte; break;
      case 4: this.#writeModemControl(byte); break;
      case 7: this.#scr = byte; break;
    }
    this.#update();
  }

  deviceTreeNode(place: DevicePlace): DeviceTreeNode {
    return {
      name: `serial@${place.address.toString(16)}`,
      properties: {
        compatible: "ns16550a",
        reg: [...cells64(place.address), ...cells64(this.size)],
        interrupts: [place.interrupt ?? 0],
        "interrupt-parent": [place.interruptParent ?? 0],
        "clock-frequency": [CLOCK_FREQUENCY],
      },
    };
  }

  reset(): void {
    this.#fifo.clear();
    this.#ier = this.#fcr = this.#lcr = this.#mcr = this.#scr = this.#divisor = 0;
    this.#overrun = false;
    this.#modemStatus = LINE_PRESENT;
    this.#transmitterEmptyPending = false;
    this.#update();
  }

  save(): SavedState {
    return {
      kind: "uart16550",
      version: 1,
      ier: this.#ier,
      fcr: this.#fcr,
      lcr: this.#lcr,
      mcr: this.#mcr,
      scr: this.#scr,
      divisor: this.#divisor,
      overrun: this.#overrun,
      modemStatus: this.#modemStatus,
      transmitterEmptyPending: this.#transmitterEmptyPending,
      fifo: this.#fifo.toArray(),
      wire: this.#wire.toArray(),
    };
  }

  restore(state: unknown): void {
    const from = StateReader.open(state, "uart16550", 1);
    const [ier, fcr, lcr] = [from.uint("ier", 4), from.uint("fcr", 8), from.uint("lcr", 8)];
    const [mcr, scr, divisor] = [from.uint("mcr", 5), from.uint("scr", 8), from.uint("divisor", 16)];
    const [overrun, modemStatus] = [from.flag("overrun"), from.uint("modemStatus", 8)];
    const transmitterEmptyPending = from.flag("transmitterEmptyPending");
    const [fifo, wire] = [from.uints("fifo", 8, { atMost: FIFO_SIZE }), from.uints("wire", 8, { atMost: WIRE_SIZE })];
    this.#ier = ier;
    this.#fcr = fcr;
    this.#lcr = lcr;
    this.#mcr = mcr;
    this.#scr = scr;
    this.#divisor = divisor;
    this.#overrun = overrun;
    this.#modemStatus = modemStatus;
    this.#transmitterEmptyPending = transmitterEmptyPending;
    this.#fifo.assign(fifo);
    this.#wire.assign(wire);
    this.#update();
  }

  get #divisorLatch(): boolean {
    return (this.#lcr & Lcr.divisorLatch) !== 0;
  }

  get #loopback(): boolean {
    return (this.#mcr & Mcr.loopback) !== 0;
  }

  /** With its FIFOs off, the receiver holds one byte. */
  get #receiverDepth(): number {
    return this.#fcr & Fcr.enable ? FIFO_SIZE : 1;
  }

  #readReceived(): number {
    const byte = new Uint8Array(1);
    this.#fifo.shift(byte);
    this.#update();
    if (this.#refused && this.#wire.free >= WIRE_SIZE / 2) {
      this.#refused = false;
      this.#backend.ready?.();
    }
    return byte[0]!;
  }

  #readIdentity(): number {
    const identity = this.#identity();
    if (identity === Iir.transmitterEmpty) {
      this.#transmitterEmptyPending = false;
      this.#update();
    }
    return identity | (this.#fcr & Fcr.enable ? Iir.fifosEnabled : 0);
  }

  #readLineStatus(): number {
    const status = this.#lineStatus();
    this.#overrun = false;
    this.#update();
    return status;
  }

  #lineStatus(): number {
    return (
      Lsr.transmitHoldingEmpty | Lsr.transmitterEmpty |
      (this.#fifo.length > 0 ? Lsr.dataReady : 0) | (this.#overrun ? Lsr.overrun : 0)
    );
  }

  #readModemStatus(): number {
    const status = this.#modemStatus;
    this.#modemStatus &= ~Msr.deltas;
    this.#update();
    return status;
  }

  #transmit(byte: number): void {
    if (this.#loopback) {
      if (this.#fifo.length < this.#receiverDepth) this.#fifo.push(Uint8Array.of(byte));
      else this.#overrun = true;
    } else {
      this.#backend.write(Uint8Array.of(byte));
    }
    this.#transmitterEmptyPending = true;
  }

  /** Enabling the transmitter's interrupt while it is empty raises it at once: drivers start sending by that. */
  #writeInterruptEnable(byte: number): void {
    const enabled = byte & ~this.#ier;
    this.#ier = byte & 0x0f;
    if (enabled & Ier.transmitterEmpty) this.#transmitterEmptyPending = true;
  }

  #writeFifoControl(byte: number): void {
    const switched = (byte ^ this.#fcr) & Fcr.enable;
    if (switched || byte & Fcr.clearReceiver) this.#fifo.clear();
    this.#fcr = byte & (Fcr.enable | Fcr.dmaMode | (3 << Fcr.triggerShift));
  }

  /** In loopback, the modem control outputs are wired to the modem status inputs. */
  #writeModemControl(byte: number): void {
    this.#mcr = byte & 0x1f;
    const lines = this.#loopback
      ? (byte & Mcr.dtr ? Msr.dsr : 0) | (byte & Mcr.rts ? Msr.cts : 0) | (byte & Mcr.out1 ? Msr.ri : 0) | (byte & Mcr.out2 ? Msr.dcd : 0)
      : LINE_PRESENT;
    const changed = (lines ^ this.#modemStatus) & 0xf0;
    // The ring indicator's delta marks its trailing edge only.
    const deltas = (changed >> 4) & ~(lines & Msr.ri ? Msr.trailingRi : 0);
    this.#modemStatus = lines | (this.#modemStatus & Msr.deltas) | deltas;
  }

  /** The most urgent enabled interrupt: data sheet, table V. */
  #identity(): number {
    const received = this.#fifo.length;
    if (this.#ier & Ier.lineStatus && this.#lineStatus() & Lsr.errors) return Iir.lineStatus;
    if (this.#ier & Ier.received && received > 0) return received >= this.#trigger() ? Iir.received : Iir.timeout;
    if (this.#ier & Ier.transmitterEmpty && this.#transmitterEmptyPending) return Iir.transmitterEmpty;
    if (this.#ier & Ier.modemStatus && this.#modemStatus & Msr.deltas) return Iir.modemStatus;
    return Iir.none;
  }

  /**
   * Below the trigger level the receiver waits four character times, then interrupts all the same. Characters take no time
   * here, so it does at once.
   */
  #trigger(): number {
    return this.#fcr & Fcr.enable ? TRIGGER_LEVELS[(this.#fcr >> Fcr.triggerShift) as 0 | 1 | 2 | 3] : 1;
  }

  /** Brings bytes in from the wire while there is room, so that none is overrun, and sets the interrupt line. */
  #update(): void {
    if (this.#wire.length > 0 && !this.#loopback) {
      const room = this.#receiverDepth - this.#fifo.length;
      if (room > 0) {
        const bytes = new Uint8Array(Math.min(room, this.#wire.length));
        this.#wire.shift(bytes);
        this.#fifo.push(bytes);
      }
    }
    this.#line.set(this.#identity() !== Iir.none);
  }
}
