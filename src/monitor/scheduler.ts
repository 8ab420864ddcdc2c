/**
 * Who runs next on a hart: proportional shares by stride scheduling (Waldspurger & Weihl, 1995). Each has a pass, which advances by the time that
 * it ran over its shares; the least pass runs. Who slept takes up at the others' pass: time that was not used is not saved up.
 */
import { assert } from "#base/assert.ts";

export interface Allotment {
  /** Time is given in proportion to this. */
  readonly shares: number;
  /** At most this part of the hart's time: above 0, 1 for no cap. */
  readonly cap: number;
}

interface Entry<Item> {
  readonly item: Item;
  allotment: Allotment;
  pass: number;
  /** Milliseconds: not before then, since it has had what its cap allows. */
  eligible: number;
  /** Since when it has something to do; undefined while it sleeps. */
  awakeSince: number | undefined;
  /** For how long it had, before that: milliseconds. */
  awakeFor: number;
}

/** Who was kept off the hart may catch up so much of its cap at once, in milliseconds. */
const BURST = 20;

export class Scheduler<Item> {
  readonly #entries = new Map<Item, Entry<Item>>();
  /** The pass of whoever ran last: those who come anew or wake begin here. */
  #pass = 0;

  add(item: Item, allotment: Allotment, now: number): void {
    assert(allotment.shares > 0 && allotment.cap > 0 && allotment.cap <= 1, "shares and cap are positive, a cap is at most 1", { ...allotment });
    assert(!this.#entries.has(item), "scheduled twice");
    this.#entries.set(item, { item, allotment, pass: this.#pass, eligible: 0, awakeSince: now, awakeFor: 0 });
  }

  remove(item: Item): void {
    this.#entries.delete(item);
  }

  set(item: Item, allotment: Allotment): void {
    this.#entry(item).allotment = allotment;
  }

  get items(): Iterable<Item> {
    return this.#entries.keys();
  }

  get size(): number {
    return this.#entries.size;
  }

  wake(item: Item, now: number): void {
    const entry = this.#entry(item);
    if (entry.awakeSince !== undefined) return;
    entry.awakeSince = now;
    entry.pass = Math.max(entry.pass, this.#pass);
  }

  sleep(item: Item, now: number): void {
    const entry = this.#entry(item);
    entry.awakeFor = awakeFor(entry, now);
    entry.awakeSince = undefined;
  }

  awake(item: Item): boolean {
    return this.#entry(item).awakeSince !== undefined;
  }

  /** How many have something to do. */
  get crowd(): number {
    let crowd = 0;
    for (const { awakeSince } of this.#entries.values()) if (awakeSince !== undefined) crowd++;
    return crowd;
  }

  /** Milliseconds in which it had something to do since it came, whether it ran or not. */
  awakeFor(item: Item, now: number): number {
    const entry = this.#entries.get(item);
    return entry === undefined ? 0 : awakeFor(entry, now);
  }

  /** Whoever is to run at `now` (milliseconds): the item, or when the first will be allowed to: Infinity if all sleep. */
  next(now: number): { readonly run: Item } | { readonly at: number } {
    let best: Entry<Item> | undefined;
    let at = Infinity;
    for (const entry of this.#entries.values()) {
      if (entry.awakeSince === undefined) continue;
      if (entry.eligible > now) at = Math.min(at, entry.eligible);
      else if (best === undefined || entry.pass < best.pass) best = entry;
    }
    return best === undefined ? { at } : { run: best.item };
  }

  /** It ran for so many milliseconds, until `now`. */
  ran(item: Item, milliseconds: number, now: number): void {
    const entry = this.#entry(item);
    const { shares, cap } = entry.allotment;
    this.#pass = Math.max(this.#pass, entry.pass);
    entry.pass += milliseconds / shares;
    if (cap < 1) entry.eligible = Math.max(entry.eligible, now - milliseconds - BURST) + milliseconds / cap;
  }

  #entry(item: Item): Entry<Item> {
    const entry = this.#entries.get(item);
    assert(entry !== undefined, "not scheduled here");
    return entry;
  }
}

function awakeFor<Item>({ awakeFor: before, awakeSince }: Entry<Item>, now: number): number {
  return before + (awakeSince === undefined ? 0 : now - awakeSince);
}
