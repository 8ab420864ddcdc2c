/**
 * G-stage page tables (privileged manual, "Guest-Physical Address Translation"): what the hart's second stage walks. Sv39x4: three levels,
 * the root four frames long, 41 bits of guest-physical address.
 *
 *   guest-physical address   40       30 29      21 20      12 11       0
 *                            │ VPN[2] 11│ VPN[1] 9│ VPN[0] 9│ offset 12│
 *   entry                    53                 10 9  8 7 6 5 4 3 2 1 0
 *                            │ PPN 44            │RSW│D│A│G│U│X│W│R│V│
 */
import { assert } from "#base/assert.ts";
import { FRAME_SIZE } from "#machine/frames.ts";
import { pte } from "./guest-walk.ts";
import type { MachineMemory } from "./machine-memory.ts";

/** A and D are set from the start: nobody looks at them here. G-stage leaves must have U. */
const LEAF = pte.valid | pte.read | pte.execute | pte.user | pte.accessed | pte.dirty;
const PPN_SHIFT = 10;
const LEVELS = 3;
/** satp and hgatp: MODE 63:60, VMID 57:44, PPN 43:0. */
const MODE_SV39X4 = 8n;

export type Protection = "read-write" | "read-only";

/** Where tables stand. */
export interface SavedTables {
  readonly root: number;
  readonly tables: readonly number[];
}

export class GStageTables {
  readonly #memory: MachineMemory;
  readonly #owner: number;
  readonly #root: number;
  /** Frames of the tables below the root. */
  readonly #tables: number[];

  /** New ones, or those that stand already. Throws HostelryError `no-frames`. */
  constructor(memory: MachineMemory, owner: number, saved?: SavedTables) {
    this.#memory = memory;
    this.#owner = owner;
    this.#root = saved?.root ?? memory.takeRoot(owner);
    this.#tables = [...(saved?.tables ?? [])];
  }

  save(): SavedTables {
    return { root: this.#root, tables: this.#tables };
  }

  /** What hgatp is to hold. */
  hgatp(vmid: number): bigint {
    return (MODE_SV39X4 << 60n) | (BigInt(vmid) << 44n) | BigInt(this.#memory.pageNumber(this.#root));
  }

  /** Frames that the tables take. */
  get size(): number {
    return 4 + this.#tables.length;
  }

  /** Maps a page of the guest to a frame. If it was mapped to more before, the hart's translations must be flushed. Throws HostelryError `no-frames`. */
  map(page: number, frame: number, protection: Protection): void {
    const flags = protection === "read-write" ? LEAF | pte.write : LEAF;
    this.#leafTable(page).setUint32((page & 511) * 8, (this.#memory.pageNumber(frame) << PPN_SHIFT) | flags, true);
  }

  /** The guest's next access comes to the monitor. The hart's translations must be flushed. */
  unmap(page: number): void {
    this.#leafTable(page).setUint32((page & 511) * 8, 0, true);
  }

  /** Of the root's first frame, which is a root of Sv39 as well: the last entry leads to a table of somebody else's. */
  setLastEntry(low: number): void {
    this.#view(this.#root, 1).setUint32(511 * 8, low, true);
  }

  release(): void {
    for (const frame of this.#tables.splice(0)) this.#memory.release(frame);
    for (let frame = this.#root; frame < this.#root + 4; frame++) this.#memory.release(frame);
  }

  /** The table of the last level that has the page's entry; made if it wasn't there. */
  #leafTable(page: number): DataView {
    assert(page < 2 ** 29, "beyond 41 bits of guest-physical address", { page });
    let table = this.#view(this.#root, 4);
    for (let level = LEVELS - 1; level > 0; level--) {
      const index = Math.floor(page / 512 ** level) % (level === LEVELS - 1 ? 2048 : 512);
      const entry = table.getUint32(index * 8, true);
      let frame = (entry >>> PPN_SHIFT) - this.#memory.pageNumber(0);
      if (entry === 0) {
        frame = this.#memory.take(this.#owner, "page-table");
        this.#tables.push(frame);
        table.setUint32(index * 8, (this.#memory.pageNumber(frame) << PPN_SHIFT) | pte.valid, true);
      }
      table = this.#view(frame, 1);
    }
    return table;
  }

  #view(frame: number, count: number): DataView {
    const { buffer, byteOffset } = this.#memory.readable(frame, count);
    return new DataView(buffer, byteOffset, count * FRAME_SIZE);
  }
}
