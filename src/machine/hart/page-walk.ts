/** The walk of Sv39, Sv48 and Sv57 page tables and of their widened forms for guest physical addresses (privileged manual, 12.3 to 12.7; H extension). */
import { call, i32, i64, select, type Expr, type FunctionReference } from "#wasm/expression.ts";
import type { FunctionBuilder, Local } from "#wasm/function.ts";
import { envcfg, privilege } from "../csr-bits.ts";
import { access } from "./physical-memory-protection.ts";
import { bits, hostAddress, inRam, type Program, type State } from "./program.ts";

/** Bits of a page table entry. */
export const pte = { v: 1, r: 2, w: 4, x: 8, u: 16, g: 32, a: 64, d: 128 } as const;

/** PBMT at 62:61, N at 63; 60:54 are reserved. */
const pteReserved = 0x7fn << 54n;
const ptePbmt = 3n << 61n;
const pteNapot = 1n << 63n;

/** What an access asks of the page that it comes to. What refuses, returns from the function. */
export interface LeafAccess {
  readonly pageFault: () => void;
  /** R, W, X: one of them must be set in the leaf. */
  readonly wanted: Expr;
  readonly writes: Expr;
  /** Refuses by the leaf's U (i32: 0 or not). */
  readonly checkUser: (isUserPage: Local) => void;
}

/** One stage of translation. */
export interface Stage extends LeafAccess {
  /** satp or its like: mode in bits 63:60, not 0, and the page number of the root in 43:0. */
  readonly root: Local;
  /** Whether addresses are guest physical ones: two bits wider, and not sign-extended. */
  readonly widened: boolean;
  /** The physical address of an entry, of which this stage knows its own. */
  readonly entryAddress: (address: Local) => Expr;
  /** Asks, beyond protection of physical memory, whether the entry may be written. */
  readonly admitUpdate: (address: Local) => void;
  readonly accessFault: () => void;
  /** An envcfg's bits ADUE and PBMTE decide for this stage. */
  readonly environment: Expr;
  /** The entry changed meanwhile. */
  readonly again: () => void;
}

export interface Leaf {
  readonly physical: Expr;
  /** As `walkLarge` and `walkGlobal` in layout.ts. */
  readonly large: Expr;
  readonly global: Expr;
  /** The page table entry, as it is after the access. */
  readonly entry: Local;
}

export interface Causes {
  readonly execute: number;
  readonly read: number;
  readonly write: number;
}

/** A fault's cause by kind of access: HLVX loads, though it wants to execute. */
export function causeFor(kind: Expr, causes: Causes): Expr {
  return select(
    i32.eq(kind, access.write),
    i64.const(causes.write),
    select(kind, i64.const(causes.read), i64.const(causes.execute)),
  );
}

