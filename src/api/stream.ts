/**
 * A conversation, as WebSocket messages: a binary message is a channel's number in its first byte (0 input, 1 output, 2 error), and then bytes
 * on that channel; a text message is a note, in JSON.
 */
import { HostelryError } from "#base/errors.ts";
import type { VmEnd } from "#monitor/action.ts";
import * as v from "valibot";
import { vmEnd } from "./schemas.ts";
import { validate } from "./validate.ts";

/** Input goes to the guest; output and errors come from it. */
const channels = ["input", "output", "error"] as const;
export type Channel = (typeof channels)[number];

export type Note =
  /** To the server: the terminal's size, in characters; no more input comes. */
  | { readonly kind: "resize"; readonly columns: number; readonly rows: number }
  | { readonly kind: "end-of-input" }
  /** From the server: the guest has rebooted; the VM has ended; the command has. */
  | { readonly kind: "rebooted" }
  | { readonly kind: "ended"; readonly end: VmEnd }
  | { readonly kind: "exited"; readonly status: number }
  /** It can't go on. */
  | { readonly kind: "failed"; readonly code: string; readonly message: string };

export type StreamMessage = { readonly kind: "bytes"; readonly channel: Channel; readonly bytes: Uint8Array } | Note;

/** One end of a conversation. */
export interface StreamPort {
  /** Resolves when it is on its way, or the other end has gone. */
  send(message: StreamMessage): Promise<void>;
  /** In order, until the other end has gone. No more are taken from the wire than are taken here. Throws HostelryError `bad-message`. */
  readonly messages: AsyncIterable<StreamMessage>;
  close(): void;
  /** Settles when either end has closed it. */
  readonly closed: Promise<void>;
}

const size = v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(65535));

export const note: v.GenericSchema<unknown, Note> = v.variant("kind", [
  v.object({ kind: v.literal("resize"), columns: size, rows: size }),
  v.object({ kind: v.literal("end-of-input") }),
  v.object({ kind: v.literal("rebooted") }),
  v.object({ kind: v.literal("ended"), end: vmEnd }),
  v.object({ kind: v.literal("exited"), status: v.number() }),
  v.object({ kind: v.literal("failed"), code: v.string(), message: v.string() }),
]);

export function encodeMessage(message: StreamMessage): string | Uint8Array {
  if (message.kind !== "bytes") return JSON.stringify(message);
  const encoded = new Uint8Array(1 + message.bytes.length);
  encoded[0] = channels.indexOf(message.channel);
  encoded.set(message.bytes, 1);
  return encoded;
}

/** Throws HostelryError `bad-message`. */
export function decodeMessage(encoded: string | Uint8Array): StreamMessage {
  try {
    if (typeof encoded === "string") return validate(note, JSON.parse(encoded));
    const channel = channels[encoded[0] ?? channels.length];
    if (channel === undefined) throw new HostelryError("bad-request", `there is no channel ${encoded[0]}`);
    return { kind: "bytes", channel, bytes: encoded.subarray(1) };
  } catch (error) {
    throw new HostelryError("bad-message", `a message of the stream makes no sense: ${(error as Error).message}`);
  }
}
