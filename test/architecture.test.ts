/** Holds the code to the table of arrows that ARCHITECTURE.md prints, and to a few rules that a compiler doesn't know. */
import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, posix } from "node:path";
import { suite, test } from "node:test";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));

/** Text by path, relative to the repository: `src/machine/bus.ts`. */
type Sources = ReadonlyMap<string, string>;

interface Floor {
  /** Floors, or single files of a floor: `machine`, `machine/bus.ts`. */
  readonly mayImport: readonly string[];
  /** Packages, and `node:` for all that Node brings. */
  readonly fromOutside: readonly string[];
  /** Floors that it must not get to, not by way of others either. */
  readonly never: readonly string[];
}

type Table = ReadonlyMap<string, Floor>;

function readTable(markdown: string): Table {
  const lines = markdown.split("\n");
  const header = lines.findIndex((line) => /^\| floor +\| may import +\| from outside +\| never +\|$/.test(line));
  assert(header >= 0, "ARCHITECTURE.md has no table of arrows");
  const table = new Map<string, Floor>();
  for (const line of lines.slice(header + 2)) {
    if (!line.startsWith("|")) break;
    const cells = line.split("|").slice(1, -1).map((cell) => [...cell.matchAll(/`([^`]+)`/g)].map(([, name]) => name!));
    const [[floor], mayImport, fromOutside, never] = cells as [[string], string[], string[], string[]];
    table.set(floor, { mayImport, fromOutside, never });
  }
  return table;
}

function readSources(...folders: readonly string[]): Sources {
  const paths = folders.flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, encoding: "utf8" }).map((name) => posix.join(folder, name.replaceAll("\\", "/"))),
  );
  return new Map(paths.filter((path) => path.endsWith(".ts")).map((path) => [path, readFileSync(join(root, path), "utf8")]));
}

interface Import {
  readonly specifier: string;
  readonly typeOnly: boolean;
}

/** Static and dynamic imports, those for types alone, and workers that are started by their URL. */
function importsOf(text: string): Import[] {
  const found = (pattern: RegExp): Import[] =>
    [...text.matchAll(pattern)].map(({ groups }) => ({ specifier: groups!["to"]!, typeOnly: groups!["type"] !== undefined }));
  return [
    ...found(/^(?:import|export)\s+(?<type>type\s)?[^;"]*?\bfrom\s+"(?<to>[^"]+)"/gm),
    ...found(/^import\s+"(?<to>[^"]+)"/gm),
    ...found(/\bimport\("(?<to>[^"]+)"\)/g),
    ...found(/\bnew URL\("(?<to>[^"]+\.ts)", import\.meta\.url\)/g),
  ];
}

/** The file that a specifier leads to, or undefined if it leads outside of the repository. */
function resolve(from: string, specifier: string): string | undefined {
  if (specifier.startsWith("#")) return `src/${specifier.slice(1)}`;
  return specifier.startsWith(".") ? posix.join(dirname(from), specifier) : undefined;
}

/** Tests, and what only tests use. */
const isTest = (path: string): boolean => /(\.test|\/test-[a-z]+|\/testing)\.ts$/.test(path);

const floorOf = (path: string, table: Table): string | undefined =>
  [...table.keys()].find((floor) => path.startsWith(`src/${floor}/`));

function brokenArrows(sources: Sources, table: Table): string[] {
  const broken: string[] = [];
  for (const [path, text] of sources) {
    const name = floorOf(path, table);
    if (name === undefined) {
      broken.push(`${path} stands on no floor`);
      continue;
    }
    const { mayImport, fromOutside } = table.get(name)!;
    for (const { specifier } of importsOf(text)) {
      const target = resolve(path, specifier);
      if (isTest(path)) continue;
      if (target !== undefined && isTest(target)) broken.push(`${path} → ${specifier}: a test`);
      const allowed = target === undefined
        ? fromOutside.some((outside) => specifier === outside || (outside.endsWith(":") && specifier.startsWith(outside)))
        : [name, ...mayImport].some((to) => target === `src/${to}` || target.startsWith(`src/${to}/`));
      if (!allowed) broken.push(`${path} → ${specifier}: ${name} may import ${[...mayImport, ...fromOutside].join(", ") || "nothing"}`);
    }
  }
  return broken;
}

/** A cycle among files that import each other for more than types, as a list of paths. */
function findCycle(sources: Sources): string[] | undefined {
  const done = new Set<string>();
  const visit = (path: string, above: readonly string[]): string[] | undefined => {
    if (above.includes(path)) return [...above.slice(above.indexOf(path)), path];
    if (done.has(path)) return undefined;
    done.add(path);
    for (const { specifier, typeOnly } of importsOf(sources.get(path)!)) {
      const target = resolve(path, specifier);
      if (typeOnly || target === undefined || !sources.has(target)) continue;
      const cycle = visit(target, [...above, path]);
      if (cycle !== undefined) return cycle;
    }
    return undefined;
  };
  for (const path of sources.keys()) {
    const cycle = visit(path, []);
    if (cycle !== undefined) return cycle;
  }
  return undefined;
}

/** Floors from which another can be reached, though they must never get there. A single file of a floor is not the floor. */
function forbiddenWays(table: Table): string[] {
  return [...table].flatMap(([name, { never }]) => {
    const reached = new Set<string>();
    const work = [name];
    while (work.length > 0) for (const next of table.get(work.pop()!)?.mayImport ?? []) if (!reached.has(next)) work.push(next), reached.add(next);
    return [...reached].filter((floor) => floor === name || never.includes(floor))
      .map((floor) => `${name} can get to ${floor}`);
  });
}

const table = readTable(readFileSync(join(root, "ARCHITECTURE.md"), "utf8"));
const sources = readSources("src");
const all = readSources("src", "test", "bench");

suite("the house", () => {
  test("there is something to look at", () => {
    assert(sources.size > 100, `${sources.size} files in src`);
    assert(table.size >= 9, `${table.size} floors`);
    for (const floor of table.keys()) assert([...sources.keys()].some((path) => floorOf(path, table) === floor), `nothing stands on ${floor}`);
    const arrows = [...sources.values()].reduce((sum, text) => sum + importsOf(text).length, 0);
    assert(arrows > 500, `${arrows} imports`);
  });

  test("every import follows an arrow", () => assert.deepEqual(brokenArrows(sources, table), []));

  test("arrows lead down", () => assert.deepEqual(forbiddenWays(table), []));

  test("no files import each other in a circle", () => assert.equal(findCycle(all)?.join(" → "), undefined));

  test("every import leads to a file", () => {
    const missing = [...all].flatMap(([path, text]) => importsOf(text).map(({ specifier }) => [path, resolve(path, specifier)] as const))
      .filter(([, target]) => target !== undefined && !existsSync(join(root, target)));
    assert.deepEqual(missing, []);
  });
});

suite("the checks themselves", () => {
  const bad = (path: string, text: string): string[] => brokenArrows(new Map([[path, text]]), table);

  test("see a broken arrow, however it is written", () => {
    assert.equal(bad("src/base/a.ts", 'import { x } from "#machine/bus.ts";').length, 1);
    assert.equal(bad("src/riscv/a.ts", 'import type {\n  X,\n} from "../machine/bus.ts";').length, 1);
    assert.equal(bad("src/devices/a.ts", 'export { x } from "#machine/machine.ts";').length, 1);
    assert.equal(bad("src/machine/a.ts", 'const x = await import("node:fs");').length, 1);
    assert.equal(bad("src/wasm/a.ts", 'import "commander";').length, 1);
    assert.equal(bad("src/elsewhere/a.ts", "").length, 1);
    assert.equal(bad("src/base/a.ts", 'import { x } from "./b.test.ts";').length, 1);
    assert.deepEqual(bad("src/devices/a.ts", 'import type { X } from "#machine/bus.ts";\nimport { y } from "./y.ts";'), []);
  });

  test("see a circle, but not one of types", () => {
    const circle = (kind: string): Sources => new Map([["src/base/a.ts", 'import { b } from "./b.ts";'], ["src/base/b.ts", `import ${kind}{ a } from "./a.ts";`]]);
    assert.deepEqual(findCycle(circle("")), ["src/base/a.ts", "src/base/b.ts", "src/base/a.ts"]);
    assert.equal(findCycle(circle("type ")), undefined);
  });

  test("see a way around", () => {
    const floor = (mayImport: string[], never: string[] = []): Floor => ({ mayImport, never, fromOutside: [] });
    assert.equal(forbiddenWays(new Map([["a", floor(["b"], ["c"])], ["b", floor(["c"])], ["c", floor([])]])).length, 1);
  });
});

suite("style", () => {
  const where = (pattern: RegExp, files: Sources): string[] =>
    [...files].flatMap(([path, text]) => text.split("\n").flatMap((line, i) => (pattern.test(line) ? [`${path}:${i + 1}: ${line.trim()}`] : [])));

  test("no default exports", () => assert.deepEqual(where(/^export default\b/, all), []));

  test("nothing is left to be done later", () => assert.deepEqual(where(new RegExp("\\b(TO" + "DO|FIX" + "ME|X" + "XX)\\b"), all), []));

  test("the compiler is not silenced", () => assert.deepEqual(where(/@ts-(ignore|expect-error|nocheck)\b/, sources), []));

  test("tests and helpers: none is run alone", () => assert.deepEqual(where(/^\s*(test|it|suite|describe)\.only\(/, all), []));

  test("every folder of code says what it is for, and names only files that are there", () => {
    const folders = new Set([...sources.keys()].map((path) => dirname(path)));
    for (const folder of folders) {
      const readme = [folder, dirname(folder)].map((place) => join(root, place, "README.md")).find((path) => existsSync(path));
      assert(readme !== undefined, `${folder} has no README.md, nor has the folder above it`);
      const text = readFileSync(readme, "utf8");
      for (const [, name] of text.matchAll(/`([\w./-]+\.ts)`(?!\]\()/g)) {
        // By its path, or by its name if it stands further down.
        const place = posix.relative(root, dirname(readme));
        const there = sources.has(posix.join(place, name!)) || [...sources.keys()].some((path) => path.startsWith(`${place}/`) && path.endsWith(`/${name}`));
        assert(there, `${folder}/README.md names ${name}, which isn't there`);
      }
    }
  });

  test("links in the docs of the code lead somewhere", () => {
    const folders = new Set([...all.keys()].filter((path) => !path.startsWith("bench/")).map((path) => dirname(path)));
    const docs = [...folders].map((folder) => `${folder}/README.md`).concat("ARCHITECTURE.md", "test/README.md").filter((path) => existsSync(join(root, path)));
    for (const doc of docs) {
      for (const [, to] of readFileSync(join(root, doc), "utf8").matchAll(/\]\((?!https?:|#)([^)#]+)/g)) {
        assert(existsSync(join(root, dirname(doc), to!)), `${doc} links to ${to}, which isn't there`);
      }
    }
  });
});
