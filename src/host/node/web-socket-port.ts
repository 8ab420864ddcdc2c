/** One end of a WebSocket as an end of a conversation. */
import { decodeMessage, encodeMessage, type StreamMessage, type StreamPort } from "#api/stream.ts";
import { HostelryError } from "#base/errors.ts";
import { on } from "node:events";
import type { WebSocket } from "ws";

/** Messages that wait to be taken, before the wire has to. */
const WAITING = 16;

/** To be called before anything can have come. */
export function webSocketPort(socket: WebSocket): StreamPort {
  const incoming = on(socket, "message", { close: ["close"], highWaterMark: WAITING, lowWaterMark: 1 }) as AsyncIterable<[Buffer, boolean]>;
  return {
    messages: decoded(incoming),
    // An error means that the other end has gone: the messages end too.
    send: (message) => new Promise((resolve) => socket.send(encodeMessage(message), () => resolve())),
    close: () => socket.close(),
    closed: new Promise((resolve) => void socket.once("close", () => resolve())),
  };
}

async function* decoded(incoming: AsyncIterable<[Buffer, boolean]>): AsyncGenerator<StreamMessage> {
  try {
    for await (const [data, isBinary] of incoming) yield decodeMessage(isBinary ? data : data.toString());
  } catch (error) {
    if (error instanceof HostelryError) throw error;
  }
}
