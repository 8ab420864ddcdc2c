/** What the experiments have in common. */
import type { Image } from "../images.ts";
import type { MonitorResult } from "../measure-monitor.ts";
import type { Figure } from "./plot.ts";

export interface MemoryPlan {
  /** The default image; the same with the benchmark's programs in /bench; and with them one with more of Debian's. */
  readonly shell: Image;
  readonly tools: Image;
  readonly programs: Image;
  readonly rounds: number;
  readonly progress: (line: string) => void;
}

export interface Found {
  readonly results: readonly MemoryResult[];
  readonly figures?: Readonly<Record<string, Figure>>;
}

export interface MemoryResult extends MonitorResult {
  /** What the paper says, if it does. */
  readonly paper: string;
}

export type Experiment = (plan: MemoryPlan) => Promise<Found>;

/** A number that is to be at most, or at least, another. */
export function judge(name: string, value: number, unit: string, target: readonly ["≤" | "≥", number] | undefined, paper: string, detail: string): MemoryResult {
  const reached = target === undefined || (target[0] === "≤" ? value <= target[1] : value >= target[1]);
  return { name, value, unit, target: target === undefined ? "" : `${target[0]} ${target[1]}`, reached, paper, detail };
}

export const percent = (part: number): string => `${(100 * part).toFixed(1)} %`;
