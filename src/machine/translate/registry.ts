/**
 * Keeps what is translated: takes the hart's requests, has them compiled elsewhere, puts the functions into the table and to their places, and takes
 * them away when their code is written to. Runs on the hart's thread, where the hart stands still.
 *
 * A *translation* is a function made from code; it has any number of *places* where that code stands. When one is asked for where the same code stands as
 * somewhere else, it has one place more, and nothing is compiled. Without any it is kept for a while: code comes back.
 */
import { request, type MemoryMap } from "../layout.ts";
import type { HartInstance, HartState } from "../hart.ts";
import { hotThreshold } from "../hart/interpreter.ts";
import type { Translator } from "../translator.ts";
import { CodeIndex } from "./code-index.ts";
import type { Batch, CompiledRegion } from "./compile.ts";
import { Places, type Occupied } from "./places.ts";
import type { Place, RegionRequest } from "./region.ts";

/** Where compiling happens: on another thread, as a rule. */
export interface CompilerPort {
  post(requests: readonly RegionRequest[]): void;
  /** A batch that is ready, or undefined. */
  receive(): CompiledModule | undefined;
}

export interface CompiledModule extends Omit<Batch, "bytes"> {
  readonly module: WebAssembly.Module;
  /** Whether it was asked for here; else for another hart of the same memory. */
  readonly asked: boolean;
  /** Bytes of the module, and seconds that making it took. */
  readonly bytes: number;
  readonly seconds: number;
}

export interface TranslationStatistics {
  /** Translations that were put to use. */
  regions: number;
  /** Guest instructions in all of them. */
  regionInstructions: number;
  modules: number;
  wasmBytes: number;
  compileSeconds: number;
  /** Places that got a translation which there was already. */
  shared: number;
  /** Places that lost theirs. */
  invalidated: number;
  /** Compiled for a place where the code was another by then. */
  stale: number;
  /** Asked of the compiler. */
  requested: number;
}

interface Translation {
  readonly region: CompiledRegion;
  /** What it calls itself. */
  readonly number: number;
  readonly module: LoadedModule;
  readonly places: Set<Occupied<Translation>>;
  /** Of the function table; 0 until it is put to use. */
  slot: number;
}

interface LoadedModule {
  readonly module: WebAssembly.Module;
  readonly bytes: number;
  /** In the order of its functions, the first of which has this number. */
  readonly firstNumber: number;
  readonly translations: Translation[];
  instance: WebAssembly.Instance | undefined;
}

export interface RegistryOptions {
  /** Instructions for which few requests wait for company. */
  readonly patience?: number;
  /** Bytes of WebAssembly that are kept, about; machine code takes some ten times as much. */
  readonly moduleBytes?: number;
  /** Places that translations stand at, at most, about. */
  readonly places?: number;
}

/** So many within some instructions: the odd one costs less than a separate check would. The last is blamed, which is one that is often. */
const straddleLimit = 200;
const straddleWindow = 16_000_000;

/** A loop in which so many of some instructions are is hot: one that takes less of the time gains less than making it anew costs. */
const hotShare = 16_000_000;
const hotWindow = 64_000_000;

/**
 * A module costs something of its own, so that few regions wait for company: for so many instructions at most, which a busy guest executes in
 * a millisecond. One that mostly rests would gain nothing from haste.
 */
const batchMinimum = 16;
const batchPatience = 250_000;
const batchLimit = 64;

