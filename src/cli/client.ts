/** How a command reaches the server. */
import { Client } from "#api/client.ts";
import { socketPath } from "#host/node/socket-path.ts";
import { UnixTransport } from "#host/node/unix-transport.ts";

export interface ClientOptions {
  readonly socket?: string;
  readonly json?: boolean;
}

export const connect = ({ socket }: ClientOptions): Client => new Client(new UnixTransport(socketPath(socket)));
