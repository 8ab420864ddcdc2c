/**
 * Host paging on one hart: pages of its VMs go to the backing store when the machine has too few free frames. Which ones is left to chance (Waldspurger
 * 2002, section 2.2): the guest's own choice can't be guessed, and to guess like it would be worst, since what it pages out next would have to come back first.
 */
import { HostelryError } from "#base/errors.ts";
import type { GuestMemory } from "./guest-memory.ts";
import type { Reclaimer } from "./machine-memory.ts";
import { CLUSTER } from "./swap.ts";

export interface PagingOptions {
  /** Of the VMs on this hart. */
  readonly guests: () => readonly GuestMemory[];
  readonly random: { u32(): number };
  /** Milliseconds. */
  readonly now: () => number;
  /** Other harts have a moment to free frames: whether they have. */
  readonly wait?: () => boolean;
  /** Told when this VM's pages can't be written any more. That ends only who finds no frame. */
  readonly failed?: (memory: GuestMemory, error: HostelryError) => void;
}

/** Pages that go at a time: when frames are needed at once; and because their VM has more than it may. */
const AT_ONCE = 64;
const AT_LEISURE = 256;
/** Clusters that are looked at by chance for one that can go, before all are. */
const TRIES = 4;
/** When nothing could go, in milliseconds, before that is tried again, unless it is urgent. */
const PAUSE = 100;

export class Paging implements Reclaimer {
  readonly #options: PagingOptions;
  #pausedUntil = -Infinity;
  /** Why nothing could be written, if that was so when it was tried last. */
  #failure: HostelryError | undefined;

  constructor(options: PagingOptions) {
    this.#options = options;
  }

  /** Whoever has most beyond its limit gives; if nobody has, the VM itself, unless it has no more than is guaranteed to it and others have. */
  makeRoom(owner: number, urgent: boolean): void {
    if (this.#isPaused && !urgent) return;
    const guests = this.#byExcess();
    const itself = guests.filter((memory) => memory.owner === owner);
    this.#take([...guests.filter((memory) => excess(memory) > 0), ...[...itself, ...guests].filter((memory) => spare(memory) > 0), ...itself], AT_ONCE);
  }

  takeFromOthers(owner: number): boolean {
    const others = this.#byExcess().filter((memory) => memory.owner !== owner);
    // Nobody ends for another's guarantee, though that should not come to it.
    const [first, last] = [others.filter((memory) => spare(memory) > 0), others.filter((memory) => spare(memory) <= 0)];
    if ([...first, ...last].some((memory) => this.#pageOut(memory, AT_ONCE) > 0)) return true;
    if (this.#options.wait?.() === true) return true;
    if (this.#failure !== undefined) throw this.#failure;
    return false;
  }

  /** Some of what a VM has beyond its limit goes. Returns whether there is more that can. */
  trim(memory: GuestMemory): boolean {
    const count = Math.min(excess(memory), AT_LEISURE);
    if (count > 0 && !this.#isPaused) this.#take([memory], count);
    return this.isBehind(memory);
  }

  /** Whether a VM has more than its limit, and something is done about it. */
  isBehind(memory: GuestMemory): boolean {
    return excess(memory) > 0 && !this.#isPaused;
  }

  /** From the first that can give any. Nobody ends for it: there are frames still. */
  #take(from: readonly GuestMemory[], count: number): void {
    if (!from.some((memory) => this.#pageOut(memory, count) > 0)) this.#pausedUntil = this.#options.now() + PAUSE;
  }

  get #isPaused(): boolean {
    return this.#options.now() < this.#pausedUntil;
  }

  #byExcess(): GuestMemory[] {
    return [...this.#options.guests()].sort((a, b) => excess(b) - excess(a));
  }

  #pageOut(memory: GuestMemory, count: number): number {
    try {
      const gone = memory.pageOut(victims(memory, count, this.#options.random));
      if (gone > 0) this.#failure = undefined;
      return gone;
    } catch (error) {
      if (!(error instanceof HostelryError)) throw error;
      if (this.#failure === undefined) this.#options.failed?.(memory, error);
      this.#failure = error;
      return 0;
    }
  }
}

const excess = ({ pmap, limit }: GuestMemory): number => pmap.counts.mapped - limit;

/** Frames of its own beyond what is guaranteed to it: what others may have. */
const spare = ({ pmap: { counts }, guaranteed }: GuestMemory): number => counts.mapped - counts.shared - guaranteed;

/** Pages that can go, in whole clusters, chosen by chance: `count`, or a few more; fewer only if there are no others. */
export function victims(memory: GuestMemory, count: number, random: { u32(): number }): number[] {
  const { pmap } = memory;
  const clusters = Math.ceil(pmap.pages / CLUSTER);
  const chosen = new Set<number>();
  const consider = (cluster: number): void => {
    const first = pmap.firstPage + cluster * CLUSTER;
    for (let page = first; page < first + CLUSTER; page++) if (memory.isPageable(page)) chosen.add(page);
  };
  const some = (): number => Math.floor((random.u32() / 2 ** 32) * clusters);
  for (let tries = TRIES * Math.ceil(count / CLUSTER); tries > 0 && chosen.size < count; tries--) consider(some());
  const start = some();
  for (let i = 0; i < clusters && chosen.size < count; i++) consider((start + i) % clusters);
  return [...chosen];
}
