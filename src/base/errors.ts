/**
 * Hostile or broken input: a disk image, a snapshot, a descriptor ring, a command line.
 * `code` is stable and for programs; `message` is one line that says what is wrong and what to do.
 */
export class HostelryError extends Error {
  override readonly name = "HostelryError";
  readonly code: string;

  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
}
