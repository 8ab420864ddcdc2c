/**
 * Keeps what is translated: takes the hart's requests, has them compiled elsewhere, puts the functions into the table, and takes them out
 * when their code is written to. Runs on the hart's thread, where the hart stands still.
 */
import { counterCount, frame, frameFlags, heads, predecoded, request, type MemoryMap } from "../layout.ts";
import type { HartInstance, HartState } from "../hart.ts";
import type { Translator } from "../translator.ts";
import { regionRecord } from "../hart/region-entry.ts";
import type { Batch, CompiledRegion } from "./compile.ts";
import type { RegionRequest } from "./region.ts";

/** Where compiling happens: on another thread, as a rule. */
export interface CompilerPort {
  post(requests: readonly RegionRequest[]): void;
  /** A batch that is ready, or undefined. */
  receive(): CompiledModule | undefined;
}

export interface CompiledModule extends Omit<Batch, "bytes"> {
  readonly module: WebAssembly.Module;
  /** Bytes of the module, and seconds that making it took. */
  readonly bytes: number;
  readonly seconds: number;
}

export interface TranslationStatistics {
  regions: number;
  /** Guest instructions in all regions that were made. */
  regionInstructions: number;
  modules: number;
  wasmBytes: number;
  compileSeconds: number;
  invalidated: number;
  stale: number;
  requested: number;
}

interface Installed {
  readonly request: RegionRequest;
  readonly record: number;
  readonly slot: number;
  readonly code: readonly { readonly host: number; readonly bytes: Uint8Array }[];
}

/** Space for a region's record, and for the batches that are under way. */
const recordReserve = 64 << 10;
/** Bytes of WebAssembly that are kept; machine code takes some ten times as much. */
const moduleBytesLimit = 64 << 20;

/** So many within some instructions: the odd one costs less than a separate check would. The last is blamed, which is one that is often. */
const straddleLimit = 200;
const straddleWindow = 16_000_000;

