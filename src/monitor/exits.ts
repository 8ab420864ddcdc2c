/** Why a guest came out to the monitor, counted. */

export const exitKinds = [
  /** ECALL from VS-mode. */
  "hypercall",
  /** A page of the guest's memory was used for the first time. */
  "first-touch",
  "device-read",
  "device-write",
  /** A physical address where the guest has neither memory nor a device, or an access that no device takes. */
  "access-fault",
  /** An instruction that a guest hasn't. */
  "virtual-instruction",
  /** A privileged instruction of a kernel in U-mode, which the monitor has done in its place. */
  "privileged-instruction",
  /** A trap that is the guest's own, and has been handed to its kernel: a system call, a breakpoint. */
  "guest-trap",
  /** An interrupt handed to its kernel. */
  "interrupt",
  /** A page fault by the guest's own tables, handed to its kernel. */
  "true-fault",
  /** A page fault by the shadow's alone. */
  "hidden-fault",
  /** A write to one of its page tables. */
  "table-write",
  /** WFI with nothing pending. */
  "wait",
  /** The slice was used up. */
  "slice",
] as const;
export type ExitKind = (typeof exitKinds)[number];

export interface Exit {
  readonly kind: ExitKind;
  /** Milliseconds since the Unix epoch. */
  readonly time: number;
  readonly pc: bigint;
  /** A guest-physical address, a hypercall's extension: what belongs to the kind. */
  readonly detail: number;
}

/** So many exits are remembered. */
const TRACE = 4096;

export interface SavedExits {
  readonly counts: Float64Array;
  readonly kinds: Uint8Array;
  readonly times: Float64Array;
  readonly pcs: Uint32Array;
  readonly details: Float64Array;
  readonly next: number;
}

/** What an exit costs for being recorded: four stores and an addition. */
export class ExitRecorder {
  readonly #counts = new Float64Array(exitKinds.length);
  readonly #kinds = new Uint8Array(TRACE);
  readonly #times = new Float64Array(TRACE);
  readonly #pcs = new Uint32Array(2 * TRACE);
  readonly #details = new Float64Array(TRACE);
  #next = 0;

  record(kind: number, time: number, pcLow: number, pcHigh: number, detail: number): void {
    const slot = this.#next++ & (TRACE - 1);
    this.#counts[kind]!++;
    this.#kinds[slot] = kind;
    this.#times[slot] = time;
    this.#pcs[2 * slot] = pcLow;
    this.#pcs[2 * slot + 1] = pcHigh;
    this.#details[slot] = detail;
  }

  /** Everything, for a VM that goes to another hart. */
  save(): SavedExits {
    return { counts: this.#counts.slice(), kinds: this.#kinds.slice(), times: this.#times.slice(), pcs: this.#pcs.slice(), details: this.#details.slice(), next: this.#next };
  }

  restore(saved: SavedExits): void {
    this.#counts.set(saved.counts);
    this.#kinds.set(saved.kinds);
    this.#times.set(saved.times);
    this.#pcs.set(saved.pcs);
    this.#details.set(saved.details);
    this.#next = saved.next;
  }

  get total(): number {
    return this.#next;
  }

  counts(): Record<ExitKind, number> {
    return Object.fromEntries(exitKinds.map((kind, i) => [kind, this.#counts[i]!])) as Record<ExitKind, number>;
  }

  /** The exits with numbers from `since` on that are still remembered, oldest first; and the number to ask from next. */
  trace(since = 0): { readonly exits: readonly Exit[]; readonly next: number } {
    const exits: Exit[] = [];
    for (let n = Math.max(since, this.#next - TRACE, 0); n < this.#next; n++) {
      const slot = n & (TRACE - 1);
      exits.push({
        kind: exitKinds[this.#kinds[slot]!]!,
        time: this.#times[slot]!,
        pc: (BigInt(this.#pcs[2 * slot + 1]!) << 32n) | BigInt(this.#pcs[2 * slot]!),
        detail: this.#details[slot]!,
      });
    }
    return { exits, next: this.#next };
  }
}
