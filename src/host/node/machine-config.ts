/** What is said between the thread of the machine and the thread that it belongs to. */
import type { ClockMode, MachineEnd } from "#machine/computer.ts";
import type { MachineModel } from "#machine/model.ts";
import type { MachineStats } from "#machine/stats.ts";
import type { MessagePort } from "node:worker_threads";
import type { AgentShared } from "./agent-end.ts";

export interface MachineConfig {
  /** Bytes. */
  readonly memory: number;
  readonly clock: ClockMode;
  /** The standard machine if absent. */
  readonly model?: MachineModel;
  /** Makes what the machine takes for random repeatable. */
  readonly seed?: number;
  /** Paths. A `firmware` is entered in M-mode. */
  readonly firmware?: string;
  readonly kernel?: string;
  readonly initrd?: string;
  readonly append: string;
  readonly drives: readonly { readonly path: string; readonly readOnly: boolean }[];
  readonly terminal: { readonly columns: number; readonly rows: number };
  /** Whether the program's signature is wanted at its end: see `Board.signature`. */
  readonly signature: boolean;
  /** Without the translator: slow, and simple. */
  readonly interpreterOnly: boolean;
}

/** Memory that both threads see. */
export interface SharedParts {
  readonly doorbell: SharedArrayBuffer;
  readonly control: SharedArrayBuffer;
  /** Rings of bytes: from the terminal to the guest, and back. */
  readonly input: SharedArrayBuffer;
  readonly output: SharedArrayBuffer;
}

/** Words of `control`. `wanted`: of a VM, milliseconds in which it had something to do, whether it had the hart or not. `looks`: at its memory, when `balloon` pages were
 * wanted in its balloon. `own`, `shared`, `ballooned`, `pagedOut`: its pages that have a frame for themselves or with others, or are in its balloon or the swap file; `active`: the part of its memory that it uses, in parts of ACTIVE_UNIT. `limit`: pages that it has
 * beyond so many are paged out; `blocked`: and until then it stands still, if not 0; `guaranteed`: so many are not for others. */
export const Control = { command: 0, resizes: 1, columns: 2, rows: 3, wanted: 4, looks: 5, balloon: 6, own: 7, shared: 8, ballooned: 9, pagedOut: 10, active: 11, limit: 12, blocked: 13, guaranteed: 14, words: 15 } as const;
/** Of `Control.active`. */
export const ACTIVE_UNIT = 10_000;
/** Values of the command word. */
export const commands = ["run", "pause", "stop"] as const;

/** What the thread gets as a message. */
export interface Order {
  readonly config: MachineConfig;
  readonly agent?: AgentShared;
}

/** The thread starts with this, and then gets its order. */
export interface WorkerData {
  readonly shared: SharedParts;
  /** To the thread that compiles. */
  readonly compiler: MessagePort;
}

export interface MachineResult {
  readonly end: MachineEnd;
  readonly stats: MachineStats;
  readonly signature?: Uint8Array;
}

/** From the machine's thread. */
export type Report =
  | { readonly kind: "started" }
  | { readonly kind: "restarted" }
  | { readonly kind: "warning"; readonly message: string }
  | { readonly kind: "refused"; readonly code: string; readonly message: string }
  | { readonly kind: "ended"; readonly result: MachineResult };
