/** Shadow paging as the exits of a guest see it, whether its kernel is in VS-mode or in U-mode: page faults, and what its kernel says of its tables. */
import { cause } from "#machine/csr-bits.ts";
import { FRAME_SIZE } from "#machine/frames.ts";
import { ExitReason } from "#machine/hart/exit-reason.ts";
import { managesBlock } from "../io/device-access.ts";
import { emulateDeviceAccess } from "../io/emulated.ts";
import type { Access } from "../memory/guest-walk.ts";
import { Shadow } from "../memory/shadow.ts";
import type { CsrAccess } from "../virtual-core.ts";
import type { VirtualMachine } from "../vm.ts";
import { writtenBy, type Privileged } from "./privileged.ts";
import { step } from "./step.ts";
import { storeInPlace, storeToTable } from "./table-write.ts";
import type { ShadowPolicy } from "./technique.ts";

export interface ShadowPagingOptions {
  readonly policy: ShadowPolicy;
  /** Whether the guest is in VS-mode and VU-mode. */
  readonly isVirtual: boolean;
  /** What the technique does with an exit. */
  readonly exit: () => number;
  /** Told of each store to a traced page. */
  readonly written?: () => void;
}

export const SATP = 0x180;
/** Bare, Sv39, Sv48, Sv57. */
const SATP_MODES: ReadonlySet<number> = new Set([0, 8, 9, 10]);
const GO_ON = 0;

const accesses: Readonly<Record<number, Access>> = {
  [cause.instructionPage]: "fetch",
  [cause.loadPage]: "load",
  [cause.storePage]: "store",
};
const accessFaults: Readonly<Record<number, number>> = {
  [cause.instructionPage]: cause.instructionAccess,
  [cause.loadPage]: cause.loadAccess,
  [cause.storePage]: cause.storeAccess,
};

export class ShadowPaging {
  readonly shadow: Shadow;
  readonly #vm: VirtualMachine;
  readonly #exit: () => number;
  readonly #written: (() => void) | undefined;

  constructor(vm: VirtualMachine, { policy, isVirtual, exit, written }: ShadowPagingOptions) {
    this.#vm = vm;
    this.#exit = exit;
    this.#written = written;
    this.shadow = new Shadow({
      memory: vm.memory,
      policy,
      isVirtual,
      harts: () => vm.cores.map(({ state }) => state),
      selectView: () => vm.core.selectView(),
      flush: (what) => {
        // The TLB is the hart's: what it forgets for one of the vCPUs, it forgets for all.
        const loaded = vm.cores.find((core) => core.isLoaded);
        for (const core of loaded === undefined ? vm.cores : [loaded]) core.flushGuest(what);
      },
      purge: (frame) => vm.core.purgeWritable(vm.memory.machine.hostOf(frame)),
    });
  }

  /** The guest's access to satp. A mode that there isn't leaves it as it was. */
  accessSatp(access: CsrAccess): boolean {
    const { state } = this.#vm.core;
    const old = state.get("parkedSatp");
    const satp = writtenBy(access, state, old);
    if (satp !== undefined && SATP_MODES.has(Number(satp >> 60n))) {
      state.set("parkedSatp", satp);
      this.shadow.switched(state);
    }
    if (access.rd !== 0) state.set("x", old, access.rd);
    return true;
  }

  fence({ address, asid }: Privileged & { readonly kind: "fence" }): number {
    const { state } = this.#vm.core;
    this.shadow.fence(address === 0 ? undefined : state.get("x", address), asid === 0 ? undefined : state.low("x", asid) & 0xffff);
    return GO_ON;
  }

  /** The hart's page fault, by its cause. */
  pageFault(why: number): number {
    const { state } = this.#vm.core;
    const access = managesBlock(state.number("exitInstruction")) ? "load" : accesses[why]!;
    const [low, high] = [state.low("exitTval", 0), state.high("exitTval")];
    const fault = this.shadow.fault(state, low, high, access);
    switch (fault.kind) {
      case "hidden":
        this.#vm.record("hidden-fault", low);
        return GO_ON;
      case "once":
        this.#vm.record("hidden-fault", low);
        return step(this.#vm, this.shadow, this.#exit);
      case "true":
        return this.#reflect("true-fault", fault.fault === "page-fault" ? why : accessFaults[why]!);
      case "no-memory":
        if (access !== "fetch" && emulateDeviceAccess(this.#vm, fault.physical)) return GO_ON;
        return this.#reflect("access-fault", accessFaults[why]!);
      case "table-write":
        this.#vm.record("table-write", fault.physical);
        this.#written?.();
        return storeToTable(this.#vm, this.shadow, fault.physical, this.#exit);
    }
  }

  /** Does the store of the instruction at the pc, to this address, without a fault: to what page. Undefined if it isn't done. */
  store(low: number, high: number): "traced" | "other" | undefined {
    const { core } = this.#vm;
    const physical = this.shadow.physicalAddress(core.state, low, high, "store");
    if (physical === undefined) return undefined;
    const page = this.shadow.tables.isTraced(Math.floor(physical / FRAME_SIZE)) ? "traced" : "other";
    if (!storeInPlace(this.#vm, this.shadow, physical, low)) return undefined;
    this.#vm.record("call-out", physical);
    return page;
  }

  #reflect(kind: "true-fault" | "access-fault", why: number): number {
    this.#vm.record(kind, why);
    return this.#vm.core.reflect(why) ? GO_ON : ExitReason.exit;
  }
}
