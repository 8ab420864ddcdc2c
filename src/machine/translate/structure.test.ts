import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { ARM, FALLS, isBackEdge, structure, type Graph, type Step, type Structure } from "./structure.ts";

/** Runs the steps as WebAssembly would, one edge at a time, and checks on the way that every label is open where it is used. */
class Walker {
  readonly #steps: readonly Step[];
  /** By step: those that are open around it, outermost first. */
  readonly #open: number[][] = [];
  readonly #endOf: number[] = [];
  readonly codeOf = new Map<number, number>();
  depth = 0;

  constructor({ steps }: Structure) {
    this.#steps = steps;
    const open: number[] = [];
    steps.forEach((step, at) => {
      this.#open.push([...open]);
      this.depth = Math.max(this.depth, open.length);
      if (step.kind === "end") this.#endOf[open.pop()!] = at;
      else if (step.kind === "block" || step.kind === "loop") open.push(at);
      else if (step.kind === "code") {
        assert(!this.codeOf.has(step.block), `block ${step.block} is emitted once`);
        this.codeOf.set(step.block, at);
        const arms = step.edges.filter((edge) => edge === ARM).length;
        assert(arms === 0 || (arms === 1 && step.edges.length === 2));
        if (arms === 1) open.push(at);
      }
    });
    assert.deepEqual(open, [], "all that is opened is closed");
  }

  /** From the start to the block where the i-th entry begins. */
  enter(i: number): number {
    return this.#run(0, i);
  }

  follow(block: number, successor: number): number {
    const at = this.codeOf.get(block)!;
    const { edges } = this.#steps[at] as Code;
    return this.#take(at, edges, successor, -1);
  }

  #take(at: number, edges: readonly number[], i: number, selector: number): number {
    const edge = edges[i];
    assert(edge !== undefined, `no edge ${i}`);
    if (edge === ARM) return this.#run(at + 1, selector);
    if (edge === FALLS) {
      assert(edges.length <= 2, "a switch has labels only");
      return this.#run(edges.includes(ARM) ? this.#endOf[at]! + 1 : at + 1, selector);
    }
    const label = this.#open[at]!.findLast((i) => (this.#steps[i] as { label?: number }).label === edge);
    assert(label !== undefined, `label ${edge} is open`);
    assert.equal(isBackEdge(edge), this.#steps[label]!.kind === "loop");
    return this.#run(isBackEdge(edge) ? label : this.#endOf[label]! + 1, selector);
  }

  #run(at: number, selector: number): number {
    for (; ; at++) {
      const step = this.#steps[at];
      assert(step !== undefined, "nothing falls off the end");
      if (step.kind === "code") return step.block;
      if (step.kind === "select") return this.#take(at, step.edges, 0, step.value);
      if (step.kind === "dispatch") return this.#take(at, step.edges, selector, -1);
    }
  }
}

/** Every edge leads where the graph says; so, block after block, every path does. */
function check(graph: Graph): Structure {
  const result = structure(graph);
  const walker = new Walker(result);
  const reachable = reach(graph, -1);
  assert.deepEqual([...walker.codeOf.keys()].sort(ascending), [...reachable].sort(ascending));
  assert.deepEqual([...result.order].sort(ascending), [...reachable].sort(ascending));
  graph.entries.forEach((entry, i) => assert.equal(walker.enter(i), entry));
  for (const block of reachable) {
    graph.successors[block]!.forEach((target, i) => assert.equal(walker.follow(block, i), target, `${block}[${i}]`));
    assert.equal(edgesOf(result, block)!.length, graph.successors[block]!.length);
  }
  checkUseful(result);
  if (result.rerouted === 0 && graph.entries.length === 1) {
    assert(!result.steps.some(({ kind }) => kind === "select" || kind === "dispatch"));
  }
  return result;
}

function checkUseful({ steps }: Structure): void {
  const used = new Set(steps.flatMap((step) => ("edges" in step ? step.edges : [])));
  for (const step of steps) if ("label" in step) assert(used.has(step.label), `label ${step.label} is used`);
}

type Code = Step & { kind: "code" };

const edgesOf = ({ steps }: Structure, block: number) =>
  steps.find((step): step is Code => step.kind === "code" && step.block === block)?.edges;
const ascending = (a: number, b: number) => a - b;

/** Blocks that the entries reach without going through one of them. */
function reach({ successors, entries }: Graph, without: number): Set<number> {
  const seen = new Set<number>();
  const pending = entries.filter((entry) => entry !== without);
  while (pending.length > 0) {
    const block = pending.pop()!;
    if (seen.has(block)) continue;
    seen.add(block);
    pending.push(...successors[block]!.filter((target) => target !== without));
  }
  return seen;
}

