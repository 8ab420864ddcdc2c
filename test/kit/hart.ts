/** A hart with a little memory and nothing else, for tests that run machine code on it. */
import { HartState, instantiateHart, type HartHost, type HartInstance } from "#machine/hart.ts";
import { hotThreshold } from "#machine/hart/interpreter.ts";
import { counterCount, frame, hartStateSize, memoryMap, type FieldName, type MemoryMap } from "#machine/layout.ts";
import { standardModel, type MachineModel } from "#machine/model.ts";
import { RegionCompiler } from "#machine/translate/compile.ts";
import type { RegionRequest } from "#machine/translate/region.ts";
import { ImmediateCompiler, TranslationRegistry } from "#machine/translate/registry.ts";
import { assemble } from "#riscv/assemble.ts";
import { probeFusedMultiplyAdd } from "#riscv/floating-point/fused-multiply-add.ts";

export const RAM = 0x80000000;

/** Why `run` came back; the numbers are the hart's. */
export const exits = { 1: "slice", 2: "wait", 3: "firmware", 4: "exit" } as const;
export type Exit = (typeof exits)[keyof typeof exits];

/** What executes instructions: the interpreter alone, or with it the translator, which then takes every place that is jumped to. */
export const tiers = ["interpreter", "translator"] as const;
export type Tier = (typeof tiers)[number];

export interface TestHartOptions {
  /** The interpreter if absent. */
  readonly tier?: Tier;
  /** Whether the translator unrolls all loops that it can, as it does with hot ones. */
  readonly unrolls?: boolean;
  /** Instructions between which finished translations are put in place; 500 if absent. */
  readonly slice?: number;
  /** In bytes; 1 MiB if absent. */
  readonly ramSize?: number;
  /** Room for decoded pages; few make the decoder throw them away often. */
  readonly predecodedPages?: number;
  /** Devices: none if absent, so that accesses outside of memory fault. */
  readonly host?: Partial<HartHost>;
  /** The standard machine if absent. */
  readonly model?: MachineModel;
}

export class TestHart {
  readonly map: MemoryMap;
  readonly state: HartState;
  readonly instance: HartInstance;
  /** The memory from RAM on. */
  readonly ram: Uint8Array;
  readonly view: DataView;
  readonly #all: Uint8Array;
  readonly #slice: number;
  readonly #translations: TranslationRegistry | undefined;
  readonly #counters: Uint32Array | undefined;
  #slices = 0;
  /** What the time CSR reads. */
  time = 0;

  constructor({ tier = "interpreter", unrolls = false, slice = 500, ramSize = 1 << 20, predecodedPages = 256, host = {}, model = standardModel }: TestHartOptions = {}) {
    this.map = memoryMap(ramSize, { predecodedPages });
    const memory = new WebAssembly.Memory({ initial: this.map.pages, maximum: this.map.pages, shared: true });
    this.state = new HartState(memory, this.map.hart);
    this.#all = new Uint8Array(memory.buffer);
    this.ram = new Uint8Array(memory.buffer, this.map.ram, ramSize);
    this.view = new DataView(memory.buffer, this.map.ram, ramSize);
    const absent: HartHost = {
      mmioRead: () => 1,
      mmioWrite: () => 1,
      time: () => this.time,
      codeWritten: (_state, at, bytes) => this.#translations?.codeWritten(at >>> 0, bytes),
    };
    const options = { fusedMultiplyAdd: probeFusedMultiplyAdd(), model };
    this.instance = instantiateHart(memory, this.map, { ...absent, ...host }, options);
    this.#slice = slice;
    if (tier === "translator") {
      const compiler = new RegionCompiler(memory.buffer, this.map, this.instance.imports, options);
      const compile = (requests: readonly RegionRequest[]) =>
        compiler.compile(unrolls ? requests.map((wanted) => ({ ...wanted, hotLoops: "all" })) : requests);
      const port = new ImmediateCompiler(compile, () => 0);
      this.#translations = new TranslationRegistry(memory, this.map, this.state, this.instance, port, { patience: 0 });
      this.#counters = new Uint32Array(memory.buffer, this.map.counters, counterCount);
    }
    this.reset();
  }

