/** Assembles the WebAssembly program of a hart: interpreter, page walk, TLB refill, CSRs, traps, arithmetic. */
import { defineFloatingPoint } from "#riscv/floating-point/floating-point.ts";
import type { FunctionReference } from "#wasm/expression.ts";
import { ModuleBuilder } from "#wasm/module.ts";
import { layout, type MemoryMap } from "../layout.ts";
import { standardModel, type MachineModel } from "../model.ts";
import { defineAddressTranslation } from "./address-translation.ts";
import { defineCsrs } from "./csrs.ts";
import { defineDecoder } from "./decode.ts";
import { defineAccessInGuest, defineDeprivileged } from "./deprivileged.ts";
import { defineInterpreter } from "./interpreter.ts";
import { defineMemoryRoutines } from "./memory-access.ts";
import type { Program } from "./program.ts";
import { defineRegionEntry } from "./region-entry.ts";
import { defineTranslationBanks } from "./translation-banks.ts";
import { defineTraps } from "./traps.ts";
import { defineVirtualMachineAccess } from "./virtual-machine-access.ts";

/** What translated code imports. Plain data: the translator works on another thread. */
export interface HartImports {
  readonly routines: Readonly<Record<string, FunctionReference>>;
  readonly jump: FunctionReference;
  readonly recover: FunctionReference;
  readonly csr: FunctionReference;
}

export interface HartProgram {
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** To be put at `csrIndex` of the memory map. */
  readonly csrIndex: Uint8Array;
  readonly imports: HartImports;
}

export interface HartProgramOptions {
  /** Whether the host's relaxed SIMD multiply-add rounds once. */
  readonly fusedMultiplyAdd: boolean;
  /** The standard one if absent. */
  readonly model?: MachineModel;
}

export function buildHartProgram(map: MemoryMap, options: HartProgramOptions): HartProgram {
  const module = new ModuleBuilder();
  module.importMemory("machine", "memory", { initial: map.pages, maximum: map.pages });
  module.importTable("machine", "regions", 1);
  const host = {
    mmioRead: module.importFunction("host", "mmioRead", ["i32", "i32", "i32"], ["i32"]),
    mmioWrite: module.importFunction("host", "mmioWrite", ["i32", "i32", "i32"], ["i32"]),
    time: module.importFunction("host", "time", [], ["f64"]),
    codeWritten: module.importFunction("host", "codeWritten", ["i32", "i32", "i32"], []),
  };
  const program: Program = { module, map, host, model: options.model ?? standardModel };
  const translation = defineAddressTranslation(program);
  const banks = defineTranslationBanks(program);
  const memory = defineMemoryRoutines(program, translation, banks);
  const virtualMachine = defineVirtualMachineAccess(program, translation, memory.codeStore);
  const traps = defineTraps(program, banks);
  const deprivileged = defineDeprivileged(program, banks);
  const csrs = defineCsrs(program, banks, deprivileged);
  const decoder = defineDecoder(program, translation, banks);
  const regions = defineRegionEntry(program, decoder);
  const routines = defineFloatingPoint(module, {
    fflagsOffset: layout.fflags.offset,
    fusedMultiplyAdd: options.fusedMultiplyAdd,
  });
  const interpreter = defineInterpreter(program, {
    model: program.model,
    translation,
    banks,
    memory,
    virtualMachine,
    traps,
    csrs,
    deprivileged,
    decoder,
    enterRegion: regions.enter,
    regionSignature: regions.signature,
    routines,
  });
  const exported: Record<string, FunctionReference> = {
    run: interpreter.run,
    nested: interpreter.nested,
    jump: regions.jump,
    recover: interpreter.recover,
    csr: csrs.access,
    fetch: decoder.fetch,
    decode: decoder.decode,
    raise: traps.raise,
    raiseInVirtual: traps.raiseInVirtual,
    reflectInVirtual: traps.reflectInVirtual,
    enterGuest: traps.enterGuest,
    leaveGuest: traps.leaveGuest,
    ...deprivileged,
    accessInGuest: defineAccessInGuest(program, csrs.access),
    selectBank: banks.selectBank,
    flush: banks.flush,
    flushGuests: banks.flushGuests,
    forgetPage: banks.forgetPage,
    flushAll: banks.flushAll,
    flushJumps: banks.flushJumps,
    codeStore: memory.codeStore,
    updateTimer: csrs.updateTimer,
    updatePmp: csrs.updatePmp,
    purgeWritable: banks.purgeWritable,
    ...routines,
  };
  for (const [name, target] of Object.entries(exported)) module.export(name, target);
  const imports = {
    routines: Object.fromEntries(Object.entries(routines).map(([name, routine]) => [name, plain(routine)])),
    jump: plain(regions.jump),
    recover: plain(interpreter.recover),
    csr: plain(csrs.access),
  };
  return { bytes: module.encode({ names: true }), csrIndex: csrs.index, imports };
}

function plain({ index, parameters, results }: FunctionReference): FunctionReference {
  return { index, parameters, results };
}
