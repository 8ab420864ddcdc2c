/**
 * Which silent instructions the kernels of deprivileged guests have executed: those that did something else than they were meant to, and told
 * nobody. The silent machine counts them, as a logic analyser would: software can't.
 */
import { assert } from "#base/assert.ts";
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
  /** The pc of the first; null if it isn't known. */
  readonly first: bigint | null;
}

/** Of all harts of a machine, together. */
export function silenced(harts: readonly HartState[]): Silenced[] {
  return kinds
    .map((what, kind): Silenced => ({
      what,
      times: harts.reduce((sum, state) => sum + state.counter("silences", kind), 0),
      first: harts.map((state) => state.get("silencedFirst", kind)).find((pc) => pc !== 0n) ?? null,
    }))
    .filter(({ times }) => times > 0);
}

/** Emitted where a silent instruction is executed, by its name or its register's. */
export function noteSilence(state: State, what: string): void {
  const { f } = state;
  const kind = kinds.indexOf(what);
  assert(kind >= 0, "an instruction is silent that no table has", { what });
  f.if(i32.and(state.get("monitored"), state.get("virtualPrivilege")), () => {
    f.if(i64.eqz(state.get("silencedFirst", kind)), () => state.set("silencedFirst", state.get("silentPc"), kind));
    state.set("silences", i64.add(state.get("silences", kind), 1), kind);
  });
}
