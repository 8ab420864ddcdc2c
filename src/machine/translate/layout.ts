/**
 * Lays out a reducible graph as nested control flow: the steps that `structure` returns, which see for the method.
 *
 * Each block b but the root is placed with one other, mostly its immediate dominator x:
 *
 *     inline    only x leads to b: it follows the branch at the end of x
 *     inside    a merge, or a switch's target: behind a block around x
 *     behind    x is in a loop and b isn't: placed with the loop's header, behind a block around the loop
 *
 *     block o₂ · block o₁                          behind x, latest outermost
 *       loop x                                     if x is a header
 *         block m₂ · block m₁                      inside x, latest outermost
 *           x · [arm · end] · the other inline
 *         end · m₁ · end · m₂
 *       end
 *     end · o₁ · end · o₂
 *
 * Edges only go forward to the merges of a list, so that the label of each is open wherever something branches to it.
 */
import { filled, type Flow, type Loops, type Successors } from "./control-flow.ts";

/**
 * Steps in the order of emission. A `block`, a `loop` and a code's arm stay open until their `end`.
 *
 * `edges` says, for each successor, how it is reached: `FALLS` (its code is what follows, behind any arm and ends), `ARM` (its
 * code is the steps that follow, up to an end, and they don't run otherwise: an `if`; at most one of two edges), or a label to
 * branch to. Code with more than two successors, and a dispatch, has labels only, as `br_table` needs them. A label is a
 * number below 2 · `Structure.nodes`.
 */
export type Step =
  | { readonly kind: "code"; readonly block: number; readonly edges: readonly number[] }
  /** A branch to the label leaves it; behind its end comes the code of `node`. */
  | { readonly kind: "block"; readonly label: number; readonly node: number }
  /** A branch to the label repeats it; it starts with the code of `node`. */
  | { readonly kind: "loop"; readonly label: number; readonly node: number }
  | { readonly kind: "end" }
  /** Sets the selector, then goes on as a jump does. */
  | { readonly kind: "select"; readonly value: number; readonly edges: readonly number[] }
  /** Takes the edge that the selector says, which is one of those there are. */
  | { readonly kind: "dispatch"; readonly edges: readonly number[] };

export const FALLS = -1;
export const ARM = -2;

const blockLabel = (node: number): number => 2 * node;
const loopLabel = (node: number): number => 2 * node + 1;

/** Whether an edge goes back to the header of a loop that it is in. */
export function isBackEdge(edge: number): boolean {
  return edge >= 0 && (edge & 1) === 1;
}

/**
 * Nodes that are no blocks of the region come after these; each is a select, described by the value that it gives the selector, or
 * a dispatcher.
 */
export const DISPATCH = -1;

/** @param added what the nodes from `blocks` up are. */
export function layOut(
  successors: Successors,
  flow: Flow,
  dominator: readonly number[],
  loops: Loops,
  blocks: number,
  added: readonly number[],
): Step[] {
  const isBranch = (node: number) => successors[node]!.length <= 2 && !(node >= blocks && added[node - blocks] === DISPATCH);
  const places = place(flow, dominator, loops, isBranch);
  const line = lineUp(places, loops);
  const { edges, wanted } = resolve(line, places, successors, flow, isBranch);
  const steps: Step[] = [];
  for (const item of line.items) {
    const b = item >> 3;
    const node = flow.nodes[b]!;
    switch (item & 7) {
      case CODE:
        if (node < blocks) steps.push({ kind: "code", block: node, edges: edges[b]! });
        else if (added[node - blocks] === DISPATCH) steps.push({ kind: "dispatch", edges: edges[b]! });
        else steps.push({ kind: "select", value: added[node - blocks]!, edges: edges[b]! });
        break;
      case BLOCK:
        if (wanted[b] === 1) steps.push({ kind: "block", label: blockLabel(node), node });
        break;
      case LOOP:
        steps.push({ kind: "loop", label: loopLabel(node), node });
        break;
      case END_BLOCK:
        if (wanted[b] === 1) steps.push(end);
        break;
      case END:
        steps.push(end);
        break;
    }
  }
  return steps;
}

const end: Step = { kind: "end" };

/** Which blocks are placed with a block; numbers, NONE at the end. */
interface Places {
  /** The two that are inline; the first is an arm, and only there with the second. */
  readonly arm: readonly number[];
  readonly inline: readonly number[];
  /** Lists, linked by `next`, latest first. */
  readonly inside: readonly number[];
  readonly behind: readonly number[];
  readonly next: readonly number[];
}

const NONE = -1;

