/**
 * The slow halves of memory access: what the in-line TLB check doesn't hold. They translate, fill the TLB, split accesses that cross a page,
 * reach devices, and keep decoded instructions true to what is stored over them.
 */
import { call, conditional, i32, i64, select, type Expr, type FunctionReference } from "#wasm/expression.ts";
import type { FunctionBuilder, Local } from "#wasm/function.ts";
import { cause, privilege } from "../csr-bits.ts";
import { bank, frame, frameFlags, predecoded } from "../layout.ts";
import type { AddressTranslation } from "./address-translation.ts";
import { access } from "./physical-memory-protection.ts";
import { frameEntry, hostAddress, inRam, State, type Program } from "./program.ts";
import {
  filterBit,
  filterByte,
  hugePageShift,
  largePageShift,
  tlbEntry,
  type TranslationBanks,
} from "./translation-banks.ts";

export interface MemoryRoutines {
  /** (state, virtual, log2 size) → i64, zero-extended. */
  readonly loadSlow: FunctionReference;
  /** (state, virtual, log2 size, value). */
  readonly storeSlow: FunctionReference;
  /** (state, virtual, log2 size, access) → host address for an atomic access, or 0 with `fault` set. */
  readonly atomicAddress: FunctionReference;
  /** (state, host address, bytes): instructions decoded from these bytes are stale. The bytes lie in one frame. */
  readonly codeStore: FunctionReference;
  /** (state, virtual): CBO.ZERO of the 64-byte block. */
  readonly zeroBlock: FunctionReference;
  /** (state, virtual): whether the block may be managed: sets `fault` if not. */
  readonly manageBlock: FunctionReference;
}

/** Stores to a frame of code before it is taken for data. */
const storeLimit = 64;

