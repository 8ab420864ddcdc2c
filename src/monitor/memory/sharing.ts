/**
 * Content-based page sharing (Waldspurger 2002, section 4): pages that hold the same are given one frame, and whoever writes to one gets a frame of
 * his own then. Each hart looks at the pages of its own VMs, between their slices, so that nothing changes what is being compared; a frame that is
 * shared doesn't change at all, and so any hart may join it.
 *
 * A page that is like one of a VM on another hart offers its own frame, which the other joins when its hart looks at it next.
 */
import { ZERO_FRAME } from "#machine/frames.ts";
import type { GuestMemory } from "./guest-memory.ts";
import type { Hints, ContentHash } from "./hints.ts";
import type { MachineMemory } from "./machine-memory.ts";
import { areAlike, hashPage } from "./page-hash.ts";

/** Whose pages may be shared. */
export interface Sharer {
  readonly memory: GuestMemory;
  /** Pages are only shared among those with the same: see `saltOf`. */
  readonly salt: number;
}

/** What becomes of pages that are alone in what they hold: their place is noted, or their frames are offered to whoever comes. */
export type Alone = "note" | "offer";

/** Pages that can't be shared are passed over, up to so many for each one that is looked at. */
const PASSED = 64;

export class Sharing {
  readonly #machine: MachineMemory;
  readonly #hints: Hints;
  readonly #sharers = new Map<number, Sharer>();
  /** Where the next look at a VM's pages begins. */
  readonly #cursors = new Map<Sharer, number>();
  /** Whose turn it is. */
  #turn = 0;

  constructor(machine: MachineMemory, hints: Hints) {
    this.#machine = machine;
    this.#hints = hints;
  }

  /** A VM is on this hart. */
  add(sharer: Sharer): void {
    this.#sharers.set(sharer.memory.owner, sharer);
    this.#cursors.set(sharer, 0);
  }

  remove({ owner }: GuestMemory): void {
    const sharer = this.#sharers.get(owner);
    if (sharer === undefined) return;
    this.#sharers.delete(owner);
    this.#cursors.delete(sharer);
  }

  /** Pages of all VMs here. */
  get pages(): number {
    let pages = 0;
    for (const { memory } of this.#sharers.values()) pages += memory.pmap.counts.mapped;
    return pages;
  }

  /** Looks at up to `count` pages of the VM whose turn it is: how many it has looked at, and how many of them need no frame of their own any more. */
  scan(count: number): { readonly looked: number; readonly merged: number } {
    const sharers = [...this.#sharers.values()];
    if (sharers.length === 0) return { looked: 0, merged: 0 };
    const sharer = sharers[this.#turn++ % sharers.length]!;
    const { pmap } = sharer.memory;
    const pages: number[] = [];
    let cursor = this.#cursors.get(sharer)!;
    for (let passed = 0; passed < Math.min(count * PASSED, pmap.pages) && pages.length < count; passed++) {
      const page = pmap.firstPage + cursor;
      cursor = (cursor + 1) % pmap.pages;
      if (isOwn(sharer.memory, page)) pages.push(page);
    }
    this.#cursors.set(sharer, cursor);
    return { looked: pages.length, merged: this.look(sharer, pages, "note") };
  }

  /** All that a VM has is what others may have too. */
  offerAll(memory: GuestMemory): void {
    const sharer = this.#sharers.get(memory.owner);
    if (sharer !== undefined) this.look(sharer, Array.from(memory.pmap.entries(), ([page]) => page), "offer");
  }

  /** Looks at these pages of a VM's: how many need no frame of their own any more. */
  look(sharer: Sharer, pages: Iterable<number>, alone: Alone): number {
    const { memory } = sharer;
    const frames = new Map<number, number>();
    const offered = new Map<GuestMemory, number[]>();
    const offer = (of: GuestMemory, page: number): number => {
      const its = offered.get(of);
      if (its === undefined) offered.set(of, [page]);
      else its.push(page);
      return of.offer(page, groupOf(sharer));
    };
    for (const page of pages) {
      if (!isOwn(memory, page)) continue;
      const hash = hashPage(this.#machine.words, this.#wordOf(memory, page), sharer.salt);
      const frame = hash === undefined ? ZERO_FRAME : this.#alike(sharer, page, hash, alone, offer);
      if (frame !== undefined) frames.set(page, frame);
    }
    for (const [of, its] of offered) of.forgetting?.pages(its);
    memory.join(frames);
    return frames.size;
  }

  /** A frame that holds what the page does, joined for it; undefined if there is none. */
  #alike(sharer: Sharer, page: number, hash: ContentHash, alone: Alone, offer: (of: GuestMemory, page: number) => number): number | undefined {
    const { memory, salt } = sharer;
    const group = groupOf(sharer);
    const hint = this.#hints.find(hash);
    const index = page - memory.pmap.firstPage;
    const first = this.#wordOf(memory, page);
    if (hint?.kind === "frame" && this.#machine.frames.join(hint.frame, group)) {
      if (areAlike(this.#machine.words, first, this.#machine.wordOf(hint.frame))) return hint.frame;
      this.#machine.release(hint.frame);
    }
    if (hint?.kind === "page" && !(hint.vm === memory.owner && hint.index === index)) {
      const other = this.#sharers.get(hint.vm);
      // One on another hart, as far as anybody here knows.
      if (other === undefined) alone = "offer";
      else if (other.salt === salt && isOwn(other.memory, other.memory.pmap.firstPage + hint.index)) {
        const its = other.memory.pmap.firstPage + hint.index;
        if (areAlike(this.#machine.words, first, this.#wordOf(other.memory, its))) {
          const frame = offer(other.memory, its);
          this.#hints.set(hash, { kind: "frame", frame });
          return this.#machine.frames.join(frame, group) ? frame : undefined;
        }
      }
    }
    if (alone === "offer") this.#hints.set(hash, { kind: "frame", frame: offer(memory, page) });
    else this.#hints.set(hash, { kind: "page", vm: memory.owner, index });
    return undefined;
  }

  #wordOf({ pmap }: GuestMemory, page: number): number {
    return this.#machine.wordOf(pmap.frame(page));
  }
}

/** Who shares a frame, as the frame knows it: what a hint says may be of long ago, and the frame others' by now. Never 0. */
export const groupOf = ({ salt }: Pick<Sharer, "salt">): number => ((salt ^ (salt >>> 16)) & 0xffff) || 1;

/** Whether the page has a frame that nobody else has, and that may become another. */
function isOwn(memory: GuestMemory, page: number): boolean {
  return memory.isMovable(page) && !memory.pmap.isShared(page) && !memory.pmap.isHidden(page);
}

/** Of a group of VMs that share pages among each other and with no others, by its name. */
export function saltOf(group: string): number {
  let hash = 0x811c9dc5;
  for (const character of group) hash = Math.imul(hash ^ character.codePointAt(0)!, 0x01000193);
  return hash >>> 0;
}
