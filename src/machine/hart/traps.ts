/** Trap entry and return, and which interrupt is taken (privileged manual, 3.1.6 to 3.1.9, 3.3.2 and 12.1). */
import { conditional, i32, i64, select, type Expr, type FunctionReference } from "#wasm/expression.ts";
import type { FunctionBuilder } from "#wasm/function.ts";
import { cause, interrupt, privilege, status } from "../csr-bits.ts";
import { layout } from "../layout.ts";
import { bits, State, type Program } from "./program.ts";
import type { TranslationBanks } from "./translation-banks.ts";

export interface Traps {
  /** (state, pc, cause with the interrupt bit, tval): takes the trap; the next pc is in the state. */
  readonly raise: FunctionReference;
  /** (state, pc) → i32: takes the most urgent interrupt if one is pending and enabled; 1 if so. */
  readonly takeInterrupt: FunctionReference;
  /** (state): returns from a trap; the next pc is in the state. Sets `fault` where the instruction is illegal. */
  readonly sret: FunctionReference;
  readonly mret: FunctionReference;
}

const interruptBit = 1n << 63n;

export function defineTraps(program: Program, banks: TranslationBanks): Traps {
  const { module } = program;

  const raise = module.function("raise", ["i32", "i64", "i64", "i64"], [], (f) => {
    const state = new State(f);
    const [pc, reason, value] = [f.parameter(1), f.parameter(2), f.parameter(3)];
    const number = f.let(i32.and(i32.wrap(reason), 63));
    const isInterrupt = f.let(i64.ltS(reason, 0));
    const current = f.let(state.get("privilege"));
    countTrap(f, state, number, isInterrupt);
    state.set("fault", 0);
    state.set("reservation", 0);
    const delegation = conditional(isInterrupt, state.get("mideleg"), state.get("medeleg"));
    const delegated = i32.and(
      i32.ne(current, privilege.machine),
      i32.wrap(i64.and(i64.shrU(delegation, i64.extendI32U(number)), 1)),
    );
    const mstatus = f.let(state.get("mstatus"));
    const enter = (level: "s" | "m"): void => {
      const supervisor = level === "s";
      state.set(supervisor ? "scause" : "mcause", reason);
      state.set(supervisor ? "sepc" : "mepc", pc);
      state.set(supervisor ? "stval" : "mtval", value);
      // xPIE takes xIE, xIE is cleared, xPP takes the privilege.
      const [ie, pie, pp, ppWidth] = supervisor
        ? [status.sie, status.spie, status.spp, 1]
        : [status.mie, status.mpie, status.mpp, 2];
      const cleared = (1n << BigInt(ie)) | (1n << BigInt(pie)) | (BigInt(2 ** ppWidth - 1) << BigInt(pp));
      state.set(
        "mstatus",
        i64.or(
          i64.and(mstatus, ~cleared),
          i64.or(
            i64.shl(i64.extendI32U(bits(mstatus, ie, 1)), pie),
            i64.shl(i64.extendI32U(current), pp),
          ),
        ),
      );
      state.set("privilege", supervisor ? privilege.supervisor : privilege.machine);
      const vector = f.let(state.get(supervisor ? "stvec" : "mtvec"));
      const offset = select(
        i32.and(isInterrupt, i32.wrap(vector)),
        i64.extendI32U(i32.shl(number, 2)),
        i64.const(0),
      );
      state.set("pc", i64.add(i64.and(vector, -4), offset));
    };
    f.if(
      delegated,
      () => enter("s"),
      () => enter("m"),
    );
    f.call(banks.selectBank, [state.base]);
  });

  const takeInterrupt = module.function("takeInterrupt", ["i32", "i64"], ["i32"], (f) => {
    const state = new State(f);
    const pending = f.let(
      i32.and(i32.or(state.low("mip"), i32.atomicLoad(i32.add(state.base, layout.lines.offset))), state.low("mie")),
    );
    f.if(i32.eqz(pending), () => f.return(0));
    const current = f.let(state.get("privilege"));
    const mstatus = f.let(state.get("mstatus"));
    const delegated = f.let(state.low("mideleg"));
    const machineEnabled = i32.or(i32.ne(current, privilege.machine), bits(mstatus, status.mie, 1));
    const supervisorEnabled = i32.or(
      i32.eq(current, privilege.user),
      i32.and(i32.eq(current, privilege.supervisor), bits(mstatus, status.sie, 1)),
    );
    const taken = f.let(
      select(machineEnabled, i32.and(pending, i32.xor(delegated, -1)), 0),
    );
    f.if(i32.eqz(taken), () => f.set(taken, select(supervisorEnabled, i32.and(pending, delegated), 0)));
    // 3.1.9: external before software before timer, machine before supervisor.
    const order = [
      interrupt.machineExternal,
      interrupt.machineSoftware,
      interrupt.machineTimer,
      interrupt.supervisorExternal,
      interrupt.supervisorSoftware,
      interrupt.supervisorTimer,
    ];
    for (const number of order) {
      f.if(i32.and(taken, 1 << number), () => {
        f.call(raise, [state.base, f.parameter(1), interruptBit | BigInt(number), 0]);
        f.return(1);
      });
    }
    f.push(i32.const(0));
  });

  const illegal = (state: State): void => {
    state.fault(cause.illegalInstruction, 0);
    state.f.return();
  };

  const sret = module.function("sret", ["i32"], [], (f) => {
    const state = new State(f);
    const current = f.let(state.get("privilege"));
    const mstatus = f.let(state.get("mstatus"));
    f.if(
      i32.or(
        i32.eqz(current),
        i32.and(i32.eq(current, privilege.supervisor), bits(mstatus, status.tsr, 1)),
      ),
      () => illegal(state),
    );
    const previous = f.let(bits(mstatus, status.spp, 1));
    // SIE takes SPIE, SPIE becomes 1, SPP becomes U; MPRV is cleared when leaving machine mode.
    const cleared = (1n << 1n) | (1n << 8n) | (1n << 17n);
    state.set(
      "mstatus",
      i64.or(
        i64.and(mstatus, ~cleared),
        i64.or(i64.shl(i64.extendI32U(bits(mstatus, status.spie, 1)), status.sie), 1 << status.spie),
      ),
    );
    state.set("privilege", previous);
    state.set("pc", state.get("sepc"));
    f.call(banks.selectBank, [state.base]);
    state.set("attention", 1);
  });

  const mret = module.function("mret", ["i32"], [], (f) => {
    const state = new State(f);
    const mstatus = f.let(state.get("mstatus"));
    f.if(i32.ne(state.get("privilege"), privilege.machine), () => illegal(state));
    const previous = f.let(bits(mstatus, status.mpp, 2));
    const cleared = (1n << 3n) | (3n << 11n);
    const mprv = f.let(
      select(i32.eq(previous, privilege.machine), i64.const(-1), i64.const(~(1n << BigInt(status.mprv)))),
    );
    state.set(
      "mstatus",
      i64.or(
        i64.and(i64.and(mstatus, ~cleared), mprv),
        i64.or(i64.shl(i64.extendI32U(bits(mstatus, status.mpie, 1)), status.mie), 1 << status.mpie),
      ),
    );
    state.set("privilege", previous);
    state.set("pc", state.get("mepc"));
    f.call(banks.selectBank, [state.base]);
    state.set("attention", 1);
  });

  return { raise, takeInterrupt, sret, mret };
}

function countTrap(f: FunctionBuilder, state: State, number: Expr, isInterrupt: Expr): void {
  const base = select(isInterrupt, i32.const(layout.interrupts.offset), layout.traps.offset);
  const counter = f.let(i32.add(state.base, i32.add(i32.shl(number, 3), base)));
  f.store("i64", counter, i64.add(i64.load(counter), 1));
}
