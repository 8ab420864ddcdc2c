/** The CSR time, and the timers of Sstc: STIP follows time ≥ stimecmp, VSTIP what the guest's time is to vstimecmp. */
import { call, i32, i64, select, type Expr, type FunctionReference } from "#wasm/expression.ts";
import type { FunctionBuilder } from "#wasm/function.ts";
import { envcfg, interrupt } from "../csr-bits.ts";
import { layout } from "../layout.ts";
import { bits, State, type Program } from "./program.ts";
import { guestEnvironment } from "./two-stage-translation.ts";

/** (state) → i64: time as rdtime reads it where V = 0. */
export function defineTime({ module, host }: Program): FunctionReference {
  return module.function("time", ["i32"], ["i64"], (f) => {
    const state = new State(f);
    f.if(state.get("instructionsPerTick"), () =>
      f.return(
        i64.add(
          state.get("timeOffset"),
          i64.divU(
            i64.sub(state.get("instretTarget"), i64.extendI32S(state.get("budget"))),
            i64.extendI32U(state.get("instructionsPerTick")),
          ),
        ),
      ),
    );
    state.count("crossings");
    f.push(i64.add(state.get("timeOffset"), i64.truncSatF64U(call(host.time))));
  });
}

/** (state): recomputes the timers' lines and shortens the slice to the next deadline. */
export function defineUpdateTimer({ module }: Program, time: FunctionReference): FunctionReference {
  /**
   * (state, bit of `lines` i32, now i64, deadline i64). With the instruction clock the slice ends when the deadline is reached; with the host's
   * clock the owner of the hart looks after each slice.
   */
  const compare = module.function("compareTime", ["i32", "i32", "i64", "i64"], [], (f) => {
    const state = new State(f);
    const [bit, now, deadline] = [f.parameter(1), f.parameter(2), f.parameter(3)];
    f.if(i64.geU(now, deadline), () => {
      f.drop(i32.atomicOr(linesAt(state), bit));
      f.return();
    });
    f.drop(i32.atomicAnd(linesAt(state), i32.xor(bit, -1)));
    shortenSlice(f, state, i64.sub(deadline, now));
  });

  return module.function("updateTimer", ["i32"], [], (f) => {
    const state = new State(f);
    const now = f.local("i64");
    const supervisor = 1 << interrupt.supervisorTimer;
    const guest = 1 << interrupt.virtualSupervisorTimer;
    f.if(i32.eqz(bits(state.get("menvcfg"), envcfg.stce, 1)), () => {
      f.drop(i32.atomicAnd(linesAt(state), ~(supervisor | guest)));
      f.return();
    });
    f.set(now, call(time, state.base));
    f.call(compare, [state.base, supervisor, now, state.get("stimecmp")]);
    f.if(
      bits(guestEnvironment(state), envcfg.stce, 1),
      () => f.call(compare, [state.base, guest, i64.add(now, state.get("htimedelta")), state.get("vstimecmp")]),
      () => f.drop(i32.atomicAnd(linesAt(state), ~guest)),
    );
  });
}

const linesAt = (state: State): Expr => i32.add(state.base, layout.lines.offset);

function shortenSlice(f: FunctionBuilder, state: State, left: Expr): void {
  // A host tick is worth about a hundred instructions: near enough to look again in time.
  const perTick = i64.extendI32U(select(state.get("instructionsPerTick"), state.get("instructionsPerTick"), 100));
  const ticks = f.let(left);
  f.if(i64.ltU(ticks, 1_000_000), () => {
    const wanted = f.let(
      i32.add(
        i32.wrap(i64.mul(ticks, perTick)),
        // The tick that has begun counts from its start.
        select(
          state.get("instructionsPerTick"),
          i32.sub(0, i32.wrap(i64.remU(i64.sub(state.get("instretTarget"), i64.extendI32S(state.get("budget"))), perTick))),
          0,
        ),
      ),
    );
    f.if(i32.ltS(wanted, i32.add(state.get("budget"), state.get("reserve"))), () => {
      const beyond = f.let(i32.sub(wanted, state.get("budget")));
      state.set("reserve", select(i32.gtS(beyond, 0), beyond, 0));
      f.if(i32.ltS(beyond, 0), () => {
        state.set("instretTarget", i64.add(state.get("instretTarget"), i64.extendI32S(beyond)));
        state.set("budget", wanted);
      });
    });
  });
}