/** A loop in which so many of some instructions are is hot: one that takes less of the time gains less than making it anew costs. */
const hotShare = 16_000_000;
const hotWindow = 64_000_000;
/** Between two polls there are no more. */
const longestPiece = 1_000_000;

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
    invalidated: 0,
    stale: 0,
    requested: 0,
  };
  readonly #memory: WebAssembly.Memory;
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #map: MemoryMap;
  readonly #state: HartState;
  readonly #hart: HartInstance;
  readonly #port: CompilerPort;
  readonly #patience: number;
  /** Heads that are translated or asked for. */
  readonly #known = new Set<number>();
  readonly #byHead = new Map<number, Installed>();
  readonly #byFrame = new Map<number, Set<Installed>>();
  readonly #freeSlots: number[] = [];
  /** Of the instructions of this window, how many led to a poll within a loop, by its region's head and its offset. */
  readonly #samples = new Map<string, number>();
  /** Heads of the regions that are being made anew. */
  readonly #remaking = new Set<number>();
  #waiting: RegionRequest[] = [];
  #inFlight = 0;
  /** The count of instructions when there was nothing waiting yet. */
  #waitingSince = 0;
  /** Instructions at the last poll, and since the windows began. */
  #polledAt = 0;
  #sinceStraddles = 0;
  #sinceSamples = 0;
  /** Entries of the head table that are in use, or were. */
  #headsTaken = 0;
  /** Of the modules that may still be in use. */
  #liveBytes = 0;
  #nextRecord: number;

  constructor(memory: WebAssembly.Memory, map: MemoryMap, state: HartState, hart: HartInstance, port: CompilerPort, patience = batchPatience) {
    this.#memory = memory;
    this.#bytes = new Uint8Array(memory.buffer);
    this.#view = new DataView(memory.buffer);
    this.#map = map;
    this.#state = state;
    this.#hart = hart;
    this.#port = port;
    this.#patience = patience;
    this.#nextRecord = map.regions;
  }

  /** To be called where the hart stands still. What is asked for while a batch is compiled makes the next one. */
  poll(): void {
    const count = this.#state.number("requests");
    const now = this.#state.counter("instretTarget") - this.#state.number("budget");
    if (this.#waiting.length === 0) this.#waitingSince = now;
    if (count > 0) {
      for (let i = 0; i < count; i++) this.#take(this.#map.requests + i * request.size);
      this.#state.setNumber("requests", 0);
    }
    // The count is the guest's: with another guest, it jumps.
    const elapsed = Math.min(Math.max(now - this.#polledAt, 0), longestPiece);
    this.#polledAt = now;
    this.#separate(elapsed);
    this.#sample(elapsed);
    if (this.#isFull()) this.#startAgain();
    for (let batch = this.#port.receive(); batch !== undefined; batch = this.#port.receive()) {
      this.#inFlight--;
      this.#install(batch);
    }
    if (this.#waiting.length === 0 || this.#inFlight > 0) return;
    if (this.#waiting.length < batchMinimum && Math.abs(now - this.#waitingSince) < this.#patience) return;
    this.#port.post(this.#waiting.splice(0, batchLimit));
    this.#inFlight++;
  }

  #isFull(): boolean {
    return (
      this.#nextRecord > this.#map.predecode - recordReserve ||
      this.#headsTaken > heads.count / 2 ||
      this.#liveBytes > moduleBytesLimit
    );
  }

  /** Lets go of everything. What is still hot is soon asked for again. */
  #startAgain(): void {
    for (const region of [...this.#byHead.values()]) this.#drop(region);
    this.#hart.exports.flushJumps(this.#map.hart);
    this.#bytes.fill(0, this.#map.heads, this.#map.heads + heads.count * 8);
    this.#nextRecord = this.#map.regions;
    this.#headsTaken = 0;
    this.#liveBytes = 0;
    this.#known.clear();
    this.#samples.clear();
    this.#remaking.clear();
    this.#waiting.length = 0;
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
    const region = this.#byHead.get(this.#state.number("straddlingHead"));
    if (region === undefined) return;
    const { separateChecks = [] } = region.request;
    this.#remake({ ...region.request, separateChecks: [...separateChecks, this.#state.number("straddlingOffset") | 0] });
  }

  /** A region is made anew with a loop unrolled in which the hart often is. */
  #sample(elapsed: number): void {
    this.#sinceSamples += elapsed;
    if (this.#sinceSamples >= hotWindow) {
      this.#samples.clear();
      this.#sinceSamples = 0;
    }
    const head = this.#state.number("hotHead");
    if (head === 0) return;
    this.#state.setNumber("hotHead", 0);
    const offset = this.#state.number("hotLoop") | 0;
    const loop = `${head} ${offset}`;
    const before = this.#samples.get(loop) ?? 0;
    this.#samples.set(loop, before + elapsed);
    if (before >= hotShare || before + elapsed < hotShare) return;
    const region = this.#byHead.get(head);
    if (region === undefined) return;
    const { hotLoops = [] } = region.request;
    if (hotLoops !== "all" && !hotLoops.includes(offset)) this.#remake({ ...region.request, hotLoops: [...hotLoops, offset] });
  }

  /** The region that there is stays in use until the new one is compiled. */
  #remake(wanted: RegionRequest): void {
    if (this.#remaking.has(wanted.head)) return;
    this.#remaking.add(wanted.head);
    this.#port.post([wanted]);
    this.#inFlight++;
  }

  stats(): TranslationStatistics {
    return this.statistics;
  }

  /** Whether nothing is being compiled. */
  get idle(): boolean {
    return this.#inFlight === 0 && this.#waiting.length === 0;
  }

  #take(at: number): void {
    const view = this.#view;
    const head = view.getUint32(at + request.head, true);
    if (this.#known.has(head)) return;
    this.#known.add(head);
    this.statistics.requested++;
    const frames = Array.from({ length: 2 * request.reach + 1 }, (_, i) => view.getUint32(at + request.frames + 4 * i, true));
    this.#waiting.push({ head, frames, privilege: view.getUint32(at + request.privilege, true) });
  }

  #install({ module, regions, refused, bytes, seconds }: CompiledModule): void {
    for (const head of refused) {
      this.#known.delete(head);
      this.#remaking.delete(head);
    }
    const instance = new WebAssembly.Instance(module, {
      machine: { memory: this.#memory, regions: this.#hart.regions },
      hart: this.#hart.exports as unknown as WebAssembly.ModuleImports,
    });
    this.statistics.modules++;
    this.statistics.wasmBytes += bytes;
    this.#liveBytes += bytes;
    this.statistics.compileSeconds += seconds;
    let replaced = false;
    regions.forEach((region, i) => {
      const { head } = region.request;
      this.#remaking.delete(head);
      if (!this.#isCurrent(region)) {
        this.statistics.stale++;
        if (!this.#byHead.has(head)) this.#known.delete(head);
        return;
      }
      const old = this.#byHead.get(head);
      if (old !== undefined) {
        this.#drop(old);
        this.#known.add(head);
        replaced = true;
      }
      const slot = this.#freeSlots.pop() ?? this.#hart.regions.grow(1);
      this.#hart.regions.set(slot, instance.exports[`r${i}`]);
      this.#register(region, slot);
      this.statistics.regions++;
      this.statistics.regionInstructions += region.instructions;
    });
    if (replaced) this.#hart.exports.flushJumps(this.#map.hart);
  }

  #isCurrent(region: CompiledRegion): boolean {
    return region.code.every(({ host, bytes }) => {
      for (let i = 0; i < bytes.length; i++) if (this.#bytes[host + i] !== bytes[i]) return false;
      return true;
    });
  }

  #register(region: CompiledRegion, slot: number): void {
    const view = this.#view;
    const record = this.#nextRecord;
    this.#nextRecord += regionRecord.page + region.pages.length * regionRecord.pageSize;
    view.setUint32(record + regionRecord.slot, slot, true);
    view.setUint32(record + regionRecord.privilege, region.request.privilege, true);
    view.setUint32(record + regionRecord.pages, region.pages.length, true);
    region.pages.forEach(({ distance, frame: host }, i) => {
      view.setInt32(record + regionRecord.page + i * 8, distance, true);
      view.setUint32(record + regionRecord.page + i * 8 + 4, host, true);
    });
    const { request, code } = region;
    const installed: Installed = { request, record, slot, code };
    for (const { host, bytes } of region.code) this.#cover(installed, host, bytes.length);
    this.#setHead(request.head, record);
    this.#byHead.set(request.head, installed);
    const entry = this.#frameEntry(request.head);
    view.setUint32(entry + frame.flags, view.getUint32(entry + frame.flags, true) | frameFlags.heads, true);
    this.#forgetDecoded(request.head);
  }

  /** Marks the lines of a frame that a region's code covers, so that stores to them are told. */
  #cover(installed: Installed, host: number, length: number): void {
    const view = this.#view;
    const entry = this.#frameEntry(host);
    const base = pageOf(host);
    let flags = view.getUint32(entry + frame.flags, true);
    if (!(flags & frameFlags.code)) {
      (this.#hart.exports["purgeWritable"] as unknown as (state: number, host: number) => void)(this.#map.hart, base);
      flags &= ~frameFlags.writable;
    }
    view.setUint32(entry + frame.flags, flags | frameFlags.code | frameFlags.translated, true);
    let lines = view.getBigUint64(entry + frame.lines, true);
    for (let at = host - (host % 64); at < host + length; at += 64) lines |= 1n << BigInt((at & 4095) >> 6);
    view.setBigUint64(entry + frame.lines, lines, true);
    let regions = this.#byFrame.get(base);
    if (regions === undefined) this.#byFrame.set(base, (regions = new Set()));
    regions.add(installed);
  }

  /** Code at this host address was written: regions that cover it are gone. */
  codeWritten(host: number, length: number): void {
    const regions = this.#byFrame.get(pageOf(host));
    if (regions === undefined) return;
    const first = host - 2;
    const end = host + length;
    let changed = false;
    for (const region of [...regions]) {
      if (!region.code.some(({ host: at, bytes }) => at < end && at + bytes.length > first)) continue;
      this.#drop(region);
      changed = true;
    }
    if (changed) this.#hart.exports.flushJumps(this.#map.hart);
  }

  #drop(region: Installed): void {
    for (const { host } of region.code) this.#byFrame.get(pageOf(host))?.delete(region);
    const { head } = region.request;
    this.#setHead(head, 0);
    this.#byHead.delete(head);
    this.#forgetDecoded(head);
    this.#known.delete(head);
    this.statistics.invalidated++;
    // Its slot may still be running further up the stack, so the function stays; the table lets go of it.
    this.#hart.regions.set(region.slot, this.#hart.exports["nested"] as unknown as never);
    this.#freeSlots.push(region.slot);
  }

  #frameEntry(host: number): number {
    return this.#map.frames + ((host - this.#map.ram) >>> 12) * frame.size;
  }

  #setHead(host: number, record: number): void {
    const view = this.#view;
    let index = Math.imul(host, heads.multiplier) >>> heads.shift;
    for (;;) {
      const slot = this.#map.heads + index * 8;
      const at = view.getUint32(slot, true);
      if (at === 0) this.#headsTaken++;
      if (at === 0 || at === host) {
        view.setUint32(slot, host, true);
        view.setUint32(slot + 4, record, true);
        return;
      }
      index = (index + 1) & (heads.count - 1);
    }
  }

  /** The entry at a head is decoded anew, and then as the region's head or no longer as that. Its profile starts again. */
  #forgetDecoded(host: number): void {
    const page = this.#view.getUint32(this.#frameEntry(host) + frame.predecoded, true);
    if (page === 0) return;
    const entry = page + predecoded.header + ((host & 4095) >>> 1) * 8;
    this.#view.setBigUint64(entry, 0n, true);
    this.#view.setUint32(this.#map.counters + ((entry >>> 1) & ((counterCount - 1) << 2)), 0, true);
  }
}

/** Host addresses are unsigned: beyond 2 GiB, bitwise operators would make them negative. */
function pageOf(host: number): number {
  return host - (host % 4096);
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
    this.#ready.push({ ...batch, module, bytes: bytes.length, seconds: (this.#now() - start) / 1000 });
  }

  receive(): CompiledModule | undefined {
    return this.#ready.shift();
  }
}
