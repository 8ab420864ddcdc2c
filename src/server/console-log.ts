/** A VM's log: what its console showed, and when and why it ended. Bounded: when it is full, it is kept as `….1` and a new one is begun. */
import { closeSync, mkdirSync, openSync, fstatSync, renameSync, rmSync, writeSync } from "node:fs";
import { dirname } from "node:path";

const LIMIT = 1 << 20;

export class ConsoleLog {
  readonly path: string;
  readonly #limit: number;
  readonly #warn: (message: string) => void;
  #file: number | undefined;
  #size = 0;
  #midLine = false;
  #failed = false;

  /** What can't be written is no reason to stop a VM: `warn` hears of it once. */
  constructor(path: string, warn: (message: string) => void, limit = LIMIT) {
    this.path = path;
    this.#warn = warn;
    this.#limit = limit;
  }

  write(bytes: Uint8Array): void {
    if (bytes.length === 0) return;
    try {
      this.#room(bytes.length);
      writeSync(this.#file!, bytes);
      this.#size += bytes.length;
      this.#midLine = bytes[bytes.length - 1] !== 0x0a;
    } catch (error) {
      if (!this.#failed) this.#warn(`the log ${this.path} can't be written: ${(error as Error).message}`);
      this.#failed = true;
    }
  }

  /** A line of ours. */
  line(text: string): void {
    this.write(new TextEncoder().encode(`${this.#midLine ? "\n" : ""}[hostelry ${new Date().toISOString()}] ${text}\n`));
  }

  remove(): void {
    this.#close();
    for (const path of [this.path, this.#before]) rmSync(path, { force: true });
  }

  get #before(): string {
    return `${this.path}.1`;
  }

  #room(bytes: number): void {
    if (this.#file !== undefined && this.#size + bytes <= this.#limit) return;
    if (this.#file === undefined) {
      mkdirSync(dirname(this.path), { recursive: true });
      this.#file = openSync(this.path, "a", 0o600);
      this.#size = fstatSync(this.#file).size;
      if (this.#size + bytes <= this.#limit) return;
    }
    this.#close();
    renameSync(this.path, this.#before);
    this.#file = openSync(this.path, "a", 0o600);
    this.#size = 0;
  }

  #close(): void {
    if (this.#file !== undefined) closeSync(this.#file);
    this.#file = undefined;
  }
}
