/** The client's way to a server: HTTP over a Unix socket. */
import type { Answer, Transport } from "#api/client.ts";
import type { WireRequest } from "#api/routes.ts";
import type { StreamPort } from "#api/stream.ts";
import { HostelryError } from "#base/errors.ts";
import { request as httpRequest, type IncomingMessage } from "node:http";
import { connect } from "node:net";
import { WebSocket } from "ws";
import { webSocketPort } from "./web-socket-port.ts";

export class UnixTransport implements Transport {
  readonly #path: string;

  constructor(socketPath: string) {
    this.#path = socketPath;
  }

  request({ method, path, body }: WireRequest): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const headers = body === undefined ? {} : { "content-type": "application/json" };
      const request = httpRequest({ socketPath: this.#path, method, path, headers }, (response) => answerOf(response).then(resolve, reject));
      request.on("error", (error) => reject(this.#reason(error)));
      request.end(body === undefined ? undefined : JSON.stringify(body));
    });
  }

  open({ path }: WireRequest): Promise<StreamPort | Answer> {
    return new Promise((resolve, reject) => {
      const socket = new WebSocket(`ws://localhost${path}`, { createConnection: () => connect(this.#path), perMessageDeflate: false });
      const port = webSocketPort(socket);
      socket.on("open", () => resolve(port));
      socket.on("unexpected-response", (_, response) => answerOf(response).then(resolve, reject));
      socket.on("error", (error) => reject(this.#reason(error)));
    });
  }

  #reason(error: NodeJS.ErrnoException): unknown {
    const start = 'start one with "hostelry serve"';
    switch (error.code) {
      case "ENOENT":
        return new HostelryError("no-server", `there is no server at ${this.#path}: ${start}`);
      case "ECONNREFUSED":
        return new HostelryError("no-server", `no server listens at ${this.#path} any more: ${start}`);
      case "EACCES":
      case "EPERM":
        return new HostelryError("no-server", `the server at ${this.#path} is another user's: ${start}, or name yours with --socket`);
      case "ECONNRESET":
      case "EPIPE":
        return new HostelryError("server-gone", `the server at ${this.#path} has ended before it answered`);
      default:
        return error;
    }
  }
}

async function answerOf(response: IncomingMessage): Promise<Answer> {
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk as Buffer);
  return { status: response.statusCode!, body: parsed(Buffer.concat(chunks).toString()) };
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