function place(
  { nodes, predecessors, predecessorStart }: Flow,
  dominator: readonly number[],
  loops: Loops,
  isBranch: (node: number) => boolean,
): Places {
  const count = nodes.length;
  const arm = filled(count, NONE);
  const inline = filled(count, NONE);
  const inside = filled(count, NONE);
  const behind = filled(count, NONE);
  const next = filled(count, NONE);
  const parent = filled(count, 0);
  for (let b = 1; b < count; b++) {
    const x = dominator[b]!;
    // Every loop around b, but its own, is also around what dominates b: go outwards until there.
    const around = loops.header[b] === b ? loops.parent[b]! : loops.header[b]!;
    let left = NONE;
    for (let loop = loops.header[x]!; loop !== around; loop = loops.parent[loop]!) left = loop;
    if (left !== NONE) {
      parent[b] = left;
      next[b] = behind[left]!;
      behind[left] = b;
      continue;
    }
    parent[b] = x;
    let i = predecessorStart[b]!;
    while (i < predecessorStart[b + 1]! && predecessors[i] === x) i++;
    const merge = i < predecessorStart[b + 1]! && predecessors[i]! < b;
    if (merge || !isBranch(nodes[x]!)) {
      next[b] = inside[x]!;
      inside[x] = b;
    } else if (inline[x] === NONE) {
      inline[x] = b;
    } else {
      arm[x] = b;
    }
  }
  nestSmaller(arm, inline, parent);
  return { arm, inline, inside, behind, next };
}

/** Makes the arm the one of the two with less placed in it. */
function nestSmaller(arm: number[], inline: number[], parent: readonly number[]): void {
  const size = filled(parent.length, 1);
  for (let b = parent.length - 1; b > 0; b--) size[parent[b]!]! += size[b]!;
  for (let x = 0; x < parent.length; x++) {
    const a = arm[x]!;
    if (a === NONE || size[a]! <= size[inline[x]!]!) continue;
    arm[x] = inline[x]!;
    inline[x] = a;
  }
}

/** The line of steps: number << 3 | kind. It holds a block for every merge, wanted or not. */
interface Line {
  readonly items: readonly number[];
  /** By number: index in the line of the first item that belongs to its code. */
  readonly start: readonly number[];
}

const CODE = 0;
const BLOCK = 1;
const LOOP = 2;
const END = 3; // of a loop or an arm
const END_BLOCK = 4;
const PLACE = 5; // yet to come, never in the line

function lineUp({ arm, inline, inside, behind, next }: Places, { header }: Loops): Line {
  const items: number[] = [];
  const start = filled(header.length, 0);
  const pending = [PLACE];
  const open = (list: number) => {
    for (let b = list; b !== NONE; b = next[b]!) {
      items.push((b << 3) | BLOCK);
      pending.push((b << 3) | PLACE, (b << 3) | END_BLOCK);
    }
  };
  while (pending.length > 0) {
    const item = pending.pop()!;
    if ((item & 7) !== PLACE) {
      items.push(item);
      continue;
    }
    const x = item >> 3;
    start[x] = items.length;
    open(behind[x]!);
    if (header[x] === x) {
      items.push((x << 3) | LOOP);
      pending.push(END);
    }
    open(inside[x]!);
    items.push((x << 3) | CODE);
    if (inline[x] !== NONE) pending.push((inline[x]! << 3) | PLACE);
    if (arm[x] !== NONE) pending.push(END, (arm[x]! << 3) | PLACE);
  }
  return { items, start };
}

/** How each edge is taken, by number, and which merges need their label: 1. */
function resolve(
  { items, start }: Line,
  { arm, inline }: Places,
  successors: Successors,
  { nodes, numbers }: Flow,
  isBranch: (node: number) => boolean,
) {
  const edges = new Array<number[]>(nodes.length);
  const wanted = filled(nodes.length, 0);
  let following = items.length; // the next item that isn't an end
  for (let at = items.length - 1; at >= 0; at--) {
    const kind = items[at]! & 7;
    if (kind === END || kind === END_BLOCK) continue;
    if (kind === CODE) {
      const u = items[at]! >> 3;
      const out = successors[nodes[u]!]!;
      const falling = !isBranch(nodes[u]!) ? NOWHERE : arm[u] === NONE ? following : start[inline[u]!]!;
      const resolved = new Array<number>(out.length);
      for (let i = 0; i < out.length; i++) {
        const v = numbers[out[i]!]!;
        if (v <= u) resolved[i] = loopLabel(out[i]!);
        else if (start[v] === falling) resolved[i] = FALLS;
        else if (v === arm[u]) resolved[i] = ARM;
        else {
          resolved[i] = blockLabel(out[i]!);
          wanted[v] = 1;
        }
      }
      edges[u] = resolved;
    }
    following = at;
  }
  return { edges, wanted };
}

const NOWHERE = -1;
