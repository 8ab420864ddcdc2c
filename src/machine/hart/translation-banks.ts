/**
 * The TLB, in banks: one for each context (address space, privilege, SUM, MXR). A change of context selects another bank and
 * flushes nothing; a bank whose key doesn't match is emptied and taken over. Layout: `bank` in layout.ts.
 *
 * An entry's tag is the address of its page. An access hits if its last byte lies in that page: if it began in the one before, it would have
 * picked another entry. An empty entry's tag is -1, which is no page: banks are cleared to ones.
 */
import { conditional, i32, i64, select, type Expr, type FunctionReference } from "#wasm/expression.ts";
import type { FunctionBuilder, Local } from "#wasm/function.ts";
import { privilege, status, virtualBit } from "../csr-bits.ts";
import { bank, frame, frameFlags, layout } from "../layout.ts";
import { previousPrivilege } from "./address-translation.ts";
import { beginFilter, forgetGuestPage, forgetGuestPages, isKnown } from "./guest-page-cache.ts";
import { bits, frameEntry, State, type Program } from "./program.ts";

export interface TranslationBanks {
  /** (state): selects the bank of the current context. To be called when privilege, satp or a bit of mstatus in the key changes. */
  readonly selectBank: FunctionReference;
  /**
   * (state, virtual, asid, hasVirtual i32, hasAsid i32, world i32): SFENCE.VMA or HFENCE.VVMA; `fenced` has the worlds. A guest's is that of the virtual
   * machine that hgatp names.
   */
  readonly flush: FunctionReference;
  /**
   * (state, guest physical, vmid, hasAddress i32, hasVmid i32): HFENCE.GVMA. A bank's entries don't know their guest physical addresses: if any
   * may have this one, all go.
   */
  readonly flushGuests: FunctionReference;
  /** (state, guest physical, host frame address): a guest's page, which may be read and executed, is about to have another frame: nobody knows of this one any more. */
  readonly forgetPage: FunctionReference;
  /** (state): empties all banks. */
  readonly flushAll: FunctionReference;
  /** (state): empties all jump caches, since a region is gone. */
  readonly flushJumps: FunctionReference;
  /** (state, predecoded page): no exec TLB leads to it from now on. */
  readonly purgeExecutable: FunctionReference;
  /** (state, host frame address): no write TLB holds this frame from now on. */
  readonly purgeWritable: FunctionReference;
}

/** Of a deprivileged guest, the index of `views`: 0 its programs', 1 its kernel's, 2 its kernel's with SUM. */
export function view(state: State): Expr {
  const sum = bits(state.get("parkedStatus"), status.sum, 1);
  return select(state.get("virtualPrivilege"), i32.add(sum, 1), i32.const(0));
}

/** Address of a TLB's entry for a virtual address: `table` is its place in the bank. */
export function tlbEntry(bankBase: Expr, virtual: Expr, table: number, entries: number): Expr {
  const index = i32.and(i32.shrU(i32.wrap(virtual), 8), (entries - 1) << 4);
  return i32.add(i32.add(bankBase, index), table);
}

/** Whether `size` bytes from a virtual address miss a TLB entry (i32): their last byte must lie in the entry's page, which the first one picked. */
export function tlbMiss(entry: Expr, table: number, virtual: Expr, size: number): Expr {
  const last = size === 1 ? virtual : i64.add(virtual, size - 1);
  return i64.ne(i64.and(last, -4096), i64.load(entry, table));
}

/** As `tlbEntry`, but relative to the bank: `table` is left to the offset of the load, where it costs nothing. */
export function tlbIndex(bankBase: Expr, virtual: Expr, entries: number): Expr {
  return i32.add(bankBase, i32.and(i32.shrU(i32.wrap(virtual), 8), (entries - 1) << 4));
}

