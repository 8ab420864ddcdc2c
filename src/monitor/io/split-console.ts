/**
 * The back end of the console: bytes in two rings, one for each way. Each side writes to a page of its own, so that the guest grants its own for reading
 * only. What its kernel has put there is taken whenever the monitor is entered for this guest: the kernel's writes cost no exit.
 */
import { SbiError } from "#devices/sbi.ts";
import { FRAME_SIZE } from "#machine/frames.ts";
import type { Refusal } from "../memory/direct.ts";
import type { Grants } from "../memory/grants.ts";
import type { GuestMemory } from "../memory/guest-memory.ts";

const { success, invalidParameter, denied, alreadyAvailable } = SbiError;

/** The device's number among virtio's (virtio 1.2, section 5). */
export const CONSOLE = 3;
/** In both pages: what its writer ever put into its ring, and took from the other, modulo 2^32; then the ring. */
const place = { put: 0, taken: 4, ring: 2048 } as const;
export const RING_SIZE = FRAME_SIZE - place.ring;

/** The console itself. */
export interface ConsoleDoor {
  readonly output: (bytes: Uint8Array) => void;
  /** There may be room for input. */
  readonly ready: () => void;
}

export interface SplitConsoleOptions {
  readonly memory: GuestMemory;
  readonly grants: Grants;
  readonly door: ConsoleDoor;
  /** The guest is to be told that it has input. */
  readonly event: () => void;
}

interface Side {
  readonly page: number;
  readonly reference: number;
}

/** What the monitor itself knows of the counts: those in the pages may say anything. */
interface Connection {
  readonly output: Side;
  readonly input: Side;
  readonly taken: number;
  readonly put: number;
}
export type SavedSplitConsole = Connection | undefined;

export class SplitConsole {
  readonly #options: SplitConsoleOptions;
  #connection: Connection | undefined;

  constructor(options: SplitConsoleOptions, saved?: SavedSplitConsole) {
    this.#options = options;
    this.#connection = saved;
  }

  save(): SavedSplitConsole {
    return this.#connection;
  }

  /** Grants begin anew as well. */
  reset(): void {
    this.#connection = undefined;
  }

  /** References to the page of the guest's output and to that of its input. */
  connect(output: number, input: number): Refusal {
    if (this.#connection !== undefined) return alreadyAvailable;
    const { grants, door } = this.#options;
    const from = grants.take(output, "read");
    if (from < 0) return from;
    const to = grants.take(input, "write");
    if (to < 0) {
      grants.giveBack(output);
      return to;
    }
    this.#connection = { output: { page: from, reference: output }, input: { page: to, reference: input }, taken: 0, put: 0 };
    // Input comes this way from now on.
    door.output(new Uint8Array(0));
    return success;
  }

  disconnect(): Refusal {
    if (this.#connection === undefined) return denied;
    for (const { reference } of [this.#connection.output, this.#connection.input]) this.#options.grants.giveBack(reference);
    this.#connection = undefined;
    return success;
  }

  /** Takes what there is of output. A count that is out of range is refused, and nothing is taken. */
  kick(): Refusal {
    const connection = this.#connection;
    if (connection === undefined) return denied;
    const { memory, door } = this.#options;
    const put = this.#count(connection.output, place.put);
    const count = (put - connection.taken) >>> 0;
    if (count > RING_SIZE) return invalidParameter;
    if (count > 0) {
      for (const [at, length] of pieces(connection.taken, count)) door.output(memory.readable(address(connection.output, at), length));
      this.#connection = { ...connection, taken: put };
      this.#writeCount(connection.input, place.taken, put);
    }
    door.ready();
    return success;
  }

  /** Input has come: as much of it as there is room for is put into the ring. Returns how much. */
  receive(bytes: Uint8Array): number {
    const connection = this.#connection;
    if (connection === undefined) return 0;
    const waiting = (connection.put - this.#count(connection.output, place.taken)) >>> 0;
    if (waiting >= RING_SIZE) return 0;
    const count = Math.min(bytes.length, RING_SIZE - waiting);
    let done = 0;
    for (const [at, length] of pieces(connection.put, count)) {
      this.#options.memory.writable(address(connection.input, at), length).set(bytes.subarray(done, done + length));
      done += length;
    }
    const put = (connection.put + count) >>> 0;
    this.#connection = { ...connection, put };
    this.#writeCount(connection.input, place.put, put);
    this.#options.event();
    return count;
  }

  #count({ page }: Side, at: number): number {
    const { memory } = this.#options;
    return memory.machine.words[memory.machine.wordOf(memory.touch(page)) + at / 4]!;
  }

  #writeCount({ page }: Side, at: number, value: number): void {
    const { buffer, byteOffset } = this.#options.memory.writable(page * FRAME_SIZE + at, 4);
    new DataView(buffer, byteOffset, 4).setUint32(0, value, true);
  }
}

const address = ({ page }: Side, at: number): number => page * FRAME_SIZE + place.ring + at;

/** So many bytes of a ring from the n-th on: two pieces where they go round its end. */
function pieces(first: number, count: number): (readonly [at: number, length: number])[] {
  const at = first % RING_SIZE;
  const before = Math.min(count, RING_SIZE - at);
  return [[at, before] as const, [0, count - before] as const].filter(([, length]) => length > 0);
}
