/** A machine's console joined to our stdin and stdout: a terminal's, or a pipe's. */
import type { ByteRing } from "#base/byte-ring.ts";
import { endOfInput, quoteInput, READY } from "#images/console-input.ts";
import { EscapeFilter, escapeHelp } from "./escape.ts";
import type { Messages } from "./messages.ts";
import { Terminal } from "./terminal.ts";

/**
 * - `terminal`: keys as they come.
 * - `shell-pipe`: the default image's shell says when it is ready for a pipe (see `console-input.ts`).
 * - `raw-pipe`: bytes as they come, and their end is nothing to the guest.
 */
export type ConsoleMode = "terminal" | "shell-pipe" | "raw-pipe";

/** A machine's console, from outside. */
export interface ConsolePort {
  /** The guest's output, to be taken. */
  readonly output: ByteRing;
  /** Input for the guest. Resolves when all of it is on its way. */
  write(bytes: Uint8Array): Promise<void>;
  resize(columns: number, rows: number): void;
}

export class ConsoleSession {
  readonly #machine: ConsolePort;
  readonly #messages: Messages;
  readonly #mode: ConsoleMode;
  readonly #terminal: Terminal | undefined;
  readonly #onLeave: () => void;
  readonly #leaving: string;
  /** Of a shell that wants a pipe: whether it has said that it is ready since the guest began. */
  #ready = false;
  #piping = false;
  #inputEnded = false;
  #closed = false;
  /** stdout's reader has gone. */
  #deaf = false;

  /** `leaving`: what comes of it, for the help. */
  constructor(machine: ConsolePort, mode: ConsoleMode, messages: Messages, onLeave: () => void, leaving = "the machine is switched off at once") {
    this.#machine = machine;
    this.#mode = mode;
    this.#messages = messages;
    this.#onLeave = onLeave;
    this.#leaving = leaving;
    this.#terminal = mode === "terminal" ? new Terminal(process.stdin, process.stdout) : undefined;
    process.stdout.on("error", () => this.#deafen());
  }

  start(): void {
    if (this.#mode === "terminal") this.#joinTerminal();
    else if (this.#mode === "raw-pipe") void this.#joinPipe((bytes) => bytes);
    void this.#pump();
  }

  /** The guest begins anew, and so does its shell: what is left of the input is for that. */
  restarted(): void {
    this.#ready = false;
  }

  /** Lends the terminal, or takes it back, while the machine is paused. */
  suspend(): void {
    this.#terminal?.giveBack();
    this.#messages.raw = false;
  }

  resume(): void {
    if (this.#terminal === undefined || this.#closed) return;
    this.#terminal.lend();
    this.#messages.raw = true;
    this.#tellSize();
  }

  /** Writes what the guest had still to say, and gives back the terminal. Also if it was never started. */
  async close(): Promise<void> {
    await this.#write(this.#machine.output.shift());
    this.#closed = true;
    process.stdin.pause();
    process.stdin.unref?.();
    this.suspend();
  }

  #joinTerminal(): void {
    const escapes = new EscapeFilter();
    this.resume();
    process.stdin.on("data", (bytes: Buffer) => {
      for (const item of escapes.filter(bytes)) {
        if (item === "leave") this.#onLeave();
        else if (item === "help") for (const line of escapeHelp(this.#leaving)) this.#messages.line(line);
        else void this.#machine.write(item);
      }
    });
    process.stdout.on("resize", () => this.#tellSize());
  }

  #tellSize(): void {
    const { columns, rows } = process.stdout;
    if (process.stdout.isTTY && columns > 0 && rows > 0) this.#machine.resize(columns, rows);
  }

  async #joinPipe(quote: (bytes: Uint8Array) => Uint8Array): Promise<void> {
    this.#piping = true;
    try {
      for await (const bytes of process.stdin) await this.#machine.write(quote(bytes as Buffer));
    } catch (error) {
      this.#messages.warn(`stdin can't be read on: ${error instanceof Error ? error.message : String(error)}`);
    }
    this.#inputEnded = true;
    if (this.#mode === "shell-pipe") await this.#machine.write(endOfInput());
  }

  async #pump(): Promise<void> {
    while (!this.#closed) {
      await this.#machine.output.waitForBytes();
      await this.#write(this.#machine.output.shift());
    }
  }

  async #write(bytes: Uint8Array): Promise<void> {
    const wanted = this.#mode === "shell-pipe" && !this.#ready ? this.#awaitReady(bytes) : bytes;
    if (wanted.length === 0 || this.#deaf) return;
    this.#terminal?.watch(wanted);
    if (!process.stdout.write(wanted)) await new Promise<void>((resolve) => void this.#drained(resolve));
  }

  #drained(resolve: () => void): void {
    const done = (): void => {
      process.stdout.off("drain", done);
      process.stdout.off("close", done);
      process.stdout.off("error", done);
      resolve();
    };
    for (const event of ["drain", "close", "error"]) process.stdout.on(event, done);
  }

  /** The guest's shell has said that it is ready, by a byte that is not for the user. */
  #awaitReady(bytes: Uint8Array): Uint8Array {
    const at = bytes.indexOf(READY);
    if (at < 0) return bytes;
    this.#ready = true;
    if (!this.#piping) void this.#joinPipe(quoteInput);
    else if (this.#inputEnded) void this.#machine.write(endOfInput());
    return Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + 1)]);
  }

  /** Nobody reads any more (`| head`): there is nothing left to do. */
  #deafen(): void {
    if (this.#deaf) return;
    this.#deaf = true;
    this.#onLeave();
  }
}
