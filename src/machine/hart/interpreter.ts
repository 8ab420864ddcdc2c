/**
 * The interpreter: one WebAssembly function, a switch over decoded entries. Every handler comes from the instruction table; this file
 * gives the table's semantics operands that are read when the instruction runs.
 *
 * The pc is not kept: `ip` points to the entry in the predecoded page, and pc = pcBase + (ip - ipBase) / 4.
 */
import { call, conditional, i32, i64, select, type Expr, type FunctionReference, type Operand } from "#wasm/expression.ts";
import type { FunctionBuilder, Label, Local, Signature } from "#wasm/function.ts";
import type { RegisterOperand } from "#riscv/encoding.ts";
import { instructions } from "#riscv/table.ts";
import type {
  CsrOperation,
  FloatFormat,
  FloatOperation,
  MemoryAccess,
  Semantics,
  SystemOperation,
} from "#riscv/semantics.ts";
import { cause, privilege } from "../csr-bits.ts";
import { bank, counterCount, edge, knownCode, layout, predecoded, request } from "../layout.ts";
import { silentInstructions, type MachineModel } from "../model.ts";
import { noteSilence } from "../silences.ts";
import type { AddressTranslation } from "./address-translation.ts";
import type { Csrs } from "./csrs.ts";
import type { Deprivileged } from "./deprivileged.ts";
import { entryByte, firstForm, forms, handler, hasShortImmediate, type Decoder, type Form } from "./decode.ts";
import { ExitReason } from "./exit-reason.ts";
import type { MemoryRoutines } from "./memory-access.ts";
import { access } from "./physical-memory-protection.ts";
import { hostAddress, inRam, instructionAt, State, type Program } from "./program.ts";
import { executeSystem, goesOn } from "./system-instructions.ts";
import { tlbEntry, tlbIndex, tlbMiss, type TranslationBanks } from "./translation-banks.ts";
import type { Traps } from "./traps.ts";
import type { VirtualMachineAccess } from "./virtual-machine-access.ts";

/** Executions after which a place is asked to be compiled. */
export const hotThreshold = 2000;
/** Executions after which it is asked whether there is a translation of the same code already: a power of two that divides the other. */
const knownThreshold = 16;

/** So many instructions later, at most, requests are taken. Others that come in the meantime are compiled with the first. */
const requestPatience = 10_000;

/** Depth of nested region calls. */
export const nestingLimit = 160;
/** A region that left goes on in place only if there is so much room for what it may call yet. */
const recoveryRoom = 60;

export interface InterpreterParts {
  readonly model: MachineModel;
  readonly translation: AddressTranslation;
  readonly banks: TranslationBanks;
  readonly memory: MemoryRoutines;
  readonly virtualMachine: VirtualMachineAccess;
  readonly traps: Traps;
  readonly csrs: Csrs;
  readonly deprivileged: Deprivileged;
  readonly decoder: Decoder;
  /** (state, pc, region record) → slot, or 0 if the region can't be entered in this context. */
  readonly enterRegion: FunctionReference;
  /** Of a region: (state, pc, budget, nesting) → (pc, budget). */
  readonly regionSignature: Signature;
  /** Arithmetic routines by name. */
  readonly routines: Readonly<Record<string, FunctionReference>>;
}

export interface Interpreter {
  /** (state) → exit reason; the pc and the budget are taken from the state and left there. */
  readonly run: FunctionReference;
  /** With a region's signature: interprets a callee that is not translated, until it returns to its caller. */
  readonly nested: FunctionReference;
  /**
   * (state, pc, budget, nesting, stop) → (pc, budget): a region's callee came back with this pc. If it left for the interpreter, it is interpreted until it
   * returns to `stop`, if that can be.
   */
  readonly recover: FunctionReference;
}

