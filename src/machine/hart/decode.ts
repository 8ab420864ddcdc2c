/**
 * Instructions are decoded once, into entries of 8 bytes that lie beside the page they come from: one for each halfword.
 *
 *   63            48 47   40 39   32 31   24 23   16 15          0
 *  ┌────────────────┬───────┬───────┬───────┬───────┬─────────────┐
 *  │   immediate    │  rs3  │  rs2  │  rs1  │  rd   │   handler   │      rd = 32 for x0, which takes writes
 *  └────────────────┴───────┴───────┴───────┴───────┴─────────────┘
 *
 * The immediates of instructions without rs2 have 32 bits. Fields are whole bytes, so that one load fetches each; the length is the handler's.
 */
import { conditional, i32, i64, select, type Expr, type FunctionReference, call } from "#wasm/expression.ts";
import type { FunctionBuilder, Local } from "#wasm/function.ts";
import type { Encoding, RegisterOperand } from "#riscv/encoding.ts";
import { decoderGroups, decoderRows, instructions, type DecoderRow } from "#riscv/table.ts";
import { cause } from "../csr-bits.ts";
import { bank, frame, frameFlags, heads, predecoded } from "../layout.ts";
import type { AddressTranslation } from "./address-translation.ts";
import { noteEntry } from "./memory-access.ts";
import { access } from "./physical-memory-protection.ts";
import { frameEntry, hostAddress, inRam, instructionAt, State, type Program } from "./program.ts";
import { tlbEntry, type TranslationBanks } from "./translation-banks.ts";

/** Handlers that are no instruction. */
export const handler = {
  /** All-zero entries: not decoded yet. */
  undecoded: 0,
  /** Behind the last entry of a page: go on at the next page. */
  pageEnd: 1,
  /** A region begins here; the immediate is the address of its record. */
  head: 2,
  /** In the place of an instruction: the monitor does it. Set by the monitor alone (`Processor.callOutAt`), and gone as soon as the code is written. */
  callOut: 3,
} as const;

/** An instruction as it stands in memory: a handler knows it, and its length. */
export interface Form {
  readonly number: number;
  readonly length: 2 | 4;
}

/** Form n has handler n + firstForm: the instructions of the table, then those that have a short form too. */
export const firstForm = 4;
export const forms: readonly Form[] = [
  ...instructions.map((_, number): Form => ({ number, length: 4 })),
  ...[...new Set(decoderRows.filter(({ encoding }) => encoding.length === 2).map(({ number }) => number))].map(
    (number): Form => ({ number, length: 2 }),
  ),
];

export function handlerOf(number: number, length: 2 | 4): number {
  return firstForm + forms.findIndex((form) => form.number === number && form.length === length);
}

/** Bytes of an entry. */
export const entryByte = { handler: 0, rd: 2, rs1: 3, rs2: 4, rs3: 5, imm: 4, imm16: 6 } as const;

/** Whether an instruction's entries have room for rs2 and rs3, and a short immediate. */
export function hasShortImmediate(number: number): boolean {
  return instructions[number]!.encoding.registers.some(({ operand }) => operand === "rs2");
}

export interface Decoder {
  /** (instruction word i32) → entry. */
  readonly decode: FunctionReference;
  /** (state, instruction word): puts the instruction and its sentinels into `scratchEntries`. */
  readonly toScratch: FunctionReference;
  /**
   * (state, pc) → the predecoded page that holds pc; 0 with `fault` set; 1 if the instruction can't be cached by page: then it is in
   * `scratchEntries`, a sentinel behind it.
   */
  readonly fetch: FunctionReference;
  /** (state, pc) → as fetch, for the instruction whose second half lies in the next page. */
  readonly fetchCrossing: FunctionReference;
  /** (state, host address of an instruction) → entry: decodes it, or gives the region's that begins there. */
  readonly entryAt: FunctionReference;
  /** (host address of an instruction) → region record, or 0. */
  readonly findHead: FunctionReference;
}

