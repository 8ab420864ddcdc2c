/** Which VM should move to another hart, so that each gets what its shares are worth: looked at from time to time. */

export interface Load<Item, Place> {
  readonly item: Item;
  readonly place: Place;
  readonly shares: number;
  /** Milliseconds in which it had something to do so far; begins anew when it has moved. */
  readonly wanted: number;
}

/** A move must make the larger load less by so much, in VMs that always have something to do. */
const WORTH = 0.3;
/** And it must have looked so this many times in a row: moving costs a VM its translations. */
const PATIENCE = 3;

export class Balancer<Item, Place> {
  readonly #before = new Map<Item, { readonly place: Place; readonly wanted: number }>();
  #at = 0;
  #seen = 0;

  /** The move to make now, if any. */
  next(loads: readonly Load<Item, Place>[], places: readonly Place[], now: number): { readonly item: Item; readonly to: Place } | undefined {
    const demands = this.#demands(loads, now);
    const mean = loads.reduce((sum, { shares }) => sum + shares, 0) / Math.max(loads.length, 1);
    const weight = ({ item, shares }: Load<Item, Place>): number => (demands.get(item)! * shares) / mean;
    const total = (place: Place): number => loads.filter((load) => load.place === place).reduce((sum, load) => sum + weight(load), 0);
    const sorted = [...places].sort((a, b) => total(a) - total(b));
    const [least, most] = [sorted[0]!, sorted.at(-1)!];
    const gap = total(most) - total(least);
    // A move of weight w changes a gap of g to |g - 2w|.
    const gain = (load: Load<Item, Place>): number => gap - Math.abs(gap - 2 * weight(load));
    const best = loads.filter(({ place }) => place === most).reduce<Load<Item, Place> | undefined>((found, load) => (found === undefined || gain(load) > gain(found) ? load : found), undefined);
    if (best === undefined || least === most || gain(best) < WORTH) {
      this.#seen = 0;
      return undefined;
    }
    if (++this.#seen < PATIENCE) return undefined;
    this.#seen = 0;
    return { item: best.item, to: least };
  }

  /** What part of the time since the last look each had something to do. */
  #demands(loads: readonly Load<Item, Place>[], now: number): Map<Item, number> {
    const elapsed = Math.max(now - this.#at, 1);
    const demands = new Map<Item, number>();
    for (const { item, place, wanted } of loads) {
      const before = this.#before.get(item);
      const since = before !== undefined && before.place === place && before.wanted <= wanted ? before.wanted : wanted;
      demands.set(item, Math.min((wanted - since) / elapsed, 1));
    }
    this.#before.clear();
    for (const { item, place, wanted } of loads) this.#before.set(item, { place, wanted });
    this.#at = now;
    return demands;
  }
}