export function defineInterpreter(program: Program, parts: InterpreterParts): Interpreter {
  const { module, map } = program;
  const { traps, decoder } = parts;

  /** (state, pc, host address, budget, executions) → budget, cut: notes what the translator needs to know while the context is what it is. */
  const requestCompile = module.function("requestCompile", ["i32", "i64", "i32", "i32", "i32"], ["i32"], (f) => {
    const [state, pc, budget] = [new State(f), f.parameter(1), f.parameter(3)];
    const number = f.let(state.get("requests"));
    f.if(i32.geU(number, request.count), () => f.return(budget));
    state.set("requests", i32.add(number, 1));
    const early = f.let(i32.sub(budget, requestPatience));
    f.if(i32.gtS(early, 0), () => {
      f.set(budget, requestPatience);
      state.set("reserve", i32.add(state.get("reserve"), early));
      state.set("instretTarget", i64.sub(state.get("instretTarget"), i64.extendI32S(early)));
    });
    const slot = f.let(i32.add(i32.mul(number, request.size), map.requests));
    f.memoryFill(slot, 0, request.size);
    f.store("i32", slot, f.parameter(2), request.head);
    f.store("i32", slot, state.get("privilege"), request.privilege);
    f.store("i32", slot, f.parameter(4), request.executions);
    const middle = request.frames + 4 * request.reach;
    f.store("i32", slot, i32.and(f.parameter(2), -4096), middle);
    // Without ADUE, pages that were never accessed fault instead of becoming accessed.
    state.set("looking", 1);
    const virtual = f.local("i64");
    const physical = f.local("i64");
    const at = f.local("i32");
    for (const step of [1, -1]) {
      f.set(virtual, i64.and(pc, -4096));
      f.set(at, i32.add(slot, middle));
      f.block((end) =>
        f.loop((next) => {
          f.set(virtual, i64.add(virtual, step * 4096));
          f.set(at, i32.add(at, step * 4));
          f.set(physical, call(parts.translation.translate, state.base, virtual, access.execute));
          state.set("fault", 0);
          f.branchIf(end, i64.eq(physical, -1));
          f.branchIf(end, i32.eqz(inRam(map, physical)));
          f.store("i32", at, i32.and(hostAddress(map, physical), -4096));
          const last = i32.add(slot, middle + step * 4 * request.reach);
          f.branchIf(next, i32.ne(at, last));
        }),
      );
    }
    state.set("looking", 0);
    f.push(budget);
  });

  /** (host address of code) → not 0 if there may be a translation of the same. */
  const mayBeKnown = module.function("mayBeKnown", ["i32"], ["i32"], (f) => {
    const host = f.parameter(0);
    const inPage = f.let(i32.and(host, 4095));
    // Of the last bytes of a page, those before them are part.
    f.if(i32.gtU(inPage, 4088), () => f.set(host, i32.or(i32.sub(host, inPage), 4088)));
    const { multiplier, shift, bytes } = knownCode;
    const hash = f.let(i32.xor(i32.load(host), i32.mul(i32.load(host, 4), multiplier)));
    f.set(hash, i32.shrU(i32.mul(i32.xor(hash, i32.mul(inPage, multiplier)), multiplier), shift));
    const byte = i32.load8U(i32.and(i32.shrU(hash, 3), bytes - 1), map.knownCode);
    f.push(i32.and(i32.shrU(byte, i32.and(hash, 7)), 1));
  });

  /** (host address of an indirect jump, distance to its target): remembers the pair, for the translator. */
  const noteEdge = module.function("noteEdge", ["i32", "i32"], [], (f) => {
    const [host, distance] = [f.parameter(0), f.parameter(1)];
    const slot = f.local("i32");
    const hash = f.let(i32.mul(i32.add(i32.mul(host, 31), distance), 0x9e3779b1 | 0));
    f.set(hash, i32.shrU(hash, 32 - Math.log2(edge.count)));
    const probes = f.let(i32.const(edge.probes));
    f.loop((next) => {
      f.set(slot, i32.add(i32.shl(i32.and(hash, edge.count - 1), 3), map.edges));
      f.if(i32.eqz(i32.load(slot)), () => {
        f.store("i32", slot, host);
        f.store("i32", slot, distance, 4);
        f.return();
      });
      f.if(i32.and(i32.eq(i32.load(slot), host), i32.eq(i32.load(slot, 4), distance)), () => f.return());
      f.set(hash, i32.add(hash, 1));
      f.set(probes, i32.sub(probes, 1));
      f.branchIf(next, probes);
    });
  });

  /**
   * (state, pc, budget, nesting, stop) → (pc, budget). Returns when a jump or a region comes to the pc `stop`; or with the pc -1, the true one and the
   * exit reason in the state.
   */
  const interpret = module.function("interpret", ["i32", "i64", "i32", "i32", "i64"], ["i64", "i32"], (f) => {
    const state = new State(f);
    const [pc, budget, nesting, stop] = [1, 2, 3, 4].map((i) => f.parameter(i)) as [Local, Local, Local, Local];
    const pcBase = f.local("i64");
    const ip = f.local("i32");
    const ipBase = f.local("i32");
    const page = f.local("i32");
    const bankBase = f.local("i32");
    const profile = f.local("i32");
    const bypass = f.local("i64");
    const target = f.local("i32");
    const slot = f.local("i32");

    const pcOfIp = (): Expr => i64.add(pcBase, i64.extendI32U(i32.shrU(i32.sub(ip, ipBase), 2)));
    const hostOfIp = (): Expr => i32.add(i32.load(i32.sub(ipBase, predecoded.header)), i32.shrU(i32.sub(ip, ipBase), 2));
    const leave = (reason: number): void => {
      state.set("pc", pc);
      state.set("budget", budget);
      state.set("exitReason", reason);
      f.return(-1, budget);
    };

    const leaveToMonitor = (): void => f.if(state.get("exitReason"), () => leave(ExitReason.exit));

    const key = f.let(state.get("bankKey"));
    const epoch = f.let(state.get("codeEpoch"));
    // The caller's code must be what it was, in the same context; else all translated callers are left behind.
    const returnIfStop = (): void =>
      f.if(i64.eq(pc, stop), () => {
        f.if(
          i32.and(i64.eq(key, state.get("bankKey")), i32.eq(epoch, state.get("codeEpoch"))),
          () => f.return(pc, budget),
          () => leave(ExitReason.slice),
        );
      });

    f.set(bankBase, state.get("bank"));
    // Where a region left, no region is entered; a callee of translated code counts as called.
    const leaves = f.let(state.get("interpretOne"));
    state.set("interpretOne", 0);
    f.set(bypass, select(leaves, pc, i64.const(-1)));
    f.set(profile, i32.and(i64.ne(stop, -1), i32.eqz(leaves)));

    f.loop((fetch) => {
      // Here pc is where to go on, nothing else is known.
      f.block((trapAtPc) => {
        f.block((ready) => {
          const tlb = f.let(tlbEntry(bankBase, pc, bank.exec, bank.execEntries));
          f.if(
            i64.eq(i64.load(tlb), i64.and(pc, -4096)),
            () => f.set(page, i32.load(tlb, 8)),
            () => {
              f.set(page, call(decoder.fetch, state.base, pc));
              f.if(i32.leU(page, 1), () => {
                f.branchIf(trapAtPc, i32.eqz(page));
                useScratch();
                f.branch(ready);
              });
            },
          );
          f.set(ipBase, i32.add(page, predecoded.header));
          f.set(pcBase, i64.and(pc, -4096));
          f.set(ip, i32.add(ipBase, i32.shl(i32.and(i32.wrap(pc), 4094), 2)));
        });

        f.block((redirected) => {
          f.block((attended) => {
            f.block((trapAtIp) => {
              f.loop((again) => {
                f.block((profiled) => {
                  f.branchIf(profiled, profile);
                  f.loop((next) => {
                    f.set(budget, i32.sub(budget, 1));
                    f.if(i32.ltS(budget, 0), () => {
                      f.set(budget, i32.add(budget, 1));
                      f.set(pc, pcOfIp());
                      leave(ExitReason.slice);
                    });
                    handlers({ fetch, next, trapAtIp, trapAtPc, attended, redirected, profiled });
                  });
                });
                // A jump landed at ip: count it, and ask for a translation when it is hot.
                f.set(profile, 0);
                const counter = f.let(
                  i32.add(i32.and(i32.shrU(ip, 1), (counterCount - 1) << 2), map.counters),
                );
                const count = f.let(i32.add(i32.load(counter), 1));
                f.store("i32", counter, count);
                f.if(i32.eqz(i32.and(count, knownThreshold - 1)), () => {
                  // From the start again: other places share the counter, and the request may come to nothing.
                  const hot = i32.geU(count, hotThreshold);
                  f.if(hot, () => f.store("i32", counter, 0));
                  f.branchIf(again, i32.eq(i32.load16U(ip, entryByte.handler), handler.head));
                  f.if(i32.eqz(hot), () => {
                    f.branchIf(again, i32.ne(count, knownThreshold));
                    f.branchIf(again, i32.eqz(call(mayBeKnown, hostOfIp())));
                  });
                  f.set(budget, call(requestCompile, state.base, pcOfIp(), hostOfIp(), budget, count));
                });
                f.branch(again);
              });
            });
            // trapAtIp: the instruction at ip faulted; it does not retire.
            f.set(pc, pcOfIp());
            f.set(budget, i32.add(budget, 1));
            const forbidden = i32.or(
              i64.eq(state.get("faultCause"), cause.illegalInstruction),
              i64.eq(state.get("faultCause"), cause.virtualInstruction),
            );
            f.if(i32.and(forbidden, i64.eqz(state.get("faultValue"))), () => state.set("faultValue", i64.extendI32U(instructionBits())));
            const watched = i32.or(state.get("faultAsGuest"), state.get("monitored"));
            f.if(i32.or(i32.geU(state.get("privilege"), privilege.machine), watched), () =>
              state.set("faultInstruction", instructionBits()),
            );
            f.branch(trapAtPc);
          });
          // attended: the instruction before ip is done; the context or the pending interrupts may have changed.
          state.set("pc", pcOfIp());
          f.set(budget, state.get("budget"));
        });
        // redirected: the next pc is in the state.
        state.set("attention", 0);
        f.set(pc, state.get("pc"));
        f.if(call(traps.takeInterrupt, state.base, pc), leaveToMonitor);
        f.set(pc, state.get("pc"));
        f.set(bankBase, state.get("bank"));
        f.branch(fetch);
      });
      // trapAtPc: cause and value are in the state.
      state.set("budget", budget);
      f.call(traps.raise, [state.base, pc, state.get("faultCause"), state.get("faultValue")]);
      leaveToMonitor();
      f.set(pc, state.get("pc"));
      f.set(bankBase, state.get("bank"));
      f.set(profile, 0);
      // Nothing retires, but a trap takes one of the slice: a hart whose trap vector faults must come back all the same.
      f.if(i32.leS(budget, 0), () => leave(ExitReason.slice));
      f.set(budget, i32.sub(budget, 1));
      state.set("instretTarget", i64.sub(state.get("instretTarget"), 1));
      f.branch(fetch);
    });
    f.unreachable();

    /** The one instruction at pc is in the scratch entries: no place in the page that seems to hold it can be reached by an offset. */
    function useScratch(): void {
      f.set(ip, i32.add(state.base, layout.scratchEntries.offset));
      f.set(ipBase, i32.sub(ip, scratchDistance));
      f.set(pcBase, i64.sub(pc, scratchDistance / 4));
      f.set(profile, 0);
    }

    /** The instruction at ip. */
    function instructionBits(): Expr {
      return conditional(isInPage(ip, ipBase), instructionAt(hostOfIp()), i32.wrap(state.get("scratchEntries", 3)));
    }

    function handlers(labels: Labels): void {
      const blocks: Label[] = [];
      const count = forms.length + firstForm;
      for (let i = count - 1; i >= 0; i--) blocks[i] = f.openBlock();
      f.branchTable(i32.load16U(ip, entryByte.handler), blocks, blocks[firstForm]!);
      for (let i = 0; i < count; i++) {
        f.close();
        f.scope(() => {
          if (i >= firstForm) {
            const form = forms[i - firstForm]!;
            const semantics = new InterpretedSemantics(f, state, parts, labels, form, {
              ip,
              ipBase,
              pcBase,
              pc,
              returnIfStop,
              budget,
              bankBase,
              profile,
              target,
              noteEdge,
              bits: instructionBits,
            });
            instructions[form.number]!.semantics(semantics);
            semantics.end();
          } else if (i === handler.undecoded) undecoded(labels);
          else if (i === handler.callOut) callOut();
          else if (i === handler.pageEnd) {
            f.set(budget, i32.add(budget, 1));
            f.set(pc, pcOfIp());
            f.branch(labels.fetch);
          } else head(labels);
        });
      }
    }

    function undecoded({ next, trapAtPc }: Labels): void {
      const host = f.let(hostOfIp());
      f.set(budget, i32.add(budget, 1));
      f.if(
        i32.and(i32.eq(i32.and(host, 4095), 4094), i32.eq(i32.and(i32.load16U(host), 3), 3)),
        () => {
          f.set(pc, pcOfIp());
          f.branchIf(trapAtPc, i32.eqz(call(decoder.fetchCrossing, state.base, pc)));
          useScratch();
        },
        () => f.store("i64", ip, call(decoder.entryAt, state.base, host)),
      );
      f.branch(next);
    }

    function callOut(): void {
      f.set(pc, pcOfIp());
      f.set(budget, i32.add(budget, 1));
      state.set("exitCause", cause.callOut);
      state.set("exitInstruction", instructionBits());
      state.set("exitPc", pc);
      leave(ExitReason.exit);
    }

    function head({ fetch, next, redirected }: Labels): void {
      f.set(pc, pcOfIp());
      f.block((interpret) => {
        f.if(i64.eq(pc, bypass), () => {
          f.set(bypass, -1);
          f.branch(interpret);
        });
        f.set(slot, call(parts.enterRegion, state.base, pc, i32.load(ip, entryByte.imm)));
        f.branchIf(interpret, i32.eqz(slot));
        f.set(budget, i32.add(budget, 1));
        state.count("translated", i64.extendI32S(budget));
        f.callIndirect(parts.regionSignature, slot, [state.base, pc, budget, nesting], [pc, budget]);
        state.count("translated", i64.sub(0, i64.extendI32S(budget)));
        state.count("regionEntries");
        f.if(state.get("exitReason"), () => f.return(pc, budget));
        f.set(bankBase, state.get("bank"));
        f.if(state.get("attention"), () => {
          state.set("pc", pc);
          state.set("interpretOne", 0);
          f.branch(redirected);
        });
        f.if(state.get("interpretOne"), () => {
          state.set("interpretOne", 0);
          f.set(bypass, pc);
          f.branch(fetch);
        });
        returnIfStop();
        f.branch(fetch);
      });
      f.call(decoder.toScratch, [state.base, instructionAt(hostOfIp())]);
      useScratch();
      f.set(budget, i32.add(budget, 1));
      f.branch(next);
    }
  });

  const run = module.function("run", ["i32"], ["i32"], (f) => {
    const state = new State(f);
    const pc = f.local("i64");
    const budget = f.local("i32");
    state.set("exitReason", 0);
    f.drop(call(traps.takeInterrupt, state.base, state.get("pc")));
    f.if(state.get("exitReason"), () => f.return(state.get("exitReason")));
    f.call(interpret, [state.base, state.get("pc"), state.get("budget"), nestingLimit, -1], [pc, budget]);
    f.push(state.get("exitReason"));
  });

  const nested = module.function("nested", ["i32", "i64", "i32", "i32"], ["i64", "i32"], (f) => {
    const state = new State(f);
    const [pc, budget] = [f.parameter(1), f.parameter(2)];
    // The region that calls is credited with all that happens until it returns: what is interpreted here comes off.
    state.count("translated", i64.sub(0, i64.extendI32S(budget)));
    f.call(interpret, [state.base, pc, budget, f.parameter(3), state.get("x", 1)], [pc, budget]);
    state.count("translated", i64.extendI32S(budget));
    f.return(pc, budget);
  });

  const recover = module.function("recover", ["i32", "i64", "i32", "i32", "i64"], ["i64", "i32"], (f) => {
    const state = new State(f);
    const [pc, budget, nesting, stop] = [1, 2, 3, 4].map((i) => f.parameter(i)) as [Local, Local, Local, Local];
    const unwinds = i32.or(i32.or(state.get("exitReason"), state.get("attention")), i32.ltU(nesting, recoveryRoom));
    f.if(i32.or(i32.eqz(state.get("interpretOne")), unwinds), () => f.return(pc, budget));
    state.count("translated", i64.sub(0, i64.extendI32S(budget)));
    f.call(interpret, [state.base, pc, budget, nesting, stop], [pc, budget]);
    state.count("translated", i64.extendI32S(budget));
    f.return(pc, budget);
  });

  return { run, nested, recover };
}