export function defineMemoryRoutines(
  program: Program,
  translation: AddressTranslation,
  banks: TranslationBanks,
): MemoryRoutines {
  const { module, map, host } = program;

  /** (state, host frame address): the frame holds no instructions any more; stores to it are free. */
  const forgetCode = module.function("forgetCode", ["i32", "i32"], [], (f) => {
    const [state, host] = [new State(f), f.parameter(1)];
    const entry = f.let(frameEntry(map, host));
    const page = f.let(i32.load(entry, frame.predecoded));
    f.if(i32.and(i32.load(entry, frame.flags), frameFlags.translated), () => {
      state.count("crossings");
      f.call(program.host.codeWritten, [state.base, host, 4096]);
    });
    f.store("i32", entry, 0, frame.predecoded);
    f.store("i32", entry, 0, frame.flags);
    f.store("i64", entry, 0, frame.lines);
    f.if(page, () => {
      f.call(banks.purgeExecutable, [state.base, page]);
      f.store("i32", page, state.get("predecodeFree"));
      state.set("predecodeFree", page);
    });
    // Whoever interprets this page must look for it again.
    state.set("attention", 1);
  });

  /** (state, host address, bytes): what was decoded or translated from these bytes is stale. */
  const dropDecoded = module.function("dropDecoded", ["i32", "i32", "i32"], [], (f) => {
    const [state, at, size] = [new State(f), f.parameter(1), f.parameter(2)];
    const entry = f.let(frameEntry(map, at));
    const flags = f.let(i32.load(entry, frame.flags));
    // A four-byte instruction may start one halfword before the first byte.
    const offset = f.let(i32.and(at, 4095));
    const first = f.let(select(i32.ltU(offset, 2), i32.const(0), i32.sub(i32.shrU(offset, 1), 1)));
    const last = f.let(i32.shrU(i32.sub(i32.add(offset, size), 1), 1));
    f.if(i32.load(entry, frame.predecoded), () =>
      f.memoryFill(
        i32.add(i32.load(entry, frame.predecoded), i32.add(i32.shl(first, 3), predecoded.header)),
        0,
        i32.shl(i32.add(i32.sub(last, first), 1), 3),
      ),
    );
    const line = (byte: Expr): Expr => i64.extendI32U(i32.shrU(byte, 6));
    const covered = i64.and(
      i64.load(entry, frame.lines),
      i64.sub(i64.shl(2, line(i32.sub(i32.add(offset, size), 1))), i64.shl(1, line(i32.shl(first, 1)))),
    );
    f.if(i32.and(i32.ne(i32.and(flags, frameFlags.translated), 0), i64.ne(covered, 0)), () => {
      state.count("crossings");
      f.call(host.codeWritten, [state.base, at, size]);
    });
  });

  const codeStore = module.function("codeStore", ["i32", "i32", "i32"], [], (f) => {
    const [state, at, size] = [new State(f), f.parameter(1), f.parameter(2)];
    const entry = f.let(frameEntry(map, at));
    const flags = f.let(i32.load(entry, frame.flags));
    f.if(i32.eqz(i32.and(flags, frameFlags.code)), () => f.return());
    // Frames find new uses: after so many stores, what was decoded is not worth keeping.
    f.set(flags, i32.add(flags, frameFlags.store));
    f.if(i32.or(i32.gtU(flags, frameFlags.store * storeLimit), i32.gtU(size, 64)), () => {
      f.call(forgetCode, [state.base, i32.and(at, -4096)]);
      f.return();
    });
    f.store("i32", entry, flags, frame.flags);
    f.call(dropDecoded, [state.base, at, size]);
  });

  /** Makes the page's entry in a TLB of the current bank; notes large pages. */
  const install = (f: FunctionBuilder, state: State, virtual: Local, at: Local, table: number, entries: number) => {
    const base = f.let(state.get("bank"));
    const entry = f.let(tlbEntry(base, virtual, table, entries));
    f.store("i64", entry, i64.and(virtual, -4096));
    f.store("i32", entry, i32.sub(at, i32.wrap(virtual)), 8);
    noteEntry(f, state, base, entry, virtual);
  };

  /** The one gate for stores: a frame of code is told, any other may enter the write TLB. */
  const admitStore = (f: FunctionBuilder, state: State, virtual: Local, at: Local, tellCode: () => void): void => {
    const entry = f.let(frameEntry(map, at));
    const flags = f.let(i32.load(entry, frame.flags));
    f.if(i32.and(flags, frameFlags.code), tellCode, () =>
      f.if(state.get("pmpUniform"), () => {
        f.store("i32", entry, i32.or(flags, frameFlags.writable), frame.flags);
        install(f, state, virtual, at, bank.write, bank.writeEntries);
      }),
    );
  };

  /**
   * Nothing is read or written before both pages are known to be there. A device doesn't take parts of an access, nor does what is no memory: on the
   * bare machine as in a VM, whose hart finds no page for them.
   */
  const bothInMemory = (f: FunctionBuilder, state: State, virtual: Local, size: Local, kind: number): void => {
    const leave = (): void => (f.results.length > 0 ? f.return(0) : f.return());
    const second = f.let(i64.and(i64.add(virtual, i64.extendI32U(size)), -4096));
    for (const page of [virtual, second]) {
      const physical = f.let(call(translation.translate, state.base, page, kind));
      const isMissing = i32.and(i64.ne(physical, -1), i32.eqz(inRam(map, physical)));
      f.if(isMissing, () => state.fault(kind === access.read ? cause.loadAccess : cause.storeAccess, page));
      f.if(state.get("fault"), () => {
        noteOffset(f, state, i32.wrap(i64.sub(page, virtual)));
        leave();
      });
    }
  };

  const loadSlow = module.function("loadSlow", ["i32", "i64", "i32"], ["i64"], (f) => {
    const [state, virtual, log] = [new State(f), f.parameter(1), f.parameter(2)];
    const size = f.let(i32.shl(1, log));
    state.count("tlbMisses");
    f.if(crossesPage(virtual, size), () => {
      bothInMemory(f, state, virtual, size, access.read);
      const value = f.local("i64");
      const byte = f.local("i64");
      const index = f.local("i32");
      f.loop((next) => {
        f.set(byte, call(f, state.base, i64.add(virtual, i64.extendI32U(index)), 0));
        f.if(state.get("fault"), () => {
          noteOffset(f, state, index);
          f.return(0);
        });
        f.set(value, i64.or(value, i64.shl(byte, i64.extendI32U(i32.shl(index, 3)))));
        f.set(index, i32.add(index, 1));
        f.branchIf(next, i32.ltU(index, size));
      });
      f.return(value);
    });
    const physical = f.let(call(translation.translate, state.base, virtual, access.read));
    f.if(i64.eq(physical, -1), () => f.return(0));
    pmpForAll(f, state, translation, physical, virtual, size, access.read);
    f.if(inRam(map, physical), () => {
      const at = f.let(hostAddress(map, physical));
      f.if(state.get("pmpUniform"), () => install(f, state, virtual, at, bank.read, bank.readEntries));
      f.return(
        bySize(log, [i64.load8U(at), i64.load16U(at), i64.load32U(at), i64.load(at)]),
      );
    });
    device(f, state, host.mmioRead, physical, virtual, size, cause.loadAccess);
    f.push(state.get("mmioValue"));
  });

  const storeSlow = module.function("storeSlow", ["i32", "i64", "i32", "i64"], [], (f) => {
    const [state, virtual, log, value] = [new State(f), f.parameter(1), f.parameter(2), f.parameter(3)];
    const size = f.let(i32.shl(1, log));
    state.count("tlbMisses");
    f.if(crossesPage(virtual, size), () => {
      bothInMemory(f, state, virtual, size, access.write);
      const index = f.local("i32");
      f.loop((next) => {
        const offset = i64.extendI32U(index);
        f.call(f, [state.base, i64.add(virtual, offset), 0, i64.shrU(value, i64.shl(offset, 3))]);
        f.if(state.get("fault"), () => {
          noteOffset(f, state, index);
          f.return();
        });
        f.set(index, i32.add(index, 1));
        f.branchIf(next, i32.ltU(index, size));
      });
      f.return();
    });
    const physical = f.let(call(translation.translate, state.base, virtual, access.write));
    f.if(i64.eq(physical, -1), () => f.return());
    pmpForAll(f, state, translation, physical, virtual, size, access.write);
    f.if(inRam(map, physical), () => {
      const at = f.let(hostAddress(map, physical));
      admitStore(f, state, virtual, at, () => f.call(codeStore, [state.base, at, size]));
      const kinds = ["i64_8", "i64_16", "i64_32", "i64"] as const;
      kinds.forEach((kind, i) => f.if(i32.eq(log, i), () => f.store(kind, at, value)));
      f.return();
    });
    state.set("mmioValue", value);
    device(f, state, host.mmioWrite, physical, virtual, size, cause.storeAccess);
    state.set("attention", 1);
  });

  const atomicAddress = module.function("atomicAddress", ["i32", "i64", "i32", "i32"], ["i32"], (f) => {
    const [state, virtual, log, kind] = [new State(f), f.parameter(1), f.parameter(2), f.parameter(3)];
    const size = f.let(i32.shl(1, log));
    const isRead = i32.eq(kind, access.read);
    state.count("tlbMisses");
    f.if(i32.and(i32.wrap(virtual), i32.sub(size, 1)), () => {
      state.fault(select(isRead, i64.const(cause.loadMisaligned), i64.const(cause.storeMisaligned)), virtual);
      f.return(0);
    });
    const physical = f.let(call(translation.translate, state.base, virtual, kind));
    f.if(i64.eq(physical, -1), () => f.return(0));
    f.if(i32.eqz(inRam(map, physical)), () => {
      state.fault(select(isRead, i64.const(cause.loadAccess), i64.const(cause.storeAccess)), virtual);
      f.return(0);
    });
    // Protection is in pieces of four bytes: one may end inside of a doubleword.
    f.if(
      isRead,
      () => pmpForAll(f, state, translation, physical, virtual, size, access.read),
      () => pmpForAll(f, state, translation, physical, virtual, size, access.write),
    );
    const at = f.let(hostAddress(map, physical));
    f.if(
      isRead,
      () => f.if(state.get("pmpUniform"), () => install(f, state, virtual, at, bank.read, bank.readEntries)),
      // Not `codeStore`: giving the frame up would pull the decoded page from under the instruction that is being executed.
      () => admitStore(f, state, virtual, at, () => f.call(dropDecoded, [state.base, at, size])),
    );
    f.push(at);
  });

  /**
   * The physical address of the block that holds `virtual`, if all of it may be accessed. The faults of cache-block operations are
   * those of stores, and name the address that the instruction gave.
   */
  const translateBlock = (f: FunctionBuilder, state: State, virtual: Local, kind: number): Local => {
    const physical = f.let(call(translation.translate, state.base, i64.and(virtual, -64), kind));
    f.if(i64.eq(physical, -1), () => {
      for (const [load, store] of [
        [cause.loadPage, cause.storePage],
        [cause.loadGuestPage, cause.storeGuestPage],
        [cause.loadAccess, cause.storeAccess],
        [cause.loadTlbMiss, cause.storeTlbMiss],
      ] as const) {
        f.if(i64.eq(state.get("faultCause"), load), () => state.set("faultCause", store));
      }
      state.set("faultValue", virtual);
      f.return();
    });
    f.if(i32.eqz(state.get("pmpUniform")), () => {
      const mode = call(translation.effectivePrivilege, state.base, kind);
      f.if(i32.eqz(call(translation.pmpCheck, state.base, physical, 64, kind, mode)), () => {
        state.fault(cause.storeAccess, virtual);
        f.return();
      });
    });
    return physical;
  };

  const zeroBlock = module.function("zeroBlock", ["i32", "i64"], [], (f) => {
    const [state, virtual] = [new State(f), f.parameter(1)];
    // Kernels clear pages by it, and then it comes 64 times.
    const cached = f.let(tlbEntry(state.get("bank"), virtual, bank.write, bank.writeEntries));
    f.if(i64.eq(i64.load(cached), i64.and(virtual, -4096)), () => {
      const block = f.let(i32.add(i32.and(i32.wrap(virtual), -64), i32.load(cached, 8)));
      for (let at = 0; at < 64; at += 8) f.store("i64", block, 0, at);
      f.return();
    });
    const physical = translateBlock(f, state, virtual, access.write);
    f.if(i32.eqz(inRam(map, physical)), () => {
      state.fault(cause.storeAccess, virtual);
      f.return();
    });
    const at = f.let(hostAddress(map, physical));
    const first = f.let(i64.and(virtual, -64));
    admitStore(f, state, first, at, () => f.call(codeStore, [state.base, at, 64]));
    f.memoryFill(at, 0, 64);
  });

  const manageBlock = module.function("manageBlock", ["i32", "i64"], [], (f) => {
    translateBlock(f, new State(f), f.parameter(1), access.read);
  });

  return { loadSlow, storeSlow, atomicAddress, codeStore, zeroBlock, manageBlock };
}