export class TranslationRegistry implements Translator {
  readonly statistics: TranslationStatistics = {
    regions: 0,
    regionInstructions: 0,
    modules: 0,
    wasmBytes: 0,
    compileSeconds: 0,
    shared: 0,
    invalidated: 0,
    stale: 0,
    requested: 0,
  };
  readonly #memory: WebAssembly.Memory;
  readonly #view: DataView;
  readonly #map: MemoryMap;
  readonly #state: HartState;
  readonly #hart: HartInstance;
  readonly #port: CompilerPort;
  readonly #patience: number;
  readonly #moduleBytesLimit: number;
  readonly #index: CodeIndex<Translation>;
  readonly #places: Places<Translation>;
  /** By number. */
  readonly #translations = new Map<number, Translation>();
  /** Oldest first. */
  readonly #modules = new Set<LoadedModule>();
  #nextNumber = 1;
  readonly #freeSlots: number[] = [];
  /** Heads that the compiler was asked for, or is to be. */
  readonly #asked = new Set<number>();
  /** Of the instructions of this window, how many led to a poll within a loop, by its region's number and its offset. */
  readonly #samples = new Map<string, number>();
  /** Heads of the places for which regions are made anew. */
  readonly #remaking = new Set<number>();
  #waiting: RegionRequest[] = [];
  #inFlight = 0;
  /** The hart's count of instructions when there was nothing waiting yet. */
  #waitingSince = 0;
  /** Instructions at the last poll, and since the windows began. */
  #polledAt = 0;
  #sinceStraddles = 0;
  #sinceSamples = 0;
  /** Of all modules that are kept. */
  #moduleBytes = 0;

  constructor(memory: WebAssembly.Memory, map: MemoryMap, state: HartState, hart: HartInstance, port: CompilerPort, options: RegistryOptions = {}) {
    const { patience = batchPatience, moduleBytes = 64 << 20, places } = options;
    this.#memory = memory;
    this.#view = new DataView(memory.buffer);
    this.#map = map;
    this.#state = state;
    this.#hart = hart;
    this.#port = port;
    this.#patience = patience;
    this.#moduleBytesLimit = moduleBytes;
    this.#index = new CodeIndex(memory.buffer, map);
    this.#places = new Places(memory.buffer, map, hart, places);
  }

