/** Where long work tells how it goes: on a terminal a line that moves, otherwise plain lines. */
export interface Progress {
  /** A new step: one line, without a full stop. */
  step(message: string): void;
  /** Something that the user should know and that does not stop the work. */
  warn(message: string): void;
  /** Bytes to be moved, said before the first of them is. */
  transfer(label: string, totalBytes: number): Transfer;
}

export interface Transfer {
  /** Bytes done so far, those of an earlier, interrupted try included. */
  at(bytes: number): void;
  done(): void;
}

/** For callers who do not care. */
export const SILENT: Progress = {
  step() {},
  warn() {},
  transfer() {
    return { at() {}, done() {} };
  },
};