export interface Labels {
  /** Go on at pc, wherever that is. */
  readonly fetch: Label;
  /** Execute the entry at ip. */
  readonly next: Label;
  readonly trapAtIp: Label;
  /** What is at pc could not be fetched. */
  readonly trapAtPc: Label;
  readonly attended: Label;
  readonly redirected: Label;
  /** A jump went to the entry at ip. */
  readonly profiled: Label;
}

/** How far behind its page's entries the scratch entries seem to stand: further than any jump by an offset reaches. */
const scratchDistance = 1 << 30;

/** Whether an entry stands in the page that begins at `ipBase`. */
function isInPage(ip: Expr, ipBase: Expr): Expr {
  return i32.ltU(i32.sub(ip, ipBase), predecoded.entries * 8);
}

export interface Registers {
  readonly ip: Local;
  readonly ipBase: Local;
  readonly pcBase: Local;
  readonly pc: Local;
  /** At a jump's target: returns to the translated caller if that is where it leads. */
  readonly returnIfStop: () => void;
  readonly budget: Local;
  readonly bankBase: Local;
  readonly profile: Local;
  readonly target: Local;
  readonly noteEdge: FunctionReference;
  /** The instruction's bits. */
  readonly bits: () => Expr;
}

const log2Size: Record<MemoryAccess, number> = { i8: 0, u8: 0, i16: 1, u16: 1, i32: 2, u32: 2, i64: 3 };

