/** A VM's console by way of the server, as a console session takes it; and a command within a VM. */
import { describeEnd } from "#api/describe-end.ts";
import type { Note, StreamPort } from "#api/stream.ts";
import { ByteRing } from "#base/byte-ring.ts";
import { HostelryError } from "#base/errors.ts";
import { constants } from "node:os";
import { ConsoleSession, type ConsolePort } from "./console-session.ts";
import { ExitStatus } from "./exit-status.ts";
import type { Messages } from "./messages.ts";

const CAPACITY = 256 * 1024;

class RemoteConsole implements ConsolePort {
  readonly output = ByteRing.create(CAPACITY);
  readonly #port: StreamPort;

  constructor(port: StreamPort) {
    this.#port = port;
  }

  write(bytes: Uint8Array): Promise<void> {
    return this.#port.send({ kind: "bytes", channel: "input", bytes });
  }

  resize(columns: number, rows: number): void {
    void this.#port.send({ kind: "resize", columns, rows });
  }

  /** Takes what comes; returns the note that it ends with, if there is one. */
  async receive(): Promise<Note | undefined> {
    for await (const message of this.#port.messages) {
      if (message.kind === "ended" || message.kind === "failed") return message;
      if (message.kind !== "bytes") continue;
      for (let done = 0; done < message.bytes.length; ) {
        await this.output.roomAgain();
        done += this.output.push(message.bytes.subarray(done));
      }
    }
    return undefined;
  }
}

/** Joins the console to the terminal or pipe, until the user leaves or the VM ends. Returns the exit status. */
export async function joinConsole(name: string, port: StreamPort, messages: Messages): Promise<number> {
  const terminal = process.stdin.isTTY === true;
  const remote = new RemoteConsole(port);
  const { promise: left, resolve: leave } = Promise.withResolvers<number>();
  const session = new ConsoleSession(remote, terminal ? "terminal" : "raw-pipe", messages, () => leave(ExitStatus.success), "the VM goes on");
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.once(signal, () => leave(ExitStatus.signal + constants.signals[signal]));
  messages.line(`The console of ${name}${terminal ? ": Ctrl-A X leaves it, Ctrl-A H helps" : ""}`);
  session.start();
  const outcome = await Promise.race([left, remote.receive()]).finally(() => session.close());
  port.close();
  if (typeof outcome === "number") return outcome;
  if (outcome?.kind === "ended") {
    messages.line(`${name} has ended: ${describeEnd(outcome.end)}`);
    return ExitStatus.success;
  }
  throw outcome?.kind === "failed" ? new HostelryError(outcome.code, outcome.message) : new HostelryError("server-gone", "the server has gone");
}

/** Joins a command to stdin, stdout and stderr. Returns its exit status. */
export async function joinCommand(port: StreamPort): Promise<number> {
  void sendInput(port);
  for await (const message of port.messages) {
    if (message.kind === "exited") return message.status;
    if (message.kind === "failed") throw new HostelryError(message.code, message.message);
    if (message.kind === "bytes") await write(message.channel === "error" ? process.stderr : process.stdout, message.bytes);
  }
  throw new HostelryError("server-gone", "the server has gone, or the VM: how the command ended is not known");
}

async function sendInput(port: StreamPort): Promise<void> {
  try {
    for await (const bytes of process.stdin) await port.send({ kind: "bytes", channel: "input", bytes: bytes as Buffer });
  } finally {
    await port.send({ kind: "end-of-input" });
  }
}

/** Resolves when there is room for more; if nobody reads any more, at once. */
function write(stream: NodeJS.WriteStream, bytes: Uint8Array): Promise<void> {
  return new Promise((resolve) => void stream.write(bytes, () => resolve()));
}
