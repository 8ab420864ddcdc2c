/**
 * Which silent instructions the kernels of deprivileged guests have executed: those that did something else than they were meant to, and told
 * nobody. The silent machine counts them, as a logic analyser would: software can't.
 */
import { assert } from "#base/assert.ts";
import { disassemble } from "#riscv/disassemble.ts";
import { i32, i64 } from "#wasm/expression.ts";
import type { HartState } from "./hart.ts";
import type { State } from "./hart/program.ts";
import { layout } from "./layout.ts";
import { silentCsrs, silentInstructions } from "./model.ts";

/** By name: of a register, or of an instruction. */
const kinds: readonly string[] = [...Object.keys(silentCsrs), ...Object.keys(silentInstructions)];
assert(kinds.length <= layout.silences.count, "more kinds of silent instructions than counters", { kinds: kinds.length });

export interface Silenced {
  /** `sstatus`, for any access to it; `wfi`. */
  readonly what: string;
  readonly times: number;
  /** The first one's count among the hart's instructions. */
  readonly since: number;
  /** The first one's pc and text; null if they aren't known. */
  readonly first: { readonly pc: bigint; readonly instruction: string } | null;
}

/** Of all harts of a machine, together: in the order in which they came first. */
export function silenced(harts: readonly HartState[]): Silenced[] {
  return kinds.flatMap((what, kind) => silencedOfKind(harts, what, kind)).sort((a, b) => a.since - b.since);
}

function silencedOfKind(harts: readonly HartState[], what: string, kind: number): Silenced[] {
  const seen = harts.filter((state) => state.counter("silences", kind) > 0);
  if (seen.length === 0) return [];
  const first = seen.reduce((best, state) => (state.counter("silencedSince", kind) < best.counter("silencedSince", kind) ? state : best));
  const pc = first.get("silencedFirst", kind);
  return [{
    what,
    times: seen.reduce((sum, state) => sum + state.counter("silences", kind), 0),
    since: first.counter("silencedSince", kind),
    first: pc === 0n ? null : { pc, instruction: disassemble(first.low("silencedWord", kind)) },
  }];
}

/** Emitted where a silent instruction is executed, by its name or its register's. */
export function noteSilence(state: State, what: string): void {
  const { f } = state;
  const kind = kinds.indexOf(what);
  assert(kind >= 0, "an instruction is silent that no table has", { what });
  f.if(i32.and(state.get("monitored"), state.get("virtualPrivilege")), () => {
    f.if(i64.eqz(state.get("silences", kind)), () => {
      state.set("silencedSince", i64.sub(state.get("instretTarget"), i64.extendI32S(state.get("budget"))), kind);
      state.set("silencedFirst", state.get("silentPc"), kind);
      state.set("silencedWord", state.get("silentWord"), kind);
    });
    state.set("silences", i64.add(state.get("silences", kind), 1), kind);
  });
}
