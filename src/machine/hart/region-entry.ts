/**
 * Ways into translated code. A region record says where its code was when it was translated:
 *
 *   slot i32 │ privilege i32 │ pages i32 │ - │ then for each page: distance from the head's in pages i32 │ host frame address i32
 *
 * Whoever enters by a pc must find the same frames mapped at the same distances; then the jump cache of the context remembers the slot.
 */
import { call, i32, i64, type FunctionReference } from "#wasm/expression.ts";
import type { FunctionBuilder, Signature } from "#wasm/function.ts";
import { bank, frame, frameFlags } from "../layout.ts";
import type { Decoder } from "./decode.ts";
import { noteUsed } from "./memory-access.ts";
import { frameEntry, State, type Program } from "./program.ts";
import { codePageShift, filterBit, filterByte, jumpEntry, tlbEntry } from "./translation-banks.ts";

export const regionRecord = { slot: 0, privilege: 4, pages: 8, page: 16, pageSize: 8 } as const;

/** Slot of the interpreter, for calls to code that isn't translated. */
export const interpreterSlot = 0;

export interface RegionEntry {
  /** (state, pc, region record) → slot of the function table, or 0 if the region is not for this context. */
  readonly enter: FunctionReference;
  /** Of a region: (state, pc, budget, nesting) → (pc, budget). */
  readonly signature: Signature;
  /** With a region's signature: goes on in the region at pc, or in the interpreter. For what the jump cache doesn't know. */
  readonly jump: FunctionReference;
}

export function defineRegionEntry({ module, map }: Program, decoder: Decoder): RegionEntry {
  /** (state, pc) → the predecoded page at pc, or 0 if there is none that can be cached. Leaves no fault. */
  const pageAt = module.function("pageAt", ["i32", "i64"], ["i32"], (f) => {
    const [state, pc] = [new State(f), f.parameter(1)];
    const entry = f.let(tlbEntry(state.get("bank"), pc, bank.exec, bank.execEntries));
    f.if(i64.eq(i64.load(entry), i64.and(pc, -4096)), () => f.return(i32.load(entry, 8)));
    const page = f.let(call(decoder.fetch, state.base, pc));
    f.if(i32.gtU(page, 1), () => f.return(page));
    state.set("fault", 0);
    f.push(i32.const(0));
  });

  const enter = module.function("enterRegion", ["i32", "i64", "i32"], ["i32"], (f) => {
    const [state, pc, record] = [new State(f), f.parameter(1), f.parameter(2)];
    const base = f.let(state.get("bank"));
    const entry = f.let(jumpEntry(base, pc));
    f.if(i64.eq(i64.load(entry), pc), () => f.return(i32.load(entry, 8)));
    f.if(i32.ne(i32.load(record, regionRecord.privilege), state.get("privilege")), () => f.return(0));
    const last = f.let(i32.add(record, i32.shl(i32.load(record, regionRecord.pages), 3)));
    const page = f.let(record);
    const virtual = f.local("i64");
    f.loop((next) => {
      f.set(
        virtual,
        i64.add(i64.and(pc, -4096), i64.shl(i64.extendI32S(i32.load(page, regionRecord.page)), 12)),
      );
      const decoded = f.let(call(pageAt, state.base, virtual));
      f.if(i32.eqz(decoded), () => f.return(0));
      f.if(i32.ne(i32.load(decoded), i32.load(page, regionRecord.page + 4)), () => f.return(0));
      markCode(f, base, virtual);
      f.set(page, i32.add(page, regionRecord.pageSize));
      f.branchIf(next, i32.ltU(page, last));
    });
    noteUsed(f, base, entry);
    f.store("i64", entry, pc);
    f.store("i32", entry, i32.load(record, regionRecord.slot), 8);
    f.push(i32.load(record, regionRecord.slot));
  });

  /** (state, pc) → slot of the region that begins there, or of the interpreter. */
  const resolve = module.function("resolve", ["i32", "i64"], ["i32"], (f) => {
    const [state, pc] = [new State(f), f.parameter(1)];
    const page = f.let(call(pageAt, state.base, pc));
    f.if(i32.eqz(page), () => f.return(interpreterSlot));
    const host = f.let(i32.or(i32.load(page), i32.and(i32.wrap(pc), 4095)));
    f.if(i32.eqz(i32.and(i32.load(frameEntry(map, host), frame.flags), frameFlags.heads)), () =>
      f.return(interpreterSlot),
    );
    const record = f.let(call(decoder.findHead, host));
    f.if(i32.eqz(record), () => f.return(interpreterSlot));
    f.push(call(enter, state.base, pc, record));
  });

  const signature = module.signature(["i32", "i64", "i32", "i32"], ["i64", "i32"]);
  const jump = module.function("jump", signature.parameters, signature.results, (f) => {
    const operands = [0, 1, 2, 3].map((i) => f.parameter(i));
    f.returnCallIndirect(signature, call(resolve, operands[0]!, operands[1]!), operands);
  });

  return { enter, signature, jump };
}

/** Notes in the bank that its jump cache depends on a page. */
function markCode(f: FunctionBuilder, base: ReturnType<FunctionBuilder["parameter"]>, virtual: ReturnType<FunctionBuilder["local"]>): void {
  const byte = f.let(filterByte(base, virtual, bank.codeFilter, codePageShift));
  f.store("i32_8", byte, i32.or(i32.load8U(byte), filterBit(virtual, codePageShift)));
}