/** Address of the jump cache's entry for a pc. */
export function jumpEntry(bankBase: Expr, pc: Expr): Expr {
  const index = i32.and(i32.shl(i32.wrap(pc), 3), (bank.jumpEntries - 1) << 4);
  return i32.add(i32.add(bankBase, index), bank.jump);
}

/** Byte and bit of a filter for a range of 2^shift bytes; the upper half of the address space has the second 512 bytes. */
export function filterByte(bankBase: Expr, virtual: Local, filter: number, shift: number): Expr {
  const byte = i32.and(i32.wrap(i64.shrU(virtual, shift + 3)), bank.filterBytes - 1);
  const half = select(i64.ltS(virtual, 0), i32.const(bank.filterBytes), 0);
  return i32.add(i32.add(i32.add(bankBase, byte), half), filter);
}

export function filterBit(virtual: Expr, shift: number): Expr {
  return i32.shl(1, bits(virtual, shift, 3));
}

/**
 * Where a bank's key has what: privilege (2 bits) and V of the hart and of its data accesses, SUM and MXR, and the mode and ASID of satp; for
 * V = 1 also HS-mode's MXR and the mode and VMID of hgatp. A deprivileged guest has its view and the VMID of hgatp, and only its data "are" in
 * V = 1: so fences find it as one of that virtual machine. `one` is set in every key, so that none is 0.
 */
const bankKey = {
  privilege: 0, data: 2, sum: 4, mxr: 5, virtual: 6, dataVirtual: 7, one: 8, hostMxr: 9, view: 10, asid: 16, mode: 32, guestMode: 44, vmid: 48,
} as const;

const sets = bank.count / bank.kinds;

export const largePageShift = 21;
export const hugePageShift = 30;
export const codePageShift = 12;

/** Whose translations a fence is for: those with V = 0, or a guest's, at its own word or at its hypervisor's. */
export const fenced = { host: 0, byGuest: 1, byHypervisor: 2 } as const;

