/** What sharing saves. */
import { ZERO_FRAME } from "#machine/frames.ts";
import type { GuestMemory } from "./guest-memory.ts";

/** Frames that a VM would have, too, if it shared none: of a frame that n pages have, each has saved (n - 1) / n. */
export function savedPages({ pmap, machine: { frames } }: GuestMemory): number {
  let saved = 0;
  for (const [page, frame] of pmap.entries()) {
    if (frame === ZERO_FRAME) saved++;
    else if (pmap.isShared(page)) saved += 1 - 1 / frames.info(frame).count;
  }
  return saved;
}
