/** Finds translations by the code that they were made from, wherever in memory the same code stands. */
import { knownCode, type MemoryMap } from "../layout.ts";
import type { CompiledRegion } from "./compile.ts";
import { hostAt, type Place, type RegionRequest } from "./region.ts";

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

  /** To be called while the code stands where it was read, or stands so at `place`. */
  add(entry: Entry, hash: number): void {
    const entries = this.#entries.get(hash);
    if (entries === undefined) this.#entries.set(hash, [entry]);
    else entries.unshift(entry);
    this.#note(hash);
  }

  /** A translation of the code that stands there, for this privilege. */
  find(wanted: RegionRequest, accept: (entry: Entry) => boolean = () => true): Entry | undefined {
    return this.#entries.get(this.hash(wanted.head))?.find((entry) => entry.region.request.privilege === wanted.privilege && accept(entry) && this.isAt(entry.region, wanted));
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

  /** Whether the region's code stands there. */
  isAt({ spans, code }: CompiledRegion, place: Place): boolean {
    const bytes = this.#bytes;
    let next = 0;
    for (const { offset, length } of spans) {
      const host = hostAt(place, offset);
      if (host === 0) return false;
      for (let i = 0; i < length; i++) if (bytes[host + i] !== code[next + i]) return false;
      next += length;
    }
    return true;
  }

  /** Of the code at a place's head, the first 8 bytes (of the last bytes of a page, those before them are part), and where in its page. */
  hash(head: number): number {
    const inPage = head & 4095;
    const at = head - Math.max(inPage - 4088, 0);
    const { multiplier } = knownCode;
    const code = this.#view.getInt32(at, true) ^ Math.imul(this.#view.getInt32(at + 4, true), multiplier);
    return Math.imul(code ^ Math.imul(inPage, multiplier), multiplier) >>> 0;
  }

  /** Tells the hart that it may ask: see `mayBeKnown` in the interpreter. */
  #note(hash: number): void {
    const bit = hash >>> knownCode.shift;
    this.#bytes[this.#map.knownCode + (bit >>> 3)]! |= 1 << (bit & 7);
  }
}
