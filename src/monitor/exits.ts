/** Why a guest came out to the monitor, counted. */
import { isPagedOut } from "./memory/pmap.ts";

export const exitKinds = [
  /** ECALL from VS-mode. */
  "hypercall",
  /** A page of the guest's memory was used for the first time. */
  "first-touch",
  /** A page was used that is in the swap file. On shadow tables, this and the above are hidden faults like others. */
  "page-in",
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
  /** A page fault by the guest's own tables, or a miss of a TLB that it fills, handed to its kernel. */
  "true-fault",
  /** A page fault by the shadow's alone, or a miss of the hart's TLB alone. */
  "hidden-fault",
  /** A write to one of its page tables: as a fault, */
  "table-write",
  /** or by an instruction that wrote to them often, and has a call to the monitor in its place. */
  "call-out",
  /** WFI with nothing pending. */
  "wait",
  /** The slice was used up. */
  "slice",
] as const;
export type ExitKind = (typeof exitKinds)[number];

/** Of a fault in the G-stage, by what the pmap has there. */
export function faultKind(frame: number): ExitKind {
  if (isPagedOut(frame)) return "page-in";
  return frame < 0 ? "first-touch" : "hidden-fault";
}

const numberOf = Object.fromEntries(exitKinds.map((kind, number) => [kind, number])) as Readonly<Record<ExitKind, number>>;

export interface Exit {
  readonly kind: ExitKind;
  /** When the guest came out: milliseconds since the Unix epoch. */
  readonly time: number;
  readonly pc: bigint;
  /** A guest-physical address, a hypercall's extension: what belongs to the kind. */
  readonly detail: number;
}

export interface ExitTrace {
  /** When the VM was started: milliseconds since the Unix epoch. */
  readonly started: number;
  /** Oldest first. */
  readonly exits: readonly Exit[];
  /** The number to ask from next. */
  readonly next: number;
}

/** So many exits are remembered. */
const TRACE = 4096;

export interface SavedExits {
  readonly started: number;
  readonly counts: Float64Array;
  readonly kinds: Uint8Array;
  readonly times: Float64Array;
  readonly pcs: Uint32Array;
  readonly details: Float64Array;
  readonly next: number;
}

/** What an exit costs for being recorded: five stores and two additions. */
export class ExitRecorder {
  #started: number;
  readonly #counts = new Float64Array(exitKinds.length);
  readonly #kinds = new Uint8Array(TRACE);
  readonly #times = new Float64Array(TRACE);
  readonly #pcs = new Uint32Array(2 * TRACE);
  readonly #details = new Float64Array(TRACE);
  #next = 0;

  /** Of a VM that is started at this time. */
  constructor(started: number) {
    this.#started = started;
  }

  static restored(saved: SavedExits): ExitRecorder {
    const recorder = new ExitRecorder(saved.started);
    recorder.restore(saved);
    return recorder;
  }

  record(kind: ExitKind, time: number, pcLow: number, pcHigh: number, detail: number): void {
    const slot = this.#next++ & (TRACE - 1);
    const number = numberOf[kind];
    this.#counts[number]!++;
    this.#kinds[slot] = number;
    this.#times[slot] = time;
    this.#pcs[2 * slot] = pcLow;
    this.#pcs[2 * slot + 1] = pcHigh;
    this.#details[slot] = detail;
  }

  /** Everything, for a VM that goes to another hart, or has ended. */
  save(): SavedExits {
    return { started: this.#started, counts: this.#counts.slice(), kinds: this.#kinds.slice(), times: this.#times.slice(), pcs: this.#pcs.slice(), details: this.#details.slice(), next: this.#next };
  }

  restore(saved: SavedExits): void {
    this.#started = saved.started;
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

  /** The exits with numbers from `since` on that are still remembered. */
  trace(since = 0): ExitTrace {
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
    return { started: this.#started, exits, next: this.#next };
  }
}
