/** What is said between a hart's thread and the thread that owns the machine. */
import type { ClockMode } from "#machine/computer.ts";
import type { SharedFrames } from "#machine/frames.ts";
import type { MachineModel } from "#machine/model.ts";
import type { VmStats } from "#monitor/action.ts";
import type { Technique } from "#monitor/cpu/technique.ts";
import type { ExitTrace, SavedExits } from "#monitor/exits.ts";
import type { Entitlement } from "#monitor/memory/manager.ts";
import type { VmPages } from "#monitor/memory/audit.ts";
import type { MemorySettings } from "#monitor/memory/settings.ts";
import type { SavedWorkingSet } from "#monitor/memory/working-set.ts";
import type { Allotment } from "#monitor/scheduler.ts";
import type { SavedVm, VmEnd } from "#monitor/vm.ts";
import type { BootFiles } from "#platform/board.ts";
import type { MessagePort } from "node:worker_threads";
import type { AgentShared } from "./agent-end.ts";
import type { SavedOutside } from "./outside.ts";
import type { SharedSwap } from "./swap-file.ts";

/** What a hart's thread is started with. */
export interface HartData {
  readonly memory: WebAssembly.Memory;
  /** Bytes of the machine's memory. */
  readonly ramSize: number;
  readonly model: MachineModel;
  readonly harts: number;
  readonly hart: number;
  readonly predecodedPages: number;
  readonly frames: SharedFrames;
  /** What page sharing has seen. */
  readonly hints: SharedArrayBuffer;
  /** Without, nothing is paged out. */
  readonly swap?: SharedSwap | undefined;
  readonly doorbell: SharedArrayBuffer;
  readonly port: MessagePort;
  /** Of the thread that compiles; without, there is no translator. */
  readonly compiler: MessagePort | undefined;
}

export interface VmConfig {
  readonly name: string;
  /** vCPUs: 1 to 8. */
  readonly cpus: number;
  /** Bytes. */
  readonly memory: number;
  readonly clock: ClockMode;
  /** The usual one if absent. */
  readonly technique?: Technique;
  readonly seed?: number;
  /** Its pages are shared with those of VMs of the same group; with none of the others' if it is null. The usual group if absent. */
  readonly shareGroup?: string | null;
  readonly drives: readonly { readonly path: string; readonly readOnly: boolean }[];
  readonly terminal: { readonly columns: number; readonly rows: number };
  readonly allotment: Allotment;
  /** All of its memory is guaranteed to it if absent. */
  readonly entitlement?: Entitlement;
}

/** Memory that a VM's thread and its owner's see. */
export interface VmShared {
  readonly control: SharedArrayBuffer;
  readonly input: SharedArrayBuffer;
  readonly output: SharedArrayBuffer;
  readonly agent?: AgentShared;
}

/** A VM on its way from one hart to another. */
export interface MovedVm {
  readonly vm: SavedVm;
  readonly outside: SavedOutside;
  /** Output that had no room yet: of the console, and of the agent's port. */
  readonly outputs: readonly (readonly Uint8Array[])[];
  readonly workingSet: SavedWorkingSet;
  readonly running: boolean;
}

export type HartCommand =
  | { readonly kind: "create"; readonly id: number; readonly config: VmConfig; readonly files: BootFiles; readonly shared: VmShared }
  /** The VM is to go to another hart. */
  | { readonly kind: "yield"; readonly id: number }
  /** It comes from one. */
  | { readonly kind: "adopt"; readonly id: number; readonly config: VmConfig; readonly shared: VmShared; readonly moved: MovedVm }
  | { readonly kind: "boot"; readonly id: number; readonly files: BootFiles }
  | { readonly kind: "pause" | "resume" | "stop"; readonly id: number }
  | { readonly kind: "set"; readonly id: number; readonly request: number; readonly allotment: Allotment; readonly technique: Technique }
  | { readonly kind: "stats"; readonly id: number; readonly request: number }
  | { readonly kind: "trace"; readonly id: number; readonly request: number; readonly since: number }
  | { readonly kind: "pages"; readonly id: number; readonly request: number }
  /** How memory is managed from now on; before, as usual. */
  | { readonly kind: "memory"; readonly settings: MemorySettings }
  | { readonly kind: "close" };

export type HartReport =
  | { readonly kind: "ready" }
  | { readonly kind: "started"; readonly id: number }
  | { readonly kind: "rebooted"; readonly id: number }
  /** It stands still, and is nowhere until a hart adopts it. */
  | { readonly kind: "yielded"; readonly id: number; readonly config: VmConfig; readonly moved: MovedVm }
  | { readonly kind: "warning"; readonly id: number; readonly message: string }
  /** It couldn't be made. */
  | { readonly kind: "refused"; readonly id: number; readonly code: string; readonly message: string }
  | { readonly kind: "ended"; readonly id: number; readonly end: VmEnd; readonly stats: VmStats; readonly exits: SavedExits }
  /** The VM that was asked about has ended. */
  | { readonly kind: "gone"; readonly request: number }
  /** Done; or why not, and all is as it was. */
  | { readonly kind: "set"; readonly request: number; readonly refusal?: { readonly code: string; readonly message: string } }
  | { readonly kind: "stats"; readonly request: number; readonly stats: VmStats }
  | { readonly kind: "trace"; readonly request: number; readonly trace: ExitTrace }
  | { readonly kind: "pages"; readonly request: number; readonly pages: VmPages };

/** Of one VM. */
export type VmReport = Extract<HartReport, { readonly id: number }>;