/** For the trap instruction registers: only guests, HLV and machine mode leave something there. */
function noteOffset(f: FunctionBuilder, state: State, offset: Expr): void {
  f.if(i32.geU(state.get("privilege"), privilege.machine), () => state.set("faultOffset", offset));
}

/** Keeps a bank's books of an entry that was made in it. */
export function noteEntry(f: FunctionBuilder, state: State, base: Local, entry: Local, virtual: Local): void {
  noteUsed(f, base, entry);
  const size = f.let(state.get("walkLarge"));
  const note = (filter: number, shift: number): void => {
    const byte = f.let(filterByte(base, virtual, filter, shift));
    f.store("i32_8", byte, i32.or(i32.load8U(byte), filterBit(virtual, shift)));
  };
  f.if(size, () =>
    f.if(
      i32.eq(size, 1),
      () => note(bank.largeFilter, largePageShift),
      () =>
        f.if(
          i32.eq(size, 2),
          () => note(bank.hugeFilter, hugePageShift),
          () => f.memoryFill(i32.add(base, bank.hugeFilter), 0xff, 2 * bank.filterBytes),
        ),
    ),
  );
  f.if(i32.eqz(state.get("walkGlobal")), () => f.store("i32", base, 1, bank.nonGlobal));
}

/** So that clearing the bank clears this entry. */
export function noteUsed(f: FunctionBuilder, base: Local, entry: Local): void {
  const piece = f.let(i32.shrU(i32.sub(entry, base), bank.usedShift));
  const word = f.let(i32.add(base, i32.shl(i32.shrU(piece, 6), 3)));
  f.store("i64", word, i64.or(i64.load(word, bank.used), i64.shl(1, i64.extendI32U(piece))), bank.used);
}

