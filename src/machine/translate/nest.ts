/**
 * A region often begins at the header of an inner loop, since that is what gets hot. What leads there from the loop around it then goes back to the head, as
 * the inner loop's own turns do: by its graph that is one loop, in which the host's register allocator has to please the rare way as well. An empty
 * block in front of the header makes two of it, nested as in the program.
 */
import { redirected, successorsOf } from "./edges.ts";
import type { Block } from "./region.ts";

export function nested(blocks: readonly Block[]): readonly Block[] {
  const predecessors: number[][] = blocks.map(() => []);
  blocks.forEach((block, b) => successorsOf(block).forEach((to) => predecessors[to]!.push(b)));
  // A loop's turn ends behind its header. Who comes from before it is on the way from around.
  const back = predecessors[0]!;
  const turns = back.filter((b) => blocks[b]!.offset >= 0);
  const around = back.filter((b) => blocks[b]!.offset < 0);
  if (turns.length === 0 || around.length === 0) return blocks;
  const inner = loop(turns, predecessors);
  if (!inner.isSubsetOf(loop(around, predecessors))) return blocks;
  const header = blocks.length;
  const result = blocks.map((block, b) => (turns.includes(b) ? { ...block, end: redirected(block.end, (to) => (to === 0 ? header : to)) } : block));
  const [head] = result.splice(0, 1, { offset: 0, instructions: [], offsets: [0], end: { kind: "jump", target: header } });
  return [...result, head!];
}

/** The loop from the head, block 0, by these blocks back to it. */
function loop(from: readonly number[], predecessors: readonly (readonly number[])[]): Set<number> {
  const body = new Set([0]);
  const pending = [...from];
  for (let b = pending.pop(); b !== undefined; b = pending.pop()) {
    if (body.has(b)) continue;
    body.add(b);
    pending.push(...predecessors[b]!);
  }
  return body;
}