export class InterpretedSemantics implements Semantics {
  readonly f: FunctionBuilder;
  readonly #state: State;
  readonly #parts: InterpreterParts;
  readonly #labels: Labels;
  readonly #r: Registers;
  readonly #form: Form;
  /** Where rd is, if it had to be read early. */
  #rd: Local | undefined;
  #ended = false;

  constructor(f: FunctionBuilder, state: State, parts: InterpreterParts, labels: Labels, form: Form, registers: Registers) {
    this.f = f;
    this.#state = state;
    this.#parts = parts;
    this.#labels = labels;
    this.#form = form;
    this.#r = registers;
  }

  /** On to the next entry, unless the semantics went elsewhere. */
  end(): void {
    if (this.#ended) return;
    this.#advance();
    this.f.branch(this.#labels.next);
  }

  #advance(): void {
    const { ip } = this.#r;
    this.f.set(ip, i32.add(ip, this.#form.length * 4));
  }

  /** The context or what is pending may have changed: the hart looks, if the instruction is done. */
  attend(): void {
    this.f.if(this.#state.get("attention"), () => {
      this.#advance();
      this.f.branch(this.#labels.attended);
    });
  }

  /** The state, so many registers on; the offset of x or f is left to the access. */
  #register(operand: RegisterOperand): Expr {
    return i32.add(this.#state.base, i32.shl(this.#number(operand), 3));
  }

  #number(operand: RegisterOperand): Expr {
    return i32.load8U(this.#r.ip, entryByte[operand]);
  }

  /** What is stored to memory, or happens on the way to it, may be the end of the entry. */
  readRd(): void {
    this.#rd = this.f.let(this.#register("rd"));
  }

  get rs1(): Expr {
    return i64.load(this.#register("rs1"), layout.x.offset);
  }
  get rs2(): Expr {
    return i64.load(this.#register("rs2"), layout.x.offset);
  }
  get imm(): Expr {
    const { ip } = this.#r;
    return hasShortImmediate(this.#form.number) ? i64.load16S(ip, entryByte.imm16) : i64.load32S(ip, entryByte.imm);
  }
  get #imm32(): Expr {
    const { ip } = this.#r;
    return hasShortImmediate(this.#form.number) ? i32.load16S(ip, entryByte.imm16) : i32.load(ip, entryByte.imm);
  }
  get pc(): Expr {
    const { ip, ipBase, pcBase } = this.#r;
    return i64.add(pcBase, i64.extendI32U(i32.shrU(i32.sub(ip, ipBase), 2)));
  }
  get next(): Expr {
    return i64.add(this.pc, this.#form.length);
  }
  setRd(value: Operand): void {
    this.f.store("i64", this.#rd ?? this.#register("rd"), value, layout.x.offset);
  }

  /** The host address of a span of memory, if the TLB has it; else `miss` runs, and may branch away or set the local. */
  #translated(
    address: Local,
    table: "read" | "write",
    size: number,
    hit: (host: Expr) => void,
    miss: () => void,
  ): void {
    const { f } = this;
    const entries = table === "read" ? bank.readEntries : bank.writeEntries;
    const entry = f.let(tlbIndex(this.#r.bankBase, address, entries));
    f.if(
      i32.eqz(tlbMiss(entry, bank[table], address, size)),
      () => hit(i32.add(i32.wrap(address), i32.load(entry, bank[table] + 8))),
      miss,
    );
  }

  #trapIfFault(): void {
    this.f.branchIf(this.#labels.trapAtIp, this.#state.get("fault"));
  }

  load(access: MemoryAccess, address: Expr): Expr {
    const { f } = this;
    const at = f.let(address);
    this.readRd();
    const value = f.temporary("i64");
    const log = log2Size[access];
    const loads = {
      i8: i64.load8S,
      u8: i64.load8U,
      i16: i64.load16S,
      u16: i64.load16U,
      i32: i64.load32S,
      u32: i64.load32U,
      i64: i64.load,
    };
    const extend = { i8: i64.extend8S, i16: i64.extend16S, i32: i64.extend32S };
    this.#translated(
      at,
      "read",
      1 << log,
      (host) => f.set(value, loads[access](host)),
      () => {
        this.#state.set("budget", this.#r.budget);
        f.set(value, call(this.#parts.memory.loadSlow, this.#state.base, at, log));
        this.#trapIfFault();
        if (access in extend) f.set(value, extend[access as keyof typeof extend](value));
      },
    );
    return value;
  }

  store(access: MemoryAccess, address: Expr, value: Expr): void {
    const { f } = this;
    const at = f.let(address);
    const log = log2Size[access];
    const kind = (["i64_8", "i64_16", "i64_32", "i64"] as const)[log]!;
    this.#translated(
      at,
      "write",
      1 << log,
      (host) => f.store(kind, host, value),
      () => {
        this.#state.set("budget", this.#r.budget);
        f.call(this.#parts.memory.storeSlow, [this.#state.base, at, log, value]);
        this.#trapIfFault();
        this.attend();
      },
    );
  }

  #atomicHost(at: Local, log: number, table: "read" | "write"): Local {
    const { f } = this;
    this.readRd();
    const host = f.temporary("i32");
    const slow = (): void => {
      f.set(
        host,
        call(this.#parts.memory.atomicAddress, this.#state.base, at, log, table === "read" ? access.read : access.write),
      );
      f.branchIf(this.#labels.trapAtIp, i32.eqz(host));
    };
    f.if(i32.and(i32.wrap(at), (1 << log) - 1), slow, () =>
      this.#translated(at, table, 1 << log, (value) => f.set(host, value), slow),
    );
    return host;
  }

  readModifyWrite(access: "i32" | "i64", address: Expr, update: (old: Expr) => Expr): Expr {
    const { f } = this;
    const at = f.let(address);
    const host = this.#atomicHost(at, log2Size[access], "write");
    const old = f.let(access === "i32" ? i64.load32S(host) : i64.load(host));
    f.store(access === "i32" ? "i64_32" : "i64", host, update(old));
    return old;
  }

  loadReserved(access: "i32" | "i64", address: Expr): Expr {
    const { f } = this;
    const at = f.let(address);
    const host = this.#atomicHost(at, log2Size[access], "read");
    const value = f.let(access === "i32" ? i64.load32S(host) : i64.load(host));
    this.#state.set("reservation", host);
    this.#state.set("reservationValue", value);
    return value;
  }

  storeConditional(access: "i32" | "i64", address: Expr, value: Expr): Expr {
    const { f } = this;
    const at = f.let(address);
    const host = this.#atomicHost(at, log2Size[access], "write");
    const failed = f.let(i64.const(1));
    const current = access === "i32" ? i64.load32S(host) : i64.load(host);
    f.if(
      i32.and(
        i32.eq(this.#state.get("reservation"), host),
        i64.eq(current, this.#state.get("reservationValue")),
      ),
      () => {
        f.store(access === "i32" ? "i64_32" : "i64", host, value);
        f.set(failed, 0);
      },
    );
    this.#state.set("reservation", 0);
    return failed;
  }

  fence(): void {}

  branch(condition: Expr): void {
    const { f } = this;
    f.if(condition, () => this.#jumpBy("backward"));
  }

  /** To pc + imm, within the page if it can be. Forward branches start no loop, so they are not profiled. */
  #jumpBy(profiles: "always" | "backward"): void {
    const { f } = this;
    const { ip, ipBase, pc, profile, target } = this.#r;
    const imm = f.let(this.#imm32);
    f.set(target, i32.add(ip, i32.shl(imm, 2)));
    f.if(i32.eqz(isInPage(target, ipBase)), () => {
      f.set(pc, i64.add(this.pc, this.imm));
      f.set(profile, 1);
      f.branch(this.#labels.fetch);
    });
    f.set(ip, target);
    if (profiles === "backward") f.branchIf(this.#labels.next, i32.geS(imm, 0));
    f.branch(this.#labels.profiled);
  }

  jump(): void {
    this.setRd(this.next);
    this.#jumpBy("always");
    this.#ended = true;
  }

  jumpRegister(address: Expr): void {
    const { f } = this;
    const { ip, ipBase, pc, profile } = this.#r;
    f.set(pc, i64.and(address, -2));
    this.setRd(this.next);
    this.#r.returnIfStop();
    const isReturn = i32.eq(this.#number("rs1"), 1);
    const isJump = i32.and(i32.eq(this.#number("rd"), 32), i32.eqz(isReturn));
    f.if(i32.and(isJump, isInPage(ip, ipBase)), () => {
      const host = i32.add(i32.load(i32.sub(ipBase, predecoded.header)), i32.shrU(i32.sub(ip, ipBase), 2));
      f.call(this.#r.noteEdge, [host, i32.wrap(i64.sub(pc, this.pc))]);
    });
    f.set(profile, 1);
    f.branch(this.#labels.fetch);
    this.#ended = true;
  }

  #single(bits: Expr): Expr {
    const value = this.f.let(bits);
    return select(i64.eq(i64.shrU(value, 32), 0xffffffff), i32.wrap(value), 0x7fc00000);
  }
  get frs1(): Expr {
    return i64.load(this.#register("rs1"), layout.f.offset);
  }
  get frs2(): Expr {
    return i64.load(this.#register("rs2"), layout.f.offset);
  }
  get frs3(): Expr {
    return i64.load(this.#register("rs3"), layout.f.offset);
  }
  get frs1Single(): Expr {
    return this.#single(this.frs1);
  }
  get frs2Single(): Expr {
    return this.#single(this.frs2);
  }
  get frs3Single(): Expr {
    return this.#single(this.frs3);
  }
  setFrd(bits: Expr): void {
    this.f.store("i64", this.#rd ?? this.#register("rd"), bits, layout.f.offset);
    this.#dirty();
  }
  setFrdSingle(bits: Expr): void {
    this.setFrd(i64.or(i64.extendI32U(bits), 0xffffffff00000000n));
  }

  /** FS becomes dirty. */
  #dirty(): void {
    this.f.store("i32", this.#state.base, i32.or(this.#state.low("mstatus"), 0x6000), layout.mstatus.offset);
  }

  requireFloat(): void {
    const { f } = this;
    f.if(i32.eqz(i32.and(this.#state.low("mstatus"), 0x6000)), () => this.#illegal());
  }

  #illegal(): void {
    this.#state.fault(cause.illegalInstruction, 0);
    this.f.branch(this.#labels.trapAtIp);
  }

  /** The instruction's rounding mode, the dynamic one resolved; 5 and 6, and a dynamic 5 to 7, are illegal. */
  #roundingMode(): Expr {
    const { f } = this;
    const mode = f.let(i32.and(this.#imm32, 7));
    f.if(i32.eq(mode, 7), () => f.set(mode, this.#state.get("frm")));
    f.if(i32.gtU(mode, 4), () => this.#illegal());
    return mode;
  }

  roundedOperation(
    operation: FloatOperation,
    format: FloatFormat,
    negate: { product?: boolean; addend?: boolean } = {},
  ): void {
    const single = format === "s";
    const int = single ? i32 : i64;
    const sign = single ? 0x80000000 | 0 : 1n << 63n;
    const flip = (value: Expr, doIt: boolean | undefined): Expr => (doIt ? int.xor(value, sign) : value);
    const operands = [flip(single ? this.frs1Single : this.frs1, negate.product)];
    if (operation !== "sqrt") operands.push(single ? this.frs2Single : this.frs2);
    if (operation === "fma") operands.push(flip(single ? this.frs3Single : this.frs3, negate.addend));
    const result = this.floatRoutine(`${operation}${single ? "F32" : "F64"}`, true, ...operands);
    if (single) this.setFrdSingle(result);
    else this.setFrd(result);
  }

  floatRoutine(name: string, rounded: boolean, ...operands: Expr[]): Expr {
    this.requireFloat();
    const target = this.#parts.routines[name]!;
    const given: Operand[] = [...operands];
    const takes = target.parameters.length - operands.length;
    const mode = rounded ? this.#roundingMode() : undefined;
    const leading = [this.#state.base, ...(mode === undefined ? [] : [mode])].slice(0, takes);
    const result = this.f.let(call(target, ...leading, ...given));
    this.#dirty();
    return result;
  }

  routine(name: string, ...operands: Expr[]): Expr {
    return call(this.#parts.routines[name]!, ...operands);
  }

  csr(operation: CsrOperation, operand: Expr, writes: "always" | "unless-x0"): void {
    const { f } = this;
    const code = { write: 1, set: 2, clear: 3 }[operation];
    // Register forms name rs1, immediate forms have the operand above bit 12: neither has both.
    const writing =
      writes === "always"
        ? i32.const(1)
        : i32.ne(i32.or(this.#number("rs1"), i32.shrU(this.#imm32, 12)), 0);
    this.#state.set("budget", this.#r.budget);
    const isSilent = this.#parts.model.kind === "silent";
    if (isSilent) this.#showSilent();
    const old = f.let(
      call(this.#parts.csrs.access, this.#state.base, this.#imm32, code, operand, writing),
    );
    if (isSilent) this.#hideSilent();
    this.#trapIfFault();
    this.setRd(old);
    f.set(this.#r.bankBase, this.#state.get("bank"));
    this.attend();
  }

  /** For what counts silent instructions. */
  #showSilent(): void {
    this.#state.set("silentPc", this.pc);
    this.#state.set("silentWord", i64.extendI32U(this.#r.bits()));
  }

  #hideSilent(): void {
    for (const name of ["silentPc", "silentWord"] as const) this.#state.set(name, 0);
  }

  system(operation: SystemOperation): void {
    const { name } = instructions[this.#form.number]!;
    if (this.#parts.model.kind === "silent" && silentInstructions[name] !== undefined) {
      // Where a kernel's instructions are rewritten, these are too.
      this.f.if(i32.eqz(i32.and(this.#state.get("privilege"), 3 | privilege.rewrittenKernel)), () => {
        this.#state.set("budget", this.#r.budget);
        this.#showSilent();
        noteSilence(this.#state, name);
        this.#hideSilent();
        this.#advance();
        this.f.branch(this.#labels.next);
      });
    }
    executeSystem(operation, this.f, this.#state, this.#parts, this.#labels, this.#r, this);
    if (!goesOn(operation)) this.#ended = true;
  }
}
