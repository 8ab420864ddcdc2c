/**
 * What host and agent say to each other: frames of bytes, as docs/agent.md has them. The other half is guest/agent/protocol.h.
 *
 *     length of the payload u32 │ kind u32 │ number of the exec u32 │ payload          all little-endian
 */
export const VERSION = 1;

const HEADER = 12;

/** Arguments and environment of a command have to fit. */
export const MAX_PAYLOAD = 128 * 1024;

/** Bytes of a stream that may be under way unasked: each end begins with so much credit. */
export const WINDOW = 64 * 1024;

/** A stream's bytes come in frames no longer than this, so that others get their turn. */
export const MAX_CHUNK = 16 * 1024;

const kinds = { hello: 1, start: 2, data: 3, credit: 4, kill: 5, started: 6, failed: 7, exited: 8 } as const;
type Kind = keyof typeof kinds;
const kindNames: ReadonlyMap<number, Kind> = new Map(Object.entries(kinds).map(([name, number]) => [number, name as Kind]));

export const streams = ["stdin", "stdout", "stderr"] as const;
export type Stream = (typeof streams)[number];

/** Where the start of a command can fail. */
export const steps = ["agent", "directory", "command"] as const;
export type Step = (typeof steps)[number];

export interface Command {
  readonly argv: readonly string[];
  /** Added to the agent's own. */
  readonly env: readonly (readonly [name: string, value: string])[];
  readonly cwd: string;
}

/** From the agent. */
export type AgentMessage =
  | { readonly kind: "data"; readonly exec: number; readonly stream: Stream; readonly bytes: Uint8Array }
  | { readonly kind: "credit"; readonly exec: number; readonly stream: Stream; readonly bytes: number }
  | { readonly kind: "started"; readonly exec: number }
  | { readonly kind: "failed"; readonly exec: number; readonly step: Step; readonly errno: number }
  | { readonly kind: "exited"; readonly exec: number; readonly code: number; readonly signal: number };

/** By which a hello is found among whatever else there is. */
const MAGIC = new TextEncoder().encode("hostelry");

const words = (...values: number[]): Uint8Array => {
  const view = new DataView(new ArrayBuffer(4 * values.length));
  values.forEach((value, index) => view.setUint32(4 * index, value, true));
  return new Uint8Array(view.buffer);
};

const join = (...parts: readonly Uint8Array[]): Uint8Array => {
  const bytes = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
};

const frame = (kind: Kind, exec: number, ...payload: readonly Uint8Array[]): Uint8Array =>
  join(words(payload.reduce((sum, { length }) => sum + length, 0), kinds[kind], exec), ...payload);

const zeroTerminated = (texts: readonly string[]): Uint8Array => new TextEncoder().encode(texts.map((text) => `${text}\0`).join(""));

/** What the host can say. */
export const encode = {
  /** The agent ends all that it does, and answers with the same `nonce`, of 8 bytes. */
  hello: (nonce: Uint8Array, version = VERSION): Uint8Array => frame("hello", 0, MAGIC, words(version), nonce),
  start: (exec: number, { argv, env, cwd }: Command): Uint8Array =>
    frame("start", exec, words(argv.length, env.length), zeroTerminated([cwd, ...argv, ...env.map(([name, value]) => `${name}=${value}`)])),
  /** No bytes are the stream's end. */
  data: (exec: number, stream: Stream, bytes: Uint8Array): Uint8Array => frame("data", exec, words(streams.indexOf(stream)), bytes),
  credit: (exec: number, stream: Stream, bytes: number): Uint8Array => frame("credit", exec, words(streams.indexOf(stream), bytes)),
  kill: (exec: number, signal: number): Uint8Array => frame("kill", exec, words(signal)),
};

export class ProtocolError extends Error {}

/** What follows the agent's hello is taken apart; all before it is passed over. */
export class FrameReader {
  readonly #nonce: Uint8Array;
  #rest: Uint8Array = new Uint8Array(0);
  /** Of the agent's protocol, once it has answered. */
  version: number | undefined;

  /** `nonce`: of the hello that the agent is to answer. */
  constructor(nonce: Uint8Array) {
    this.#nonce = nonce;
  }

  /** The messages that these bytes complete. Throws ProtocolError if they are none. */
  *read(bytes: Uint8Array): Generator<AgentMessage> {
    this.#rest = this.#rest.length === 0 ? bytes : join(this.#rest, bytes);
    if (this.version === undefined && !this.#findHello()) return;
    for (;;) {
      if (this.#rest.length < HEADER) return;
      const header = viewOf(this.#rest);
      const length = header.getUint32(0, true);
      if (length > MAX_PAYLOAD) throw new ProtocolError(`a frame of ${length} bytes`);
      if (this.#rest.length < HEADER + length) return;
      const payload = this.#rest.subarray(HEADER, HEADER + length);
      this.#rest = this.#rest.subarray(HEADER + length);
      yield decode(header.getUint32(4, true), header.getUint32(8, true), payload);
    }
  }

  /** Its end is known, but for the version: the nonce makes it unmistakable. */
  #findHello(): boolean {
    const [atVersion, atNonce] = [HEADER + MAGIC.length, HEADER + MAGIC.length + 4];
    const length = atNonce + this.#nonce.length;
    for (let at = 0; at + length <= this.#rest.length; at++) {
      if (!holds(this.#rest, at + HEADER, MAGIC) || !holds(this.#rest, at + atNonce, this.#nonce)) continue;
      this.version = viewOf(this.#rest).getUint32(at + atVersion, true);
      this.#rest = this.#rest.subarray(at + length);
      return true;
    }
    this.#rest = this.#rest.slice(Math.max(0, this.#rest.length - length + 1));
    return false;
  }
}

function decode(kindNumber: number, exec: number, payload: Uint8Array): AgentMessage {
  const kind = kindNames.get(kindNumber);
  const view = viewOf(payload);
  const word = (index: number): number => {
    if (payload.length < 4 * (index + 1)) throw new ProtocolError(`a short ${kind}`);
    return view.getUint32(4 * index, true);
  };
  const named = <Name>(names: readonly Name[], index: number): Name => {
    const name = names[index];
    if (name === undefined) throw new ProtocolError(`a ${kind} with ${index}`);
    return name;
  };
  switch (kind) {
    case "data":
      return { kind, exec, stream: named(streams, word(0)), bytes: payload.subarray(4) };
    case "credit":
      return { kind, exec, stream: named(streams, word(0)), bytes: word(1) };
    case "started":
      return { kind, exec };
    case "failed":
      return { kind, exec, step: named(steps, word(0)), errno: word(1) };
    case "exited":
      return { kind, exec, code: word(0), signal: word(1) };
    default:
      throw new ProtocolError(`a frame of kind ${kindNumber}`);
  }
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function holds(bytes: Uint8Array, at: number, what: Uint8Array): boolean {
  return what.every((byte, index) => bytes[at + index] === byte);
}
