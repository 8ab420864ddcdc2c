/** A guest's console from its owner's thread, through memory that the guest's thread sees too. */
import { ByteRing } from "#base/byte-ring.ts";
import { RingWriter } from "#base/ring-writer.ts";
import { Control } from "./machine-config.ts";

const INPUT_CAPACITY = 64 * 1024;
const OUTPUT_CAPACITY = 256 * 1024;

export class ConsoleLink {
  /** To be taken by the owner: when the ring is full, the guest waits. */
  readonly output = ByteRing.create(OUTPUT_CAPACITY);
  /** See `Control`. */
  readonly control = new Int32Array(new SharedArrayBuffer(4 * Control.words));
  readonly #input = ByteRing.create(INPUT_CAPACITY);
  readonly #ring: () => void;
  readonly #writer: RingWriter;

  /** `ring` wakes the guest's thread. */
  constructor(ring: () => void) {
    this.#ring = ring;
    this.#writer = new RingWriter(this.#input, ring);
  }

  /** What is for the guest's thread. */
  get shared(): { readonly control: SharedArrayBuffer; readonly input: SharedArrayBuffer; readonly output: SharedArrayBuffer } {
    return { control: this.control.buffer as SharedArrayBuffer, input: this.#input.buffer, output: this.output.buffer };
  }

  /** Input for the guest. Resolves when all of it is on its way: the guest may take its time. */
  write(bytes: Uint8Array): Promise<void> {
    return this.#writer.write(bytes);
  }

  resize(columns: number, rows: number): void {
    Atomics.store(this.control, Control.columns, columns);
    Atomics.store(this.control, Control.rows, rows);
    Atomics.add(this.control, Control.resizes, 1);
    this.#ring();
  }
}
