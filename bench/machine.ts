import { type ChildProcessByStdio, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import type { Readable, Writable } from "node:stream";

/** A guest that hangs, dies or says something else than expected. It ends one measurement, not the benchmark. */
export class GuestFailure extends Error {}

export interface Seen {
  /** Milliseconds of performance.now() when the last byte of the match arrived. */
  readonly at: number;
  readonly match: RegExpExecArray;
  /** What the guest wrote between the previous match and this one. */
  readonly before: string;
}

interface Waiter {
  readonly pattern: RegExp;
  readonly resolve: (seen: Seen) => void;
  readonly reject: (failure: GuestFailure) => void;
}

/** If our own process is killed outright, the kernel ends the machine, too. */
const DIE_WITH_PARENT = ["/usr/bin/setpriv", "--pdeathsig", "KILL", "--"];

/** One running machine, with its console on a pipe. */
export class Machine {
  static readonly #alive = new Set<Machine>();

  readonly started = performance.now();
  readonly #process: ChildProcessByStdio<Writable, Readable, Readable>;
  readonly #decoder = new TextDecoder();
  #console = "";
  #errors = "";
  /** Up to where the console has been matched. */
  #consumed = 0;
  /** When the console had grown to which length: milliseconds and characters. */
  readonly #arrivals: { readonly at: number; readonly length: number }[] = [];
  #waiter: Waiter | undefined;
  #ended: string | undefined;
  readonly #end: Promise<void>;

  constructor(command: readonly string[]) {
    const guarded = existsSync(DIE_WITH_PARENT[0]) ? [...DIE_WITH_PARENT, ...command] : command;
    // A process group of its own, so that all of it can be ended at once and Ctrl-C reaches only us.
    this.#process = spawn(guarded[0], guarded.slice(1), { stdio: ["pipe", "pipe", "pipe"], detached: true });
    this.#process.stdout.on("data", (bytes: Buffer) => this.#receive(bytes));
    this.#process.stderr.on("data", (bytes: Buffer) => (this.#errors += bytes.toString()));
    // Writing to a machine that has just died is reported by its exit.
    this.#process.stdin.on("error", () => {});
    this.#end = new Promise((resolve) => {
      const ended = (how: string) => {
        this.#ended ??= how;
        Machine.#alive.delete(this);
        this.#fail(this.#describeEnd());
        resolve();
      };
      this.#process.on("error", (error) => ended(`can't be started: ${error.message}`));
      this.#process.on("close", (code, signal) => ended(signal === null ? `exited with status ${code}` : `was ended by ${signal}`));
    });
    Machine.#alive.add(this);
  }

  /** Ends every machine of this process. Safe at any time, also while it exits. */
  static killAll(): void {
    for (const machine of Machine.#alive) machine.#kill();
  }

  get pid(): number {
    return this.#process.pid ?? 0;
  }

  get running(): boolean {
    return this.#ended === undefined;
  }

  /** All that the guest wrote so far. */
  get console(): string {
    return this.#console;
  }

  /** All that the machine itself said. */
  get errors(): string {
    return this.#errors;
  }

  send(line: string): number {
    const at = performance.now();
    this.#process.stdin.write(`${line}\n`);
    return at;
  }

  /** Waits for the first match behind the previous one. Throws GuestFailure after `timeout` milliseconds, or if the machine ends. */
  async waitFor(pattern: RegExp, timeout: number, what: string): Promise<Seen> {
    let timer: NodeJS.Timeout | undefined;
    try {
      return await new Promise<Seen>((resolve, reject) => {
        this.#waiter = { pattern, resolve, reject };
        timer = setTimeout(() => this.#fail(`no ${what} within ${timeout / 1000} s; ${this.#tail()}`), timeout);
        if (this.#ended !== undefined) this.#fail(this.#describeEnd());
        else this.#look();
      });
    } finally {
      clearTimeout(timer);
    }
  }

  /** When the first match anywhere in the console arrived; null if there is none. */
  arrivalOf(pattern: RegExp): number | null {
    const match = pattern.exec(this.#console);
    return match === null ? null : this.#arrivedAt(match.index + match[0].length);
  }

  /** Waits for the machine to end by itself, and ends it if it does not. Milliseconds. False if it had to be ended. */
  async finish(timeout: number): Promise<boolean> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<false>((resolve) => (timer = setTimeout(() => resolve(false), timeout)));
    const inTime = await Promise.race([this.#end.then(() => true as const), late]);
    clearTimeout(timer);
    if (!inTime) await this.kill();
    return inTime;
  }

  async kill(): Promise<void> {
    this.#kill();
    await this.#end;
  }

  #kill(): void {
    if (this.#ended !== undefined || this.#process.pid === undefined) return;
    try {
      process.kill(-this.#process.pid, "SIGKILL");
    } catch {
      // It ended in this moment.
    }
  }

  #receive(bytes: Buffer): void {
    this.#console += this.#decoder.decode(bytes, { stream: true });
    this.#arrivals.push({ at: performance.now(), length: this.#console.length });
    this.#look();
  }

  #look(): void {
    const waiter = this.#waiter;
    if (waiter === undefined) return;
    const fresh = this.#console.slice(this.#consumed);
    const match = waiter.pattern.exec(fresh);
    if (match === null) return;
    this.#waiter = undefined;
    this.#consumed += match.index + match[0].length;
    waiter.resolve({ at: this.#arrivedAt(this.#consumed), match, before: fresh.slice(0, match.index) });
  }

  #arrivedAt(position: number): number {
    return this.#arrivals.find(({ length }) => length >= position)?.at ?? performance.now();
  }

  #fail(message: string): void {
    const waiter = this.#waiter;
    this.#waiter = undefined;
    waiter?.reject(new GuestFailure(message));
  }

  #describeEnd(): string {
    return `the machine ${this.#ended}; ${this.#tail()}`;
  }

  #tail(): string {
    const last = (text: string) => JSON.stringify(text.trimEnd().slice(-160));
    return this.#errors.trim() === "" ? `the console ends with ${last(this.#console)}` : `it said ${last(this.#errors)}`;
  }
}