/** The definitions, plainly: a dominates b if without a nothing reaches b. */
function model(graph: Graph) {
  const reachable = reach(graph, -1);
  const dominators = new Map([...reachable].map((block) => [block, new Set<number>()]));
  for (const above of reachable) {
    const others = reach(graph, above);
    for (const block of reachable) if (!others.has(block)) dominators.get(block)!.add(above);
  }
  const idom = (block: number) => {
    const strict = [...dominators.get(block)!].filter((above) => above !== block);
    return strict.find((above) => dominators.get(above)!.size === strict.length) ?? -1;
  };
  // Reducible: without the edges to dominators no cycle is left.
  const forward = (block: number) => graph.successors[block]!.filter((target) => !dominators.get(block)!.has(target));
  const waiting = new Map([...reachable].map((block) => [block, 0]));
  for (const block of reachable) for (const target of forward(block)) waiting.set(target, waiting.get(target)! + 1);
  const free = [...reachable].filter((block) => waiting.get(block) === 0);
  for (const block of free) {
    for (const target of forward(block)) {
      waiting.set(target, waiting.get(target)! - 1);
      if (waiting.get(target) === 0) free.push(target);
    }
  }
  // Natural loops by header.
  const loops = new Map<number, Set<number>>();
  for (const latch of reachable) {
    for (const header of graph.successors[latch]!.filter((target) => dominators.get(latch)!.has(target))) {
      const body = loops.get(header) ?? new Set([header]);
      const pending = [latch];
      while (pending.length > 0) {
        const block = pending.pop()!;
        if (body.has(block)) continue;
        body.add(block);
        pending.push(...[...reachable].filter((source) => graph.successors[source]!.includes(block)));
      }
      loops.set(header, body);
    }
  }
  return { reachable, idom, reducible: free.length === reachable.size, loops };
}

/** Any graph: mostly irreducible, with self loops, duplicates, switches and unreachable blocks. */
const anyGraph = (entries: number): fc.Arbitrary<Graph> =>
  fc.integer({ min: 1, max: 14 }).chain((count) => {
    const block = fc.nat(count - 1);
    const out = fc.oneof(
      { weight: 1, arbitrary: fc.constant([]) },
      { weight: 3, arbitrary: fc.tuple(block) },
      { weight: 5, arbitrary: fc.tuple(block, block) },
      { weight: 1, arbitrary: fc.array(block, { minLength: 3, maxLength: 5 }) },
    );
    return fc.record({
      successors: fc.array(out, { minLength: count, maxLength: count }),
      entries: fc.array(block, { minLength: 1, maxLength: entries }),
    });
  });

/**
 * Graphs near to real ones: most edges go a little forward, some back. As a rule reducible in good part, so that loops nest and
 * dispatchers come inside of loops.
 */
const codeLikeGraph = (entries: number): fc.Arbitrary<Graph> =>
  fc.integer({ min: 2, max: 40 }).chain((count) => {
    const at = (block: number, by: number) => Math.min(count - 1, Math.max(0, block + by));
    const branch = fc.oneof(
      { weight: 4, arbitrary: fc.constant(undefined) },
      { weight: 4, arbitrary: fc.integer({ min: 2, max: 5 }) },
      { weight: 2, arbitrary: fc.integer({ min: -6, max: 0 }) },
    );
    return fc.record({
      successors: fc
        .array(branch, { minLength: count, maxLength: count })
        .map((branches) =>
          branches.map((by, block) => {
            const next = block + 1 < count ? [block + 1] : [];
            return by === undefined ? next : [at(block, by), ...next];
          }),
        ),
      entries: fc.array(fc.nat(count - 1), { minLength: 0, maxLength: entries - 1 }).map((more) => [0, ...more]),
    });
  });

/** Structured programs: reducible by construction. */
type Program = readonly Statement[];
type Statement = "straight" | "leave" | "continue" | { if: Program; else?: Program } | { loop: Program; test: "first" | "last" };

const program = fc.letrec<{ program: Program; statement: Statement }>((tie) => ({
  program: fc.array(tie("statement"), { maxLength: 5, depthIdentifier: "nesting" }),
  statement: fc.oneof(
    { depthIdentifier: "nesting", maxDepth: 5, withCrossShrink: true },
    fc.constantFrom<Statement>("straight", "leave", "continue"),
    fc.record({ if: tie("program") }),
    fc.record({ if: tie("program"), else: tie("program") }),
    fc.record({ loop: tie("program"), test: fc.constantFrom("first" as const, "last" as const) }),
  ),
})).program;

