/** The machine's frames, as an operator sees them. */
import { frameStates, type Frames, type FrameState } from "#machine/frames.ts";

/** Frames side by side that are alike: in the same state, and the same VM's, by its number; 0 for nobody's, and for those that several use. */
export interface FrameRun {
  readonly first: number;
  readonly frames: number;
  readonly state: FrameState;
  readonly owner: number;
}

export function frameRuns(frames: Frames): FrameRun[] {
  const runs: FrameRun[] = [];
  let [first, before] = [0, frames.info(0)];
  for (let frame = 1; frame <= frames.total; frame++) {
    const info = frame < frames.total ? frames.info(frame) : undefined;
    if (info !== undefined && info.state === before.state && info.owner === before.owner) continue;
    runs.push({ first, frames: frame - first, state: before.state, owner: before.owner });
    if (info !== undefined) [first, before] = [frame, info];
  }
  return runs;
}

/** How many frames are in each state. */
export function framesByState(runs: readonly Pick<FrameRun, "state" | "frames">[]): Record<FrameState, number> {
  const counts = Object.fromEntries(frameStates.map((state) => [state, 0])) as Record<FrameState, number>;
  for (const { state, frames } of runs) counts[state] += frames;
  return counts;
}
