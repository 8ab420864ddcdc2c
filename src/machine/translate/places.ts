/**
 * Where translations stand: at a place, the decoded entry of the head says so, a record says what the hart must find to enter, and stores
 * to the code are told.
 */
import { counterCount, frame, frameFlags, heads, predecoded, type MemoryMap } from "../layout.ts";
import type { HartInstance } from "../hart.ts";
import { regionRecord } from "../hart/region-entry.ts";
import type { CompiledRegion } from "./compile.ts";
import { hostAt, type Place } from "./region.ts";

/** What stands there is the owner's affair, but for its code and its slot of the function table. */
export interface Occupant {
  readonly region: CompiledRegion;
  readonly slot: number;
}

export interface Occupied<Of extends Occupant> {
  readonly place: Place;
  readonly occupant: Of;
  readonly record: number;
}

const recordSize = ({ pages }: CompiledRegion): number => regionRecord.page + pages.length * regionRecord.pageSize;

export class Places<Of extends Occupant> {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #map: MemoryMap;
  readonly #hart: HartInstance;
  readonly #byHead = new Map<number, Occupied<Of>>();
  readonly #byFrame = new Map<number, Set<Occupied<Of>>>();
  /** Records that are free again, by size. */
  readonly #freeRecords = new Map<number, number[]>();
  readonly #limit: number;
  #nextRecord: number;
  /** Entries of the head table that are in use, or were. */
  #headsTaken = 0;

  /** For so many places, about. */
  constructor(memory: ArrayBufferLike, map: MemoryMap, hart: HartInstance, limit = heads.count / 2) {
    this.#bytes = new Uint8Array(memory);
    this.#view = new DataView(memory as ArrayBuffer);
    this.#map = map;
    this.#hart = hart;
    this.#limit = limit;
    this.#nextRecord = map.regions;
  }

  /** Whether there is no room for much more. */
  get full(): boolean {
    return this.#nextRecord > this.#map.predecode - recordReserve || this.#headsTaken > this.#limit;
  }

  get all(): Iterable<Occupied<Of>> {
    return this.#byHead.values();
  }

  at(head: number): Occupied<Of> | undefined {
    return this.#byHead.get(head);
  }

  /** At a head where nothing else is. */
  add(place: Place, occupant: Of): Occupied<Of> {
    const { region } = occupant;
    const occupied: Occupied<Of> = { place, occupant, record: this.#record(place, occupant) };
    for (const { offset, length } of region.spans) this.#cover(occupied, hostAt(place, offset), length);
    this.#setHead(place.head, occupied.record);
    this.#byHead.set(place.head, occupied);
    const entry = this.#frameEntry(place.head);
    this.#view.setUint32(entry + frame.flags, this.#view.getUint32(entry + frame.flags, true) | frameFlags.heads, true);
    this.#forgetDecoded(place.head);
    return occupied;
  }

  /** Who calls this flushes the jump caches before the hart goes on. */
  remove(occupied: Occupied<Of>): void {
    const { place, occupant, record } = occupied;
    for (const { offset } of occupant.region.spans) this.#byFrame.get(pageOf(hostAt(place, offset)))?.delete(occupied);
    this.#setHead(place.head, 0);
    this.#byHead.delete(place.head);
    this.#forgetDecoded(place.head);
    const size = recordSize(occupant.region);
    const free = this.#freeRecords.get(size);
    if (free === undefined) this.#freeRecords.set(size, [record]);
    else free.push(record);
  }

  /** As `remove`, all of them. */
  clear(): void {
    for (const occupied of [...this.#byHead.values()]) this.remove(occupied);
    this.#bytes.fill(0, this.#map.heads, this.#map.heads + heads.count * 8);
    this.#headsTaken = 0;
    this.#byFrame.clear();
    this.#freeRecords.clear();
    this.#nextRecord = this.#map.regions;
  }

  /** Those with code among these bytes. */
  *covering(host: number, length: number): Iterable<Occupied<Of>> {
    // An instruction's second half may be what is written.
    const first = host - 2;
    const end = host + length;
    for (const occupied of [...(this.#byFrame.get(pageOf(host)) ?? [])]) {
      const { place, occupant } = occupied;
      const hit = occupant.region.spans.some((span) => {
        const at = hostAt(place, span.offset);
        return at < end && at + span.length > first;
      });
      if (hit) yield occupied;
    }
  }

  #record(place: Place, { region, slot }: Of): number {
    const view = this.#view;
    const size = recordSize(region);
    let record = this.#freeRecords.get(size)?.pop();
    if (record === undefined) {
      record = this.#nextRecord;
      this.#nextRecord += size;
    }
    view.setUint32(record + regionRecord.slot, slot, true);
    view.setUint32(record + regionRecord.privilege, region.request.privilege, true);
    view.setUint32(record + regionRecord.pages, region.pages.length, true);
    region.pages.forEach((distance, i) => {
      const at = record + regionRecord.page + i * regionRecord.pageSize;
      view.setInt32(at, distance, true);
      view.setUint32(at + 4, hostAt(place, distance * 4096 - (place.head & 4095)), true);
    });
    return record;
  }

  /** Marks the lines of a frame that a region's code covers, so that stores to them are told. */
  #cover(occupied: Occupied<Of>, host: number, length: number): void {
    const view = this.#view;
    const entry = this.#frameEntry(host);
    const base = pageOf(host);
    let flags = view.getUint32(entry + frame.flags, true);
    if (!(flags & frameFlags.code)) {
      this.#hart.exports.purgeWritable(this.#map.hart, base);
      flags &= ~frameFlags.writable;
    }
    view.setUint32(entry + frame.flags, flags | frameFlags.code | frameFlags.translated, true);
    for (let line = (host & 4095) >> 6; line <= ((host & 4095) + length - 1) >> 6; line++) {
      const byte = entry + frame.lines + (line >> 3);
      view.setUint8(byte, view.getUint8(byte) | (1 << (line & 7)));
    }
    let all = this.#byFrame.get(base);
    if (all === undefined) this.#byFrame.set(base, (all = new Set()));
    all.add(occupied);
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

/** Space for records that may be needed before anybody looks whether there is room. */
const recordReserve = 1 << 20;

/** Host addresses are unsigned: beyond 2 GiB, bitwise operators would make them negative. */
function pageOf(host: number): number {
  return host - (host % 4096);
}
