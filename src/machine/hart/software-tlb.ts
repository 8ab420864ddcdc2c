/**
 * The TLB that software fills: see docs/software-tlb.md. Entries are architectural state, and what translates; the banks of
 * translation-banks.ts are a cache of them, which drops what an entry held when that is replaced.
 *
 *       63                         12 11        0         60   55  54 53        10 9        0
 *      ┌─────────────────────────────┬───────────┐      ┌────┬───────┬────────────┬──────────┐
 *   hi │ virtual page                │   ASID    │   lo │  0 │ size  │   frame    │ as a PTE │
 *      └─────────────────────────────┴───────────┘      └────┴───────┴────────────┴──────────┘
 */
import { call, i32, i64, select, type Expr, type FunctionReference } from "#wasm/expression.ts";
import type { Local } from "#wasm/function.ts";
import { cause } from "../csr-bits.ts";
import { layout, softwareTlbEntries as entries, type FieldName } from "../layout.ts";
import { attention, constant, field, plain, type Context, type Csr } from "./csr-row.ts";
import { pte, type Leaf, type LeafAccess } from "./page-walk.ts";
import { bits, State, type Program } from "./program.ts";
import type { TranslationBanks } from "./translation-banks.ts";

const addressSpaceMask = 0xfffn;
const pageBits = -4096n;
/** Of an entry, 0 for 4 KiB, and each one more 512 times as much. */
const sizeOf = (lo: Expr): Expr => bits(lo, 54, 2);
/** Bits of an address that are within its page. */
const within = (lo: Expr): Expr => i64.sub(i64.shl(1, i64.extendI32U(i32.add(i32.mul(sizeOf(lo), 9), 12))), 1);
const isGlobal = (lo: Expr): Expr => i32.ne(i32.and(i32.wrap(lo), pte.g), 0);

/** P of stlbindex: a probe found nothing. */
const notFound = 1 << 31;
/** What is written to stlbop. */
const operation = { read: 0, write: 1, writeNext: 2, probe: 3 } as const;

function entryAt(state: State, index: Expr): Expr {
  return i32.add(state.base, i32.shl(index, 3));
}

/** (state, virtual) → the first entry that translates it in the address space of satp, or -1. */
export function defineFindTlbEntry({ module }: Program): FunctionReference {
  return module.function("findTlbEntry", ["i32", "i64"], ["i32"], (f) => {
    const state = new State(f);
    emitFind(state, f.parameter(1), f.let(i64.and(i64.shrU(state.get("satp"), 44), addressSpaceMask)));
  });
}

function emitFind(state: State, virtual: Local, addressSpace: Local): void {
  const { f } = state;
  const index = f.local("i32");
  f.loop((next) => {
    const at = f.let(entryAt(state, index));
    const lo = f.let(i64.load(at, layout.tlbEntryLo.offset));
    f.if(i32.and(i32.wrap(lo), pte.v), () => {
      const hi = f.let(i64.load(at, layout.tlbEntryHi.offset));
      const sameAddress = i64.eqz(i64.and(i64.xor(hi, virtual), i64.xor(within(lo), -1)));
      const sameSpace = i64.eq(i64.and(hi, addressSpaceMask), addressSpace);
      f.if(i32.and(sameAddress, i32.or(sameSpace, isGlobal(lo))), () => f.return(index));
    });
    f.set(index, i32.add(index, 1));
    f.branchIf(next, i32.ltU(index, entries));
  });
  f.push(i32.const(-1));
}

