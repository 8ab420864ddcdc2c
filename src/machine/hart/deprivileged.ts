/**
 * A guest whose kernel and programs are both in U-mode. What its monitor does most often is here, beside the machine's own traps: to enter the
 * guest's kernel and return from it, to access one of its registers, and to show the part of its address space that is seen from there (a view).
 */
import { call, conditional, i32, i64, select, type Expr, type FunctionReference } from "#wasm/expression.ts";
import type { Local } from "#wasm/function.ts";
import { privilege, rewriting, status } from "../csr-bits.ts";
import { layout } from "../layout.ts";
import { environmentMask } from "./csr-row.ts";
import { bits, State, type Program } from "./program.ts";
import { view, type TranslationBanks } from "./translation-banks.ts";
import { countTrap, trapVector } from "./trap-entry.ts";

export interface Deprivileged {
  /** (state): what the hart shows is right for the guest's privilege and its SUM. */
  readonly selectView: FunctionReference;
  /** (state, pc, cause with the interrupt bit, tval): a trap into the guest's kernel; the next pc is in the state. */
  readonly raiseInGuest: FunctionReference;
  /** (state, cause): likewise, for the exception that has come out. */
  readonly reflectInGuest: FunctionReference;
  /** (state): the guest's SRET; the next pc is in the state. */
  readonly returnInGuest: FunctionReference;
}

const bit = (position: number): bigint => 1n << BigInt(position);

export function defineDeprivileged({ module }: Program, banks: TranslationBanks): Deprivileged {
  const selectView = module.function("selectView", ["i32"], [], (f) => {
    const state = new State(f);
    const isKernel = f.let(state.get("virtualPrivilege"));
    const satp = i64.load(i32.add(state.base, i32.shl(view(state), 3)), layout.views.offset);
    state.set("satp", satp);
    // What the guest denies its programs, it does not deny itself.
    state.set("scounteren", conditional(isKernel, i64.const(-1), state.get("virtualScounteren")));
    state.set("senvcfg", conditional(isKernel, i64.const(environmentMask), state.get("virtualSenvcfg")));
    const isRewritten = select(isKernel, state.get("rewrites"), i32.const(rewriting.none));
    state.set("privilege", select(isRewritten, i32.const(privilege.rewrittenKernel), privilege.user));
    f.call(banks.selectBank, [state.base]);
  });

  const raiseInGuest = module.function("raiseInGuest", ["i32", "i64", "i64", "i64"], [], (f) => {
    const state = new State(f);
    const [pc, reason, value] = [f.parameter(1), f.parameter(2), f.parameter(3)];
    const number = f.let(i32.and(i32.wrap(reason), 63));
    const isInterrupt = f.let(i64.ltS(reason, 0));
    countTrap(state, number, isInterrupt);
    state.set("reservation", 0);
    state.set("parkedScause", reason);
    state.set("parkedSepc", pc);
    state.set("parkedStval", value);
    const before = f.let(state.get("parkedStatus"));
    const enabled = i64.shl(i64.extendI32U(bits(before, status.sie, 1)), status.spie);
    const previous = i64.shl(i64.extendI32U(state.get("virtualPrivilege")), status.spp);
    const cleared = bit(status.sie) | bit(status.spie) | bit(status.spp);
    state.set("parkedStatus", i64.or(i64.and(before, ~cleared), i64.or(enabled, previous)));
    state.set("pc", trapVector(f.let(state.get("parkedStvec")), number, isInterrupt));
    state.set("virtualPrivilege", 1);
    f.call(selectView, [state.base]);
  });

  const reflectInGuest = module.function("reflectInGuest", ["i32", "i32"], [], (f) => {
    const state = new State(f);
    f.call(raiseInGuest, [state.base, state.get("pc"), i64.extendI32U(f.parameter(1)), state.get("exitTval")]);
  });

  const returnInGuest = module.function("returnInGuest", ["i32"], [], (f) => {
    const state = new State(f);
    const before = f.let(state.get("parkedStatus"));
    const enabled = i64.shl(i64.extendI32U(bits(before, status.spie, 1)), status.sie);
    const cleared = bit(status.sie) | bit(status.spp);
    state.set("parkedStatus", i64.or(i64.and(before, ~cleared), i64.or(enabled, bit(status.spie))));
    state.set("virtualPrivilege", bits(before, status.spp, 1));
    state.set("pc", state.get("parkedSepc"));
    f.call(selectView, [state.base]);
    state.set("attention", 1);
  });

  return { selectView, raiseInGuest, reflectInGuest, returnInGuest };
}

/**
 * (state, CSR's number, operation as for `csr`, x's index of the operand, or with bit 5 the operand itself, whether it writes, rd) → whether the
 * guest's kernel may not (i32); what else it does is in the state.
 */
export function defineAccessInGuest({ module }: Program, access: FunctionReference): FunctionReference {
  return module.function("accessInGuest", ["i32", "i32", "i32", "i32", "i32", "i32"], ["i32"], (f) => {
    const state = new State(f);
    const [number, operation, operand, writes, rd] = [1, 2, 3, 4, 5].map((i) => f.parameter(i)) as [Local, Local, Local, Local, Local];
    const x = (index: Expr): Expr => i32.add(state.base, i32.shl(index, 3));
    const isImmediate = i32.and(operand, 32);
    const value = f.let(
      conditional(isImmediate, i64.extendI32U(i32.and(operand, 31)), i64.load(x(i32.and(operand, 31)), layout.x.offset)),
    );
    // As if it were in place.
    const [before, policy] = [f.let(state.get("privilege")), f.let(state.get("rewrites"))];
    state.set("privilege", privilege.rewrittenKernel);
    state.set("rewrites", rewriting.all);
    const old = f.let(call(access, state.base, number, operation, value, writes));
    state.set("privilege", before);
    state.set("rewrites", policy);
    f.if(state.get("fault"), () => {
      state.set("fault", 0);
      f.return(1);
    });
    f.if(rd, () => f.store("i64", x(rd), old, layout.x.offset));
    f.push(i32.const(0));
  });
}
