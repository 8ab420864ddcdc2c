/** The API from outside: actions in, results out, wherever the server is. */
import type { ActionOf, RequestKind, Results, StreamKind } from "#monitor/action.ts";
import { fromWire } from "./errors.ts";
import { toRequest, type WireRequest } from "./routes.ts";
import type { StreamPort } from "./stream.ts";

export interface Answer {
  readonly status: number;
  /** Parsed JSON; undefined if it is none. */
  readonly body: unknown;
}

/** What a host gives to the client. Both throw HostelryError `no-server`. */
export interface Transport {
  request(request: WireRequest): Promise<Answer>;
  /** An answer in the place of a conversation is a refusal. */
  open(request: WireRequest): Promise<StreamPort | Answer>;
}

export class Client {
  readonly #transport: Transport;

  constructor(transport: Transport) {
    this.#transport = transport;
  }

  /** Throws the server's HostelryError. */
  async do<Request extends ActionOf<RequestKind>>(action: Request): Promise<Results[Request["kind"]]> {
    const { status, body } = await this.#transport.request(toRequest(action));
    if (status >= 400) throw fromWire(status, body);
    return body as Results[Request["kind"]];
  }

  /** Throws the server's HostelryError. */
  async converse(action: ActionOf<StreamKind>): Promise<StreamPort> {
    const answer = await this.#transport.open(toRequest(action));
    if ("status" in answer) throw fromWire(answer.status, answer.body);
    return answer;
  }
}
