/**
 * Translation for V = 1 (H extension, "Two-Stage Address Translation"): virtual to guest physical addresses by the guest's page tables, and these
 * to physical ones by hgatp's. The entries of the guest's tables stand at guest physical addresses, so that each is translated too.
 */
import { call, conditional, i32, i64, select, type Expr, type FunctionReference } from "#wasm/expression.ts";
import type { FunctionBuilder, Local } from "#wasm/function.ts";
import { cause, privilege, status, virtualBit } from "../csr-bits.ts";
import { cacheGuestPage, returnCached } from "./guest-page-cache.ts";
import { causeFor, emitWalk, pte, type Causes } from "./page-walk.ts";
import { access } from "./physical-memory-protection.ts";
import { bits, State, type Program } from "./program.ts";

const accessFaults = { execute: cause.instructionAccess, read: cause.loadAccess, write: cause.storeAccess };
const pageFaults = { execute: cause.instructionPage, read: cause.loadPage, write: cause.storePage };
const guestPageFaults = { execute: cause.instructionGuestPage, read: cause.loadGuestPage, write: cause.storeGuestPage };

/** htinst's pseudoinstructions for accesses to entries of the guest's page tables. */
const implicit = { none: 0, read: 0x3000, write: 0x3020 } as const;

/** (state, virtual i64, access i32, privilege i32 with V) → physical address, or -1 with `fault` set. As `translate`, for V = 1. */
export function defineTwoStageTranslation(program: Program, pmpCheck: FunctionReference): FunctionReference {
  const { module } = program;

  /** (state, guest physical i64, R W X wanted i32, pseudoinstruction i32, virtual i64, access i32) → physical address, or -1 with `fault` set. */
  const guestStage = module.function("guestStage", ["i32", "i64", "i32", "i32", "i64", "i32"], ["i64"], (f) => {
    const state = new State(f);
    const [guestPhysical, wanted, how, virtual, kind] = [1, 2, 3, 4, 5].map((i) => f.parameter(i)) as [Local, Local, Local, Local, Local];
    const fail = (causes: Causes): void => {
      state.fault(causeFor(kind, causes), virtual);
      state.set("faultGuestPhysical", guestPhysical);
      state.set("faultImplicit", how);
      f.return(-1);
    };
    const pageFault = (): void => fail(guestPageFaults);
    const root = f.let(state.get("hgatp"));
    f.if(i64.eqz(i64.shrU(root, 60)), () => {
      f.if(i64.ne(i64.shrU(guestPhysical, 56), 0), () => fail(accessFaults));
      f.return(guestPhysical);
    });
    f.if(i32.eqz(state.get("emulated")), () => returnCached(f, program.map, guestPhysical, root, wanted));
    const leaf = emitWalk(f, program, state, pmpCheck, guestPhysical, {
      root,
      widened: true,
      entryAddress: (address) => address,
      admitUpdate: () => {},
      pageFault,
      accessFault: () => fail(accessFaults),
      wanted,
      writes: i32.and(wanted, pte.w),
      // All accesses count as a user's.
      checkUser: (isUserPage) => f.if(i32.eqz(isUserPage), pageFault),
      environment: state.get("menvcfg"),
      again: () => f.return(call(f, state.base, guestPhysical, wanted, how, virtual, kind)),
    });
    const physical = f.let(leaf.physical);
    f.if(leaf.large, () => state.set("guestLarge", 1));
    cacheGuestPage(f, program.map, guestPhysical, root, physical, leaf.entry);
    f.push(physical);
  });

  return module.function("translateAsGuest", ["i32", "i64", "i32", "i32"], ["i64"], (f) =>
    translateAsGuest(f, program, pmpCheck, guestStage),
  );
}

function translateAsGuest(f: FunctionBuilder, program: Program, pmpCheck: FunctionReference, guestStage: FunctionReference): void {
  const state = new State(f);
  const [virtual, kind, mode] = [f.parameter(1), f.parameter(2), f.parameter(3)];
  const fail = (causes: Causes): void => {
    state.fault(causeFor(kind, causes), virtual);
    f.return(-1);
  };
  const pageFault = (): void => fail(pageFaults);
  const isGuest = f.let(i32.and(state.get("privilege"), virtualBit));
  const guestStatus = f.let(conditional(isGuest, state.get("mstatus"), state.get("parkedStatus")));
  const hostStatus = f.let(conditional(isGuest, state.get("parkedStatus"), state.get("mstatus")));
  const root = f.let(conditional(isGuest, state.get("satp"), state.get("parkedSatp")));
  const guestPhysical = f.let(virtual);

  /** R, W or X; the guest's MXR lets it read what it may execute, by its own tables; HS-mode's, by both. */
  const wanted = (mxr: Expr): Expr =>
    conditional(
      i32.eq(kind, access.read),
      select(mxr, i32.const(pte.r | pte.x), pte.r),
      select(i32.eq(kind, access.write), i32.const(pte.w), pte.x),
    );
  const hostMxr = bits(hostStatus, status.mxr, 1);
  const ofEntry = (address: Local, how: "read" | "write"): Expr => {
    const at = f.let(call(guestStage, state.base, address, how === "read" ? pte.r : pte.w, implicit[how], virtual, kind));
    f.if(i64.eq(at, -1), () => f.return(-1));
    return at;
  };

  state.set("walkLarge", 0);
  state.set("walkGlobal", 1);
  f.if(i64.ne(i64.shrU(root, 60), 0), () => {
    const leaf = emitWalk(f, program, state, pmpCheck, virtual, {
      root,
      widened: false,
      entryAddress: (address) => ofEntry(address, "read"),
      admitUpdate: (address) => f.drop(ofEntry(address, "write")),
      pageFault,
      accessFault: () => fail(accessFaults),
      wanted: wanted(i32.or(bits(guestStatus, status.mxr, 1), hostMxr)),
      writes: i32.eq(kind, access.write),
      checkUser: (isUserPage) =>
        f.if(
          i32.eq(mode, privilege.virtualUser),
          () => f.if(i32.eqz(isUserPage), pageFault),
          () =>
            f.if(
              i32.and(i32.ne(isUserPage, 0), i32.or(i32.eqz(kind), i32.eqz(bits(guestStatus, status.sum, 1)))),
              pageFault,
            ),
        ),
      environment: guestEnvironment(state),
      again: () => f.return(call(f, state.base, virtual, kind, mode)),
    });
    f.set(guestPhysical, leaf.physical);
    // A guest's fence is by pages of its own: those of the second stage don't matter.
    state.set("walkLarge", leaf.large);
    state.set("walkGlobal", leaf.global);
  });
  const physical = f.let(call(guestStage, state.base, guestPhysical, wanted(hostMxr), implicit.none, virtual, kind));
  f.if(i64.eq(physical, -1), () => f.return(-1));
  f.if(i32.eqz(call(pmpCheck, state.base, physical, 1, kind, mode)), () => fail(accessFaults));
  f.push(physical);
}

/** henvcfg, in which ADUE, PBMTE and STCE read as zero where menvcfg's do. */
export function guestEnvironment(state: State): Expr {
  return i64.and(state.get("henvcfg"), i64.or(state.get("menvcfg"), (1n << 61n) - 1n));
}
