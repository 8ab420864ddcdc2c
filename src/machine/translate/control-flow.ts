/**
 * What is known about a control-flow graph before it is laid out: an order, immediate dominators, loops.
 *
 * All of it is in *numbers*: position in reverse postorder, so that arrays are dense, "earlier" is `<`, and an edge u → v
 * is retreating exactly when v <= u. Nodes that the root doesn't reach have no number.
 *
 * It runs for each region that is compiled, so that plain arrays of small integers are used: for the usual graph of some ten
 * blocks, allocating typed arrays would cost more than all the work in them.
 */

export type Successors = readonly (readonly number[])[];

export interface Flow {
  /** Node by number; the root is number 0. */
  readonly nodes: readonly number[];
  /** Number by node, -1 if unreachable. */
  readonly numbers: readonly number[];
  /**
   * Predecessors of number b are `predecessors[predecessorStart[b] .. predecessorStart[b + 1]]`, ascending, once for each
   * edge: hence the sources of forward edges come first, those of retreating edges last.
   */
  readonly predecessors: readonly number[];
  readonly predecessorStart: readonly number[];
}

/**
 * Reverse postorder of a depth-first walk. A block's last successor is the first behind it, `backwards` its first one, as far as
 * the graph leaves a choice.
 */
export function depthFirst(successors: Successors, root: number, backwards = false): Flow {
  const numbers = filled(successors.length, UNSEEN);
  const postorder: number[] = [];
  const path = [root];
  const taken = [0]; // how many successors of path[i] were followed
  numbers[root] = SEEN;
  while (path.length > 0) {
    const top = path.length - 1;
    const node = path[top]!;
    const out = successors[node]!;
    const i = taken[top]!;
    if (i === out.length) {
      postorder.push(node);
      path.pop();
      taken.pop();
      continue;
    }
    taken[top] = i + 1;
    const next = out[backwards ? out.length - 1 - i : i]!;
    if (numbers[next] === UNSEEN) {
      numbers[next] = SEEN;
      path.push(next);
      taken.push(0);
    }
  }
  const nodes = postorder.reverse();
  for (let b = 0; b < nodes.length; b++) numbers[nodes[b]!] = b;
  return withPredecessors(successors, nodes, numbers);
}

const UNSEEN = -1;
const SEEN = -2;

function withPredecessors(successors: Successors, nodes: number[], numbers: number[]): Flow {
  const count = nodes.length;
  // Counted one place further on, so that filling moves each start to where it belongs.
  const predecessorStart = filled(count + 2, 0);
  let edges = 0;
  for (let b = 0; b < count; b++) {
    const out = successors[nodes[b]!]!;
    edges += out.length;
    for (let i = 0; i < out.length; i++) predecessorStart[numbers[out[i]!]! + 2]!++;
  }
  for (let b = 2; b <= count; b++) predecessorStart[b]! += predecessorStart[b - 1]!;
  const predecessors = filled(edges, 0);
  for (let b = 0; b < count; b++) {
    const out = successors[nodes[b]!]!;
    for (let i = 0; i < out.length; i++) predecessors[predecessorStart[numbers[out[i]!]! + 1]!++] = b;
  }
  return { nodes, numbers, predecessors, predecessorStart };
}

/**
 * Immediate dominators by number (root: 0), after Cooper, Harvey and Kennedy, "A Simple, Fast Dominance Algorithm", of the
 * graph without its retreating edges: one pass. If then each retreating edge goes to a dominator of its source
 * (`irreducible` is false), these edges change nothing, and the dominators are those of the whole graph.
 */
export function dominators({ nodes, predecessors, predecessorStart }: Flow): number[] {
  const dominator = filled(nodes.length, 0);
  for (let b = 1; b < nodes.length; b++) {
    const start = predecessorStart[b]!;
    let i = predecessorStart[b + 1]! - 1;
    while (predecessors[i]! >= b) i--;
    // The latest first: on the way from there to the dominator lie, most often, the others.
    let common = predecessors[i]!;
    while (--i >= start) common = commonDominator(dominator, common, predecessors[i]!);
    dominator[b] = common;
  }
  return dominator;
}

/** The same of any graph: repeated over all edges until nothing changes. */
export function exactDominators(flow: Flow): number[] {
  const { nodes, predecessors, predecessorStart } = flow;
  const dominator = dominators(flow);
  for (let changed = true; changed; ) {
    changed = false;
    for (let b = 1; b < nodes.length; b++) {
      let common = dominator[b]!;
      for (let i = predecessorStart[b]!; i < predecessorStart[b + 1]!; i++) {
        common = commonDominator(dominator, common, predecessors[i]!);
      }
      if (common !== dominator[b]) changed = true;
      dominator[b] = common;
    }
  }
  return dominator;
}

/** The nearest block that dominates both. */
export function commonDominator(dominator: readonly number[], a: number, b: number): number {
  while (a !== b) {
    while (a > b) a = dominator[a]!;
    while (b > a) b = dominator[b]!;
  }
  return a;
}

export function dominates(dominator: readonly number[], above: number, below: number): boolean {
  while (below > above) below = dominator[below]!;
  return below === above;
}

/** Whether a retreating edge goes to a block that doesn't dominate its source: into the middle of a loop, as it were. */
export function irreducible({ nodes, predecessors, predecessorStart }: Flow, dominator: readonly number[]): boolean {
  for (let b = 0; b < nodes.length; b++) {
    for (let i = predecessorStart[b + 1]! - 1; i >= predecessorStart[b]! && predecessors[i]! >= b; i--) {
      if (!dominates(dominator, b, predecessors[i]!)) return true;
    }
  }
  return false;
}

/** The natural loops of a reducible graph, by number. A loop is named by its header. */
export interface Loops {
  /** Header of the innermost loop around a block, for a header itself; -1 outside of all. */
  readonly header: readonly number[];
  /** For a header, the header of the next loop around it, or -1; -1 for others. */
  readonly parent: readonly number[];
  /** How many loops are around a block; a header's own counts. */
  readonly depth: readonly number[];
}

export function naturalLoops({ nodes, predecessors, predecessorStart }: Flow): Loops {
  const count = nodes.length;
  const header = filled(count, -1);
  const parent = filled(count, -1);
  const depth = filled(count, 0);
  const pending: number[] = [];
  let found = false;
  // Inner headers have higher numbers, so that what is found in a loop later belongs to an outer one.
  for (let h = count - 1; h >= 0; h--) {
    for (let i = predecessorStart[h + 1]! - 1; i >= predecessorStart[h]! && predecessors[i]! >= h; i--) {
      pending.push(predecessors[i]!);
    }
    if (pending.length === 0) continue;
    found = true;
    header[h] = h;
    // The body: all that reaches the header again. Loops already known are stepped over as a whole.
    while (pending.length > 0) {
      let b = pending.pop()!;
      if (header[b] === -1) {
        header[b] = h;
      } else {
        b = header[b]!;
        while (parent[b] !== -1) b = parent[b]!;
        if (b === h) continue;
        parent[b] = h;
      }
      for (let i = predecessorStart[b]!; i < predecessorStart[b + 1]! && predecessors[i]! < b; i++) {
        pending.push(predecessors[i]!);
      }
    }
  }
  if (!found) return { header, parent, depth };
  for (let b = 0; b < count; b++) {
    const around = header[b]!;
    if (around === b) depth[b] = parent[b] === -1 ? 1 : depth[parent[b]!]! + 1;
    else if (around !== -1) depth[b] = depth[around]!;
  }
  return { header, parent, depth };
}

export function filled(length: number, value: number): number[] {
  return new Array<number>(length).fill(value);
}
