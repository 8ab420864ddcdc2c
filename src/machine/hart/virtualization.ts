/**
 * V going from 0 to 1 and back, and the traps that have to do with it (H extension, "Traps"): those of guests, those of machine mode, which may
 * act for a guest, and those of HLV and its like.
 */
import { call, conditional, i32, i64, select, type Expr, type FunctionReference } from "#wasm/expression.ts";
import { cause, hypervisorStatus, privilege, sstatusMask, status } from "../csr-bits.ts";
import type { FieldName } from "../layout.ts";
import { previousPrivilege } from "./address-translation.ts";
import { ExitReason } from "./exit-reason.ts";
import { bits, State, type Program } from "./program.ts";
import { effectiveFloat, guestFloat } from "./supervisor-csrs.ts";
import { countTrap, enterTrap, isDelegated } from "./trap-entry.ts";
import type { TranslationBanks } from "./translation-banks.ts";
import { defineTransform } from "./transformed-instruction.ts";

export interface Virtualization {
  /** (state): the supervisor registers become VS-mode's. The privilege and the bank are the caller's matter. */
  readonly enterGuest: FunctionReference;
  /** (state): the supervisor registers become HS-mode's again. */
  readonly leaveGuest: FunctionReference;
  /** (state, pc, cause with the interrupt bit, tval): as `raise`, for any trap but those that VS-mode gets. */
  readonly raise: FunctionReference;
}

const pairs: readonly (readonly [active: FieldName, parked: FieldName])[] = [
  ["stvec", "parkedStvec"],
  ["sscratch", "parkedSscratch"],
  ["sepc", "parkedSepc"],
  ["scause", "parkedScause"],
  ["stval", "parkedStval"],
  ["satp", "parkedSatp"],
];

const causeSet = (...causes: number[]): bigint => causes.reduce((set, number) => set | (1n << BigInt(number)), 0n);

const guestPageFaults = causeSet(cause.instructionGuestPage, cause.loadGuestPage, cause.storeGuestPage);
/** Those of loads, stores and atomics. */
const accesses = causeSet(
  cause.loadMisaligned, cause.loadAccess, cause.storeMisaligned, cause.storeAccess,
  cause.loadPage, cause.storePage, cause.loadGuestPage, cause.storeGuestPage,
);
/** Those that write an address to tval. */
const addressing = accesses | causeSet(
  cause.instructionMisaligned, cause.instructionAccess, cause.breakpoint, cause.instructionPage, cause.instructionGuestPage,
);
const misses = causeSet(cause.loadTlbMiss, cause.storeTlbMiss);
/** Those that write the instruction to tval. */
const forbidden = causeSet(cause.illegalInstruction, cause.virtualInstruction);

const bit = (position: number): bigint => 1n << BigInt(position);
const floatMask = 3n << BigInt(status.fs);

