/** Where blocks of a region lead. */
import type { Block, BlockEnd } from "./region.ts";

/** Blocks of the region that each block leads to. */
export function successorsOf({ end }: Block): number[] {
  switch (end.kind) {
    case "jump":
      return [end.target];
    case "branch":
      return [end.taken, end.notTaken].filter((target) => target >= 0);
    case "call":
      return end.next >= 0 ? [end.next] : [];
    case "switch":
      return [...end.targets];
    default:
      return [];
  }
}

/** The same end, but that it leads elsewhere: `to` says where instead of each block. */
export function redirected(end: BlockEnd, to: (block: number) => number): BlockEnd {
  switch (end.kind) {
    case "jump":
      return { ...end, target: to(end.target) };
    case "branch":
      return { ...end, taken: to(end.taken), notTaken: to(end.notTaken) };
    case "call":
      return { ...end, next: to(end.next) };
    case "switch":
      return { ...end, targets: end.targets.map(to) };
    default:
      return end;
  }
}
