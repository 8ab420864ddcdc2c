/** Trap entry and return, and which interrupt is taken (privileged manual, 3.1.6 to 3.1.9, 3.3.2 and 12.1; H extension). */
import { conditional, i32, i64, select, type Expr, type FunctionReference } from "#wasm/expression.ts";
import type { Local } from "#wasm/function.ts";
import { alwaysDelegated, cause, hypervisorStatus, interrupt, privilege, privilegeMask, status, virtualBit } from "../csr-bits.ts";
import { layout } from "../layout.ts";
import { previousPrivilege } from "./address-translation.ts";
import { bits, State, type Program } from "./program.ts";
import { enterMissHandler, isTlbMiss } from "./software-tlb.ts";
import { countTrap, enterTrap, isDelegated, isDelegatedFurther } from "./trap-entry.ts";
import type { TranslationBanks } from "./translation-banks.ts";
import { defineVirtualization, type Virtualization } from "./virtualization.ts";

export interface Traps extends Pick<Virtualization, "enterGuest" | "leaveGuest"> {
  /** (state, pc, cause with the interrupt bit, tval): takes the trap; the next pc is in the state. Sets `exitReason` if it is a monitor's. */
  readonly raise: FunctionReference;
  /** (state, pc) → i32: takes the most urgent interrupt if one is pending and enabled; 1 if so. */
  readonly takeInterrupt: FunctionReference;
  /** (state): returns from a trap; the next pc is in the state. Sets `fault` where the instruction is illegal. */
  readonly sret: FunctionReference;
  readonly mret: FunctionReference;
  /** (state, pc, cause, tval): a trap into VS-mode, whatever is delegated. */
  readonly raiseInVirtual: FunctionReference;
  /** (state, cause): likewise, for the exception that has come out. */
  readonly reflectInVirtual: FunctionReference;
}

const interruptBit = 1n << 63n;
const bit = (position: number): bigint => 1n << BigInt(position);

/** 3.1.9, and the H extension's for HS-mode: external before software before timer, machine before supervisor before guest. */
const interruptOrder = [
  interrupt.machineExternal,
  interrupt.machineSoftware,
  interrupt.machineTimer,
  interrupt.supervisorExternal,
  interrupt.supervisorSoftware,
  interrupt.supervisorTimer,
  interrupt.virtualSupervisorExternal,
  interrupt.virtualSupervisorSoftware,
  interrupt.virtualSupervisorTimer,
];

