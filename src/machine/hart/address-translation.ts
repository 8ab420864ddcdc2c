/** From virtual to physical addresses: who asks, by which tables, and whether the memory there may be accessed (privileged manual, 3.1.6.3 and 12.3 to 12.7). */
import { call, conditional, i32, i64, select, type Expr, type FunctionReference } from "#wasm/expression.ts";
import type { FunctionBuilder } from "#wasm/function.ts";
import { cause, privilege, privilegeMask, status, virtualBit } from "../csr-bits.ts";
import { causeFor, emitWalk, pte, type LeafAccess } from "./page-walk.ts";
import { access, definePmpCheck } from "./physical-memory-protection.ts";
import { bits, State, type Program } from "./program.ts";
import { defineFindTlbEntry, emitTlbLookup } from "./software-tlb.ts";
import { defineTwoStageTranslation } from "./two-stage-translation.ts";

export interface AddressTranslation {
  /** (state, physical i64, size i32, access i32, privilege i32) → i32: whether PMP allows it. Leaves `pmpUniform`. */
  readonly pmpCheck: FunctionReference;
  /** (state, virtual i64, access i32) → physical address, or -1 with `fault` set. Checks PMP for the byte. Leaves `walkLarge` and `pmpUniform`. */
  readonly translate: FunctionReference;
  /** (state, virtual i64, access i32, privilege i32): as `translate`, in a guest's privilege. */
  readonly translateAsGuest: FunctionReference;
  /** (state, access i32) → i32: the privilege that counts for an access. */
  readonly effectivePrivilege: FunctionReference;
}

export function defineAddressTranslation(program: Program): AddressTranslation {
  const { module } = program;

  const effectivePrivilege = module.function("effectivePrivilege", ["i32", "i32"], ["i32"], (f) => {
    const state = new State(f);
    const mstatus = f.let(state.get("mstatus"));
    f.if(i32.and(i32.ne(f.parameter(1), access.execute), bits(mstatus, status.mprv, 1)), () =>
      f.return(previousPrivilege(f, mstatus)),
    );
    f.push(i32.and(state.get("privilege"), privilegeMask));
  });

  const pmpCheck = definePmpCheck(program);
  const translateAsGuest = defineTwoStageTranslation(program, pmpCheck);
  const findTlbEntry = program.model.tlb === "software" ? defineFindTlbEntry(program) : undefined;
  const translate = module.function("translate", ["i32", "i64", "i32"], ["i64"], (f) =>
    defineTranslate(f, program, { effectivePrivilege, pmpCheck, translateAsGuest, ...(findTlbEntry && { findTlbEntry }) }),
  );
  return { pmpCheck, translate, translateAsGuest, effectivePrivilege };
}

/** MPP, with V as MPV says unless that is machine mode. */
export function previousPrivilege(f: FunctionBuilder, mstatus: Expr): Expr {
  const previous = f.let(bits(mstatus, status.mpp, 2));
  const isGuest = i32.and(bits(mstatus, status.mpv, 1), i32.ne(previous, privilege.machine));
  return i32.or(previous, i32.shl(isGuest, Math.log2(virtualBit)));
}

type TranslationParts = Omit<AddressTranslation, "translate"> & { readonly findTlbEntry?: FunctionReference };

function defineTranslate(f: FunctionBuilder, program: Program, parts: TranslationParts): void {
  const state = new State(f);
  const [virtual, kind] = [f.parameter(1), f.parameter(2)];
  const fail = (execute: number, read: number, write: number): void => {
    state.fault(causeFor(kind, { execute, read, write }), virtual);
    f.return(-1);
  };
  const accessFault = (): void => fail(cause.instructionAccess, cause.loadAccess, cause.storeAccess);
  const pageFault = (): void => fail(cause.instructionPage, cause.loadPage, cause.storePage);
  const mode = f.local("i32");
  const checkPmp = (at: Expr): void =>
    f.if(i32.eqz(call(parts.pmpCheck, state.base, at, 1, kind, mode)), accessFault);

  state.count("walks");
  f.set(mode, call(parts.effectivePrivilege, state.base, kind));
  f.if(i32.and(mode, virtualBit), () => f.return(call(parts.translateAsGuest, state.base, virtual, kind, mode)));
  const root = f.let(state.get("satp"));
  f.if(i32.or(i32.eq(mode, privilege.machine), i64.eqz(i64.shrU(root, 60))), () => {
    // Physical addresses have 56 bits.
    f.if(i64.ne(i64.shrU(virtual, 56), 0), accessFault);
    state.set("walkLarge", 0);
    state.set("walkGlobal", 1);
    checkPmp(virtual);
    f.return(virtual);
  });
  const asked: LeafAccess = {
    pageFault,
    wanted: conditional(
      i32.eq(kind, access.read),
      select(bits(state.get("mstatus"), status.mxr, 1), i32.const(pte.r | pte.x), pte.r),
      select(i32.eq(kind, access.write), i32.const(pte.w), pte.x),
    ),
    writes: i32.eq(kind, access.write),
    checkUser: (isUserPage) =>
      f.if(
        i32.eq(mode, privilege.user),
        () => f.if(i32.eqz(isUserPage), pageFault),
        () =>
          f.if(
            i32.and(i32.ne(isUserPage, 0), i32.or(i32.eqz(kind), i32.eqz(bits(state.get("mstatus"), status.sum, 1)))),
            pageFault,
          ),
      ),
  };
  const leaf =
    program.model.tlb === "software"
      ? emitTlbLookup(state, call(parts.findTlbEntry!, state.base, virtual), virtual, {
          ...asked,
          miss: () => fail(cause.instructionTlbMiss, cause.loadTlbMiss, cause.storeTlbMiss),
        })
      : emitWalk(f, program, state, parts.pmpCheck, virtual, {
          ...asked,
          root,
          widened: false,
          entryAddress: (address) => address,
          admitUpdate: () => {},
          accessFault,
          environment: state.get("menvcfg"),
          again: () => f.return(call(f, state.base, virtual, kind)),
        });
  const physical = f.let(leaf.physical);
  state.set("walkLarge", leaf.large);
  state.set("walkGlobal", leaf.global);
  checkPmp(physical);
  f.push(physical);
}
