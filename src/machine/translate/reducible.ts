/**
 * Makes an irreducible graph reducible by sending a few of its edges through dispatchers, without copying any block.
 *
 * An edge u → v is in the way if it is retreating and v doesn't dominate u. Let x be the nearest block that dominates v and the
 * sources of all such edges to v. Then v is reached by a *dispatcher* just before x, which reads a selector:
 *
 *          │                        │ (all edges to x but those that are in the way)
 *          x                  select x
 *         ╱ ╲                       │
 *        ╱   ╲       becomes   dispatcher ◄────────┐
 *       ▼     ▼                 ╱   │   ╲          │
 *       v ◄── u                v    x    …      select v
 *       └───► ┘                     ┊              │
 *                                   u ─────────────┘
 *
 * The dispatcher dominates u, so that the way back is a plain loop. And no loop is entered in its middle by it: the header h ≠ v
 * of a natural loop around v dominates v, so that it dominates each u as well (or u → v would go round h) and hence x, or is x,
 * whose own loop is now around the dispatcher. So all natural loops stay, whatever surrounds them.
 */
import { commonDominator, depthFirst, dominates, exactDominators, type Flow, type Successors } from "./control-flow.ts";
import { DISPATCH } from "./layout.ts";

export interface Reducible {
  readonly successors: Successors;
  readonly root: number;
  /** What the nodes after the given ones are: a select's value, or `DISPATCH`. */
  readonly added: readonly number[];
  /** Immediate dominators in the graph as it was given, by the numbers of `flow`. */
  readonly dominator: readonly number[];
  readonly flow: Flow;
  /** How many edges go through a dispatcher. */
  readonly rerouted: number;
}

/**
 * @param dispatching whether the root is itself a dispatcher (over the entries): then nothing leads to it, and what it dominates
 * is dispatched by it.
 */
export function makeReducible(successors: Successors, root: number, dispatching: boolean): Reducible {
  const { flow, dominator, awkward } = fewestAwkward(successors, root);
  const { nodes, numbers } = flow;
  const changed: (readonly number[])[] = successors.slice();
  const added: number[] = [];
  const add = (what: number, out: number[]): number => {
    added.push(what);
    return changed.push(out) - 1;
  };

  const dispatchers = new Map<number, { node: number; targets: number[] }>(); // by x
  const entrances = new Map<number, number>(); // node x → what leads to it from now on
  if (dispatching) dispatchers.set(0, { node: root, targets: [...successors[root]!] });
  const dispatcherOf = new Map<number, number>(); // v → x
  for (const [v, sources] of awkward) {
    const x = sources.reduce((common, u) => commonDominator(dominator, common, u), v);
    dispatcherOf.set(v, x);
    if (dispatchers.has(x)) continue;
    const node = add(DISPATCH, []);
    entrances.set(nodes[x]!, add(0, [node]));
    dispatchers.set(x, { node, targets: [nodes[x]!] });
  }

  const entrance = (node: number): number => entrances.get(node) ?? node;
  for (let u = 0; u < nodes.length; u++) {
    changed[nodes[u]!] = successors[nodes[u]!]!.map((target) => {
      const v = numbers[target]!;
      if (!isAwkward(dominator, u, v)) return entrance(target);
      const { node, targets } = dispatchers.get(dispatcherOf.get(v)!)!;
      if (!targets.includes(target)) targets.push(target);
      return add(targets.indexOf(target), [node]);
    });
  }
  for (const [x, { node, targets }] of dispatchers) {
    changed[node] = targets.map((target) => (target === nodes[x] ? target : entrance(target)));
  }
  const rerouted = added.filter((what) => what !== DISPATCH).length - entrances.size;
  return { successors: changed, root: entrance(root), added, dominator, flow, rerouted };
}

/**
 * Which edges are retreating depends on the order of the walk; the best is hard to find (it is a feedback arc set), so that the two
 * at hand are compared. Returns the sources of the edges in the way, by their target.
 */
function fewestAwkward(successors: Successors, root: number) {
  const analyse = (backwards: boolean) => {
    const flow = depthFirst(successors, root, backwards);
    const dominator = exactDominators(flow);
    return { flow, dominator, awkward: awkwardEdges(flow, dominator) };
  };
  const forwards = analyse(false);
  const backwards = analyse(true);
  const edges = (of: typeof forwards) => of.awkward.values().reduce((sum, sources) => sum + sources.length, 0);
  return edges(backwards) < edges(forwards) ? backwards : forwards;
}

function awkwardEdges({ nodes, predecessors, predecessorStart }: Flow, dominator: readonly number[]): Map<number, number[]> {
  const awkward = new Map<number, number[]>();
  for (let v = 0; v < nodes.length; v++) {
    const sources = predecessors
      .slice(predecessorStart[v], predecessorStart[v + 1])
      .filter((u) => isAwkward(dominator, u, v));
    if (sources.length > 0) awkward.set(v, sources);
  }
  return awkward;
}

function isAwkward(dominator: readonly number[], u: number, v: number): boolean {
  return v <= u && !dominates(dominator, v, u);
}