export function crossesPage(virtual: Expr, size: Expr): Expr {
  return i32.gtU(i32.add(i32.and(i32.wrap(virtual), 4095), size), 4096);
}

export function bySize(log: Expr, [one, two, four, eight]: [Expr, Expr, Expr, Expr]): Expr {
  return conditional(
    i32.ltU(log, 2),
    conditional(log, two, one),
    conditional(i32.eq(log, 2), four, eight),
  );
}

/** `translate` checked the first byte; where the page isn't uniform, the others need a look too. */
function pmpForAll(
  f: FunctionBuilder,
  state: State,
  translation: AddressTranslation,
  physical: Expr,
  virtual: Expr,
  size: Expr,
  kind: number,
): void {
  f.if(i32.eqz(state.get("pmpUniform")), () => {
    const mode = call(translation.effectivePrivilege, state.base, kind);
    f.if(i32.eqz(call(translation.pmpCheck, state.base, physical, size, kind, mode)), () => {
      state.fault(kind === access.read ? cause.loadAccess : cause.storeAccess, virtual);
      if (f.results.length > 0) f.return(0);
      else f.return();
    });
  });
}

/** Registers of devices are reached in one naturally aligned piece. */
export function device(
  f: FunctionBuilder,
  state: State,
  target: FunctionReference,
  physical: Local,
  virtual: Local,
  size: Local,
  failure: number,
): void {
  const fail = (): void => {
    state.fault(failure, virtual);
    if (f.results.length > 0) f.return(0);
    else f.return();
  };
  state.count("crossings");
  f.if(
    i32.or(i64.ne(i64.shrU(physical, 32), 0), i32.ne(i32.and(i32.wrap(physical), i32.sub(size, 1)), 0)),
    fail,
  );
  f.if(call(target, state.base, i32.wrap(physical), size), fail);
}
