/**
 * Unrolls small innermost loops. What a turn computes only for the next (registers that rotate, words that are extended) then stays in host registers or
 * disappears; what no turn reads again is stored once for several turns, and so often is the budget checked.
 */
import { redirected } from "./edges.ts";
import type { Block } from "./region.ts";
import type { Structure } from "./structure.ts";

/** How many turns become one, and how many instructions at most. Huge loops defeat the host's register allocator. */
const limits = { turns: 8, instructions: 400 };

interface Loop {
  readonly header: number;
  readonly blocks: readonly number[];
  readonly turns: number;
}

/** Innermost loops without calls, of which two turns are within the limits. */
export function unrollable(blocks: readonly Block[], { loop, outerLoop }: Structure): Loop[] {
  const outer = new Set(outerLoop);
  const members = new Map<number, number[]>();
  blocks.forEach((_, b) => {
    const header = loop[b]!;
    if (header < 0 || header >= blocks.length || outer.has(header)) return;
    const others = members.get(header);
    if (others === undefined) members.set(header, [b]);
    else others.push(b);
  });
  return [...members]
    .map(([header, inside]) => {
      const length = inside.reduce((sum, b) => sum + blocks[b]!.instructions.length, 0);
      return { header, blocks: inside, turns: Math.min(limits.turns, Math.floor(limits.instructions / length)) };
    })
    .filter((found) => found.turns > 1 && found.blocks.every((b) => blocks[b]!.end.kind !== "call"));
}

/** The same code with copies of the loops' blocks behind the others: the last turn leads back to the first. */
export function unroll(blocks: readonly Block[], loops: readonly Loop[]): Block[] {
  const result = blocks.slice();
  for (const { header, blocks: inside, turns } of loops) {
    const copies = result.length;
    const position = new Map(inside.map((b, i) => [b, i]));
    const copy = (turn: number, b: number): number => (turn === 0 ? b : copies + (turn - 1) * inside.length + position.get(b)!);
    for (let turn = 0; turn < turns; turn++) {
      for (const b of inside) {
        const end = redirected(blocks[b]!.end, (to) => {
          if (to === header) return copy((turn + 1) % turns, header);
          return position.has(to) ? copy(turn, to) : to;
        });
        result[copy(turn, b)] = { ...blocks[b]!, end };
      }
    }
  }
  return result;
}
