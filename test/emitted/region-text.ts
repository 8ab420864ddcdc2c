/** A small program in, the text of the WebAssembly function that the translator makes of its start out. */
import wabt from "wabt";
import { buildHartProgram } from "#machine/hart/hart-program.ts";
import { edge, layout, memoryMap, request } from "#machine/layout.ts";
import { RegionCompiler } from "#machine/translate/compile.ts";
import { assembleWithSymbols } from "#riscv/assemble.ts";
import { RAM } from "../kit/hart.ts";

export interface SmallProgram {
  /** Its first instruction is the region's head, or the one at a label. */
  readonly source: string;
  readonly head?: string;
  /** Whether its loops are hot. */
  readonly unrolls?: boolean;
  /** Labels of indirect jumps, and the labels that they were seen to go to. */
  readonly edges?: Readonly<Record<string, readonly string[]>>;
}

const map = memoryMap(64 << 10, { predecodedPages: 4 });
const memory = new ArrayBuffer(map.pages * 65536);
const options = { fusedMultiplyAdd: true };
const compiler = new RegionCompiler(memory, map, buildHartProgram(map, options).imports, options);
const tools = await wabt();

/** Pages have not been decoded, so that all code counts as executed. */
export function regionText({ source, head, unrolls = false, edges = {} }: SmallProgram): string {
  const { bytes, symbols } = assembleWithSymbols(source, { base: RAM });
  new Uint8Array(memory, map.ram).fill(0).set(bytes);
  const hostOf = (label: string): number => map.ram + Number(symbols.get(label)! - BigInt(RAM));
  const noted = new Int32Array(memory, map.edges, edge.count * 2).fill(0);
  const pairs = Object.entries(edges).flatMap(([from, to]) => to.map((label) => [from, label] as const));
  pairs.forEach(([from, to], i) => {
    noted[2 * i] = hostOf(from);
    noted[2 * i + 1] = Number(symbols.get(to)! - symbols.get(from)!);
  });
  const frames = Array.from({ length: 2 * request.reach + 1 }, (_, i) => (i === request.reach ? map.ram : 0));
  const batch = compiler.compile([{ head: head === undefined ? map.ram : hostOf(head), frames, privilege: 1, ...(unrolls ? { hotLoops: "all" } : {}) }]);
  const module = tools.readWasm(batch.bytes, { tail_call: true, threads: true, simd: true, relaxed_simd: true, multi_value: true, bulk_memory: true });
  try {
    return readable(module.toText({ foldExprs: true, inlineExport: false }));
  } finally {
    module.destroy();
  }
}

const parameters = ["state", "pc", "budget", "nesting"];

/** The one function that isn't imported, with names: of parameters, of imports, and of the fields of the hart's state. */
function readable(module: string): string {
  const imports = [...module.matchAll(/\(import "[^"]*" "([^"]*)" \(func/g)].map(([, name]) => name!);
  const lines = module.split("\n");
  const start = lines.findIndex((line) => line.startsWith("  (func (;"));
  const end = lines.findIndex((line, i) => i > start && /^  \((?:func|export)/.test(line));
  const text = lines
    .slice(start, end)
    .join("\n")
    .replace(/;; label = (@\d+)/g, "(;$1;)")
    .replace(/^ *\(func[^\n]*\(result[^\n]*\)/, "(func (param $state i32) (param $pc i64) (param $budget i32) (param $nesting i32) (result i64 i32)")
    .replace(/\blocal\.(get|set|tee) (\d+)/g, (whole, kind: string, number: string) => (Number(number) < 4 ? `local.${kind} $${parameters[Number(number)]}` : whole))
    .replace(/\b((?:return_)?call) (\d+)/g, (whole, kind: string, number: string) => (imports[Number(number)] === undefined ? whole : `${kind} $${imports[Number(number)]}`))
    .replace(/ align=\d+/g, "")
    .replaceAll("(global.get 0)", "(global.get $firstNumber)")
    .replace(/((?:load|store)\w*)(?: offset=(\d+))?(?=\n\s*\(local\.get \$state\))/g, (_, access: string, offset = "0") => `${access} (;${fieldAt(Number(offset))};)`);
  return print(parse(text.match(/\(;.*?;\)|[()]|[^\s()]+/g)!), "");
}

type Node = string | readonly Node[];

/** The first expression of a list of parentheses and words. */
function parse(tokens: readonly string[]): Node {
  const open: Node[][] = [[]];
  for (const token of tokens) {
    if (token === "(") open.push([]);
    else if (token === ")") {
      const closed = open.pop()!;
      open.at(-1)!.push(closed);
    } else open.at(-1)!.push(token);
  }
  return open[0]![0]!;
}

const width = 120;

/** On one line what fits there, but for what holds statements. */
function print(node: Node, indent: string): string {
  const flat = (part: Node): string => (typeof part === "string" ? part : `(${part.map(flat).join(" ")})`);
  if (typeof node === "string") return indent + node;
  const line = indent + flat(node);
  const holdsStatements = ["func", "block", "loop", "if", "then", "else"].includes(node[0] as string);
  if (!holdsStatements && line.length <= width) return line;
  const words = node.findIndex((part) => typeof part !== "string" && part[0] !== "param" && part[0] !== "result");
  if (words < 0) return line;
  return [indent + flat(node.slice(0, words)).slice(0, -1), ...node.slice(words).map((part) => print(part, `${indent}  `))].join("\n") + ")";
}

function fieldAt(offset: number): string {
  for (const [name, { offset: first, type, count }] of Object.entries(layout)) {
    const size = type === "i32" ? 4 : 8;
    if (offset < first || offset >= first + size * count) continue;
    return count === 1 ? name : `${name}[${Math.floor((offset - first) / size)}]`;
  }
  return `+${offset}`;
}
