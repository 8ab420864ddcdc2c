/** A command that runs in a guest. */
import { HostelryError } from "#base/errors.ts";
import { encode, ProtocolError, type AgentMessage, type Command, type Step } from "./protocol.ts";
import { InputStream, OutputStream } from "./streams.ts";

export type ExecStatus =
  | { readonly kind: "exited"; readonly code: number }
  | { readonly kind: "killed"; readonly signal: number };

export class Exec {
  readonly stdin: InputStream;
  readonly stdout: OutputStream;
  readonly stderr: OutputStream;
  /** Settles when it runs. */
  readonly started: Promise<void>;
  /** Settles when it has ended and all of its output has come. Rejects with HostelryError `agent-lost`. */
  readonly status: Promise<ExecStatus>;
  readonly #number: number;
  readonly #command: Command;
  readonly #send: (bytes: Uint8Array) => void;
  #running!: { readonly resolve: () => void; readonly reject: (error: Error) => void };
  #ended!: { readonly resolve: (status: ExecStatus) => void; readonly reject: (error: Error) => void };
  #over = false;

  constructor(number: number, command: Command, send: (bytes: Uint8Array) => void) {
    this.#number = number;
    this.#command = command;
    this.#send = send;
    this.stdin = new InputStream((bytes) => send(encode.data(number, "stdin", bytes)));
    this.stdout = new OutputStream((bytes) => send(encode.credit(number, "stdout", bytes)));
    this.stderr = new OutputStream((bytes) => send(encode.credit(number, "stderr", bytes)));
    this.started = new Promise((resolve, reject) => (this.#running = { resolve, reject }));
    this.status = new Promise((resolve, reject) => (this.#ended = { resolve, reject }));
    // Whoever waits hears of it; nobody has to.
    this.started.catch(() => {});
    this.status.catch(() => {});
  }

  /** Sends a signal, by its number in Linux, to the command and all that it has started. */
  kill(signal: number): void {
    if (!this.#over) this.#send(encode.kill(this.#number, signal));
  }

  /** Returns whether that was the last of it. Throws ProtocolError. */
  heard(message: AgentMessage): boolean {
    switch (message.kind) {
      case "started":
        this.#running.resolve();
        return false;
      case "failed":
        this.fail(refusal(this.#command, message.step, message.errno));
        return true;
      case "data":
        if (message.stream === "stdin") throw new ProtocolError("output on stdin");
        this[message.stream].push(message.bytes);
        return false;
      case "credit":
        if (message.stream !== "stdin") throw new ProtocolError("room in an output");
        this.stdin.grant(message.bytes);
        return false;
      case "exited":
        this.#close();
        this.#ended.resolve(message.signal === 0 ? { kind: "exited", code: message.code } : { kind: "killed", signal: message.signal });
        return true;
    }
  }

  fail(error: HostelryError): void {
    this.#close(error);
    this.#running.reject(error);
    this.#ended.reject(error);
  }

  #close(error?: Error): void {
    this.#over = true;
    this.stdin.close();
    this.stdout.end(error);
    this.stderr.end(error);
  }
}

/** errno(3) as Linux has it on RISC-V. */
const Errno = { noEntry: 2, again: 11, access: 13, notDirectory: 20 } as const;

function refusal({ argv, cwd }: Command, step: Step, errno: number): HostelryError {
  const name = argv[0];
  if (step === "directory") return new HostelryError("no-directory", `the guest has no directory ${cwd} to run ${name} in (errno ${errno}): name another`);
  if (step === "agent" && errno === Errno.again) return new HostelryError("exec-failed", `the guest's agent runs as many commands as it can: wait for one to end`);
  if (step === "agent") return new HostelryError("exec-failed", `the guest can't start ${name} (errno ${errno}): is it out of memory or processes?`);
  if (errno === Errno.noEntry || errno === Errno.notDirectory) return new HostelryError("no-command", `the guest has no command ${name}: name one that is in its PATH, or by its path`);
  if (errno === Errno.access) return new HostelryError("not-executable", `the guest may not execute ${name}: is it a program, and executable?`);
  return new HostelryError("exec-failed", `the guest can't execute ${name} (errno ${errno}): is it a program for riscv64?`);
}
