/** Finds translations by the code that they were made from, wherever in memory the same code stands. */
import { knownCode, type MemoryMap } from "../layout.ts";
import { codeHash } from "./code-hash.ts";
import type { CompiledRegion } from "./compile.ts";
import { hostAt, type Place, type RegionRequest } from "./region.ts";

/** Whether a region's code stands at a place. `memory` is all of it. */
export function standsAt(memory: Uint8Array, { spans, code }: CompiledRegion, place: Place): boolean {
  let next = 0;
  for (const { offset, length } of spans) {
    const host = hostAt(place, offset);
    if (host === 0) return false;
    for (let i = 0; i < length; i++) if (memory[host + i] !== code[next + i]) return false;
    next += length;
  }
  return true;
}

export class CodeIndex<Entry extends { readonly region: CompiledRegion }> {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #map: MemoryMap;
  /** By hash; what came last is first. */
  readonly #entries = new Map<number, Entry[]>();

  constructor(memory: ArrayBufferLike, map: MemoryMap) {
    this.#bytes = new Uint8Array(memory);
    this.#view = new DataView(memory as ArrayBuffer);
    this.#map = map;
  }

  add(entry: Entry): void {
    const { hash } = entry.region;
    const entries = this.#entries.get(hash);
    if (entries === undefined) this.#entries.set(hash, [entry]);
    else entries.unshift(entry);
    this.#note(hash);
  }

  /** A translation of the code that stands there, for this privilege. */
  find(wanted: RegionRequest, accept: (entry: Entry) => boolean = () => true): Entry | undefined {
    const entries = this.#entries.get(this.hash(wanted.head));
    return entries?.find((entry) => entry.region.request.privilege === wanted.privilege && accept(entry) && this.isAt(entry.region, wanted));
  }

  /** Keeps those that `keep` says. */
  filter(keep: (entry: Entry) => boolean): void {
    this.#bytes.fill(0, this.#map.knownCode, this.#map.knownCode + knownCode.bytes);
    for (const [hash, entries] of this.#entries) {
      const kept = entries.filter(keep);
      if (kept.length === 0) this.#entries.delete(hash);
      else {
        this.#entries.set(hash, kept);
        this.#note(hash);
      }
    }
  }

  isAt(region: CompiledRegion, place: Place): boolean {
    return standsAt(this.#bytes, region, place);
  }

  hash(head: number): number {
    return codeHash(this.#view, head);
  }

  /** Tells the hart that it may ask: see `mayBeKnown` in the interpreter. */
  #note(hash: number): void {
    const bit = hash >>> knownCode.shift;
    this.#bytes[this.#map.knownCode + (bit >>> 3)]! |= 1 << (bit & 7);
  }
}

/** What a compiler that serves several harts told one of them of lately: the hart may ask for it while the word is under way. */
export class LatelyTold {
  readonly #regions: CompiledRegion[] = [];

  add(regions: readonly CompiledRegion[]): void {
    this.#regions.push(...regions);
    this.#regions.splice(0, this.#regions.length - LATELY);
  }

  /** Whether it was told of the code that stands there; once, since who asks again didn't hear or has forgotten. */
  has(memory: Uint8Array, wanted: RegionRequest): boolean {
    // Those who wish how it is made know that there is one.
    if (wanted.hotLoops !== undefined || wanted.separateChecks !== undefined) return false;
    const inPage = wanted.head & 4095;
    const found = this.#regions.findIndex((region) =>
      region.request.privilege === wanted.privilege && (region.request.head & 4095) === inPage && standsAt(memory, region, wanted));
    if (found < 0) return false;
    this.#regions.splice(found, 1);
    return true;
  }
}

/** What came before so many others has arrived. */
const LATELY = 1024;
