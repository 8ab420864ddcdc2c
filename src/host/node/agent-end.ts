/** The agent of a guest, from the guest's thread: the other end of `agent-channel.ts`. */

/** Memory that both threads see. */
export interface AgentShared {
  readonly input: SharedArrayBuffer;
  readonly output: SharedArrayBuffer;
  /** One word: how often the guest has opened or closed the port, so that odd is open. */
  readonly changes: SharedArrayBuffer;
}

export class AgentEnd {
  readonly #changes: Int32Array;

  constructor({ changes }: AgentShared) {
    this.#changes = new Int32Array(changes);
  }

  opened(open: boolean): void {
    const changes = Atomics.load(this.#changes, 0);
    if (((changes & 1) === 1) === open) return;
    Atomics.store(this.#changes, 0, (changes + 1) | 0);
    Atomics.notify(this.#changes, 0);
  }
}
