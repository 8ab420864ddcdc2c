/** The way out of the guest's terminal: all keys are the guest's, but Ctrl-A and the key after it. */

const CTRL_A = 0x01;

/** `leaving`: what comes of it. */
export const escapeHelp = (leaving: string): readonly string[] => [
  `Ctrl-A X       leave: ${leaving}`,
  "Ctrl-A H       this help",
  "Ctrl-A Ctrl-A  send one Ctrl-A to the guest (so does Ctrl-A A)",
];

export type Escape = "leave" | "help";

const ESCAPES: ReadonlyMap<number, Escape | "send"> = new Map(
  ([["xX", "leave"], ["hH?", "help"], ["aA\x01", "send"]] as const).flatMap(([keys, action]) => [...keys].map((key) => [key.charCodeAt(0), action] as const)),
);

export class EscapeFilter {
  #escaped = false;

  /** Takes keys apart: bytes for the guest, and what is for us, in order. Behind Ctrl-A an unknown key does nothing. */
  *filter(bytes: Uint8Array): Generator<Uint8Array | Escape> {
    let plain: number[] = [];
    for (const byte of bytes) {
      if (!this.#escaped) {
        if (byte === CTRL_A) this.#escaped = true;
        else plain.push(byte);
        continue;
      }
      this.#escaped = false;
      const action = ESCAPES.get(byte);
      if (action === "send") plain.push(CTRL_A);
      else if (action !== undefined) {
        if (plain.length > 0) yield Uint8Array.from(plain);
        plain = [];
        yield action;
      }
    }
    if (plain.length > 0) yield Uint8Array.from(plain);
  }
}
