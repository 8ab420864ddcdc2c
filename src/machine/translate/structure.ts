/**
 * Turns a control-flow graph into the nested control flow that WebAssembly wants, after Ramsey, "Beyond Relooper: Recursive
 * Translation of Unstructured Control Flow to Structured Control Flow" (ICFP 2022): code is placed where its immediate dominator
 * is; a merge gets a block that ends before it, a loop header a loop.
 *
 * Where we differ:
 * - The result is a list of steps, to be gone through once from first to last: nothing recurses, neither here nor in the
 *   emitter, so that a function of thousands of blocks is no danger to the stack.
 * - What a loop's header dominates but doesn't reach the header again is placed behind the loop, not in it, so that a `loop` holds
 *   the loop and nothing else. Loops in a row would otherwise nest.
 * - Of two inline successors, the bigger one follows the branch on the same level, so that arms nest no deeper than log2 of
 *   the blocks.
 * - Several entries are dispatched at the start; irreducible edges are sent through dispatchers (reducible.ts).
 */
import { assert } from "#base/assert.ts";
import {
  depthFirst,
  dominators,
  filled,
  irreducible,
  naturalLoops,
  type Flow,
  type Loops,
  type Successors,
} from "./control-flow.ts";
import { DISPATCH, layOut, type Step } from "./layout.ts";
import { makeReducible } from "./reducible.ts";

export { ARM, FALLS, isBackEdge, type Step } from "./layout.ts";

export interface Graph {
  /** By block: none = leaves the region, one = jump, two = [taken, not taken], more = a switch. Duplicates are allowed. */
  readonly successors: Successors;
  /** Blocks that can be entered from outside, at least one. With several, the selector starts as an index of this list. */
  readonly entries: readonly number[];
}

/**
 * Blocks are known by their index in the graph; indices from there to `nodes` stand for dispatchers and selects, which have loops
 * as blocks have.
 */
export interface Structure {
  readonly steps: readonly Step[];
  readonly nodes: number;
  /** The reachable blocks in reverse postorder: but for back edges and what a dispatcher reaches, edges go forward in it. */
  readonly order: readonly number[];
  /** Immediate dominator by block, in the graph as given; -1 where no other block dominates, and for the unreachable. */
  readonly dominator: readonly number[];
  /** Header of the innermost loop around each node, itself for a header; -1 outside of loops. */
  readonly loop: readonly number[];
  /** For a header, that of the next loop around it, or -1; -1 for others. */
  readonly outerLoop: readonly number[];
  /** Number of loops around each node, a header's own included. */
  readonly depth: readonly number[];
  /** How many edges go through a dispatcher inside the graph: 0 unless it is irreducible. */
  readonly rerouted: number;
}

export function structure(graph: Graph): Structure {
  const blocks = graph.successors.length;
  const entries = graph.entries;
  assert(entries.length > 0, "a graph needs an entry", { blocks });
  const several = entries.length > 1;
  let successors: Successors = several ? [...graph.successors, entries] : graph.successors;
  let root = several ? blocks : entries[0]!;
  let added: readonly number[] = several ? [DISPATCH] : [];
  let rerouted = 0;

  let flow = depthFirst(successors, root);
  let idom = dominators(flow);
  let dominator: number[];
  if (irreducible(flow, idom)) {
    const reducible = makeReducible(successors, root, several);
    dominator = ofBlocks(reducible.flow, reducible.dominator, blocks);
    ({ successors, root, rerouted } = reducible);
    added = [...added, ...reducible.added];
    flow = depthFirst(successors, root);
    idom = dominators(flow);
    assert(!irreducible(flow, idom), "dispatchers left the graph irreducible", { blocks, rerouted });
  } else {
    dominator = ofBlocks(flow, idom, blocks);
  }

  const loops = naturalLoops(flow);
  const nodes = successors.length;
  return {
    steps: layOut(successors, flow, idom, loops, blocks, added),
    nodes,
    order: nodes === blocks ? flow.nodes : flow.nodes.filter((node) => node < blocks),
    dominator,
    ...ofNodes(flow, loops, nodes),
    rerouted,
  };
}

function ofBlocks({ nodes }: Flow, idom: readonly number[], blocks: number): number[] {
  const dominator = filled(blocks, -1);
  for (let b = 1; b < nodes.length; b++) {
    const above = nodes[idom[b]!]!;
    if (above < blocks) dominator[nodes[b]!] = above;
  }
  return dominator;
}

function ofNodes({ nodes }: Flow, loops: Loops, count: number): Pick<Structure, "loop" | "outerLoop" | "depth"> {
  const loop = filled(count, -1);
  const outerLoop = filled(count, -1);
  const depth = filled(count, 0);
  for (let b = 0; b < nodes.length; b++) {
    const around = loops.header[b]!;
    if (around === -1) continue;
    const node = nodes[b]!;
    loop[node] = nodes[around]!;
    depth[node] = loops.depth[b]!;
    if (loops.parent[b] !== -1) outerLoop[node] = nodes[loops.parent[b]!]!;
  }
  return { loop, outerLoop, depth };
}
