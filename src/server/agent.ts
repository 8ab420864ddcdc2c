/** A guest's agent, as the server uses it, and a command that it executes joined to a client's stream. */
import type { Channel, StreamPort } from "#api/stream.ts";
import { HostelryError } from "#base/errors.ts";
import type { ActionOf } from "#monitor/action.ts";

export interface Agent {
  /** Starts a program, by path or name. Throws HostelryError if the agent doesn't answer, or the guest can't start it. */
  exec(command: readonly string[], surroundings: { readonly env: Readonly<Record<string, string>>; readonly cwd?: string }): Promise<AgentProcess>;
}

export interface AgentProcess {
  readonly stdin: { write(bytes: Uint8Array): Promise<void>; end(): void };
  readonly stdout: AsyncIterable<Uint8Array>;
  readonly stderr: AsyncIterable<Uint8Array>;
  /** Rejects with HostelryError if the guest goes away. */
  readonly status: Promise<{ readonly kind: "exited"; readonly code: number } | { readonly kind: "killed"; readonly signal: number }>;
  kill(signal: number): void;
}

const SIGKILL = 9;
/** As shells tell that a signal has ended a command. */
const BY_SIGNAL = 128;

/** Until the command has exited, or the client has gone: then the command is killed. */
export async function converseWithProcess(agent: Agent, { command, env = [], cwd }: ActionOf<"exec">, port: StreamPort): Promise<void> {
  const process = await agent.exec(command, { env: Object.fromEntries(env.map(variable)), ...(cwd === undefined ? {} : { cwd }) });
  // The client has gone: since the command has exited, and then this is nothing, or too early.
  void port.closed.then(() => process.kill(SIGKILL));
  void feed(process, port);
  await Promise.all([forward(process.stdout, "output", port), forward(process.stderr, "error", port)]);
  const status = await process.status;
  await port.send({ kind: "exited", status: status.kind === "exited" ? status.code : BY_SIGNAL + status.signal });
  port.close();
}

/** `NAME=value`. */
function variable(text: string): readonly [string, string] {
  const end = text.indexOf("=");
  return [text.slice(0, end), text.slice(end + 1)];
}

async function forward(bytes: AsyncIterable<Uint8Array>, channel: Channel, port: StreamPort): Promise<void> {
  for await (const some of bytes) await port.send({ kind: "bytes", channel, bytes: some });
}

async function feed(process: AgentProcess, port: StreamPort): Promise<void> {
  try {
    for await (const message of port.messages) {
      if (message.kind === "bytes" && message.channel === "input") await process.stdin.write(message.bytes);
      else if (message.kind === "end-of-input") process.stdin.end();
    }
  } catch (error) {
    if (!(error instanceof HostelryError)) throw error;
    port.close();
  }
}
