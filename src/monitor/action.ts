/**
 * All that an operator can do with a machine and its VMs: one union. Actions and results are plain data, JSON as they stand.
 *
 * Units: memory in bytes; durations in seconds, but times of exits in milliseconds; points in time as ISO 8601 in UTC; addresses as
 * hexadecimal text ("0xffffffff80002000"), since they may not fit a number.
 */
import type { BalloonStatistics } from "#devices/virtio/balloon.ts";
import type { ExitKind } from "./exits.ts";
import type { Technique } from "./cpu/technique.ts";
import type { FrameState } from "#machine/frames.ts";
import type { ReclaimState } from "./memory/policy.ts";
import type { MemoryChanges, MemorySettings } from "./memory/settings.ts";
import type { PagingCounts } from "./memory/guest-memory.ts";
import type { ShadowStatistics } from "./memory/shadow.ts";
import type { VmEnd } from "./vm.ts";

export { techniqueChoices } from "./cpu/technique.ts";
export { balloonStatistics } from "#devices/virtio/balloon.ts";
export { exitKinds } from "./exits.ts";
export { frameStates } from "#machine/frames.ts";
export { policyRules, reclaimStates } from "./memory/policy.ts";
export { defaultMemorySettings } from "./memory/settings.ts";
export type { ExitKind, FrameState, MemoryChanges, MemorySettings, ReclaimState, Technique, VmEnd };

export type Action =
  /** The machine itself: what it has, and what is left. */
  | { readonly kind: "machine" }
  | ({ readonly kind: "create"; readonly start?: boolean | undefined } & VmDefinition)
  | { readonly kind: "list" }
  | ({ readonly kind: "show" } & Named)
  /** Boots it: one that was created, or one that has ended, anew. */
  | ({ readonly kind: "start" } & Named)
  /** Switches it off at once, as if by its plug: what the guest has flushed is on its disks. */
  | ({ readonly kind: "stop" } & Named)
  /** Its instructions and its clock stand still. */
  | ({ readonly kind: "pause" } & Named)
  | ({ readonly kind: "resume" } & Named)
  | ({ readonly kind: "set" } & Named & Changes)
  /** Its guest is to give up memory, by its balloon, until `size` bytes are left to it; or may use up to so many again. */
  | ({ readonly kind: "balloon"; readonly size: number } & Named)
  /** How the machine's memory is used; with `map`, frame by frame. */
  | { readonly kind: "memory"; readonly map?: boolean | undefined }
  /** How it is managed. */
  | { readonly kind: "policy" }
  | ({ readonly kind: "setPolicy" } & MemoryChanges)
  /** Forgets it, and its log; with `force`, also one that runs. */
  | ({ readonly kind: "remove"; readonly force?: boolean | undefined } & Named)
  | ({ readonly kind: "stats" } & Named)
  /** Exits from number `since` on, as far as they are remembered. */
  | ({ readonly kind: "trace"; readonly since?: number | undefined } & Named)
  /** A stream: what the guest's console shows, after what it has shown lately; and keys for it. */
  | ({ readonly kind: "console" } & Named)
  /** A stream: a command that the guest's agent executes. The program's path or name, then its arguments. */
  | ({ readonly kind: "exec"; readonly command: readonly string[] } & Named & Surroundings);

export type ActionKind = Action["kind"];
/** Those whose result is a conversation. */
export type StreamKind = "console" | "exec";
export type RequestKind = Exclude<ActionKind, StreamKind>;
type Actions = { readonly [Kind in ActionKind]: Extract<Action, { readonly kind: Kind }> };
export type ActionOf<Kind extends ActionKind> = Actions[Kind];

/** What comes back, by kind. */
export interface Results {
  readonly machine: MachineDescription;
  readonly create: VmDescription;
  readonly list: readonly VmDescription[];
  readonly show: VmDescription;
  readonly start: VmDescription;
  readonly stop: VmDescription;
  readonly pause: VmDescription;
  readonly resume: VmDescription;
  readonly set: VmDescription;
  /** As it begins: its guest takes its time. */
  readonly balloon: VmDescription;
  readonly memory: MachineMemory;
  readonly policy: MemorySettings;
  readonly setPolicy: MemorySettings;
  /** As it was. */
  readonly remove: VmDescription;
  readonly stats: VmStats;
  readonly trace: Trace;
}

export interface Named {
  readonly name: string;
}

/** Of a command. */
export interface Surroundings {
  /** Each as `NAME=value`: added to the agent's environment, or in the place of what is there. */
  readonly env?: readonly string[] | undefined;
  /** The directory that it begins in; root's home unless given. */
  readonly cwd?: string | undefined;
}

/** What can be changed while it runs. */
export interface Settings extends Technique {
  /** Time on its hart is given in proportion to this. */
  readonly shares: number;
  /** At most this part of its hart's time: above 0; 1 for no cap. */
  readonly cap: number;
  /** Of its memory, in bytes, so much is never taken from it; a multiple of 4096. */
  readonly memoryMin: number;
  /** What is not enough for all is given in proportion to this, as far as it is used: see memory/policy.ts. */
  readonly memoryShares: number;
}

export type Changes = { readonly [Name in keyof Settings]?: Settings[Name] | undefined };

