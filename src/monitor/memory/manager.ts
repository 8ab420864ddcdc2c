/**
 * The memory manager: looks from time to time at what the machine's VMs have, and says what becomes of it. It decides, and others act (Waldspurger 2002,
 * section 6.3): balloons, which need the guest's help; paging, which doesn't, for guests that don't help and when there is no time; and standing still.
 */
import { allocate, leftFree, nextReclaimState, reclaiming, type Claim, type Reclaiming, type ReclaimState } from "./policy.ts";
import { changedSettings, defaultMemorySettings, type MemoryChanges, type MemorySettings } from "./settings.ts";

/** What a VM pays, and what it gets for that at least. */
export interface Entitlement {
  /** In pages. */
  readonly min: number;
  readonly shares: number;
}

/** A VM as it is now. In pages. */
export interface Holding extends Entitlement {
  readonly max: number;
  /** What its operator lets it have: `max`, or what is to be outside of its balloon. */
  readonly allowed: number;
  /** Pages whose frames it has for itself; and those that have one with others, or of zeros, which are no one's to pay for. */
  readonly own: number;
  readonly shared: number;
  readonly ballooned: number;
  readonly pagedOut: number;
  /** The part of its memory that it uses, as it is estimated: 0 to 1. */
  readonly active: number;
}

/** In pages. */
export interface MemoryOrder {
  /** Frames of its own that it is to have. */
  readonly target: number;
  /** Wanted in its balloon. */
  readonly balloon: number;
  /** Pages that it has beyond so many are paged out. */
  readonly limit: number;
  /** It stands still for now. */
  readonly blocked: boolean;
}

/** Of a VM's memory; its guest would have none to work with if a balloon took more. What is to go beyond that is paged out. Its operator may wish for more. */
const LARGEST_BALLOON = 0.65;
/** A VM that uses such a part of what its balloon leaves would use more. */
const PRESSING = 0.95;
/** In pages, a MiB: less is not worth a guest's while. */
const WORTH = 256;
/** A balloon that has not grown for so long, in milliseconds, will not. */
const PATIENCE = 5000;

/** Of a VM. */
interface Memory {
  /** Pages that are wanted in its balloon for others' sake; and that were there. */
  readonly balloon: number;
  readonly ballooned: number;
  /** When that was last enough, or had grown. */
  readonly answered: number;
}

/** Keys are VMs. */
export class MemoryManager<Key> {
  readonly #changed: (settings: MemorySettings) => void;
  #settings = defaultMemorySettings;
  #state: ReclaimState = "high";
  readonly #memories = new Map<Key, Memory>();

  /** `changed` is told of each change of the settings. */
  constructor(changed: (settings: MemorySettings) => void = () => {}) {
    this.#changed = changed;
  }

  get settings(): MemorySettings {
    return this.#settings;
  }

  /** Throws HostelryError `memory-policy`, and nothing has changed. */
  change(changes: MemoryChanges): void {
    this.#settings = changedSettings(this.#settings, changes);
    this.#changed(this.#settings);
  }

  get state(): ReclaimState {
    return this.#state;
  }

  /** What becomes of these VMs: all that there are, on a machine of `total` pages, of which `free` have no owner. `now` in milliseconds. */
  step(holdings: ReadonlyMap<Key, Holding>, free: number, total: number, now: number): Map<Key, MemoryOrder> {
    this.#state = nextReclaimState(this.#state, free / total, this.#settings);
    for (const key of this.#memories.keys()) if (!holdings.has(key)) this.#memories.delete(key);
    const targets = allocate([...holdings.values()].map(claimOf), free, total, this.#settings);
    const restrained = [...holdings].some(([key, holding]) => this.#balloonOf(key) > operators(holding));
    // When there is enough, what was taken is shared out anew, but no more is.
    const what = this.#state === "high" && restrained ? "balloon" : reclaiming[this.#state];
    const spare = Math.max(free - leftFree(total, this.#settings), 0);
    return new Map([...holdings].map(([key, holding], i) => [key, this.#order(key, holding, targets[i]!, spare, what, now)]));
  }

  #order(key: Key, holding: Holding, target: number, spare: number, what: Reclaiming, now: number): MemoryOrder {
    const { max, shared, ballooned } = holding;
    const excess = isAbove(holding, target);
    const before = this.#memories.get(key) ?? { balloon: 0, ballooned, answered: now };
    const ours = balloonFor(holding, target, spare, what, before.balloon);
    const balloon = Math.max(ours, operators(holding));
    const answered = ballooned > before.ballooned || ballooned >= balloon || !excess ? now : before.answered;
    this.#memories.set(key, { balloon: ours, ballooned, answered });
    if (!excess || what === "nothing") return { target, balloon, limit: max, blocked: false };
    const waits = what === "balloon" && now - answered < PATIENCE;
    return { target, balloon, limit: shared + target + (waits ? Math.max(balloon - ballooned, 0) : 0), blocked: what === "page-out-and-block" };
  }

  #balloonOf(key: Key): number {
    return this.#memories.get(key)?.balloon ?? 0;
  }
}

/** How much of it its operator wants in its balloon. */
const operators = ({ max, allowed }: Holding): number => max - allowed;

function claimOf({ shares, min, max, allowed, own, shared, ballooned, pagedOut, active }: Holding): Claim {
  const mapped = own + shared;
  const used = active * max;
  const presses = mapped + pagedOut >= PRESSING * (max - ballooned);
  // What was paged out and is not used is no loss.
  const missed = Math.min(pagedOut, Math.max(0, Math.round(used) - mapped));
  const part = mapped === 0 ? 0 : Math.min(used / mapped, 1);
  return { shares, min: Math.min(min, allowed), max: allowed, mapped: own, withheld: missed + (presses ? ballooned : 0), active: Math.round(part * own) };
}

/**
 * A balloon grows for others' sake if the VM has too much, and shrinks if it may have more; by no more than there is to spare, or its guest would take what
 * had to be taken from it again.
 */
function balloonFor(holding: Holding, target: number, spare: number, what: Reclaiming, before: number): number {
  const { max, shared } = holding;
  const wanted = Math.max(0, Math.min(max - target - shared, Math.floor(LARGEST_BALLOON * max)));
  if (wanted > 0 && Math.abs(wanted - before) < WORTH) return before;
  if (isAbove(holding, target)) return what === "nothing" ? before : wanted;
  return Math.min(before, Math.max(wanted, before - spare));
}

const isAbove = ({ own }: Holding, target: number): boolean => own > target + WORTH;