function toGraph(code: Program): Graph {
  const successors: number[][] = [[]];
  let here = 0;
  const block = (...from: number[]) => {
    for (const source of from) successors[source]!.push(successors.length);
    successors.push([]);
    return (here = successors.length - 1);
  };
  const run = (statements: Program, headers: readonly number[], leaving: number[][]): void => {
    for (const statement of statements) {
      if (statement === "straight") {
        block(here);
      } else if (statement === "leave" || statement === "continue") {
        const from = here;
        if (headers.length === 0) block(from);
        else if (statement === "leave") leaving.at(-1)!.push(from);
        else successors[from]!.push(headers.at(-1)!);
        if (headers.length > 0) block(from);
      } else if ("if" in statement) {
        const from = here;
        block(from);
        run(statement.if, headers, leaving);
        const yes = here;
        let no = from;
        if (statement.else !== undefined) {
          block(from);
          run(statement.else, headers, leaving);
          no = here;
        }
        block(no, yes);
      } else {
        const header = block(here);
        const exits: number[] = statement.test === "first" ? [header] : [];
        if (statement.test === "first") block(header);
        run(statement.loop, [...headers, header], [...leaving, exits]);
        successors[here]!.push(header);
        if (statement.test === "last") exits.push(here);
        block(...exits);
      }
    }
  };
  run(code, [], []);
  return { successors, entries: [0] };
}

const runs = { numRuns: 1500, seed: 20261 };

test("the steps of any graph lead where its edges do", () => {
  fc.assert(fc.property(anyGraph(1), (graph) => void check(graph)), runs);
  fc.assert(fc.property(anyGraph(4), (graph) => void check(graph)), runs);
  fc.assert(fc.property(codeLikeGraph(1), (graph) => void check(graph)), runs);
  fc.assert(fc.property(codeLikeGraph(4), (graph) => void check(graph)), runs);
});

test("edges are rerouted only in irreducible graphs, several entries included", () => {
  let reducible = 0;
  fc.assert(
    fc.property(fc.oneof(anyGraph(3), codeLikeGraph(3)), (graph) => {
      const expected = model(graph).reducible;
      assert.equal(check(graph).rerouted === 0, expected);
      if (expected) reducible++;
    }),
    runs,
  );
  assert(reducible > 200 && reducible < 1300, `both kinds occur: ${reducible}`);
});

test("structured programs are reducible, and have each loop as a loop that holds its body only", () => {
  fc.assert(
    fc.property(program, (code) => {
      const graph = toGraph(code);
      const result = check(graph);
      assert.equal(result.rerouted, 0);
      const open: number[] = [];
      const inLoops = new Map<number, number[]>();
      for (const step of result.steps) {
        if (step.kind === "loop") open.push(step.node);
        else if (step.kind === "block") open.push(-1);
        else if (step.kind === "end") open.pop();
        else if (step.kind === "code") {
          inLoops.set(step.block, open.filter((header) => header !== -1));
          if (step.edges.includes(ARM)) open.push(-1);
        }
      }
      const { loops } = model(graph);
      for (const [block, headers] of inLoops) {
        const around = [...loops].filter(([, body]) => body.has(block)).map(([header]) => header);
        assert.deepEqual([...headers].sort(ascending), around.sort(ascending));
      }
    }),
    runs,
  );
});

test("dominators and loops are what their definitions say", () => {
  fc.assert(
    fc.property(fc.oneof(anyGraph(3), codeLikeGraph(2)), (graph) => {
      const { reachable, idom, reducible, loops } = model(graph);
      const result = structure(graph);
      for (let block = 0; block < graph.successors.length; block++) {
        assert.equal(result.dominator[block], reachable.has(block) ? idom(block) : -1);
        if (!reducible) continue;
        const around = [...loops].filter(([, body]) => body.has(block)).sort(([, a], [, b]) => a.size - b.size);
        assert.equal(result.depth[block], around.length);
        assert.equal(result.loop[block], around[0]?.[0] ?? -1);
        assert.equal(result.outerLoop[block], result.loop[block] === block ? (around[1]?.[0] ?? -1) : -1);
      }
      // Forward edges go forward in the order.
      const position = new Map(result.order.map((block, i) => [block, i]));
      for (const block of result.order) {
        graph.successors[block]!.forEach((target, i) => {
          const edge = edgesOf(result, block)![i]!;
          const back = position.get(target)! <= position.get(block)!;
          if (reducible) assert.equal(isBackEdge(edge), back);
        });
      }
    }),
    runs,
  );
});

const kinds = ({ steps }: Structure) =>
  steps.map((step) => (step.kind === "code" ? `${step.block}(${step.edges.map(name).join(" ")})` : step.kind)).join(" ");
const name = (edge: number) =>
  edge === FALLS ? "falls" : edge === ARM ? "arm" : `${isBackEdge(edge) ? "loop" : "block"}${edge >> 1}`;

test("a chain has no label, a loop at its end falls out", () => {
  assert.equal(kinds(check({ successors: [[1], [2], []], entries: [0] })), "0(falls) 1(falls) 2()");
  assert.equal(
    kinds(check({ successors: [[1], [1, 2], []], entries: [0] })),
    "0(falls) loop 1(loop1 falls) end 2()",
  );
});