export function defineTranslationBanks(program: Program): TranslationBanks {
  const { module, map } = program;
  const bankAt = (index: Expr): Expr => i32.add(i32.shl(index, Math.log2(bank.size)), map.banks);
  /** Where the word of `banksUsed` for a bank is found. */
  const wordOf = (state: State, index: Expr): Expr => i32.add(state.base, i32.shl(i32.shrU(index, 6), 3));

  /** (base, offset of a word of `used`, which of its bits, what empty bytes are): empties the pieces of the tables that were used. */
  const clearPieces = module.function("clearPieces", ["i32", "i32", "i64", "i32"], [], (f) => {
    const [base, offset, which, empty] = [0, 1, 2, 3].map((i) => f.parameter(i)) as [Local, Local, Local, Local];
    const word = f.let(i32.add(base, offset));
    const used = f.let(i64.and(i64.load(word, bank.used), which));
    f.store("i64", word, i64.xor(i64.load(word, bank.used), used), bank.used);
    f.loop((next) => {
      f.if(i64.eqz(used), () => f.return());
      const piece = i32.add(i32.wrap(i64.ctz(used)), i32.shl(offset, 3));
      f.memoryFill(i32.add(base, i32.shl(piece, bank.usedShift)), empty, 1 << bank.usedShift);
      f.set(used, i64.and(used, i64.sub(used, 1)));
      f.branch(next);
    });
  });

  const tlbPieces = (1n << BigInt(bank.jump >> bank.usedShift)) - 1n;

  /** The jump cache is empty where it is zero, as memory is to begin with: most banks never need much of it. */
  const clearJumps = module.function("clearJumps", ["i32"], [], (f) => {
    const base = f.parameter(0);
    f.call(clearPieces, [base, 0, ~tlbPieces, 0]);
    f.call(clearPieces, [base, 8, -1n, 0]);
    f.memoryFill(i32.add(base, bank.codeFilter), 0, 2 * bank.filterBytes);
  });

  /** Only what was used needs clearing: most contexts are short-lived and touch little. */
  const clear = module.function("clearBank", ["i32"], [], (f) => {
    const base = f.parameter(0);
    f.if(i32.eqz(i32.load(base, bank.ready)), () => {
      f.memoryFill(base, 0xff, bank.jump);
      f.store("i32", base, 1, bank.ready);
    });
    f.call(clearPieces, [base, 0, tlbPieces, 0xff]);
    f.call(clearJumps, [base]);
    f.memoryFill(i32.add(base, bank.largeFilter), 0, bank.nonGlobal + 4 - bank.largeFilter);
  });

  const selectBank = module.function("selectBank", ["i32"], [], (f) => {
    const state = new State(f);
    const mstatus = f.let(state.get("mstatus"));
    const current = f.let(state.get("privilege"));
    const data = f.let(current);
    f.if(bits(mstatus, status.mprv, 1), () => f.set(data, previousPrivilege(f, mstatus)));
    // Two satp modes differ in bits 61:60; translation applies if either privilege is below machine mode.
    const satp = f.let(select(i32.eq(i32.and(current, data), privilege.machine), i64.const(0), state.get("satp")));
    const guestKey = f.local("i64");
    const vmid = f.local("i32");
    const seen = f.local("i32");
    // A guest's kernel has another place than its hypervisor's, whatever its VMID: they take turns at each trap.
    const ownKind = f.let(i32.const(1));
    f.if(i32.and(data, virtualBit), () => {
      f.set(ownKind, 3);
      // What the guest's hypervisor decides is in the key too; its VMID moves a guest's banks away from others'.
      const isGuest = f.let(i32.and(current, virtualBit));
      const hostStatus = f.let(conditional(isGuest, state.get("parkedStatus"), mstatus));
      f.if(i32.eqz(isGuest), () => {
        f.set(mstatus, state.get("parkedStatus"));
        f.set(satp, state.get("parkedSatp"));
      });
      const hgatp = f.let(state.get("hgatp"));
      f.set(vmid, bits(hgatp, 44, 14));
      f.set(
        guestKey,
        i64.or(
          i64.or(i64.shl(i64.extendI32U(vmid), bankKey.vmid), i64.shl(i64.shrU(hgatp, 60), bankKey.guestMode)),
          i64.extendI32U(
            i32.or(
              i32.or(i32.shl(i32.shrU(current, 2), bankKey.virtual), 1 << bankKey.dataVirtual),
              i32.shl(bits(hostStatus, status.mxr, 1), bankKey.hostMxr),
            ),
          ),
        ),
      );
      f.set(data, i32.and(data, 3));
      f.set(current, i32.and(current, 3));
    }, () => f.if(state.get("monitored"), () => {
      f.set(seen, view(state));
      f.set(vmid, bits(state.get("hgatp"), 44, 14));
      f.set(guestKey, i64.or(i64.shl(i64.extendI32U(vmid), bankKey.vmid), i64.extendI32U(i32.or(i32.shl(seen, bankKey.view), 1 << bankKey.dataVirtual))));
      f.set(data, privilege.user);
      f.set(current, privilege.user);
    }));
    const asid = bits(satp, 44, 16);
    const usesSum = i32.eq(data, privilege.supervisor);
    const sum = f.let(i32.and(bits(mstatus, status.sum, 1), usesSum));
    // Without SUM the supervisor sees its own pages only, which are global as a rule: all address spaces share a bank.
    const ownOnly = i32.and(i32.and(usesSum, i32.eqz(sum)), i32.eq(current, data));
    const shared = f.let(i32.or(ownOnly, i32.eq(seen, 1)));
    const keyAsid = f.let(select(shared, i32.const(0), asid));
    const key = f.let(
      i64.or(
        i64.or(i64.or(guestKey, i64.shl(i64.shrU(satp, 60), bankKey.mode)), i64.extendI32U(i32.shl(keyAsid, bankKey.asid))),
        i64.extendI32U(
          i32.or(
            i32.or(current, i32.shl(data, bankKey.data)),
            i32.or(i32.or(i32.shl(sum, bankKey.sum), i32.shl(bits(mstatus, status.mxr, 1), bankKey.mxr)), 1 << bankKey.one),
          ),
        ),
      ),
    );
    const kind = select(usesSum, select(sum, i32.const(2), ownKind), select(i32.eqz(data), seen, i32.const(3)));
    // Numbers of virtual machines that share a hart are a few apart, as a rule: those beyond a turn of the sets fall between the others.
    const first = i32.add(vmid, i32.shrU(vmid, Math.log2(sets)));
    const set = i32.and(i32.add(i32.and(keyAsid, bank.spaces - 1), first), sets - 1);
    const index = f.let(i32.add(i32.mul(set, bank.kinds), kind));
    const base = f.let(bankAt(index));
    state.set("bank", base);
    state.set("bankKey", key);
    const slot = f.let(i32.add(state.base, i32.shl(index, 3)));
    f.if(i64.ne(i64.load(slot, layout.bankKeys.offset), key), () => {
      state.count("bankClears");
      f.store("i64", slot, key, layout.bankKeys.offset);
      const word = f.let(wordOf(state, index));
      f.store("i64", word, i64.or(i64.load(word, layout.banksUsed.offset), i64.shl(1, i64.extendI32U(index))), layout.banksUsed.offset);
      f.call(clear, [base]);
    });
    f.if(i32.and(shared, i32.load(base, bank.nonGlobal)), () =>
      f.if(i32.ne(i32.load(base, bank.nonGlobalAsid), asid), () => f.call(clear, [base])),
    );
    f.store("i32", base, asid, bank.nonGlobalAsid);
  });

  /** Runs `body` for each bank that isn't empty: its base address, its key and the address of that. */
  const forEachBank = (f: FunctionBuilder, state: State, body: (base: Local, key: Expr, keyAddress: Expr) => void) => {
    const [first, index, base, keyAddress] = [0, 1, 2, 3].map(() => f.local("i32")) as [Local, Local, Local, Local];
    const used = f.local("i64");
    f.loop((nextWord) => {
      f.set(used, i64.load(wordOf(state, first), layout.banksUsed.offset));
      f.block((done) => f.loop((next) => {
        f.branchIf(done, i64.eqz(used));
        f.set(index, i32.add(first, i32.wrap(i64.ctz(used))));
        f.set(used, i64.and(used, i64.sub(used, 1)));
        f.set(keyAddress, i32.add(state.base, i32.shl(index, 3)));
        f.branchIf(next, i64.eqz(i64.load(keyAddress, layout.bankKeys.offset)));
        f.set(base, bankAt(index));
        body(base, i64.load(keyAddress, layout.bankKeys.offset), keyAddress);
        f.branch(next);
      }));
      f.set(first, i32.add(first, 64));
      f.branchIf(nextWord, i32.ltU(first, bank.count));
    });
  };

  const newEpoch = (state: State): void => state.set("codeEpoch", i32.add(state.get("codeEpoch"), 1));

  const flushAll = module.function("flushAll", ["i32"], [], (f) => {
    const state = new State(f);
    forgetGuestPages(state, map);
    beginFilter(state, map);
    newEpoch(state);
    forEachBank(f, state, (_base, _key, keyAddress) =>
      f.store("i64", keyAddress, 0, layout.bankKeys.offset),
    );
    for (let word = 0; word < layout.banksUsed.count; word++) state.set("banksUsed", 0, word);
    f.call(selectBank, [state.base]);
  });

  const flushJumps = module.function("flushJumps", ["i32"], [], (f) => {
    const state = new State(f);
    newEpoch(state);
    forEachBank(f, state, (base) => f.call(clearJumps, [base]));
  });

  const flushGuests = module.function("flushGuests", ["i32", "i64", "i32", "i32", "i32"], [], (f) => {
    const state = new State(f);
    const [guestPhysical, vmid, hasAddress, hasVmid] = [1, 2, 3, 4].map((i) => f.parameter(i)) as [Local, Local, Local, Local];
    f.if(hasAddress, () => {
      f.if(i32.eqz(isKnown(state, map, guestPhysical)), () => f.return());
      // All machines' pages go, so that the filter begins anew: else, what one of them leaves behind would count for ever.
      f.set(hasVmid, 0);
    });
    forgetGuestPages(state, map);
    f.if(i32.eqz(hasVmid), () => beginFilter(state, map));
    f.set(vmid, i32.and(vmid, 0x3fff));
    newEpoch(state);
    forEachBank(f, state, (_base, key, keyAddress) => {
      const isOther = i32.and(hasVmid, i32.ne(bits(key, bankKey.vmid, 14), vmid));
      f.if(i32.and(bits(key, bankKey.dataVirtual, 1), i32.eqz(isOther)), () =>
        f.store("i64", keyAddress, 0, layout.bankKeys.offset),
      );
    });
    f.call(selectBank, [state.base]);
  });

  const flush = module.function("flush", ["i32", "i64", "i32", "i32", "i32", "i32"], [], (f) => {
    const state = new State(f);
    const [virtual, asid, hasVirtual, hasAsid, guest] = [1, 2, 3, 4, 5].map((i) => f.parameter(i)) as [
      Local,
      Local,
      Local,
      Local,
      Local,
    ];
    // Where a TLB holds both stages in one, this fence reaches both; hypervisors may have come to count on that.
    f.if(i32.and(i32.eq(guest, fenced.byHypervisor), i32.eqz(hasVirtual)), () => forgetGuestPages(state, map));
    const dataVirtual = 1n << BigInt(bankKey.dataVirtual);
    const mask = f.let(select(guest, i64.const(dataVirtual | (0x3fffn << BigInt(bankKey.vmid))), i64.const(dataVirtual)));
    const wanted = f.let(
      conditional(
        guest,
        i64.or(i64.shl(i64.and(i64.shrU(state.get("hgatp"), 44), 0x3fff), bankKey.vmid), i64.const(dataVirtual)),
        i64.const(0),
      ),
    );
    f.set(asid, i32.and(asid, 0xffff));
    f.if(hasVirtual, () => state.count("addressFences"), () => state.count("fences"));
    forEachBank(f, state, (base, key, keyAddress) => {
      f.block((skip) => {
        f.branchIf(skip, i64.ne(i64.and(key, mask), wanted));
        // Global entries stay when an address space is flushed.
        const isShared = i32.or(i32.eq(i32.and(i32.wrap(key), 0xffff001f), privilege.supervisor * 5), i32.eq(bits(key, bankKey.view, 2), 1));
        f.if(i32.and(isShared, hasAsid), () => f.branchIf(skip, i32.eqz(i32.load(base, bank.nonGlobal))), () =>
          f.branchIf(skip, i32.and(hasAsid, i32.ne(bits(key, bankKey.asid, 16), asid))),
        );
        // A large page's pieces lie anywhere in the bank: if one of this range may be cached, all goes.
        const noted = (filter: number, shift: number): Expr =>
          i32.and(i32.load8U(filterByte(base, virtual, filter, shift)), filterBit(virtual, shift));
        const large = i32.or(noted(bank.largeFilter, largePageShift), noted(bank.hugeFilter, hugePageShift));
        f.if(i32.or(i32.eqz(hasVirtual), large), () => {
          newEpoch(state);
          f.store("i64", keyAddress, 0, layout.bankKeys.offset);
          f.branch(skip);
        });
        f.store("i64", tlbEntry(base, virtual, bank.read, bank.readEntries), -1);
        f.store("i64", tlbEntry(base, virtual, bank.write, bank.writeEntries), -1);
        f.store("i64", tlbEntry(base, virtual, bank.exec, bank.execEntries), -1);
        const code = i32.and(
          i32.load8U(filterByte(base, virtual, bank.codeFilter, codePageShift)),
          filterBit(virtual, codePageShift),
        );
        f.if(code, () => {
          newEpoch(state);
          f.call(clearJumps, [base]);
        });
      });
    });
    f.call(selectBank, [state.base]);
  });

  /** Of the banks' tables of this kind, the entries that lead to the frame at a host address go. */
  const purge = (f: FunctionBuilder, state: State, host: Local, table: { readonly begin: number; readonly end: number }): void => {
    const entry = f.local("i32");
    const end = f.local("i32");
    const pieces = f.local("i32");
    const all = (1 << ((table.end - table.begin) >> bank.usedShift)) - 1;
    forEachBank(f, state, (base) => {
      f.set(pieces, i32.and(i32.wrap(i64.shrU(i64.load(base, bank.used), table.begin >> bank.usedShift)), all));
      f.loop((nextPiece) => {
        f.if(pieces, () => {
          f.set(entry, i32.add(i32.add(base, table.begin), i32.shl(i32.ctz(pieces), bank.usedShift)));
          f.set(end, i32.add(entry, 1 << bank.usedShift));
          f.loop((next) => {
            const seen = i32.add(i32.wrap(i64.load(entry)), i32.load(entry, 8));
            f.if(i32.eq(seen, host), () => f.store("i64", entry, -1));
            f.set(entry, i32.add(entry, 16));
            f.branchIf(next, i32.ltU(entry, end));
          });
          f.set(pieces, i32.and(pieces, i32.sub(pieces, 1)));
          f.branch(nextPiece);
        });
      });
    });
  };

  const purgeWritable = module.function("purgeWritable", ["i32", "i32"], [], (f) => {
    const [state, host] = [new State(f), f.parameter(1)];
    const entry = f.let(frameEntry(map, host));
    const flags = f.let(i32.load(entry, frame.flags));
    f.if(i32.eqz(i32.and(flags, frameFlags.writable)), () => f.return());
    f.store("i32", entry, i32.and(flags, ~frameFlags.writable), frame.flags);
    purge(f, state, host, { begin: bank.write, end: bank.exec });
  });

  const purgeReadable = module.function("purgeReadable", ["i32", "i32"], [], (f) => {
    purge(f, new State(f), f.parameter(1), { begin: bank.read, end: bank.write });
  });

  const purgeExecutable = module.function("purgeExecutable", ["i32", "i32"], [], (f) => {
    const state = new State(f);
    const page = f.parameter(1);
    const entry = f.local("i32");
    const end = f.local("i32");
    forEachBank(f, state, (base) => {
      f.set(entry, i32.add(base, bank.exec));
      f.set(end, i32.add(entry, bank.execEntries * 16));
      f.loop((next) => {
        f.if(i32.eq(i32.load(entry, 8), page), () => {
          f.store("i64", entry, -1);
          f.store("i32", entry, 0, 8);
        });
        f.set(entry, i32.add(entry, 16));
        f.branchIf(next, i32.ltU(entry, end));
      });
    });
  });

  const forgetPage = module.function("forgetPage", ["i32", "i64", "i32"], [], (f) => {
    const [state, guestPhysical, host] = [new State(f), f.parameter(1), f.parameter(2)];
    forgetGuestPage(f, map, guestPhysical);
    f.call(purgeReadable, [state.base, host]);
    const page = f.let(i32.load(frameEntry(map, host), frame.predecoded));
    f.if(page, () => {
      f.call(purgeExecutable, [state.base, page]);
      f.call(flushJumps, [state.base]);
    });
  });

  return { selectBank, purgeExecutable, flush, flushGuests, forgetPage, flushAll, flushJumps, purgeWritable };
}

