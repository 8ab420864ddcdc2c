/** The built-in firmware: what the SBI can do to this machine, and the state in which it hands over to a kernel. */
import type { Fence, HartState as SbiHartState, HartSuspend, SbiIdentity, SbiPlatform, SystemReset } from "#devices/sbi-platform.ts";
import { Sbi } from "#devices/sbi.ts";
import { envcfg, interrupt } from "#machine/csr-bits.ts";
import type { DmaMemory } from "#machine/bus.ts";
import type { Machine, MachineEnd } from "#machine/machine.ts";
import type { Console } from "./console.ts";

/** x10 is a0. */
const A0 = 10;
const SUPERVISOR = 1;

/** All exceptions but ecall from S-mode, which comes here, and from M-mode. */
const DELEGATED_EXCEPTIONS = 0xb1ffn;
const DELEGATED_INTERRUPTS =
  (1n << BigInt(interrupt.supervisorSoftware)) | (1n << BigInt(interrupt.supervisorTimer)) | (1n << BigInt(interrupt.supervisorExternal));
/** cycle, time, instret. */
const COUNTERS = 7n;
/** Sstc, Svpbmt, Svadu, and all cache operations with `cbo.inval` as itself. */
const ENVIRONMENT =
  (1n << BigInt(envcfg.stce)) | (1n << BigInt(envcfg.pbmte)) | (1n << BigInt(envcfg.adue)) |
  (1n << BigInt(envcfg.cbze)) | (1n << BigInt(envcfg.cbcfe)) | (3n << BigInt(envcfg.cbie));
/** One region of a naturally aligned power of two, all of the address space, readable, writable and executable. */
const PMP_EVERYTHING = { address: (1n << 54n) - 1n, config: 0x1fn };

export class Firmware implements SbiPlatform {
  readonly hartCount = 1;
  readonly memory: DmaMemory;
  readonly hypervisor = false;
  /** "HST" and the version of this firmware. */
  readonly identity: SbiIdentity = {
    implementationId: 0x48_5354,
    implementationVersion: 1,
    mvendorid: 0n,
    marchid: 0n,
    mimpid: 0n,
  };
  readonly #machine: Machine;
  readonly #console: Console;
  readonly #end: (end: MachineEnd) => void;
  readonly #sbi: Sbi;

  constructor(machine: Machine, console: Console, end: (end: MachineEnd) => void) {
    this.memory = machine.dma;
    this.#machine = machine;
    this.#console = console;
    this.#end = end;
    this.#sbi = new Sbi(this);
  }

  /** A kernel begins: S-mode, translation and interrupts off, a0 = hart, a1 = the device tree. */
  enter(entry: number, deviceTree: number): void {
    const { state } = this.#machine;
    state.set("firmware", 1);
    state.set("medeleg", DELEGATED_EXCEPTIONS);
    state.set("mideleg", DELEGATED_INTERRUPTS);
    state.set("mcounteren", COUNTERS);
    // Linux's vDSO reads the time in U-mode, and leaves it to firmware to allow that.
    state.set("scounteren", COUNTERS);
    state.set("menvcfg", ENVIRONMENT);
    state.set("pmpaddr", PMP_EVERYTHING.address);
    state.set("pmpcfg", PMP_EVERYTHING.config);
    this.#begin(BigInt(entry), BigInt(deviceTree));
  }

  /** Answers the ECALL at which the hart stands. */
  call(): void {
    const { state } = this.#machine;
    const register = (index: number): bigint => state.get("x", A0 + index);
    const ecall = state.get("pc");
    const { error, value } = this.#sbi.call(0, {
      eid: Number(BigInt.asIntN(32, register(7))),
      fid: Number(BigInt.asIntN(32, register(6))),
      args: [0, 1, 2, 3, 4, 5].map(register),
    });
    // A call that does not return has set another pc.
    if (state.get("pc") !== ecall) return;
    state.set("x", error, A0);
    if (value !== undefined) state.set("x", value, A0 + 1);
    state.set("pc", ecall + 4n);
  }

  setTimer(_hart: number, time: bigint): void {
    this.#machine.state.set("stimecmp", time);
  }

  sendIpi(): void {
    const { state } = this.#machine;
    state.set("mip", state.get("mip") | (1n << BigInt(interrupt.supervisorSoftware)));
  }

  /** Decoded and translated instructions follow each store, so `fence.i` has nothing to do. */
  remoteFence(_harts: readonly number[], fence: Fence): void {
    const { hart, map } = this.#machine;
    if (fence.kind !== "fence.i") hart.exports.flushAll(map.hart);
  }

  hartState(): SbiHartState {
    return "started";
  }

  /** Never asked: the one hart is started. */
  startHart(): void {}

  /** Nobody is left to start it again: the machine is off. */
  stopHart(): void {
    this.#end({ kind: "poweroff" });
  }

  /** A suspended hart may resume at any time, and this one does at once: the kernel's own WFI is what saves the host's time. */
  suspendHart(_hart: number, suspend: HartSuspend): void {
    if (suspend.kind === "non-retentive") this.#begin(suspend.address, suspend.opaque);
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

  #begin(entry: bigint, opaque: bigint): void {
    const { state } = this.#machine;
    state.set("pc", entry);
    state.set("privilege", SUPERVISOR);
    state.set("mstatus", 0);
    state.set("satp", 0);
    state.set("x", state.get("hartId"), A0);
    state.set("x", opaque, A0 + 1);
    this.#machine.contextChanged();
  }
}
