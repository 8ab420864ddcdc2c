/**
 * Who is to have how much of the machine's memory when it is promised twice: min-funding revocation with a tax on idle memory, as in Waldspurger, "Memory
 * Resource Management in VMware ESX Server" (OSDI 2002), sections 5.1, 5.2 and 6. Nothing here acts.
 *
 * A VM with S shares that has P pages, of which the part f is active, pays for each of them
 *
 *     ρ = S / (P · (f + k · (1 − f)))        k = 1 / (1 − τ)        τ: the tax rate
 *
 * and memory is taken, page by page, from the VM with the lowest ρ. Idle pages go first: what is active stays the same while P shrinks.
 */

export const policyRules = ["idle-tax", "pure-shares", "working-set"] as const;
/**
 * `pure-shares`: tax 0, so that whoever has many shares may hoard what it doesn't use. `working-set`: shares count for nothing, and each VM has memory in
 * proportion to what it uses.
 */
export type PolicyRule = (typeof policyRules)[number];

/** How much of the machine's memory must be free to be in the state: as parts of it, falling. */
export interface ReclaimThresholds {
  readonly high: number;
  readonly soft: number;
  readonly hard: number;
  readonly low: number;
}

export interface MemoryPolicy extends ReclaimThresholds {
  readonly rule: PolicyRule;
  /** τ, 0 to 0.99. */
  readonly idleTax: number;
}

/** In pages, all but `shares`. */
export interface Claim {
  readonly shares: number;
  /** Is left to it whatever comes; and at most what it may have. */
  readonly min: number;
  readonly max: number;
  /** Frames that it has; and what it would have beside them, had it not been taken: in its balloon, paged out. */
  readonly mapped: number;
  readonly withheld: number;
  /** Of those frames, as they are estimated to be in use. */
  readonly active: number;
}

/** As the paper has them: section 6.3. */
export const reclaimStates = ["high", "soft", "hard", "low"] as const;
export type ReclaimState = (typeof reclaimStates)[number];

/** What is done to VMs that have more than their target. */
export type Reclaiming = "nothing" | "balloon" | "page-out" | "page-out-and-block";
export const reclaiming: Readonly<Record<ReclaimState, Reclaiming>> = { high: "nothing", soft: "balloon", hard: "page-out", low: "page-out-and-block" };

/** A better state begins when so many times as much is free as its threshold says: else one page more or less would be a new state each time. */
const CLEARLY = 1.1;
/** Targets leave so many times the high threshold free: more than it takes to be in the high state again. */
const AIM = 1.2;

/** After `before`, when the part `free` of the machine's memory is free. */
export function nextReclaimState(before: ReclaimState, free: number, thresholds: ReclaimThresholds): ReclaimState {
  let at = reclaimStates.indexOf(before);
  const threshold = (state: number): number => thresholds[reclaimStates[state]!];
  while (at < reclaimStates.length - 1 && free < threshold(at + 1)) at++;
  while (at > 0 && free >= CLEARLY * threshold(at - 1)) at--;
  return reclaimStates[at]!;
}

/**
 * How many pages each VM is to have, from its `min` to its `max`, if `free` of the machine's `total` pages are free now. If there is enough for what
 * they have and would have, everyone's is its `max`. Else each pays the same ρ for its last page, but those at their bounds: a VM that has less than
 * its target may grow to it. What they then have leaves somewhat more free than the high threshold, unless their `min`s don't.
 */
export function allocate(claims: readonly Claim[], free: number, total: number, policy: MemoryPolicy): number[] {
  const available = free + claims.reduce((sum, { mapped }) => sum + mapped, 0) - leftFree(total, policy);
  if (claims.reduce((sum, claim) => sum + demand(claim), 0) <= available) return claims.map(({ max }) => max);
  const price = priceOf(claims, available, policy);
  return claims.map((claim) => within(claim, claim.max, pagesFor(claim, price, policy)));
}

/** Of `total` pages, how many targets leave free. */
export function leftFree(total: number, { high }: ReclaimThresholds): number {
  return Math.ceil(AIM * high * total);
}

/** A client's adjusted shares-per-page ratio, of `pages` pages. */
export function adjustedRatio({ shares, active }: Claim, pages: number, policy: MemoryPolicy): number {
  const [wealth, k] = terms(policy, shares, active);
  return wealth / (Math.min(pages, active) + k * Math.max(pages - active, 0));
}

/** What it has, and would have. */
function demand(claim: Claim): number {
  return within(claim, claim.max, claim.mapped + claim.withheld);
}

/** The ρ at which everyone's pages fit into `available`: found by halving, as they are the fewer the higher it is. */
function priceOf(claims: readonly Claim[], available: number, policy: MemoryPolicy): number {
  const taken = (price: number): number => claims.reduce((sum, claim) => sum + within(claim, demand(claim), pagesFor(claim, price, policy)), 0);
  // Logarithms: prices differ by orders of magnitude.
  let [low, high] = [-50, 50];
  for (let i = 0; i < 64; i++) {
    const middle = (low + high) / 2;
    if (taken(2 ** middle) > available) low = middle;
    else high = middle;
  }
  return 2 ** high;
}

/** How many pages a VM has whose ρ is `price`: `adjustedRatio` solved for them. */
function pagesFor({ shares, active }: Claim, price: number, policy: MemoryPolicy): number {
  const [wealth, k] = terms(policy, shares, active);
  const paid = wealth / price;
  return Math.floor(paid <= active ? paid : active + (paid - active) / k);
}

/** S and k. */
function terms({ rule, idleTax }: MemoryPolicy, shares: number, active: number): readonly [shares: number, k: number] {
  if (rule === "working-set") return [Math.max(active, 1), 1];
  return [shares, rule === "pure-shares" ? 1 : 1 / (1 - idleTax)];
}

const within = ({ min, max }: Claim, most: number, pages: number): number => Math.min(max, Math.max(min, Math.min(most, pages)));