export function defineDecoder(program: Program, translation: AddressTranslation, banks: TranslationBanks): Decoder {
  const { module, map } = program;

  const decode = module.function("decode", ["i32"], ["i64"], defineDecode);

  const findHead = module.function("findHead", ["i32"], ["i32"], (f) => {
    const host = f.parameter(0);
    const index = f.let(i32.shrU(i32.mul(host, heads.multiplier), heads.shift));
    const slot = f.local("i32");
    f.loop((next) => {
      f.set(slot, i32.add(i32.shl(index, 3), map.heads));
      f.if(i32.eqz(i32.load(slot)), () => f.return(0));
      f.if(i32.eq(i32.load(slot), host), () => f.return(i32.load(slot, 4)));
      f.set(index, i32.and(i32.add(index, 1), heads.count - 1));
      f.branch(next);
    });
    f.unreachable();
  });

  const entryAt = module.function("entryAt", ["i32", "i32"], ["i64"], (f) => {
    const host = f.parameter(1);
    const flags = i32.load(frameEntry(map, host), frame.flags);
    f.if(i32.and(flags, frameFlags.heads), () => {
      const record = f.let(call(findHead, host));
      f.if(record, () =>
        f.return(i64.or(i64.shl(i64.extendI32U(record), 32), handler.head)),
      );
    });
    f.push(call(decode, instructionAt(host)));
  });

  const flushPredecoded = module.function("flushPredecoded", ["i32"], [], (f) => {
    const state = new State(f);
    state.count("pageFlushes");
    state.set("predecodeReused", 1);
    state.set("predecodeNext", map.predecode);
    state.set("predecodeFree", 0);
    const entry = f.let(i32.const(map.frames));
    const end = map.frames + (map.ramSize / 4096) * frame.size;
    f.loop((next) => {
      f.if(i32.load(entry, frame.predecoded), () => {
        f.store("i32", entry, 0, frame.predecoded);
        const flags = i32.load(entry, frame.flags);
        f.if(i32.eqz(i32.and(flags, frameFlags.translated)), () =>
          f.store("i32", entry, i32.and(flags, ~frameFlags.code), frame.flags),
        );
      });
      f.set(entry, i32.add(entry, frame.size));
      f.branchIf(next, i32.ltU(entry, end));
    });
    f.call(banks.flushAll, [state.base]);
  });

  /** (state, host frame address) → its predecoded page, made if need be. */
  const predecodedPage = module.function("predecodedPage", ["i32", "i32"], ["i32"], (f) => {
    const [state, host] = [new State(f), f.parameter(1)];
    const entry = f.let(frameEntry(map, host));
    const page = f.let(i32.load(entry, frame.predecoded));
    f.if(page, () => f.return(page));
    state.count("pagesPredecoded");
    f.set(page, state.get("predecodeFree"));
    f.if(
      page,
      () => {
        state.set("predecodeFree", i32.load(page));
        f.memoryFill(page, 0, predecoded.size);
      },
      () => {
        f.set(page, state.get("predecodeNext"));
        f.if(i32.gtU(i32.add(page, predecoded.size), map.predecodeEnd), () => {
          f.call(flushPredecoded, [state.base]);
          f.set(page, map.predecode);
        });
        state.set("predecodeNext", i32.add(page, predecoded.size));
        // What was never used is zero, and stays untouched where nothing is executed: the host need not find memory for it.
        f.if(state.get("predecodeReused"), () => f.memoryFill(page, 0, predecoded.size));
      },
    );
    f.store("i32", page, host);
    for (const i of [0, 1]) {
      f.store("i64", page, handler.pageEnd, predecoded.header + (predecoded.entries + i) * 8);
    }
    f.store("i32", entry, page, frame.predecoded);
    f.call(banks.purgeWritable, [state.base, host]);
    const flags = i32.load(entry, frame.flags);
    const kept = frameFlags.heads | frameFlags.translated;
    f.store("i32", entry, i32.or(i32.and(flags, kept), frameFlags.code), frame.flags);
    f.push(page);
  });

  const toScratch = module.function("toScratch", ["i32", "i32"], [], (f) => {
    const [state, word] = [new State(f), f.parameter(1)];
    state.set("scratchEntries", call(decode, word), 0);
    for (const i of [1, 2]) state.set("scratchEntries", handler.pageEnd, i);
    state.set("scratchEntries", i64.extendI32U(word), 3);
  });

  const fetchCrossing = module.function("fetchCrossing", ["i32", "i64"], ["i32"], (f) => {
    const [state, pc] = [new State(f), f.parameter(1)];
    const bankBase = f.let(state.get("bank"));
    const half = (at: Expr): Local => {
      const tlb = f.let(tlbEntry(bankBase, at, bank.exec, bank.execEntries));
      const value = f.local("i32");
      f.if(
        i64.eq(i64.load(tlb), i64.and(at, -4096)),
        () => f.set(value, i32.load16U(i32.or(i32.load(i32.load(tlb, 8)), i32.and(i32.wrap(at), 4095)))),
        () => f.set(value, translated(at)),
      );
      return value;
    };
    const translated = (at: Expr): Expr => {
      const physical = f.let(call(translation.translate, state.base, at, access.execute));
      f.if(i64.eq(physical, -1), () => f.return(0));
      f.if(i32.eqz(inRam(map, physical)), () => {
        state.fault(cause.instructionAccess, at);
        f.return(0);
      });
      return i32.load16U(hostAddress(map, physical));
    };
    const low = half(pc);
    f.if(i32.ne(i32.and(low, 3), 3), () => {
      f.call(toScratch, [state.base, low]);
      f.return(1);
    });
    const high = half(i64.add(pc, 2));
    f.call(toScratch, [state.base, i32.or(low, i32.shl(high, 16))]);
    f.push(i32.const(1));
  });

  const fetch = module.function("fetch", ["i32", "i64"], ["i32"], (f) => {
    const [state, pc] = [new State(f), f.parameter(1)];
    const physical = f.let(call(translation.translate, state.base, pc, access.execute));
    f.if(i64.eq(physical, -1), () => f.return(0));
    f.if(i32.eqz(inRam(map, physical)), () => {
      state.fault(cause.instructionAccess, pc);
      f.return(0);
    });
    // Protection finer than a page is asked for at each instruction.
    f.if(i32.eqz(state.get("pmpUniform")), () => {
      const isWithin = i32.ne(i32.and(i32.wrap(pc), 4095), 4094);
      f.if(i32.and(state.get("emulated"), isWithin), () => {
        const word = f.let(i32.load(hostAddress(map, physical)));
        f.call(toScratch, [state.base, select(i32.eq(i32.and(word, 3), 3), word, i32.and(word, 0xffff))]);
        f.return(1);
      });
      f.return(call(fetchCrossing, state.base, pc));
    });
    const large = f.let(state.get("walkLarge"));
    const global = f.let(state.get("walkGlobal"));
    const page = f.let(call(predecodedPage, state.base, i32.and(hostAddress(map, physical), -4096)));
    const base = f.let(state.get("bank"));
    const entry = f.let(tlbEntry(base, pc, bank.exec, bank.execEntries));
    f.store("i64", entry, i64.and(pc, -4096));
    f.store("i32", entry, page, 8);
    state.set("walkLarge", large);
    state.set("walkGlobal", global);
    noteEntry(f, state, base, entry, pc);
    f.push(page);
  });

  return { decode, toScratch, fetch, fetchCrossing, entryAt, findHead };
}