/** Either an image or a kernel; all paths are absolute, and on the server's host. */
export interface VmDefinition extends Named, Changes {
  readonly image?: string | undefined;
  readonly kernel?: string | undefined;
  /** With an image: in the place of its own. */
  readonly initrd?: string | undefined;
  /** The kernel's command line; with an image: words added to its own. */
  readonly append?: string | undefined;
  /** Bytes; a multiple of 4096. */
  readonly memory?: number | undefined;
  /** 1 to 8; they take turns on one hart. */
  readonly cpus?: number | undefined;
  readonly drives?: readonly DriveDefinition[] | undefined;
  /** Its pages may be shared with those of VMs of the same group: a name; null for none. Who shares frames can time when the others' are alike, so groups are of those that trust each other. */
  readonly shareGroup?: string | null | undefined;
}

export interface DriveDefinition {
  readonly path: string;
  readonly readOnly?: boolean | undefined;
}

/** What holds where a definition says nothing. All of its memory is guaranteed to a VM then, unless the server overcommits: in that case, nothing. */
export const definitionDefaults = { memory: 512 * 2 ** 20, cpus: 1, shares: 100, cap: 1, memorySharesPerMiB: 10, shareGroup: "default" } as const;

export const vmStates = ["created", "running", "paused", "ended"] as const;
export type VmState = (typeof vmStates)[number];

export interface VmDescription extends Named, Settings {
  readonly state: VmState;
  /** How it ended, if it did. */
  readonly end: VmEnd | null;
  readonly memory: number;
  readonly cpus: number;
  readonly image: string | null;
  readonly kernel: string | null;
  readonly drives: readonly { readonly path: string; readonly readOnly: boolean }[];
  readonly shareGroup: string | null;
  readonly created: string;
  /** When it was started last. */
  readonly started: string | null;
  /** Path of the file with its console's output and its ends. */
  readonly log: string;
}

export interface MachineDescription {
  readonly version: string;
  readonly harts: number;
  /** Promised: to VMs that run or are paused, with the tables that map it; guaranteed: what of that is never taken from them. Free: frames that nobody has. */
  readonly memory: { readonly total: number; readonly promised: number; readonly guaranteed: number; readonly free: number };
}

export interface MachineMemory {
  /** In bytes, as in MachineDescription. */
  readonly total: number;
  readonly promised: number;
  readonly guaranteed: number;
  readonly free: number;
  readonly state: ReclaimState;
  /** Bytes of the swap file: all, and those that hold pages. */
  readonly swap: { readonly total: number; readonly used: number };
  /** Bytes in frames of each state. */
  readonly frames: Readonly<Record<FrameState, number>>;
  /** Those that run or are paused. */
  readonly vms: readonly VmMemory[];
  /** All frames, in order. Null if nobody asked for it. */
  readonly map: readonly FrameRunDescription[] | null;
}

/** Of a VM's memory; in bytes. */
export interface MemoryUse {
  readonly promised: number;
  /** Pages that have a frame; of these, those that have one with others; and those whose frame is that of zeros. */
  readonly mapped: number;
  readonly shared: number;
  readonly zero: number;
  /** What it would take more if it shared nothing. */
  readonly saved: number;
  /** What it uses, as it is estimated. */
  readonly active: number;
  /** Frames of the tables that map them, shadow tables too. */
  readonly tables: number;
  /** In its balloon; and in the swap file. */
  readonly ballooned: number;
  readonly pagedOut: number;
}

/** By the policy. */
export interface VmMemory extends Named, MemoryUse {
  readonly min: number;
  readonly shares: number;
  /** Frames of its own that it is to have. */
  readonly target: number;
}

/** Frames side by side that are alike. The owner is a VM; null for nobody's, and for those that several use. */
export interface FrameRunDescription {
  readonly first: number;
  readonly frames: number;
  readonly state: FrameState;
  readonly owner: string | null;
}

export interface VmStats {
  readonly instructions: number;
  /** Of its hart's time: in the guest, and in the monitor for its sake. */
  readonly guestSeconds: number;
  readonly monitorSeconds: number;
  readonly exits: Readonly<Record<ExitKind, number>>;
  readonly technique: Technique;
  /** Null if it has no shadow tables. */
  readonly shadow: ShadowStatistics | null;
  /** On a silent machine: sensitive instructions that its kernel executed deprivileged, without a trap; in the order in which they came first. */
  readonly silenced: readonly SilencedInstruction[];
  readonly memory: {
    /** What the balloon is to leave to the guest. */
    readonly target: number;
  } & MemoryUse;
  /** How many pages went to the swap file, and came back. */
  readonly paging: PagingCounts;
  /** What the guest's balloon driver said of its memory when it was asked last, by the request before this. Null if it has said nothing. */
  readonly guest: BalloonStatistics | null;
  /** Places in its memory where hot code begins that its hart has translated; and how many of them have a translation that was made for the same code elsewhere. */
  readonly translations: { readonly places: number; readonly shared: number };
}

export interface SilencedInstruction {
  /** A register or an instruction. */
  readonly what: string;
  readonly times: number;
  /** The first one's count among the instructions of its hart. */
  readonly since: number;
  /** Null if it isn't known. */
  readonly first: { readonly pc: string; readonly instruction: string } | null;
}

export interface Trace {
  /** The VM is off: no more will come. */
  readonly ended: boolean;
  readonly exits: readonly TracedExit[];
  /** To ask from, for what comes after these. */
  readonly next: number;
}

export interface TracedExit {
  /** Milliseconds since the VM was started. */
  readonly time: number;
  readonly at: string;
  readonly pc: string;
  readonly kind: ExitKind;
  /** What belongs to the kind: a guest-physical address, a hypercall's extension. */
  readonly detail: number;
}
