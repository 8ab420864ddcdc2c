/** The API over HTTP: requests to actions, results to answers, conversations by WebSocket. */
import { toWire } from "#api/errors.ts";
import { fromRequest, isStream, openApiPath } from "#api/routes.ts";
import type { StreamPort } from "#api/stream.ts";
import { HostelryError } from "#base/errors.ts";
import { webSocketPort } from "#host/node/web-socket-port.ts";
import type { Action } from "#monitor/action.ts";
import { createServer, STATUS_CODES, type IncomingMessage, type Server } from "node:http";
import type { Duplex } from "node:stream";
import { WebSocketServer } from "ws";
import type { Operations } from "./operations.ts";

const LARGEST_BODY = 1 << 20;
const LARGEST_MESSAGE = 1 << 20;
/** A command for `exec` stands in the head, with its environment; each of their characters as nine at most, `%E2%82%AC` for one. */
const LARGEST_HEAD = 256 * 1024;

export interface HttpServer {
  readonly server: Server;
  /** Ends what is under way. */
  close(): void;
}

/** `bug` hears of what is no HostelryError. */
export function createHttpServer(operations: Operations, bug: (error: unknown) => void): HttpServer {
  const server = createServer({ maxHeaderSize: LARGEST_HEAD });
  const sockets = new WebSocketServer({ noServer: true, maxPayload: LARGEST_MESSAGE, perMessageDeflate: false });
  const refusal = (error: unknown) => {
    if (!(error instanceof HostelryError)) bug(error);
    return toWire(error);
  };

  server.on("request", (request, response) => {
    const answer = (status: number, body: unknown): void => {
      response.writeHead(status, { "content-type": "application/json" });
      response.end(`${JSON.stringify(body)}\n`);
    };
    answerTo(request, operations).then(
      (result) => answer(200, result),
      (error: unknown) => {
        const { status, body } = refusal(error);
        answer(status, body);
      },
    );
  });

  server.on("upgrade", (request, socket, head) => {
    socket.on("error", () => socket.destroy());
    let converse: (port: StreamPort) => Promise<void>;
    try {
      const action = fromRequest(request.method!, request.url!, undefined);
      if (!isStream(action)) throw new HostelryError("bad-request", `${request.url} is no conversation: ask without an upgrade`);
      converse = operations.converse(action);
    } catch (error) {
      const { status, body } = refusal(error);
      return refuseUpgrade(socket, status, JSON.stringify(body));
    }
    sockets.handleUpgrade(request, socket, head, (webSocket) => {
      const port = webSocketPort(webSocket);
      converse(port).catch(async (error: unknown) => {
        const { code, message } = refusal(error).body.error;
        await port.send({ kind: "failed", code, message });
        port.close();
      });
    });
  });

  return {
    server,
    close() {
      server.close();
      server.closeAllConnections();
      for (const client of sockets.clients) client.terminate();
    },
  };
}

async function answerTo(request: IncomingMessage, operations: Operations): Promise<unknown> {
  if (request.method === "GET" && request.url === openApiPath) {
    const { openApi } = await import("#api/openapi.ts");
    return openApi();
  }
  const action: Action = fromRequest(request.method!, request.url!, await bodyOf(request));
  if (isStream(action)) throw new HostelryError("bad-request", `${request.url} is a conversation: ask for an upgrade to a WebSocket`);
  return operations.do(action);
}

async function bodyOf(request: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request) {
    size += (chunk as Buffer).length;
    if (size > LARGEST_BODY) throw new HostelryError("too-large", `a request's body may have ${LARGEST_BODY} bytes`);
    chunks.push(chunk as Buffer);
  }
  if (size === 0) return undefined;
  try {
    return JSON.parse(Buffer.concat(chunks).toString());
  } catch (error) {
    throw new HostelryError("bad-json", `the body is no JSON: ${(error as Error).message}`);
  }
}

function refuseUpgrade(socket: Duplex, status: number, body: string): void {
  socket.end(`HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`);
}
