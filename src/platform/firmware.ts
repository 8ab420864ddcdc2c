/** The built-in firmware: what the SBI can do to this machine, and the state in which it hands over to a kernel. */
import type { Fence, HartState as SbiHartState, HartSuspend, SbiIdentity, SbiPlatform, SystemReset } from "#devices/sbi-platform.ts";
import { Sbi, type SbiCall } from "#devices/sbi.ts";
import type { DmaMemory } from "#machine/bus.ts";
import type { Computer, MachineEnd } from "#machine/computer.ts";
import type { Console } from "./console.ts";

/** x10 is a0. */
const A0 = 10;
const ECALL_LENGTH = 4;

export class Firmware implements SbiPlatform {
  readonly hartCount: number;
  readonly memory: DmaMemory;
  readonly hypervisor: boolean;
  /** "HST" and the version of this firmware. */
  readonly identity: SbiIdentity = {
    implementationId: 0x48_5354,
    implementationVersion: 1,
    mvendorid: 0n,
    marchid: 0n,
    mimpid: 0n,
  };
  readonly #computer: Computer;
  readonly #console: Console;
  readonly #end: (end: MachineEnd) => void;
  readonly #sbi: Sbi;
  /** Of each hart. */
  readonly #registers: readonly SbiCall[];

  constructor(computer: Computer, console: Console, end: (end: MachineEnd) => void) {
    this.hartCount = computer.harts.length;
    this.hypervisor = computer.hypervisor;
    this.memory = computer.dma;
    this.#computer = computer;
    this.#console = console;
    this.#end = end;
    this.#sbi = new Sbi(this);
    this.#registers = computer.harts.map(({ state }) => ({
      get eid() { return state.low("x", A0 + 7) | 0; },
      get fid() { return state.low("x", A0 + 6) | 0; },
      get args() { return [0, 1, 2, 3, 4, 5].map((index) => state.get("x", A0 + index)); },
    }));
  }

  /** A kernel begins: S-mode, translation and interrupts off, a0 = hart, a1 = the device tree. */
  enter(entry: number, deviceTree: number): void {
    this.#begin(0, BigInt(entry), BigInt(deviceTree));
  }

  /** Answers the ECALL at which the hart stands whose turn it is. */
  call(): void {
    const hart = this.#computer.currentHart;
    const { state } = this.#computer.core;
    const [low, high] = [state.number("pc"), state.high("pc")];
    const { error, value } = this.#sbi.call(hart, this.#registers[hart]!);
    // A call that does not return has set another pc.
    if (state.number("pc") !== low || state.high("pc") !== high) return;
    state.setHalves("x", A0, error, error >> 31);
    if (value !== undefined) state.set("x", value, A0 + 1);
    state.addNumber("pc", ECALL_LENGTH);
  }

  setTimer(hart: number, time: bigint): void {
    this.#computer.harts[hart]!.setSupervisorTimer(time);
  }

  sendIpi(hart: number): void {
    this.#computer.harts[hart]!.raiseSupervisorSoftware();
  }

  /** Decoded and translated instructions follow each store, so `fence.i` has nothing to do. */
  remoteFence(harts: readonly number[], fence: Fence): void {
    if (fence.kind !== "fence.i") for (const hart of harts) this.#computer.harts[hart]!.flushTranslations();
  }

  hartState(hart: number): SbiHartState {
    return this.#computer.isStarted(hart) ? "started" : "stopped";
  }

  startHart(hart: number, address: bigint, opaque: bigint): void {
    this.#begin(hart, address, opaque);
    this.#computer.startHart(hart);
  }

  /** When nobody is left to start it again, the machine is off. */
  stopHart(hart: number): void {
    this.#computer.stopHart(hart);
    if (this.#computer.harts.every((_, other) => !this.#computer.isStarted(other))) this.#end({ kind: "poweroff" });
  }

  /** A suspended hart may resume at any time, and this one does at once: the kernel's own WFI is what saves the host's time. */
  suspendHart(hart: number, suspend: HartSuspend): void {
    if (suspend.kind === "non-retentive") this.#begin(hart, suspend.address, suspend.opaque);
  }

  systemReset({ kind, reason }: SystemReset): void {
    if (reason === "system-failure") this.#end({ kind: "crash" });
    else this.#end({ kind: kind === "shutdown" ? "poweroff" : "reboot" });
  }

  consoleWrite(bytes: Uint8Array): void {
    this.#console.output("firmware", bytes);
  }

  consoleRead(into: Uint8Array): number {
    return this.#console.take(into);
  }

  #begin(hart: number, entry: bigint, opaque: bigint): void {
    this.#computer.harts[hart]!.enterSupervisor(entry, BigInt(hart), opaque);
  }
}