  /** To be called where the hart stands still. What is asked for while a batch is compiled makes the next one. */
  poll(now: number): void {
    const count = this.#state.number("requests");
    if (this.#waiting.length === 0) this.#waitingSince = now;
    if (count > 0) {
      for (let i = 0; i < count; i++) this.#take(this.#map.requests + i * request.size);
      this.#state.setNumber("requests", 0);
    }
    const elapsed = now - this.#polledAt;
    this.#polledAt = now;
    this.#separate(elapsed);
    this.#sample(elapsed);
    if (this.#places.full) this.#leaveAll();
    if (this.#moduleBytes > this.#moduleBytesLimit) this.#evict();
    for (let batch = this.#port.receive(); batch !== undefined; batch = this.#port.receive()) {
      this.#load(batch);
    }
    if (this.#waiting.length === 0 || this.#inFlight > 0) return;
    if (this.#waiting.length < batchMinimum && now - this.#waitingSince < this.#patience) return;
    this.#post();
  }

  stats(): TranslationStatistics {
    return this.statistics;
  }

  *places(): Iterable<{ readonly host: number; readonly shared: boolean }> {
    for (const { place, occupant } of this.#places.all) yield { host: place.head, shared: occupant.region.request.head !== place.head };
  }

  /** Whether nothing is being compiled. */
  get idle(): boolean {
    return this.#inFlight === 0 && this.#waiting.length === 0;
  }

  /** Code at this host address was written: the places that have some of it are none any more. */
  codeWritten(host: number, length: number): void {
    let changed = false;
    for (const occupied of this.#places.covering(host, length)) {
      this.#leave(occupied);
      changed = true;
    }
    if (changed) this.#hart.exports.flushJumps(this.#map.hart);
  }

  #take(at: number): void {
    const view = this.#view;
    const head = view.getUint32(at + request.head, true);
    if (this.#places.at(head) !== undefined || this.#asked.has(head)) return;
    const frames = Array.from({ length: 2 * request.reach + 1 }, (_, i) => view.getUint32(at + request.frames + 4 * i, true));
    const wanted = { head, frames, privilege: view.getUint32(at + request.privilege, true) };
    if (this.#share(wanted) || view.getUint32(at + request.executions, true) < hotThreshold) return;
    this.#asked.add(head);
    this.#waiting.push(wanted);
  }

  /** Whether there is a translation for this place: it has it now. */
  #share(wanted: RegionRequest): boolean {
    const translation = this.#index.find(wanted);
    if (translation === undefined) return false;
    this.#settle(translation, wanted);
    this.statistics.shared++;
    return true;
  }

  /** What came meanwhile need not be made; nor is the same code made twice in one batch. */
  #post(): void {
    const batch = new Map<number, RegionRequest>();
    const rest: RegionRequest[] = [];
    for (const wanted of this.#waiting) {
      const hash = this.#index.hash(wanted.head);
      if (batch.size === batchLimit || batch.has(hash)) rest.push(wanted);
      else if (this.#share(wanted)) this.#asked.delete(wanted.head);
      else batch.set(hash, wanted);
    }
    this.#waiting = rest;
    if (batch.size > 0) this.#ask([...batch.values()]);
  }

  #ask(requests: readonly RegionRequest[]): void {
    this.#port.post(requests);
    this.#inFlight++;
    this.statistics.requested += requests.length;
  }

  #load({ module, regions, refused, asked, bytes, seconds }: CompiledModule): void {
    const loaded: LoadedModule = { module, bytes, firstNumber: this.#nextNumber, translations: [], instance: undefined };
    this.#nextNumber += regions.length;
    regions.forEach((region, i) => {
      const translation: Translation = { region, number: loaded.firstNumber + i, module: loaded, places: new Set(), slot: 0 };
      loaded.translations.push(translation);
      this.#translations.set(translation.number, translation);
      this.#index.add(translation);
    });
    this.#modules.add(loaded);
    this.#moduleBytes += bytes;
    if (!asked) return;
    this.#inFlight--;
    this.statistics.modules++;
    this.statistics.wasmBytes += bytes;
    this.statistics.compileSeconds += seconds;
    for (const head of [...refused, ...regions.map(({ request }) => request.head)]) {
      this.#asked.delete(head);
      this.#remaking.delete(head);
    }
    for (const translation of loaded.translations) this.#receive(translation);
  }

  /** To the place that it was asked for. */
  #receive(translation: Translation): void {
    const { region } = translation;
    if (!this.#index.isAt(region, region.request)) return void this.statistics.stale++;
    this.statistics.regions++;
    this.statistics.regionInstructions += region.instructions;
    const old = this.#places.at(region.request.head)?.occupant;
    if (old === undefined) this.#settle(translation, region.request);
    else this.#replace(old, translation);
  }

  /** All places of one that is made anew get the new one, where its code stands. */
  #replace(old: Translation, translation: Translation): void {
    for (const occupied of [...old.places]) {
      const { place } = occupied;
      if (!this.#index.isAt(translation.region, place)) continue;
      this.#leave(occupied);
      this.#settle(translation, place);
    }
    this.#hart.exports.flushJumps(this.#map.hart);
  }

  /** Nothing else is there. */
  #settle(translation: Translation, { head, frames }: Place): void {
    if (translation.slot === 0) translation.slot = this.#enter(translation);
    translation.places.add(this.#places.add({ head, frames }, translation));
  }

  /** Its slot of the function table from now on. */
  #enter({ module, number }: Translation): number {
    const { firstNumber } = module;
    module.instance ??= new WebAssembly.Instance(module.module, {
      machine: { memory: this.#memory, regions: this.#hart.regions, firstNumber },
      hart: this.#hart.exports as unknown as WebAssembly.ModuleImports,
    });
    const slot = this.#freeSlots.pop() ?? this.#hart.regions.grow(1);
    this.#hart.regions.set(slot, module.instance.exports[`r${number - firstNumber}`]);
    return slot;
  }

  /** The place has none any more. Who calls this flushes the jump caches. */
  #leave(occupied: Occupied<Translation>): void {
    this.#places.remove(occupied);
    occupied.occupant.places.delete(occupied);
    this.statistics.invalidated++;
  }

  #leaveAll(): void {
    for (const { places } of this.#translations.values()) places.clear();
    this.#places.clear();
    this.#hart.exports.flushJumps(this.#map.hart);
  }

  /** Lets go of modules without a place, the oldest first; of all, if that is not enough. What is still hot is soon asked for again. */
  #evict(): void {
    const unused = [...this.#modules].filter(({ translations }) => translations.every(({ places }) => places.size === 0));
    if (this.#moduleBytes - unused.reduce((sum, { bytes }) => sum + bytes, 0) > this.#moduleBytesLimit / 2) {
      this.#leaveAll();
      unused.splice(0, Infinity, ...this.#modules);
    }
    for (const module of unused) {
      if (this.#moduleBytes <= this.#moduleBytesLimit / 2) break;
      this.#modules.delete(module);
      this.#moduleBytes -= module.bytes;
      for (const { number, slot } of module.translations) {
        this.#translations.delete(number);
        if (slot === 0) continue;
        // Its function may still be running further up the stack; the table lets go of it.
        this.#hart.regions.set(slot, this.#hart.exports["nested"] as unknown as never);
        this.#freeSlots.push(slot);
      }
    }
    this.#index.filter(({ module }) => this.#modules.has(module));
    this.#hart.exports.flushJumps(this.#map.hart);
  }

  /** A region in which a shared check straddles two pages, time and again, is made anew without that. */
  #separate(elapsed: number): void {
    const straddles = this.#state.number("straddles");
    this.#sinceStraddles += elapsed;
    if (this.#sinceStraddles >= straddleWindow || straddles >= straddleLimit) {
      this.#state.setNumber("straddles", 0);
      this.#sinceStraddles = 0;
    }
    if (straddles < straddleLimit) return;
    const translation = this.#translations.get(this.#state.number("straddlingRegion"));
    if (translation === undefined) return;
    const { separateChecks = [] } = translation.region.request;
    this.#remake(translation, { separateChecks: [...separateChecks, this.#state.number("straddlingOffset") | 0] });
  }

  /** A region is made anew with a loop unrolled in which the hart often is. */
  #sample(elapsed: number): void {
    this.#sinceSamples += elapsed;
    if (this.#sinceSamples >= hotWindow) {
      this.#samples.clear();
      this.#sinceSamples = 0;
    }
    const number = this.#state.number("hotRegion");
    if (number === 0) return;
    this.#state.setNumber("hotRegion", 0);
    const offset = this.#state.number("hotLoop") | 0;
    const loop = `${number} ${offset}`;
    const before = this.#samples.get(loop) ?? 0;
    this.#samples.set(loop, before + elapsed);
    if (before >= hotShare || before + elapsed < hotShare) return;
    const translation = this.#translations.get(number);
    if (translation === undefined) return;
    const { hotLoops = [] } = translation.region.request;
    if (hotLoops !== "all" && !hotLoops.includes(offset)) this.#remake(translation, { hotLoops: [...hotLoops, offset] });
  }

  /** The one that there is stays in use until the new one is compiled; unless another hart had one made. */
  #remake(translation: Translation, change: Partial<RegionRequest>): void {
    const [occupied] = translation.places;
    if (occupied === undefined || this.#remaking.has(occupied.place.head)) return;
    const wanted: RegionRequest = { ...translation.region.request, ...occupied.place, ...change };
    const made = this.#index.find(wanted, ({ region }) => isMadeSo(region.request, wanted));
    if (made !== undefined) return this.#replace(translation, made);
    this.#remaking.add(wanted.head);
    this.#ask([wanted]);
  }
}

/** Whether all that is wanted of how a region is made was done for another. */
function isMadeSo(made: RegionRequest, { hotLoops = [], separateChecks = [] }: RegionRequest): boolean {
  const unrolled = made.hotLoops ?? [];
  const separated = made.separateChecks ?? [];
  const unrolls = unrolled === "all" || (hotLoops !== "all" && hotLoops.every((offset) => unrolled.includes(offset)));
  return unrolls && separateChecks.every((offset) => separated.includes(offset));
}

/** Compiles at once, on the calling thread: for tests, and where there is no other. */
export class ImmediateCompiler implements CompilerPort {
  readonly #compile: (requests: readonly RegionRequest[]) => Batch;
  readonly #ready: CompiledModule[] = [];
  readonly #now: () => number;

  constructor(compile: (requests: readonly RegionRequest[]) => Batch, now: () => number) {
    this.#compile = compile;
    this.#now = now;
  }

  post(requests: readonly RegionRequest[]): void {
    const start = this.#now();
    const { bytes, ...batch } = this.#compile(requests);
    const module = new WebAssembly.Module(bytes);
    this.#ready.push({ ...batch, module, asked: true, bytes: bytes.length, seconds: (this.#now() - start) / 1000 });
  }

  receive(): CompiledModule | undefined {
    return this.#ready.shift();
  }
}
