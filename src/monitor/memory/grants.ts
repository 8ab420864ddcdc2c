/**
 * Grants, as Xen has them: the guest lists in a page which of its frames a back end may use, and hands out references, the indices there. Whoever
 * takes a reference holds the frame, so that it can't become a page table; what the guest writes to the list meanwhile changes nothing.
 */
import { SbiError } from "#devices/sbi.ts";
import { FRAME_SIZE } from "#machine/frames.ts";
import type { DirectTables, Refusal } from "./direct.ts";
import type { GuestMemory } from "./guest-memory.ts";

const { success, invalidParameter, denied, alreadyAvailable } = SbiError;

/** An entry: flags and the number of the frame, 4 bytes each. */
const ENTRY = 8;
export const GRANTS = FRAME_SIZE / ENTRY;
const grant = { granted: 1, writable: 2, inUse: 4 } as const;

export interface GrantOptions {
  readonly memory: GuestMemory;
  readonly direct: DirectTables;
  /** Whether guest and monitor agree by what this page holds: then no back end writes to it. */
  readonly isReserved: (page: number) => boolean;
}

export interface SavedGrants {
  readonly page: number | undefined;
  readonly taken: readonly (readonly [reference: number, page: number])[];
}

export class Grants {
  readonly #options: GrantOptions;
  /** Where the list is: the guest's page number. */
  #page: number | undefined;
  /** References in use, and the page of each, which is held. */
  readonly #taken: Map<number, number>;

  constructor(options: GrantOptions, saved?: SavedGrants) {
    this.#options = options;
    this.#page = saved?.page;
    this.#taken = new Map(saved?.taken);
  }

  save(): SavedGrants {
    return { page: this.#page, taken: [...this.#taken] };
  }

  /** The tables, which count who holds a page, begin anew as well. */
  reset(): void {
    this.#page = undefined;
    this.#taken.clear();
  }

  attach(page: number): Refusal {
    if (this.#page !== undefined) return alreadyAvailable;
    const refusal = this.#options.direct.claim(page);
    if (refusal === success) this.#page = page;
    return refusal;
  }

  /** The page behind a reference, to be read, or read and written, until it is given back; or an error, which is negative. */
  take(reference: number, use: "read" | "write"): number {
    if (reference >= GRANTS) return invalidParameter;
    if (this.#taken.has(reference)) return alreadyAvailable;
    const entry = this.#entry(reference);
    if (entry === undefined) return denied;
    const flags = entry.getUint32(0, true);
    if (!(flags & grant.granted) || (use === "write" && !(flags & grant.writable))) return denied;
    const page = this.#options.direct.pageOf(entry.getUint32(4, true));
    if (page === undefined || page === this.#page || this.#options.isReserved(page)) return denied;
    const refusal = this.#options.direct.claim(page);
    if (refusal !== success) return refusal;
    this.#taken.set(reference, page);
    entry.setUint32(0, flags | grant.inUse, true);
    return page;
  }

  giveBack(reference: number): void {
    this.#options.direct.unclaim(this.#taken.get(reference)!);
    this.#taken.delete(reference);
    const entry = this.#entry(reference)!;
    entry.setUint32(0, entry.getUint32(0, true) & ~grant.inUse, true);
  }

  revoke(reference: number): Refusal {
    if (reference >= GRANTS) return invalidParameter;
    const entry = this.#entry(reference);
    if (entry === undefined || this.#taken.has(reference)) return denied;
    entry.setUint32(0, 0, true);
    entry.setUint32(4, 0, true);
    return success;
  }

  #entry(reference: number): DataView | undefined {
    if (this.#page === undefined) return undefined;
    const { buffer, byteOffset } = this.#options.memory.writable(this.#page * FRAME_SIZE + reference * ENTRY, ENTRY);
    return new DataView(buffer, byteOffset, ENTRY);
  }
}
