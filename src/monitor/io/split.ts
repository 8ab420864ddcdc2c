/**
 * The back end of a split driver: the guest's kernel, the front end, puts requests into a ring in a page that it has granted, and says so; here they
 * are done, and each response takes its request's place. A guest stands still while that goes on, so what was read of the ring can't change.
 */
import { SbiError } from "#devices/sbi.ts";
import type { EntropySource } from "#devices/virtio/entropy.ts";
import { FRAME_SIZE } from "#machine/frames.ts";
import type { Refusal } from "../memory/direct.ts";
import type { Grants } from "../memory/grants.ts";
import type { GuestMemory } from "../memory/guest-memory.ts";

const { success, invalidParameter, denied, alreadyAvailable } = SbiError;

/** The device's number among virtio's (virtio 1.2, section 5). */
export const ENTROPY = 4;
/** The ring: counts of what was ever put there, modulo 2^32, and slots from `slots` on. */
const ring = { requests: 0, responses: 4, event: 8, slots: 64 } as const;
const SLOT = 16;
export const SLOTS = 128;
/** In a slot, of the request; and in the same place, the response's status. The id in front of it stays. */
const request = { reference: 4, offset: 8, length: 12 } as const;
const STATUS = 4;

export interface SplitOptions {
  readonly memory: GuestMemory;
  readonly grants: Grants;
  readonly source: EntropySource;
  /** The guest is to be told that its ring has responses. */
  readonly event: () => void;
}

interface Connection {
  /** The ring's page, and the reference to it. */
  readonly page: number;
  readonly reference: number;
  /** Requests that have been done: all those before, since each is done at once. */
  readonly done: number;
}
export type SavedSplit = Connection | undefined;

export class SplitEntropy {
  readonly #options: SplitOptions;
  #connection: Connection | undefined;

  constructor(options: SplitOptions, saved?: SavedSplit) {
    this.#options = options;
    this.#connection = saved;
  }

  save(): SavedSplit {
    return this.#connection;
  }

  /** Grants begin anew as well. */
  reset(): void {
    this.#connection = undefined;
  }

  connect(reference: number): Refusal {
    if (this.#connection !== undefined) return alreadyAvailable;
    const page = this.#options.grants.take(reference, "write");
    if (page < 0) return page;
    this.#connection = { page, reference, done: 0 };
    return success;
  }

  disconnect(): Refusal {
    if (this.#connection === undefined) return denied;
    this.#options.grants.giveBack(this.#connection.reference);
    this.#connection = undefined;
    return success;
  }

  /** There are requests. */
  kick(): Refusal {
    if (this.#connection === undefined) return denied;
    const { page, done } = this.#connection;
    const { buffer, byteOffset } = this.#options.memory.writable(page * FRAME_SIZE, FRAME_SIZE);
    const view = new DataView(buffer, byteOffset, FRAME_SIZE);
    const requests = view.getUint32(ring.requests, true);
    const count = (requests - done) >>> 0;
    if (count > SLOTS) return invalidParameter;
    for (let i = 0; i < count; i++) {
      const slot = ring.slots + SLOT * ((done + i) % SLOTS);
      view.setInt32(slot + STATUS, this.#fill(view, slot), true);
    }
    this.#connection = { ...this.#connection, done: requests };
    view.setUint32(ring.responses, requests, true);
    // Xen's rule: the count that the front end waits for is among the new ones.
    if ((requests - view.getUint32(ring.event, true)) >>> 0 < count) this.#options.event();
    return success;
  }

  /** The response: bytes that were filled, or an error. */
  #fill(view: DataView, slot: number): number {
    const field = (at: number): number => view.getUint32(slot + at, true);
    const [reference, offset, length] = [field(request.reference), field(request.offset), field(request.length)];
    if (offset >= FRAME_SIZE || offset + length > FRAME_SIZE) return invalidParameter;
    const { grants, memory, source } = this.#options;
    const page = grants.take(reference, "write");
    if (page < 0) return page;
    source.fill(memory.writable(page * FRAME_SIZE + offset, length));
    grants.giveBack(reference);
    return length;
  }
}
