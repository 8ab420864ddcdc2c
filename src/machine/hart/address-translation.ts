/** Physical memory protection, and the walk of Sv39, Sv48 and Sv57 page tables (privileged manual, 3.7 and 12.3 to 12.7). */
import { call, conditional, i32, i64, select, type Expr, type FunctionReference } from "#wasm/expression.ts";
import type { FunctionBuilder } from "#wasm/function.ts";
import { cause, envcfg, privilege, status } from "../csr-bits.ts";
import { layout } from "../layout.ts";
import { bits, hostAddress, inRam, State, type Program } from "./program.ts";

/** What an access wants: the bits of a page table entry and of pmpcfg are not in the same order, so neither is used here. */
export const access = { execute: 0, read: 1, write: 2 } as const;

export interface AddressTranslation {
  /** (state, physical i64, size i32, access i32, privilege i32) → i32: whether PMP allows it. Leaves `pmpUniform`. */
  readonly pmpCheck: FunctionReference;
  /** (state, virtual i64, access i32) → physical address, or -1 with `fault` set. Checks PMP for the byte. Leaves `walkLarge` and `pmpUniform`. */
  readonly translate: FunctionReference;
  /** (state, access i32) → i32: the privilege that counts for an access. */
  readonly effectivePrivilege: FunctionReference;
}

/** Bits of pmpcfg: R, W, X, A (2), -, -, L. */
const pmp = { read: 1, write: 2, execute: 4, locked: 0x80 } as const;

/** Bits of a page table entry. */
const pte = { v: 1, r: 2, w: 4, x: 8, u: 16, g: 32, a: 64, d: 128 } as const;

/** PBMT at 62:61, N at 63; 60:54 are reserved. */
const pteReserved = 0x7fn << 54n;
const ptePbmt = 3n << 61n;
const pteNapot = 1n << 63n;

export function defineAddressTranslation(program: Program): AddressTranslation {
  const { module } = program;

  const effectivePrivilege = module.function("effectivePrivilege", ["i32", "i32"], ["i32"], (f) => {
    const state = new State(f);
    const mstatus = f.let(state.get("mstatus"));
    f.push(
      select(
        i32.and(i32.ne(f.parameter(1), access.execute), bits(mstatus, status.mprv, 1)),
        bits(mstatus, status.mpp, 2),
        state.get("privilege"),
      ),
    );
  });

  const pmpCheck = module.function("pmpCheck", ["i32", "i64", "i32", "i32", "i32"], ["i32"], definePmpCheck);

  const translate = module.function("translate", ["i32", "i64", "i32"], ["i64"], (f) =>
    defineTranslate(f, program, effectivePrivilege, pmpCheck),
  );

  return { pmpCheck, translate, effectivePrivilege };
}

/** The lowest-numbered entry that matches any byte decides; it must match all of them. */
function definePmpCheck(f: FunctionBuilder): void {
  const state = new State(f);
  const [first, size, kind, mode] = [f.parameter(1), f.parameter(2), f.parameter(3), f.parameter(4)];
  const last = f.let(i64.add(first, i64.extendI32U(i32.sub(size, 1))));
  const page = f.let(i64.and(first, -4096));
  const pageLast = f.let(i64.or(first, 4095));
  const index = f.local("i32");
  const entry = f.local("i32");
  const regionFirst = f.local("i64");
  const regionLast = f.local("i64");
  const config = f.local("i32");
  const isMachine = i32.eq(mode, privilege.machine);
  state.set("pmpUniform", 1);
  f.block((noMatch) =>
    f.loop((next) => {
      f.branchIf(noMatch, i32.geU(index, state.get("pmpCount")));
      f.set(entry, i32.add(state.base, i32.shl(index, 3)));
      f.set(regionFirst, i64.load(entry, layout.pmpFirst.offset));
      f.set(regionLast, i64.load(entry, layout.pmpLast.offset));
      // An entry that is off begins at the last address there is and ends before, so that no byte lies in it.
      f.if(i32.and(i64.leU(regionFirst, pageLast), i64.geU(regionLast, page)), () => {
        f.if(i32.or(i64.gtU(regionFirst, page), i64.ltU(regionLast, pageLast)), () => state.set("pmpUniform", 0));
        f.if(i32.and(i64.leU(regionFirst, last), i64.geU(regionLast, first)), () => {
          f.if(i32.or(i64.gtU(regionFirst, first), i64.ltU(regionLast, last)), () => f.return(0));
          f.set(config, i32.load8U(i32.add(state.base, index), layout.pmpcfg.offset));
          f.if(i32.and(isMachine, i32.eqz(i32.and(config, pmp.locked))), () => f.return(1));
          const wanted = select(
            i32.eq(kind, access.read),
            i32.const(pmp.read),
            select(i32.eq(kind, access.write), i32.const(pmp.write), pmp.execute),
          );
          f.return(i32.ne(i32.and(config, wanted), 0));
        });
      });
      f.set(index, i32.add(index, 1));
      f.branch(next);
    }),
  );
  f.push(isMachine);
}