export function defineVirtualization(program: Program, banks: TranslationBanks): Virtualization {
  const { module } = program;
  const transform = defineTransform(program);

  const exchange = (state: State): void => {
    const { f } = state;
    for (const [active, parked] of pairs) {
      const value = f.let(state.get(active));
      state.set(active, state.get(parked));
      state.set(parked, value);
    }
  };

  const enterGuest = module.function("enterGuest", ["i32"], [], (f) => {
    const state = new State(f);
    const host = f.let(state.get("mstatus"));
    const guest = f.let(state.get("parkedStatus"));
    const float = f.let(bits(guest, status.fs, 2));
    state.set("guestFloat", float);
    const shown = i64.or(i64.and(guest, sstatusMask & ~floatMask), effectiveFloat(float, host));
    state.set("mstatus", i64.or(i64.and(host, ~sstatusMask), shown));
    state.set("parkedStatus", i64.and(host, sstatusMask));
    exchange(state);
  });

  const leaveGuest = module.function("leaveGuest", ["i32"], [], (f) => {
    const state = new State(f);
    const mstatus = f.let(state.get("mstatus"));
    const host = f.let(state.get("parkedStatus"));
    f.if(i64.eq(i64.and(mstatus, floatMask), floatMask), () => f.set(host, i64.or(host, floatMask)));
    const guest = i64.or(
      i64.and(mstatus, sstatusMask & ~floatMask),
      i64.shl(i64.extendI32U(guestFloat(state)), status.fs),
    );
    state.set("parkedStatus", guest);
    state.set("mstatus", i64.or(i64.and(mstatus, ~sstatusMask), host));
    exchange(state);
  });

  const raise = module.function("raiseBeyondGuest", ["i32", "i64", "i64", "i64"], [], (f) => {
    const state = new State(f);
    const [pc, reason, value] = [f.parameter(1), f.parameter(2), f.parameter(3)];
    const number = f.let(i32.and(i32.wrap(reason), 63));
    const isInterrupt = f.let(i64.ltS(reason, 0));
    const current = f.let(state.get("privilege"));
    const previous = f.let(i32.and(current, 3));
    const isGuest = f.let(i32.shrU(current, 2));
    countTrap(state, number, isInterrupt);
    const isException = (set: bigint): Expr =>
      i32.and(i32.eqz(isInterrupt), i32.wrap(i64.and(i64.shrU(set, i64.extendI32U(number)), 1)));
    const toSupervisor = f.let(i32.and(i32.ne(current, privilege.machine), isDelegated(state, number, isInterrupt)));
    const asGuest = f.let(i32.or(state.get("faultAsGuest"), isGuest));
    const offset = f.let(state.get("faultOffset"));
    for (const name of ["fault", "faultAsGuest", "faultOffset"] as const) state.set(name, 0);
    const isGuestPage = f.let(isException(guestPageFaults));
    const guestPhysical = f.let(conditional(isGuestPage, state.get("faultGuestPhysical"), 0));
    const implicit = f.let(select(isGuestPage, state.get("faultImplicit"), 0));
    f.if(state.get("monitored"), () => {
      state.set("exitCause", i32.or(number, i32.shl(isInterrupt, 31)));
      state.set("exitInstruction", conditional(isException(accesses | misses | forbidden), state.get("faultInstruction"), 0));
      state.set("exitImplicit", implicit);
      state.set("exitPc", pc);
      state.set("exitTval", value);
      state.set("exitGuestPhysical", guestPhysical);
      state.set("exitReason", ExitReason.exit);
      state.set("pc", pc);
      // What the guest has reserved stays: of most exits it is to know nothing.
      f.return();
    });

    state.set("reservation", 0);
    f.if(isGuest, () => f.call(leaveGuest, [state.base]));
    // Machine mode acts for a guest by MPRV.
    f.if(i32.and(i32.eq(current, privilege.machine), isException(accesses)), () => {
      const mstatus = f.let(state.get("mstatus"));
      f.if(bits(mstatus, status.mprv, 1), () =>
        f.set(asGuest, i32.or(asGuest, i32.shrU(previousPrivilege(f, mstatus), 2))),
      );
    });
    const hasGuestAddress = f.let(i32.and(asGuest, isException(addressing)));
    const secondValue = i64.shrU(guestPhysical, 2);
    const trapInstruction = f.let(i64.const(0));
    f.if(
      implicit,
      () => f.set(trapInstruction, i64.extendI32U(implicit)),
      () =>
        f.if(i32.and(asGuest, isException(accesses)), () =>
          f.set(trapInstruction, i64.extendI32U(call(transform, state.get("faultInstruction"), offset))),
        ),
    );
    const trap = { pc, cause: reason, value, number, isInterrupt, previous };
    const flag = (condition: Expr, position: number): Expr => i64.shl(i64.extendI32U(condition), position);
    f.if(
      toSupervisor,
      () => {
        const kept = f.let(i64.and(state.get("hstatus"), ~(bit(hypervisorStatus.spv) | bit(hypervisorStatus.gva))));
        f.if(isGuest, () =>
          f.set(
            kept,
            i64.or(i64.and(kept, ~bit(hypervisorStatus.spvp)), flag(previous, hypervisorStatus.spvp)),
          ),
        );
        state.set(
          "hstatus",
          i64.or(kept, i64.or(flag(isGuest, hypervisorStatus.spv), flag(hasGuestAddress, hypervisorStatus.gva))),
        );
        state.set("htval", secondValue);
        state.set("htinst", trapInstruction);
        enterTrap(state, { level: "supervisor", ...trap });
        state.set("privilege", privilege.supervisor);
      },
      () => {
        state.set("mtval2", secondValue);
        state.set("mtinst", trapInstruction);
        enterTrap(state, {
          level: "machine",
          ...trap,
          further: {
            mask: bit(status.mpv) | bit(status.gva),
            value: i64.or(flag(isGuest, status.mpv), flag(hasGuestAddress, status.gva)),
          },
        });
        state.set("privilege", privilege.machine);
      },
    );
    f.call(banks.selectBank, [state.base]);
  });

  return { enterGuest, leaveGuest, raise };
}