export function emitWalk(f: FunctionBuilder, { map }: Program, state: State, pmpCheck: FunctionReference, from: Local, stage: Stage): Leaf {
  const { root, widened, pageFault, accessFault } = stage;
  const level = f.local("i32");
  const levels = f.local("i32");
  const table = f.local("i64");
  const address = f.local("i64");
  const physical = f.local("i64");
  const host = f.local("i32");
  const entry = f.local("i64");
  const pageMask = f.local("i64");
  const global = f.local("i64");
  const checkPmp = (what: number): void =>
    f.if(i32.eqz(call(pmpCheck, state.base, physical, 8, what, privilege.supervisor)), accessFault);

  // Mode 8 has 3 levels, 9 has 4, 10 has 5; a virtual address has 12 + 9 · levels bits, the higher ones copies of the sign.
  f.set(levels, i32.wrap(i64.sub(i64.shrU(root, 60), 5)));
  if (widened) {
    f.if(i64.ne(i64.shrU(from, i64.extendI32U(i32.add(i32.mul(levels, 9), 14))), 0), pageFault);
  } else {
    const unused = f.let(i64.extendI32U(i32.sub(52, i32.mul(levels, 9))));
    f.if(i64.ne(i64.shrS(i64.shl(from, unused), unused), from), pageFault);
  }
  f.set(level, levels);
  f.set(table, i64.shl(i64.and(root, 0xfffffffffffn), 12));
  f.loop((walk) => {
    f.if(i32.eqz(level), pageFault);
    f.set(level, i32.sub(level, 1));
    const shift = i64.extendI32U(i32.add(i32.mul(level, 9), 12));
    // The root of a widened form has four pages.
    const mask = widened ? select(i32.eq(i32.add(level, 1), levels), i64.const(2047), 511) : i64.const(511);
    f.set(address, i64.add(table, i64.shl(i64.and(i64.shrU(from, shift), mask), 3)));
    f.set(physical, stage.entryAddress(address));
    f.if(i32.eqz(inRam(map, physical)), accessFault);
    checkPmp(access.read);
    f.set(host, hostAddress(map, physical));
    f.set(entry, i64.atomicLoad(host));
    // A table that is global makes all below it so.
    f.set(global, i64.or(global, entry));
    const isWriteOnly = i32.eq(i32.and(i32.wrap(entry), pte.r | pte.w), pte.w);
    f.if(
      i32.or(
        i32.or(i64.eqz(i64.and(entry, pte.v)), isWriteOnly),
        i64.ne(i64.and(entry, pteReserved), 0),
      ),
      pageFault,
    );
    f.set(table, i64.shl(i64.and(i64.shrU(entry, 10), 0xfffffffffffn), 12));
    f.if(i64.eqz(i64.and(entry, pte.r | pte.x)), () => {
      f.if(i64.ne(i64.and(entry, BigInt(pte.u | pte.a | pte.d) | ptePbmt | pteNapot), 0), pageFault);
      f.branch(walk);
    });
  });

  // A leaf. PBMT needs PBMTE, and 3 is reserved; NAPOT is for level 0 and 64 KiB (ppn[3:0] = 1000).
  const environment = f.let(stage.environment);
  const pbmt = f.let(i64.and(entry, ptePbmt));
  f.if(
    i32.and(i64.ne(pbmt, 0), i32.or(i64.eq(pbmt, ptePbmt), i32.eqz(bits(environment, envcfg.pbmte, 1)))),
    pageFault,
  );
  f.set(pageMask, i64.sub(i64.shl(1, i64.extendI32U(i32.add(i32.mul(level, 9), 12))), 1));
  f.if(i64.ne(i64.and(entry, pteNapot), 0), () => {
    f.if(i32.or(level, i32.ne(bits(entry, 10, 4), 8)), pageFault);
    f.set(pageMask, 0xffff);
    f.set(table, i64.and(table, -0x10000));
  });
  f.if(i64.ne(i64.and(table, pageMask), 0), pageFault);

  // Permissions: what the access wants, and who may.
  f.if(i32.eqz(i32.and(i32.wrap(entry), stage.wanted)), pageFault);
  stage.checkUser(f.let(i32.and(i32.wrap(entry), pte.u)));

  // Accessed and dirty: set here if ADUE says so (Svadu), else a page fault asks software to (Svade).
  const needed = f.let(i64.or(entry, select(stage.writes, i64.const(pte.a | pte.d), i64.const(pte.a))));
  f.if(i64.ne(needed, entry), () => {
    f.if(i32.or(state.get("looking"), i32.eqz(bits(environment, envcfg.adue, 1))), pageFault);
    stage.admitUpdate(address);
    checkPmp(access.write);
    // Another hart may have changed the entry since: then walk again.
    f.if(i64.ne(i64.atomicCompareExchange(host, entry, needed), entry), stage.again);
  });
  return {
    physical: i64.or(i64.and(from, pageMask), table),
    large: select(level, level, i64.ne(pageMask, 4095)),
    global: i32.ne(i32.and(i32.wrap(global), pte.g), 0),
    entry: needed,
  };
}