function defineTranslate(
  f: FunctionBuilder,
  program: Program,
  effectivePrivilege: FunctionReference,
  pmpCheck: FunctionReference,
): void {
  const { map } = program;
  const state = new State(f);
  const [virtual, kind] = [f.parameter(1), f.parameter(2)];
  const mode = f.local("i32");
  const satp = f.local("i64");
  const level = f.local("i32");
  const levels = f.local("i32");
  const table = f.local("i64");
  const address = f.local("i64");
  const host = f.local("i32");
  const entry = f.local("i64");
  const physical = f.local("i64");
  const pageMask = f.local("i64");
  const wanted = f.local("i32");
  const global = f.local("i64");

  const fail = (execute: number, read: number, write: number): void => {
    state.fault(
      select(
        i32.eq(kind, access.read),
        i64.const(read),
        select(i32.eq(kind, access.write), i64.const(write), i64.const(execute)),
      ),
      virtual,
    );
    f.return(-1);
  };
  const accessFault = (): void => fail(cause.instructionAccess, cause.loadAccess, cause.storeAccess);
  const pageFault = (): void => fail(cause.instructionPage, cause.loadPage, cause.storePage);
  const checkPmp = (at: Expr, size: number, what: Expr | number, who: Expr | number): void =>
    f.if(i32.eqz(call(pmpCheck, state.base, at, size, what, who)), accessFault);

  state.count("walks");
  f.set(mode, call(effectivePrivilege, state.base, kind));
  f.set(satp, state.get("satp"));
  f.if(i32.or(i32.eq(mode, privilege.machine), i64.eqz(i64.shrU(satp, 60))), () => {
    // Physical addresses have 56 bits.
    f.if(i64.ne(i64.shrU(virtual, 56), 0), accessFault);
    state.set("walkLarge", 0);
    state.set("walkGlobal", 1);
    checkPmp(virtual, 1, kind, mode);
    f.return(virtual);
  });

  // Mode 8 has 3 levels, 9 has 4, 10 has 5; a virtual address has 12 + 9 · levels bits, the higher ones copies of the sign.
  f.set(levels, i32.wrap(i64.sub(i64.shrU(satp, 60), 5)));
  const unused = f.let(i64.extendI32U(i32.sub(52, i32.mul(levels, 9))));
  f.if(i64.ne(i64.shrS(i64.shl(virtual, unused), unused), virtual), pageFault);
  f.set(level, levels);
  f.set(table, i64.shl(i64.and(satp, 0xfffffffffffn), 12));
  f.loop((walk) => {
    f.if(i32.eqz(level), pageFault);
    f.set(level, i32.sub(level, 1));
    const shift = i64.extendI32U(i32.add(i32.mul(level, 9), 12));
    f.set(address, i64.add(table, i64.shl(i64.and(i64.shrU(virtual, shift), 511), 3)));
    f.if(i32.eqz(inRam(map, address)), accessFault);
    checkPmp(address, 8, access.read, privilege.supervisor);
    f.set(host, hostAddress(map, address));
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

  // A leaf. PBMT needs menvcfg.PBMTE, and 3 is reserved; NAPOT is for level 0 and 64 KiB (ppn[3:0] = 1000).
  const pbmt = f.let(i64.and(entry, ptePbmt));
  f.if(
    i32.and(
      i64.ne(pbmt, 0),
      i32.or(i64.eq(pbmt, ptePbmt), i32.eqz(bits(state.get("menvcfg"), envcfg.pbmte, 1))),
    ),
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
  f.set(
    wanted,
    conditional(
      i32.eq(kind, access.read),
      select(bits(state.get("mstatus"), status.mxr, 1), i32.const(pte.r | pte.x), pte.r),
      select(i32.eq(kind, access.write), i32.const(pte.w), pte.x),
    ),
  );
  f.if(i32.eqz(i32.and(i32.wrap(entry), wanted)), pageFault);
  const isUserPage = i32.ne(i32.and(i32.wrap(entry), pte.u), 0);
  f.if(i32.eq(mode, privilege.user), () => f.if(i32.eqz(isUserPage), pageFault), () =>
    f.if(
      i32.and(
        isUserPage,
        i32.or(i32.eq(kind, access.execute), i32.eqz(bits(state.get("mstatus"), status.sum, 1))),
      ),
      pageFault,
    ),
  );

  // Accessed and dirty: set here if menvcfg.ADUE says so (Svadu), else a page fault asks software to (Svade).
  const needed = f.let(
    i64.or(entry, select(i32.eq(kind, access.write), i64.const(pte.a | pte.d), i64.const(pte.a))),
  );
  f.if(i64.ne(needed, entry), () => {
    f.if(i32.eqz(bits(state.get("menvcfg"), envcfg.adue, 1)), pageFault);
    checkPmp(address, 8, access.write, privilege.supervisor);
    // Another hart may have changed the entry since: then walk again.
    f.if(i64.ne(i64.atomicCompareExchange(host, entry, needed), entry), () =>
      f.return(call(f, state.base, virtual, kind)),
    );
  });

  state.set("walkLarge", select(level, level, i64.ne(pageMask, 4095)));
  state.set("walkGlobal", i32.ne(i32.and(i32.wrap(global), pte.g), 0));
  f.set(physical, i64.or(i64.and(virtual, pageMask), table));
  checkPmp(physical, 1, kind, mode);
  f.push(physical);
}


