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
 *
 * TLB entries don't know their guest physical addresses. A filter has a bit for each page that was translated since all was forgotten last: of the
 * others neither this cache nor any TLB holds anything. A hypervisor that fences each page that it maps (KVM does) mostly fences such.
 */
import { i32, i64, select, type Expr } from "#wasm/expression.ts";
import type { FunctionBuilder, Local } from "#wasm/function.ts";
import { guestPages, type MemoryMap } from "../layout.ts";
import { pte } from "./page-walk.ts";
import { bits, type State } from "./program.ts";

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
  const { at, bit } = filtered(map, guestPhysical);
  const byte = f.let(at);
  f.store("i32_8", byte, i32.or(i32.load8U(byte, guestPages.filter), bit), guestPages.filter);
}

/** Whether something may be known of a guest physical page (i32): always, once larger ones are here. */
export function isKnown(state: State, map: MemoryMap, guestPhysical: Expr): Expr {
  const { at, bit } = filtered(map, guestPhysical);
  return i32.or(state.get("guestLarge"), i32.and(i32.load8U(at, guestPages.filter), bit));
}

/** For all virtual machines, and any other page that has the same entry. */
export function forgetGuestPage(f: FunctionBuilder, map: MemoryMap, guestPhysical: Expr): void {
  f.store("i64", entryAt(map, guestPhysical), -1);
}

/** For all virtual machines, all pages. */
export function forgetGuestPages({ f }: State, map: MemoryMap): void {
  f.memoryFill(map.guestPages, 0xff, guestPages.filter);
}

/** To be called when no TLB holds anything of a guest, and the cache neither. */
export function beginFilter(state: State, map: MemoryMap): void {
  state.set("guestLarge", 0);
  state.f.memoryFill(map.guestPages + guestPages.filter, 0, guestPages.filterBytes);
}

function filtered(map: MemoryMap, guestPhysical: Expr): { readonly at: Expr; readonly bit: Expr } {
  const byte = i32.and(i32.wrap(i64.shrU(guestPhysical, 15)), guestPages.filterBytes - 1);
  return { at: i32.add(byte, map.guestPages), bit: i32.shl(1, bits(guestPhysical, 12, 3)) };
}