  /** As after power-on, memory zero: machine mode at RAM, no protection but that of privilege. For the interpreter only: the translator needs a new hart. */
  reset(): void {
    const { map } = this;
    // The hart takes decoded pages that it never used to be zero.
    this.#all.fill(0, map.predecode, this.state.number("predecodeNext"));
    this.#all.fill(0, map.hart, map.hart + hartStateSize);
    this.#all.fill(0, map.frames, map.frames + (map.ramSize / 4096) * frame.size);
    this.ram.fill(0);
    this.state.set("pc", RAM);
    this.state.set("privilege", 3);
    this.state.set("predecodeNext", map.predecode);
    this.state.set("stimecmp", -1n);
    this.state.set("vstimecmp", -1n);
    this.settle();
  }

  /** After the state was changed from outside: what the hart derives from it is made anew. */
  settle(): void {
    this.instance.exports.updatePmp(this.map.hart);
    this.instance.exports.flushAll(this.map.hart);
  }

  /** One PMP entry that allows everything to everyone. */
  openMemory(): void {
    this.state.set("pmpaddr", (1n << 54n) - 1n);
    this.state.set("pmpcfg", 0x1f);
    this.settle();
  }

  /** Puts bytes into memory; instructions decoded there are forgotten. */
  load(address: number, bytes: Uint8Array): void {
    this.ram.set(bytes, address - RAM);
    for (let at = address; at < address + bytes.length; ) {
      const size = Math.min(4096 - (at % 4096), address + bytes.length - at);
      this.instance.exports.codeStore(this.map.hart, at - RAM + this.map.ram, size);
      at += size;
    }
  }

  /** Assembles to `address`; the program can name the symbols. */
  program(source: string, address = RAM, symbols: Record<string, bigint | number> = {}): void {
    this.load(address, assemble(source, { base: address, symbols }));
  }

  /** Runs for at most so many instructions; comes back earlier if the hart waits or calls its firmware. */
  run(instructions: number): Exit {
    if (this.#translations === undefined) return this.#runSlice(instructions);
    for (let left = instructions; left > 0; left -= this.#slice) {
      // Every place is about to become hot. Places share counters, so that this is to be said again.
      if (this.#slices++ % 8 === 0) this.#counters?.fill(hotThreshold - 1);
      const exit = this.#runSlice(Math.min(left, this.#slice));
      do this.#translations.poll(this.state.counter("instretTarget"));
      while (!this.#translations.idle);
      if (exit !== "slice") return exit;
    }
    return "slice";
  }

  #runSlice(instructions: number): Exit {
    const { state, map } = this;
    const { exports } = this.instance;
    state.setNumber("reserve", instructions);
    exports.updateTimer(map.hart);
    let exit: Exit;
    do {
      // A hart that asks for a translation puts off the rest of its slice.
      const drawn = state.number("reserve");
      state.addNumber("instretTarget", drawn);
      state.setNumber("budget", state.number("budget") + drawn);
      state.setNumber("reserve", 0);
      exit = exits[exports.run(map.hart) as keyof typeof exits];
    } while (exit === "slice" && state.number("reserve") > 0);
    state.addNumber("instretTarget", -state.number("budget"));
    state.setNumber("budget", 0);
    state.setNumber("reserve", 0);
    return exit;
  }

  /** A register by number, or a field of the state. */
  x(number: number): bigint {
    return this.state.get("x", number);
  }

  /** The share of instructions that translated code executed. */
  get translatedShare(): number {
    return this.state.counter("translated") / this.state.counter("instretTarget");
  }

  get(name: FieldName, index = 0): bigint {
    return this.state.get(name, index);
  }
}
