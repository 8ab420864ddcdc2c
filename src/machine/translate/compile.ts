/** Compiles a batch of regions to one WebAssembly module. */
import { ModuleBuilder } from "#wasm/module.ts";
import { i32, type FunctionReference } from "#wasm/expression.ts";
import type { HartImports, HartProgramOptions } from "../hart/hart-program.ts";
import { edge, type MemoryMap } from "../layout.ts";
import { emitRegion, type RegionImports } from "./emit.ts";
import { CodePages, CodeReader, formRegion, type Edges, type Region, type RegionRequest, type Span } from "./region.ts";

/** What was translated, and none of it depends on where it lies: the same bytes at the same distances elsewhere are the same region. */
export interface CompiledRegion {
  /** Pages that hold its code, relative to the head's. */
  readonly pages: readonly number[];
  readonly spans: readonly Span[];
  /** The bytes of all spans. */
  readonly code: Uint8Array;
  /** See `codeHash`. */
  readonly hash: number;
  readonly instructions: number;
  /** Where it was read. */
  readonly request: RegionRequest;
}

export interface Batch {
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Its functions are exported as r0, r1, … in this order, and numbered so from the imported `firstNumber` on. */
  readonly regions: readonly CompiledRegion[];
  /** Heads at which there is nothing to translate any more. */
  readonly refused: readonly number[];
}

export class RegionCompiler {
  readonly #memory: ArrayBufferLike;
  readonly #map: MemoryMap;
  readonly #pages: CodePages;
  readonly #imported: HartImports;
  readonly #options: HartProgramOptions;

  constructor(memory: ArrayBufferLike, map: MemoryMap, imported: HartImports, options: HartProgramOptions) {
    this.#memory = memory;
    this.#pages = new CodePages(memory);
    this.#map = map;
    this.#options = options;
    this.#imported = imported;
  }

  compile(requests: readonly RegionRequest[]): Batch {
    const edges = this.#edges();
    const formed = requests.map((request) => {
      const reader = new CodeReader(this.#memory, this.#map, request, this.#pages);
      return { reader, region: formRegion(reader, request, edges) };
    });
    const module = new ModuleBuilder();
    const imports = this.#imports(module, formed.some(({ region }) => usesFloat(region)));
    const first = module.importGlobal("machine", "firstNumber", "i32");
    const regions: CompiledRegion[] = [];
    const refused: number[] = [];
    for (const { region, reader } of formed) {
      if (region.blocks.length === 0) {
        refused.push(region.request.head);
        continue;
      }
      const { parameters, results } = imports.signature;
      const f = module.function(`r${region.request.head.toString(16)}`, parameters, results);
      emitRegion(f, region, i32.add(first, regions.length), imports);
      module.export(`r${regions.length}`, f);
      regions.push(this.#describe(region, reader));
    }
    this.#pages.forget();
    return { bytes: module.encode(), regions, refused };
  }

  /** Every import costs each instance something, so that the floating-point routines come only where there are such instructions. */
  #imports(module: ModuleBuilder, float: boolean): RegionImports {
    module.importMemory("machine", "memory", { initial: this.#map.pages, maximum: this.#map.pages });
    module.importTable("machine", "regions", 1);
    const take = (name: string, { parameters, results }: FunctionReference): FunctionReference =>
      module.importFunction("hart", name, parameters, results);
    const routines = float ? Object.entries(this.#imported.routines) : [];
    return {
      signature: module.signature(["i32", "i64", "i32", "i32"], ["i64", "i32"]),
      jump: take("jump", this.#imported.jump),
      recover: take("recover", this.#imported.recover),
      csr: take("csr", this.#imported.csr),
      routines: Object.fromEntries(routines.map(([name, routine]) => [name, take(name, routine)])),
      fusedMultiplyAdd: this.#options.fusedMultiplyAdd,
    };
  }

  /** What the interpreter saw of indirect jumps so far. */
  #edges(): Edges {
    const entries = new Int32Array(this.#memory, this.#map.edges, edge.count * 2);
    const edges = new Map<number, number[]>();
    for (let i = 0; i < entries.length; i += 2) {
      const host = entries[i]! >>> 0;
      if (host === 0) continue;
      const distances = edges.get(host);
      if (distances === undefined) edges.set(host, [entries[i + 1]!]);
      else distances.push(entries[i + 1]!);
    }
    return edges;
  }

  #describe(region: Region, reader: CodeReader): CompiledRegion {
    const inPage = region.request.head & 4095;
    // Runs of instructions, merged, cut at pages.
    const runs = region.blocks
      .flatMap(({ offsets }) => offsets.slice(0, -1).map((start, i) => [start, offsets[i + 1]!] as const))
      .sort((a, b) => a[0] - b[0]);
    const spans: Span[] = [];
    const add = (start: number, end: number): void => {
      while (start < end) {
        const stop = Math.min(end, ((inPage + start) & -4096) + 4096 - inPage);
        spans.push({ offset: start, length: stop - start });
        start = stop;
      }
    };
    let [start, end] = [runs[0]![0], runs[0]![0]];
    for (const [from, to] of runs) {
      if (from > end) {
        add(start, end);
        start = from;
        end = to;
      } else end = Math.max(end, to);
    }
    add(start, end);
    const code = new Uint8Array(spans.reduce((sum, { length }) => sum + length, 0));
    let at = 0;
    for (const span of spans) {
      code.set(reader.read(span), at);
      at += span.length;
    }
    return { pages: region.pages, spans, code, hash: reader.hash, instructions: region.instructionCount, request: region.request };
  }
}

function usesFloat({ blocks }: Region): boolean {
  return blocks.some(({ instructions }) => instructions.some(({ instruction }) => /\bfr[ds]/.test(instruction.syntax)));
}
