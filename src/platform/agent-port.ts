/** The board's end of the port through which the host and its agent in the guest talk: docs/agent.md. */
import { StateReader, type Saveable, type SavedState } from "#base/saved-state.ts";
import type { NamedPort } from "#devices/virtio/console.ts";

/** The host's end. */
export interface AgentBackend {
  /** What the agent says; the bytes are the callee's. It may block. */
  output(bytes: Uint8Array): void;
  /** A program in the guest has opened the port, or closed it. What is sent while it is closed is dropped. */
  opened(open: boolean): void;
}

const NOTHING = new Uint8Array(0);

/** More input than this is not taken at a time. */
const MAX_INPUT = 1 << 16;

export class AgentPort implements NamedPort, Saveable {
  readonly name = "org.hostelry.agent.0";
  readonly #backend: AgentBackend;
  #receive: (bytes: Uint8Array) => number = (bytes) => bytes.length;
  /** Has no room in the device yet. */
  #input: Uint8Array = NOTHING;

  constructor(backend: AgentBackend) {
    this.#backend = backend;
  }

  connect(receive: (bytes: Uint8Array) => number): void {
    this.#receive = receive;
  }

  input(bytes: Uint8Array): void {
    // What is offered is gone before the device can ask for more.
    this.#input = NOTHING;
    this.#input = bytes.subarray(this.#receive(bytes));
  }

  /** Whether all input has found its way, so that there may be more. */
  get taken(): boolean {
    return this.#input.length === 0;
  }

  write(bytes: Uint8Array): boolean {
    this.#backend.output(bytes);
    return true;
  }

  /** The device has room again. */
  ready(): void {
    this.input(this.#input);
  }

  opened(open: boolean): void {
    this.#backend.opened(open);
  }

  save(): SavedState {
    return { kind: "agent-port", version: 1, input: [...this.#input] };
  }

  restore(state: unknown): void {
    this.#input = Uint8Array.from(StateReader.open(state, "agent-port", 1).uints("input", 8, { atMost: MAX_INPUT }));
  }
}