function defineDecode(f: FunctionBuilder): void {
  const word = f.parameter(0);
  const group = conditional(
    i32.eq(i32.and(word, 3), 3),
    i32.add(i32.and(i32.shrU(word, 2), 31), 32),
    i32.or(i32.shl(i32.and(word, 3), 3), i32.and(i32.shrU(word, 13), 7)),
  );
  f.block((illegal) => {
    const labels = decoderGroups.map(() => f.openBlock()).reverse();
    f.branchTable(group, labels, illegal);
    for (const rows of decoderGroups) {
      f.close();
      for (const row of rows) {
        f.if(i32.eq(i32.and(word, row.encoding.mask | 0), row.encoding.match | 0), () => f.return(entryOf(row, word)));
      }
      f.branch(illegal);
    }
  });
  f.push(select(i32.eq(i32.and(word, 3), 3), i64.const(handlerOf(0, 4)), i64.const(handlerOf(0, 2))));
}

function entryOf({ encoding, number, fixed }: DecoderRow, word: Expr): Expr {
  const floatRd = instructions[number]!.syntax.startsWith("frd");
  const short = hasShortImmediate(number);
  const immediate = fixed.imm === undefined ? immediateExpr(encoding, word) : i32.const(fixed.imm);
  const low = new Fields(handlerOf(number, encoding.length));
  const high = new Fields(0);
  for (const operand of ["rd", "rs1", "rs2", "rs3"] as const) {
    const half = operand === "rd" || operand === "rs1" ? low : high;
    const at = (entryByte[operand] & 3) * 8;
    const field = registerExpr(encoding, operand, word);
    if (field === undefined) {
      const register = fixed[operand] ?? 0;
      half.constant |= (operand === "rd" && register === 0 ? 32 : register) << at;
    } else half.add(operand === "rd" && !floatRd ? i32.add(field, i32.shl(i32.eqz(field), 5)) : field, at);
  }
  if (immediate !== undefined) high.add(immediate, short ? 16 : 0);
  return i64.or(i64.extendI32U(low.value), i64.shl(i64.extendI32U(high.value), 32));
}

/** Half of an entry, from its fields. */
class Fields {
  constant: number;
  #variable: Expr | undefined;

  constructor(constant: number) {
    this.constant = constant;
  }

  add(field: Expr, at: number): void {
    const placed = at === 0 ? field : i32.shl(field, at);
    this.#variable = this.#variable === undefined ? placed : i32.or(this.#variable, placed);
  }

  get value(): Expr {
    return this.#variable === undefined ? i32.const(this.constant) : i32.or(this.#variable, this.constant);
  }
}

function registerExpr(encoding: Encoding, operand: RegisterOperand, word: Expr): Expr | undefined {
  const field = encoding.registers.find((register) => register.operand === operand);
  if (field === undefined) return undefined;
  return field.compressed
    ? i32.add(i32.and(i32.shrU(word, field.low), 7), 8)
    : i32.and(i32.shrU(word, field.low), 31);
}

function immediateExpr({ immediate, signBit }: Encoding, word: Expr): Expr | undefined {
  let value: Expr | undefined;
  for (const { low, width, shift } of immediate) {
    const part = i32.shl(i32.and(i32.shrU(word, low), 2 ** width - 1), shift);
    value = value === undefined ? part : i32.or(value, part);
  }
  if (value === undefined || signBit < 0) return value;
  const unused = 31 - signBit;
  return unused === 0 ? value : i32.shrS(i32.shl(value, unused), unused);
}
