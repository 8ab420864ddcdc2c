/**
 * Pages of a paravirtual guest that it has said are copies of others (as Disco's `bcopy` remapped them): they have one frame, which the guest may map as
 * often as it likes, but not writable. The frame stays as long as an entry leads to it, whatever becomes of the pages.
 */
import type { GuestMemory } from "./guest-memory.ts";

/** Nobody else's. */
const OWN_GROUP = 0;

export type SavedCopies = readonly (readonly [frame: number, pages: readonly number[]])[];

export class Copies {
  readonly #memory: GuestMemory;
  /** The hart forgets whatever it knows of the guest's pages. */
  readonly #flush: () => void;
  /** Of each such frame, which this has joined itself, the pages that have it. */
  readonly #frames: Map<number, Set<number>>;
  readonly #ofPage = new Map<number, number>();
  #orphans: number;

  constructor(memory: GuestMemory, flush: () => void, saved: SavedCopies = []) {
    this.#memory = memory;
    this.#flush = flush;
    this.#frames = new Map(saved.map(([frame, pages]) => [frame, new Set(pages)]));
    this.#orphans = saved.filter(([, pages]) => pages.length === 0).length;
    for (const [frame, pages] of saved) for (const page of pages) this.#ofPage.set(page, frame);
  }

  *[Symbol.iterator](): Generator<number> {
    yield* this.#frames.keys();
  }

  /** Whoever goes on with it has the frames from now on; this hart would not hear of changes. */
  save(): SavedCopies {
    for (const frame of this.#frames.keys()) this.#memory.machine.writable(frame);
    const saved = Array.from(this.#frames, ([frame, pages]) => [frame, [...pages]] as const);
    this.#frames.clear();
    return saved;
  }

  has(frame: number): boolean {
    return this.#frames.has(frame);
  }

  /** Frames that no page has any more, but that entries lead to: what the guest has beyond its pages. */
  get orphans(): number {
    return this.#orphans;
  }

  /** The frame that a page has with others. */
  frameOf(page: number): number | undefined {
    return this.#ofPage.get(page);
  }

  /** A page that has this frame. */
  pageOf(frame: number): number | undefined {
    return this.#frames.get(frame)?.values().next().value;
  }

  /** `page` gets the frame of `source`, with what that holds: the frame; undefined if it has as many users as can be counted. Both are writable nowhere. */
  make(page: number, source: number): number | undefined {
    const memory = this.#memory;
    const { frames } = memory.machine;
    let frame = this.#ofPage.get(source);
    if (frame === undefined) {
      memory.own(source);
      frame = memory.offer(source, OWN_GROUP);
      frames.join(frame, OWN_GROUP);
      this.#frames.set(frame, new Set([source]));
      this.#ofPage.set(source, frame);
    }
    if (!frames.join(frame, OWN_GROUP)) return undefined;
    memory.join(new Map([[page, frame]]));
    this.#frames.get(frame)!.add(page);
    this.#ofPage.set(page, frame);
    return frame;
  }

  /** A page doesn't have the frame any more. */
  leave(page: number, frame: number): void {
    this.#ofPage.delete(page);
    const pages = this.#frames.get(frame)!;
    pages.delete(page);
    if (pages.size === 0) this.#orphans++;
  }

  /** No entry leads to a frame: it goes, if no page has it. */
  unmapped(frame: number): void {
    if (this.#frames.get(frame)?.size !== 0) return;
    this.#frames.delete(frame);
    this.#orphans--;
    this.#flush();
    this.#letGo(frame);
  }

  release(): void {
    for (const frame of this.#frames.keys()) this.#letGo(frame);
    this.#frames.clear();
    this.#ofPage.clear();
    this.#orphans = 0;
  }

  #letGo(frame: number): void {
    this.#memory.machine.writable(frame);
    this.#memory.machine.release(frame);
  }
}