/** In the place of a walk. Accessed and dirty bits are for software to set: without, it is a page fault (Svade). */
export function emitTlbLookup(state: State, found: Expr, virtual: Local, access: LeafAccess & { readonly miss: () => void }): Omit<Leaf, "entry"> {
  const { f } = state;
  const { wanted, writes, checkUser, pageFault, miss } = access;
  const index = f.let(found);
  f.if(i32.eq(index, -1), miss);
  const lo = f.let(i64.load(entryAt(state, index), layout.tlbEntryLo.offset));
  f.if(i32.eqz(i32.and(i32.wrap(lo), wanted)), pageFault);
  checkUser(f.let(i32.and(i32.wrap(lo), pte.u)));
  const needed = f.let(select(writes, i32.const(pte.a | pte.d), pte.a));
  f.if(i32.ne(i32.and(i32.wrap(lo), needed), needed), pageFault);
  const offset = f.let(within(lo));
  const frame = i64.shl(i64.and(i64.shrU(lo, 10), 0xfffffffffffn), 12);
  return {
    physical: i64.or(i64.and(virtual, offset), i64.and(frame, i64.xor(offset, -1))),
    large: sizeOf(lo),
    global: i32.and(isGlobal(lo), i32.eqz(state.get("tlbOverlaps"))),
  };
}

const misses = (1 << cause.instructionTlbMiss) | (1 << cause.loadTlbMiss) | (1 << cause.storeTlbMiss);

/** Below machine mode these are the supervisor's, whatever medeleg says. */
export function isTlbMiss(number: Local, isInterrupt: Local): Expr {
  return i32.and(i32.eqz(isInterrupt), i32.and(i32.ltU(number, 32), i32.and(i32.shrU(misses, number), 1)));
}

/** Beside what any trap does: stlbhi is what an entry for the page needs, and the handler may be one of its own. */
export function enterMissHandler(state: State, address: Expr): void {
  const { f } = state;
  const addressSpace = i64.and(i64.shrU(state.get("satp"), 44), addressSpaceMask);
  state.set("tlbHi", i64.or(i64.and(address, pageBits), addressSpace));
  f.if(i64.ne(state.get("tlbVector"), 0), () => state.set("pc", state.get("tlbVector")));
}

/** (state, what is written to stlbop). */
export function defineTlbOperation({ module }: Program, banks: TranslationBanks): FunctionReference {
  /** (state, entry): the banks hold nothing of it. */
  const forget = module.function("forgetTlbEntry", ["i32", "i32"], [], (f) => {
    const state = new State(f);
    const at = f.let(entryAt(state, f.parameter(1)));
    const [hi, lo] = [f.let(i64.load(at, layout.tlbEntryHi.offset)), f.let(i64.load(at, layout.tlbEntryLo.offset))];
    f.if(i32.eqz(i32.and(i32.wrap(lo), pte.v)), () => f.return());
    const addressSpace = i32.wrap(i64.and(hi, addressSpaceMask));
    f.call(banks.flush, [state.base, i64.and(hi, pageBits), addressSpace, 1, i32.eqz(isGlobal(lo)), 0]);
  });

  /** (state, entry) → whether another is for some of its addresses (i32): then the first of them counts, of which the banks know nothing. */
  const overlaps = module.function("tlbEntryOverlaps", ["i32", "i32"], ["i32"], (f) => {
    const [state, own] = [new State(f), f.parameter(1)];
    const [hi, lo] = [f.let(state.get("tlbHi")), f.let(state.get("tlbLo"))];
    const index = f.local("i32");
    f.loop((next) => {
      const at = f.let(entryAt(state, index));
      const other = f.let(i64.load(at, layout.tlbEntryLo.offset));
      const either = i64.or(within(lo), within(other));
      const apart = i64.and(i64.xor(i64.load(at, layout.tlbEntryHi.offset), hi), i64.xor(either, -1));
      f.if(i32.and(i32.and(i32.wrap(other), pte.v), i32.and(i32.ne(index, own), i64.eqz(apart))), () => f.return(1));
      f.set(index, i32.add(index, 1));
      f.branchIf(next, i32.ltU(index, entries));
    });
    f.push(i32.const(0));
  });

  const write = module.function("writeTlbEntry", ["i32", "i32"], [], (f) => {
    const [state, index] = [new State(f), f.parameter(1)];
    const at = f.let(entryAt(state, index));
    f.call(forget, [state.base, index]);
    f.store("i64", at, state.get("tlbHi"), layout.tlbEntryHi.offset);
    f.store("i64", at, state.get("tlbLo"), layout.tlbEntryLo.offset);
    f.if(call(overlaps, state.base, index), () => {
      state.set("tlbOverlaps", 1);
      f.call(banks.flush, [state.base, 0, 0, 0, 0, 0]);
    });
    state.set("attention", 1);
  });

  const probe = module.function("probeTlb", ["i32"], ["i32"], (f) => {
    const state = new State(f);
    emitFind(state, f.let(i64.and(state.get("tlbHi"), pageBits)), f.let(i64.and(state.get("tlbHi"), addressSpaceMask)));
  });

  return module.function("tlbOperation", ["i32", "i32"], [], (f) => {
    const [state, what] = [new State(f), f.parameter(1)];
    const index = f.let(i32.and(state.get("tlbIndex"), entries - 1));
    f.if(i32.eq(what, operation.read), () => {
      const at = f.let(entryAt(state, index));
      state.set("tlbHi", i64.load(at, layout.tlbEntryHi.offset));
      state.set("tlbLo", i64.load(at, layout.tlbEntryLo.offset));
    });
    f.if(i32.eq(what, operation.write), () => f.call(write, [state.base, index]));
    f.if(i32.eq(what, operation.writeNext), () => {
      const next = f.let(nextVictim(state));
      f.call(write, [state.base, next]);
      state.set("tlbNext", i32.and(i32.add(next, 1), entries - 1));
    });
    f.if(i32.eq(what, operation.probe), () => {
      f.set(index, call(probe, state.base));
      state.set("tlbIndex", select(i32.eq(index, -1), i32.const(notFound), index));
    });
  });
}

