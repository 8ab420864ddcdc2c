/**
 * What the second stage made of guest physical pages: a guest's own page tables have to be translated at each of their entries, which would cost
 * a walk each. Direct-mapped, for all virtual machines:
 *
 *   63 62 61  60     47 46                  0      63                 12 11    4 3 2 1  0
 *  ┌──┬─────┬──────────┬─────────────────────┐    ┌─────────────────────┬───────┬─────┬───┐
 *  │ 0│mode │   VMID   │ guest physical page │    │    physical page    │   0   │X W R│ 0 │
 *  └──┴─────┴──────────┴─────────────────────┘    └─────────────────────┴───────┴─────┴───┘
 *
 * An entry permits what its page table entry does without a change: writing only once that is dirty.
 */
import { i32, i64, select, type Expr } from "#wasm/expression.ts";
import type { FunctionBuilder, Local } from "#wasm/function.ts";
import { guestPages, type MemoryMap } from "../layout.ts";
import { pte } from "./page-walk.ts";
import type { State } from "./program.ts";

function entryAt(map: MemoryMap, guestPhysical: Expr): Expr {
  const index = i32.and(i32.shrU(i32.wrap(guestPhysical), 8), (guestPages.entries - 1) << 4);
  return i32.add(index, map.guestPages);
}

function tagOf(guestPhysical: Expr, hgatp: Expr): Expr {
  const machine = i64.or(
    i64.shl(i64.and(i64.shrU(hgatp, 44), 0x3fff), 47),
    i64.shl(i64.and(i64.shrU(hgatp, 60), 3), 61),
  );
  return i64.or(i64.shrU(guestPhysical, 12), machine);
}

/** Returns the physical address if the page is here and may be used as `wanted` says. Guest physical addresses have at most 59 bits. */
export function returnCached(f: FunctionBuilder, map: MemoryMap, guestPhysical: Local, hgatp: Local, wanted: Local): void {
  const entry = f.let(entryAt(map, guestPhysical));
  f.if(i64.eq(i64.load(entry), tagOf(guestPhysical, hgatp)), () => {
    const value = f.let(i64.load(entry, 8));
    f.if(i32.and(i32.wrap(value), wanted), () =>
      f.return(i64.or(i64.and(value, -4096), i64.and(guestPhysical, 4095))),
    );
  });
}

/** `leaf` is the page table entry after the access. */
export function cacheGuestPage(f: FunctionBuilder, map: MemoryMap, guestPhysical: Local, hgatp: Local, physical: Local, leaf: Local): void {
  const entry = f.let(entryAt(map, guestPhysical));
  const permitted = select(
    i64.eqz(i64.and(leaf, pte.d)),
    i64.const(pte.r | pte.x),
    i64.const(pte.r | pte.w | pte.x),
  );
  f.store("i64", entry, tagOf(guestPhysical, hgatp));
  f.store("i64", entry, i64.or(i64.and(physical, -4096), i64.and(leaf, permitted)), 8);
}

export function forgetGuestPages({ f }: State, map: MemoryMap): void {
  f.memoryFill(map.guestPages, 0xff, guestPages.entries * 16);
}

/** One page of any virtual machine; all if larger ones may be here, by pieces. */
export function forgetGuestPage(state: State, map: MemoryMap, guestPhysical: Expr): void {
  const { f } = state;
  f.if(
    state.get("guestLarge"),
    () => forgetGuestPages(state, map),
    () => f.store("i64", entryAt(map, guestPhysical), -1),
  );
}
