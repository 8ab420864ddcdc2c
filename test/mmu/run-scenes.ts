/** Random scenes against the model; the steps of one that fails are shrunk to those that it takes. */
import assert from "node:assert/strict";
import { cases, seed } from "../kit/effort.ts";
import { Random } from "../kit/random.ts";
import { shrink } from "../kit/shrink.ts";

export interface SceneTest<Scene, Step extends { readonly type: string }> {
  readonly build: (random: Random) => Scene;
  readonly steps: (scene: Scene, count: number, random: Random) => Step[];
  /** What differs, or undefined. */
  readonly failure: (scene: Scene, steps: readonly Step[]) => string | undefined;
}

export const scenes = cases(60);

export function runScenes<Scene, Step extends { readonly type: string }>({ build, steps: stepsOf, failure }: SceneTest<Scene, Step>): void {
  for (let i = 0; i < scenes; i++) {
    const random = new Random(seed * 10_000 + i);
    const scene = build(random);
    const steps = stepsOf(scene, 150, random);
    if (failure(scene, steps) === undefined) continue;
    const { list, message } = shrink(steps, (shorter) => failure(scene, shorter));
    const edits = list.filter(({ type }) => type === "edit").map((step) => JSON.stringify(step, hex));
    assert.fail(`scene ${i}, ${list.length} steps are enough: ${message}\n${edits.join("\n")}`);
  }
}

/** For JSON: numbers of 64 bits as one reads them. */
export function hex(_key: string, value: unknown): unknown {
  return typeof value === "bigint" ? `0x${value.toString(16)}` : value;
}
