/** A VM's console, for as many as want to see it: all get its output, and whoever comes later what it has shown lately. */
import type { Note, StreamPort } from "#api/stream.ts";
import { Scrollback } from "./scrollback.ts";

/** A viewer that takes longer to read than this, in milliseconds, is dropped: the guest can't wait for it. */
const PATIENCE = 1000;

export class ConsoleHub {
  readonly #viewers = new Set<StreamPort>();
  readonly #scrollback = new Scrollback();
  readonly #patience: number;

  constructor(patience = PATIENCE) {
    this.#patience = patience;
  }

  attach(viewer: StreamPort): void {
    const lately = this.#scrollback.bytes();
    if (lately.length > 0) void viewer.send({ kind: "bytes", channel: "output", bytes: lately });
    this.#viewers.add(viewer);
  }

  detach(viewer: StreamPort): void {
    this.#viewers.delete(viewer);
  }

  /** Resolves when all viewers have taken it, or have been dropped. */
  async write(bytes: Uint8Array): Promise<void> {
    this.#scrollback.push(bytes);
    if (this.#viewers.size === 0) return;
    const slow = new Set(this.#viewers);
    const sent = [...slow].map(async (viewer) => {
      await viewer.send({ kind: "bytes", channel: "output", bytes });
      slow.delete(viewer);
    });
    const patience = Promise.withResolvers<void>();
    const timer = setTimeout(patience.resolve, this.#patience);
    await Promise.race([Promise.all(sent), patience.promise]);
    clearTimeout(timer);
    for (const viewer of slow) this.#drop(viewer);
  }

  note(note: Note): void {
    for (const viewer of this.#viewers) void viewer.send(note);
  }

  /** There is no more. */
  close(): void {
    for (const viewer of this.#viewers) viewer.close();
    this.#viewers.clear();
  }

  #drop(viewer: StreamPort): void {
    this.#viewers.delete(viewer);
    void viewer.send({ kind: "failed", code: "too-slow", message: "the console was not read for too long, and its VM can't wait: attach again" });
    viewer.close();
  }
}
