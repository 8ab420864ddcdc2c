/** Physical memory protection (privileged manual, 3.7): its registers, what is made of them, and the check. */
import { i32, i64, select, type Expr, type FunctionReference } from "#wasm/expression.ts";
import type { FunctionBuilder } from "#wasm/function.ts";
import { privilege } from "../csr-bits.ts";
import { layout } from "../layout.ts";
import { field, zeros, type Csr } from "./csr-row.ts";
import { State, type Program } from "./program.ts";
import type { TranslationBanks } from "./translation-banks.ts";

/**
 * What an access wants: the bits of a page table entry and of pmpcfg are not in the same order, so neither is used here. HLVX reads what may
 * be executed: pages must be executable, memory both executable and readable.
 */
export const access = { execute: 0, read: 1, write: 2, readExecutable: 3 } as const;

/** Bits of pmpcfg: R, W, X, A (2), -, -, L. */
const pmp = { read: 1, write: 2, execute: 4, locked: 0x80 } as const;

/** (state, physical i64, size i32, access i32, privilege i32) → i32: whether PMP allows it. Leaves `pmpUniform`. */
export function definePmpCheck({ module }: Program): FunctionReference {
  return module.function("pmpCheck", ["i32", "i64", "i32", "i32", "i32"], ["i32"], checkPmp);
}

/** (state): makes the regions from the registers; all translations are void. */
export function defineUpdatePmp({ module }: Program, banks: TranslationBanks): FunctionReference {
  return module.function("updatePmp", ["i32"], [], (f) => updatePmp(f, banks));
}

/** The lowest-numbered entry that matches any byte decides; it must match all of them. */
function checkPmp(f: FunctionBuilder): void {
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
  // Its monitor has opened all of memory; but nothing is to be known of a page.
  f.if(state.get("emulated"), () => {
    state.set("pmpUniform", 0);
    f.return(1);
  });
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
          const wanted = f.let(
            select(
              i32.eq(kind, access.read),
              i32.const(pmp.read),
              select(i32.eq(kind, access.write), i32.const(pmp.write), select(kind, i32.const(pmp.read | pmp.execute), pmp.execute)),
            ),
          );
          f.return(i32.eq(i32.and(config, wanted), wanted));
        });
      });
      f.set(index, i32.add(index, 1));
      f.branch(next);
    }),
  );
  f.push(isMachine);
}

/** pmpcfg.A: 0 off, 1 from the entry below to this one, 2 four bytes, 3 a naturally aligned power of two (3.7.1). */
function updatePmp(f: FunctionBuilder, banks: TranslationBanks): void {
  const state = new State(f);
  const index = f.local("i32");
  const entry = f.local("i32");
  const config = f.local("i32");
  const value = f.local("i64");
  const size = f.local("i64");
  const previous = f.local("i64");
  const first = f.local("i64");
  const last = f.local("i64");
  state.set("pmpCount", 0);
  f.loop((next) => {
    f.set(entry, i32.add(state.base, i32.shl(index, 3)));
    f.set(config, i32.and(i32.shrU(i32.load8U(i32.add(state.base, index), layout.pmpcfg.offset), 3), 3));
    f.set(value, i64.load(entry, layout.pmpaddr.offset));
    f.set(first, -1);
    f.set(last, 0);
    f.if(config, () => {
      state.set("pmpCount", i32.add(index, 1));
      f.if(
        i32.eq(config, 1),
        () =>
          f.if(i64.ltU(previous, value), () => {
            f.set(first, i64.shl(previous, 2));
            f.set(last, i64.sub(i64.shl(value, 2), 1));
          }),
        () => {
          // Trailing ones of the address give the size: 2^(ones + 3) bytes; all ones mean everything.
          f.set(
            size,
            select(i32.eq(config, 2), i64.const(4), i64.shl(8, i64.ctz(i64.xor(value, -1)))),
          );
          f.set(first, i64.and(i64.shl(value, 2), i64.sub(0, size)));
          f.set(last, i64.add(first, i64.sub(size, 1)));
        },
      );
    });
    f.store("i64", entry, first, layout.pmpFirst.offset);
    f.store("i64", entry, last, layout.pmpLast.offset);
    f.set(previous, value);
    f.set(index, i32.add(index, 1));
    f.branchIf(next, i32.ltU(index, 16));
  });
  f.call(banks.flushAll, [state.base]);
  state.set("attention", 1);
}

/** Entries that are locked, and the address below a locked top-of-range entry, keep their values (3.7.1.2). */
export function pmpRegisters(): Csr[] {
  const configOf = (state: State, entry: Expr | number): Expr =>
    i32.load8U(i32.add(state.base, entry), layout.pmpcfg.offset);
  const config = [0, 1].map((half): Csr => ({
    number: 0x3a0 + half * 2,
    read: field("pmpcfg", half),
    write: (c, value) => {
      for (let i = 0; i < 8; i++) {
        const entry = half * 8 + i;
        const byte = c.f.let(i32.and(i32.wrap(i64.shrU(value, i * 8)), 0x9f));
        // W without R is reserved: the entry keeps what it had.
        c.f.if(
          i32.and(
            i32.eqz(i32.and(configOf(c.state, entry), 0x80)),
            i32.ne(i32.and(byte, 3), 2),
          ),
          () => c.f.store("i32_8", c.state.base, byte, layout.pmpcfg.offset + entry),
        );
      }
      c.f.call(c.updatePmp, [c.state.base]);
    },
  }));
  const addresses = Array.from({ length: 16 }, (_, entry): Csr => ({
    number: 0x3b0 + entry,
    read: field("pmpaddr", entry),
    write: (c, value) => {
      const locked = i32.and(configOf(c.state, entry), 0x80);
      const nextTop =
        entry === 15 ? i32.const(0) : i32.eq(i32.and(configOf(c.state, entry + 1), 0x98), 0x88);
      c.f.if(i32.eqz(i32.or(locked, nextTop)), () => {
        c.state.set("pmpaddr", i64.and(value, (1n << 54n) - 1n), entry);
        c.f.call(c.updatePmp, [c.state.base]);
      });
    },
  }));
  // Entries 16 to 63 are not implemented: they read as zero. pmpcfg with odd numbers don't exist in RV64.
  const absent = [...Array.from({ length: 6 }, (_, i) => 0x3a4 + 2 * i), ...Array.from({ length: 48 }, (_, i) => 0x3c0 + i)];
  return [...config, ...addresses, zeros(absent)];
}