/** It goes round those that aren't wired: so the three pages that an instruction may need never drive each other out. */
function nextVictim(state: State): Expr {
  const [next, wired] = [state.get("tlbNext"), state.get("tlbWired")];
  return select(i32.ltU(next, wired), wired, next);
}

function small(number: number, name: FieldName & ("tlbWired" | "tlbNext"), read: (state: State) => Expr = (state) => state.get(name)): Csr {
  return {
    number,
    read: ({ state }) => i64.extendI32U(read(state)),
    write: ({ state }, value) => state.set(name, i32.and(i32.wrap(value), entries - 1)),
  };
}

/** Of VS-mode there is none; but a deprivileged kernel has its registers where the hart's are, all but for what works on entries. */
const ofUserModeGuests = (csr: Csr): Csr => ({ ...csr, guest: "absent", ...(csr.number === stlbop ? { deprivileged: "monitor" } : {}) });
const stlbop = 0x5c6;
const virtualPageNumber = (1n << 27n) - 1n;

/** In the custom space of the supervisor (privileged manual, 2.1). */
export const softwareTlbCsrs: readonly Csr[] = [
  {
    number: 0x5c0,
    read: ({ state }: Context) =>
      i64.or(i64.extendI32U(i32.and(state.get("tlbIndex"), entries - 1)), i64.and(i64.extendI32S(state.get("tlbIndex")), 1n << 63n)),
    write: ({ state }: Context, value: Local) => state.set("tlbIndex", i32.and(i32.wrap(value), entries - 1)),
  },
  small(0x5c1, "tlbWired"),
  small(0x5c2, "tlbNext", nextVictim),
  plain(0x5c3, "tlbHi"),
  plain(0x5c4, "tlbLo", (1n << 56n) - 1n),
  {
    number: 0x5c5,
    read: ({ state }: Context) =>
      i64.add(state.get("tlbContext"), i64.shl(i64.and(i64.shrU(state.get("tlbHi"), 12), virtualPageNumber), 3)),
    write: ({ state }: Context, value: Local) => state.set("tlbContext", i64.and(value, -8)),
  },
  {
    number: stlbop,
    read: constant(0),
    write: (c: Context, value: Local) => {
      c.f.call(c.tlbOperation!, [c.state.base, i32.wrap(value)]);
      attention(c);
    },
  },
  plain(0x5c7, "tlbVector", ~3n),
  ...[0, 1].map((index): Csr => ({
    number: 0x5c8 + index,
    read: field("tlbScratch", index),
    write: ({ state }, value) => state.set("tlbScratch", value, index),
  })),
  { number: 0xdc0, read: constant(entries) },
].map(ofUserModeGuests);
