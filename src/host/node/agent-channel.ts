/** The agent of a guest, from its owner's thread: its bytes come and go through shared memory. */
import { ByteRing } from "#base/byte-ring.ts";
import { RingWriter } from "#base/ring-writer.ts";
import { AgentSession } from "#agent/session.ts";
import type { AgentShared } from "./agent-end.ts";

const INPUT_CAPACITY = 64 * 1024;
const OUTPUT_CAPACITY = 256 * 1024;

export class AgentChannel {
  readonly session: AgentSession;
  readonly #input = ByteRing.create(INPUT_CAPACITY);
  readonly #output = ByteRing.create(OUTPUT_CAPACITY);
  readonly #changes = new Int32Array(new SharedArrayBuffer(4));
  #ring = (): void => {};
  readonly #writer = new RingWriter(this.#input, () => this.#ring());

  constructor() {
    this.session = new AgentSession((bytes) => void this.#writer.write(bytes));
    void this.#watch();
    void this.#pump();
  }

  /** Joins it to a guest; `ring` wakes the guest's thread. Returns what is for that thread's `AgentEnd`. */
  join(ring: () => void): AgentShared {
    this.#ring = ring;
    return { input: this.#input.buffer, output: this.#output.buffer, changes: this.#changes.buffer as SharedArrayBuffer };
  }

  /** There is no guest any more. */
  close(): void {
    this.session.close();
    this.#input.end();
    this.#output.end();
    Atomics.notify(this.#changes, 0);
  }

  async #watch(): Promise<void> {
    for (let seen = 0; ; ) {
      await Atomics.waitAsync(this.#changes, 0, seen).value;
      if (this.#output.ended) return;
      const changes = Atomics.load(this.#changes, 0);
      if (changes === seen) continue;
      seen = changes;
      // That it was closed meanwhile may go unseen: another opening says as much.
      this.session.opened((changes & 1) === 1);
    }
  }

  async #pump(): Promise<void> {
    while (!this.#output.ended) {
      await this.#output.waitForBytes();
      this.session.received(this.#output.shift());
    }
  }
}