test("if, if-else and while have one label", () => {
  assert.equal(kinds(check({ successors: [[2, 1], [2], []], entries: [0] })), "block 0(block2 falls) 1(falls) end 2()");
  assert.equal(
    kinds(check({ successors: [[2, 1], [3], [3], []], entries: [0] })),
    "block 0(arm falls) 2(block3) end 1(falls) end 3()",
  );
  assert.equal(
    kinds(check({ successors: [[2, 1], [0], []], entries: [0] })),
    "block loop 0(block2 falls) 1(loop0) end end 2()",
  );
});

test("heads of nested loops as entries keep the inner loop; only the outer one's back edge is dispatched", () => {
  // 0 → outer 1 → inner 2 ⟲ → 3 → 1 or 4; entered at 0, 1 and 2
  const graph = { successors: [[1], [2], [2, 3], [1, 4], []], entries: [0, 1, 2] };
  const result = check(graph);
  assert.equal(result.rerouted, 1);
  assert(isBackEdge(edgesOf(result, 2)![0]!), "the inner loop is a loop");
  assert.equal(result.steps.filter(({ kind }) => kind === "dispatch").length, 1);
});

test("of two orders to walk in, the one that reroutes less is taken", () => {
  for (const entries of [[0, 1, 2], [2, 1, 0]]) assert.equal(check({ ...nest(3), entries }).rerouted, 1);
});

test("a loop head as second entry reroutes nothing, and the dispatch is in no loop", () => {
  const result = check({ successors: [[1], [1, 2], []], entries: [0, 1] });
  assert.equal(result.rerouted, 0);
  const dispatch = result.steps.findIndex(({ kind }) => kind === "dispatch");
  assert(!result.steps.slice(0, dispatch).some(({ kind }) => kind === "loop"));
});

test("an irreducible loop is dispatched inside of the loop around it", () => {
  // 1 is the header of an outer loop, 2 ⇄ 3 is entered at both
  const result = check({ successors: [[1], [3, 2], [3], [2, 4], [1, 5], []], entries: [0] });
  assert.equal(result.rerouted, 1);
  assert.equal(result.depth[0], 0);
  assert.equal(result.depth[2], 2);
  assert.deepEqual(edgesOf(result, 0), [FALLS]);
});

test("blocks that nothing reaches are dropped", () => {
  const result = check({ successors: [[2], [2, 0], []], entries: [0] });
  assert.deepEqual(result.order, [0, 2]);
  assert.equal(result.dominator[1], -1);
});

test("large graphs: no recursion, flat nesting where it can be", () => {
  const chain = { successors: Array.from({ length: 5000 }, (_, i) => (i < 4999 ? [i + 1] : [])), entries: [0] };
  assert.equal(new Walker(check(chain)).depth, 0);

  const exits = { successors: Array.from({ length: 5001 }, (_, i) => (i < 5000 ? [5000, i + 1] : [])), entries: [0] };
  assert.equal(new Walker(structure(exits)).depth, 1);

  const decision = (i: number) => (i < 4998 && i % 2 === 0 ? [i + 2, i + 1] : []);
  const decisions = { successors: Array.from({ length: 5000 }, (_, i) => decision(i)), entries: [0] };
  assert(new Walker(structure(decisions)).depth <= 12);

  const diamonds = { successors: Array.from({ length: 6001 }, (_, i) => diamond(i, 6000)), entries: [0] };
  assert.equal(new Walker(structure(diamonds)).depth, 2);

  const loops = structure(nest(1000));
  assert.equal(Math.max(...loops.depth), 1000);
  assert.equal(loops.rerouted, 0);

  const inARow = { successors: Array.from({ length: 2000 }, (_, i) => (i < 1999 ? [i, i + 1] : [])), entries: [0] };
  assert.equal(new Walker(structure(inARow)).depth, 1);
});

const diamond = (i: number, last: number) => (i >= last ? [] : i % 3 === 0 ? [i + 2, i + 1] : [i + 3 - (i % 3)]);

/** n headers, each inside the one before, and their latches from the innermost outwards. */
function nest(n: number): Graph {
  const headers = Array.from({ length: n }, (_, i) => [i + 1]);
  const latches = Array.from({ length: n }, (_, i) => [n - 1 - i, n + i + 1]);
  return { successors: [...headers, ...latches, []], entries: [0] };
}

test("a large irreducible graph is structured too", () => {
  // Every pair of neighbours is a loop with two entries.
  const count = 2000;
  const successors = Array.from({ length: count }, (_, i) => (i < count - 2 ? [i + 2, (i ^ 1) % count, i + 1] : []));
  assert(structure({ successors, entries: [0] }).rerouted > 0);
});