export function defineTraps(program: Program, banks: TranslationBanks): Traps {
  const { module } = program;
  const virtualization = defineVirtualization(program, banks);

  /** To VS-mode, whose interrupts are a supervisor's to it: one below. */
  const enterGuestTrap = (state: State, pc: Expr, reason: Expr, value: Expr, number: Local, isInterrupt: Local, current: Expr): void => {
    const { f } = state;
    countTrap(state, number, isInterrupt);
    for (const name of ["fault", "faultOffset", "reservation"] as const) state.set(name, 0);
    enterTrap(state, {
      level: "supervisor",
      pc,
      cause: i64.sub(reason, i64.extendI32U(isInterrupt)),
      value,
      number: i32.sub(number, isInterrupt),
      isInterrupt,
      previous: i32.and(current, 3),
    });
    state.set("privilege", privilege.virtualSupervisor);
    f.call(banks.selectBank, [state.base]);
  };

  const raise = module.function("raise", ["i32", "i64", "i64", "i64"], [], (f) => {
    const state = new State(f);
    const [pc, reason, value] = [f.parameter(1), f.parameter(2), f.parameter(3)];
    const number = f.let(i32.and(i32.wrap(reason), 63));
    const isInterrupt = f.let(i64.ltS(reason, 0));
    const current = f.let(state.get("privilege"));
    f.if(i32.or(i32.or(i32.geU(current, privilege.machine), state.get("faultAsGuest")), state.get("monitored")), () => {
      const isGuest = i32.and(current, virtualBit);
      const delegated = i32.and(isDelegated(state, number, isInterrupt), isDelegatedFurther(state, number, isInterrupt));
      f.if(
        conditional(isGuest, delegated, 0),
        () => enterGuestTrap(state, pc, reason, value, number, isInterrupt, current),
        () => f.call(virtualization.raise, [state.base, pc, reason, value]),
      );
      f.return();
    });
    countTrap(state, number, isInterrupt);
    state.set("fault", 0);
    state.set("reservation", 0);
    const trap = { pc, cause: reason, value, number, isInterrupt, previous: current };
    const miss = program.model.tlb === "software" ? f.let(isTlbMiss(number, isInterrupt)) : undefined;
    f.if(
      miss === undefined ? isDelegated(state, number, isInterrupt) : i32.or(miss, isDelegated(state, number, isInterrupt)),
      () => {
        enterTrap(state, { level: "supervisor", ...trap });
        if (miss !== undefined) f.if(miss, () => enterMissHandler(state, value));
        const ofGuests = bit(hypervisorStatus.spv) | bit(hypervisorStatus.gva);
        f.if(i64.ne(i64.and(state.get("hstatus"), ofGuests), 0), () =>
          state.set("hstatus", i64.and(state.get("hstatus"), ~ofGuests)),
        );
        state.set("htval", 0);
        state.set("htinst", 0);
        state.set("privilege", privilege.supervisor);
      },
      () => {
        const further = { mask: bit(status.mpv) | bit(status.gva), value: i64.const(0) };
        enterTrap(state, { level: "machine", ...trap, further });
        state.set("mtval2", 0);
        state.set("mtinst", 0);
        state.set("privilege", privilege.machine);
      },
    );
    f.call(banks.selectBank, [state.base]);
  });

  const raiseInVirtual = module.function("raiseInVirtual", ["i32", "i64", "i64", "i64"], [], (f) => {
    const state = new State(f);
    const [pc, reason, value] = [f.parameter(1), f.parameter(2), f.parameter(3)];
    const number = f.let(i32.and(i32.wrap(reason), 63));
    enterGuestTrap(state, pc, reason, value, number, f.let(i64.ltS(reason, 0)), state.get("privilege"));
  });

  const reflectInVirtual = module.function("reflectInVirtual", ["i32", "i32"], [], (f) => {
    const state = new State(f);
    f.call(raiseInVirtual, [state.base, state.get("pc"), i64.extendI32U(f.parameter(1)), state.get("exitTval")]);
  });

  const takeInterrupt = module.function("takeInterrupt", ["i32", "i64"], ["i32"], (f) => {
    const state = new State(f);
    const pending = f.let(
      i32.and(i32.or(state.low("mip"), i32.atomicLoad(i32.add(state.base, layout.lines.offset))), state.low("mie")),
    );
    f.if(i32.eqz(pending), () => f.return(0));
    const current = f.let(state.get("privilege"));
    const mstatus = f.let(state.get("mstatus"));
    const delegated = f.let(i32.or(state.low("mideleg"), alwaysDelegated));
    const toGuest = f.let(state.low("hideleg"));
    const isGuest = i32.ne(i32.and(current, virtualBit), 0);
    const machineEnabled = i32.or(i32.ne(current, privilege.machine), bits(mstatus, status.mie, 1));
    /** The world's own supervisor: from its user mode always, else by SIE. */
    const ownEnabled = i32.or(
      i32.eqz(i32.and(current, 3)),
      i32.and(i32.eq(i32.and(current, 3), privilege.supervisor), bits(mstatus, status.sie, 1)),
    );
    const enabled = f.let(ownEnabled);
    const taken = f.let(select(machineEnabled, i32.and(pending, i32.xor(delegated, -1)), 0));
    f.if(i32.eqz(taken), () =>
      f.set(
        taken,
        select(i32.or(isGuest, enabled), i32.and(i32.and(pending, delegated), i32.xor(toGuest, -1)), 0),
      ),
    );
    // A deprivileged guest's are its monitor's to give it.
    const isDeprivileged = i32.and(state.get("monitored"), i32.eqz(isGuest));
    const guestEnabled = conditional(
      isDeprivileged,
      i32.or(i32.eqz(state.get("virtualPrivilege")), bits(state.get("parkedStatus"), status.sie, 1)),
      i32.and(isGuest, enabled),
    );
    f.if(i32.eqz(taken), () => f.set(taken, select(guestEnabled, i32.and(i32.and(pending, delegated), toGuest), 0)));
    for (const number of interruptOrder) {
      f.if(i32.and(taken, 1 << number), () => {
        f.call(raise, [state.base, f.parameter(1), interruptBit | BigInt(number), 0]);
        f.return(1);
      });
    }
    f.push(i32.const(0));
  });

  const refuse = (state: State, number: number): void => {
    state.fault(number, 0);
    state.f.return();
  };

  const sret = module.function("sret", ["i32"], [], (f) => {
    const state = new State(f);
    const current = f.let(i32.and(state.get("privilege"), privilegeMask));
    const mstatus = f.let(state.get("mstatus"));
    const previous = f.let(bits(mstatus, status.spp, 1));
    f.if(
      i32.and(current, virtualBit),
      () => {
        const isUser = i32.eq(current, privilege.virtualUser);
        f.if(i32.or(isUser, bits(state.get("hstatus"), hypervisorStatus.vtsr, 1)), () =>
          refuse(state, cause.virtualInstruction),
        );
        f.set(previous, i32.or(previous, virtualBit));
      },
      () => {
        const isSupervisor = i32.eq(current, privilege.supervisor);
        f.if(i32.or(i32.eqz(current), i32.and(isSupervisor, bits(mstatus, status.tsr, 1))), () =>
          refuse(state, cause.illegalInstruction),
        );
      },
    );
    // SIE takes SPIE, SPIE becomes 1, SPP becomes U; MPRV is cleared when leaving machine mode.
    const cleared = bit(status.sie) | bit(status.spp) | bit(status.mprv);
    state.set(
      "mstatus",
      i64.or(
        i64.and(mstatus, ~cleared),
        i64.or(i64.shl(i64.extendI32U(bits(mstatus, status.spie, 1)), status.sie), 1 << status.spie),
      ),
    );
    state.set("pc", state.get("sepc"));
    const hstatus = f.let(state.get("hstatus"));
    f.if(i32.and(i32.ltU(current, virtualBit), bits(hstatus, hypervisorStatus.spv, 1)), () => {
      state.set("hstatus", i64.and(hstatus, ~bit(hypervisorStatus.spv)));
      f.call(virtualization.enterGuest, [state.base]);
      f.set(previous, i32.or(previous, virtualBit));
    });
    state.set("privilege", previous);
    f.call(banks.selectBank, [state.base]);
    state.set("attention", 1);
  });

  const mret = module.function("mret", ["i32"], [], (f) => {
    const state = new State(f);
    const mstatus = f.let(state.get("mstatus"));
    f.if(i32.ne(state.get("privilege"), privilege.machine), () => refuse(state, cause.illegalInstruction));
    const previous = f.let(previousPrivilege(f, mstatus));
    const cleared = bit(status.mie) | (3n << BigInt(status.mpp)) | bit(status.mpv);
    const mprv = f.let(
      select(i32.eq(previous, privilege.machine), i64.const(-1), i64.const(~bit(status.mprv))),
    );
    state.set(
      "mstatus",
      i64.or(
        i64.and(i64.and(mstatus, ~cleared), mprv),
        i64.or(i64.shl(i64.extendI32U(bits(mstatus, status.mpie, 1)), status.mie), 1 << status.mpie),
      ),
    );
    f.if(i32.and(previous, virtualBit), () => f.call(virtualization.enterGuest, [state.base]));
    state.set("privilege", previous);
    state.set("pc", state.get("mepc"));
    f.call(banks.selectBank, [state.base]);
    state.set("attention", 1);
  });

  return { ...virtualization, raise, raiseInVirtual, reflectInVirtual, takeInterrupt, sret, mret };
}
