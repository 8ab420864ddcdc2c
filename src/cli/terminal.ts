/** The user's terminal, lent to the guest and given back as it was, however we end. */
import { spawnSync } from "node:child_process";
import type { ReadStream, WriteStream } from "node:tty";

/**
 * Undoes what a guest's programs may have left behind: colours, hidden cursor, application keys, mouse reports, bracketed paste,
 * a scrolling region (which moves the cursor: it is saved around that), another character set.
 */
const SOFT_RESET = "\x1b[0m\x1b[?25h\x1b[?1l\x1b>\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1006l\x1b[?2004l\x1b7\x1b[r\x1b8\x1b(B\x0f";

const ALTERNATE_SCREEN = /\x1b\[\?(?:1049|1047|47)([hl])/g;
const LEAVE_ALTERNATE_SCREEN = "\x1b[?1049l";
/** Of the longest sequence above. */
const TAIL = 8;

export class Terminal {
  readonly #input: ReadStream;
  readonly #output: WriteStream;
  #lent = false;
  #alternateScreen = false;
  #tail = "";
  /** Whether the guest wrote anything, and that did not end a line. */
  #midLine = false;
  readonly #giveBack = (): void => this.giveBack();

  constructor(input: ReadStream, output: WriteStream) {
    this.#input = input;
    this.#output = output;
  }

  /** Keys come as they are pressed, Ctrl-C among them. */
  lend(): void {
    if (this.#lent) return;
    this.#lent = true;
    this.#input.setRawMode(true);
    // Node's raw mode still sends a carriage return before each line feed, where the guest's own terminal driver decides that.
    spawnSync("stty", ["-opost"], { stdio: ["inherit", "ignore", "ignore"] });
    // Also when an exception ends us, or process.exit().
    process.on("exit", this.#giveBack);
  }

  giveBack(): void {
    if (!this.#lent) return;
    this.#lent = false;
    process.off("exit", this.#giveBack);
    this.#input.setRawMode(false);
    if (!this.#output.isTTY) return;
    this.#output.write(`${this.#alternateScreen ? LEAVE_ALTERNATE_SCREEN : ""}${SOFT_RESET}${this.#midLine ? "\n" : ""}`);
    this.#midLine = false;
    this.#alternateScreen = false;
  }

  /** To be told of what the guest writes. */
  watch(bytes: Uint8Array): void {
    if (bytes.length === 0) return;
    this.#midLine = bytes[bytes.length - 1] !== 0x0a;
    const text = this.#tail + Buffer.from(bytes).toString("latin1");
    for (const [, mode] of text.matchAll(ALTERNATE_SCREEN)) this.#alternateScreen = mode === "h";
    this.#tail = text.slice(-TAIL);
  }
}
