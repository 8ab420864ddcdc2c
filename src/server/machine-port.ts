/** What the server asks of a machine: what `Harts` is, or in tests a stand-in. */
import type { AgentChannel } from "#host/node/agent-channel.ts";
import type { VmConfig } from "#host/node/hart-messages.ts";
import type { Harts, Vm, VmListener } from "#host/node/harts.ts";
import type { BootFiles } from "#platform/board.ts";
import type { Agent } from "./agent.ts";

export interface MachinePort extends Pick<Harts, "frames" | "frameRuns" | "swap" | "close"> {
  readonly memory: Pick<Harts["memory"], "settings" | "change" | "state">;
  create(config: VmConfig, files: BootFiles, listener: VmListener, agent?: AgentChannel): VmPort;
}

export interface VmPort extends Pick<Vm, "output" | "result" | "write" | "resize" | "inflate" | "entitle" | "target" | "pause" | "resume" | "stop" | "set" | "stats" | "trace"> {
  /** Within its guest, if it has one. */
  readonly agent?: Agent | undefined;
}
