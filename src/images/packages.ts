import { HostelryError } from "#base/errors.ts";
import { type VersionRelation, versionSatisfies } from "./version.ts";

/** One package of an archive, as its `Packages` index describes it (deb-src-control(5), deb-control(5)). */
export interface PackageRecord {
  readonly name: string;
  readonly version: string;
  readonly architecture: string;
  /** Path below the mirror's root. */
  readonly filename: string;
  /** Bytes. */
  readonly size: number;
  /** Hexadecimal. */
  readonly sha256: string;
  /** `required` … `extra`: who is preferred where several provide the same. */
  readonly priority: string;
  /** All must hold. */
  readonly depends: readonly Clause[];
  /** None may hold. */
  readonly conflicts: readonly Alternative[];
  readonly provides: readonly Alternative[];
}

/** One of these must hold. */
export type Clause = readonly Alternative[];

export interface Alternative {
  readonly name: string;
  readonly constraint: { readonly relation: VersionRelation; readonly version: string } | null;
}

/** A `Packages` index, read as far as it is asked for: Debian's has 65,000 packages, of which an image needs a handful. */
export class PackageIndex {
  readonly #stanzas = new Map<string, string[]>();
  readonly #providers = new Map<string, string[]>();

  constructor(text: string) {
    for (const stanza of text.split(/\n\n+/)) {
      const name = /^Package: (.+)$/m.exec(stanza)?.[1];
      if (name === undefined) continue;
      append(this.#stanzas, name, stanza);
      const provides = /^Provides: (.+)$/m.exec(stanza)?.[1];
      for (const provided of parseClauses(provides ?? "").flat()) append(this.#providers, provided.name, name);
    }
  }

  get size(): number {
    return this.#stanzas.size;
  }

  /** All versions of a package. */
  named(name: string): PackageRecord[] {
    return (this.#stanzas.get(name) ?? []).map(parseRecord);
  }

  /** All packages that say that they provide `name`. */
  providing(name: string): PackageRecord[] {
    const names = new Set(this.#providers.get(name));
    return [...names].flatMap((provider) => this.named(provider)).filter((record) => record.provides.some((item) => item.name === name));
  }

  /** Up to three names near to `name`, for a message: the nearest first. */
  similar(name: string): string[] {
    const near = [...this.#stanzas.keys()].map((candidate) => ({ candidate, distance: editDistance(name, candidate, MAX_DISTANCE) }));
    const close = near.filter(({ distance }) => distance <= MAX_DISTANCE).sort((one, other) => one.distance - other.distance);
    return close.slice(0, 3).map(({ candidate }) => candidate);
  }
}

/** Typing errors that a suggestion forgives. */
const MAX_DISTANCE = 2;

/** Letters to insert, delete or replace (Levenshtein), or anything beyond `limit` when there are more. */
function editDistance(one: string, other: string, limit: number): number {
  if (Math.abs(one.length - other.length) > limit) return limit + 1;
  let row = Array.from({ length: other.length + 1 }, (_, index) => index);
  for (let i = 1; i <= one.length; i++) {
    const next = [i];
    for (let j = 1; j <= other.length; j++) {
      next.push(Math.min(row[j] + 1, next[j - 1] + 1, row[j - 1] + (one[i - 1] === other[j - 1] ? 0 : 1)));
    }
    row = next;
  }
  return row[other.length];
}

/** True if `record` is what `wanted` asks for, by its own name or by one that it provides. */
export function satisfies(record: PackageRecord, wanted: Alternative): boolean {
  if (record.name === wanted.name && holds(record.version, wanted)) return true;
  return record.provides.some((provided) => {
    if (provided.name !== wanted.name) return false;
    // What is provided without a version satisfies no demand for one (Debian policy 7.5).
    return wanted.constraint === null || (provided.constraint !== null && holds(provided.constraint.version, wanted));
  });
}

/** "a (>= 1) | b, c": clauses of alternatives. Qualifiers of architecture (":any") say nothing here, where there is only one. */
export function parseClauses(text: string): Clause[] {
  return text
    .split(",")
    .map((clause) => clause.trim())
    .filter(Boolean)
    .map((clause) => clause.split("|").map(parseAlternative));
}

/** For a message: "libc6 (>= 2.41)". */
export function describeClause(clause: Clause): string {
  return clause.map(({ name, constraint }) => (constraint === null ? name : `${name} (${constraint.relation} ${constraint.version})`)).join(" or ");
}

function holds(version: string, wanted: Alternative): boolean {
  return wanted.constraint === null || versionSatisfies(version, wanted.constraint.relation, wanted.constraint.version);
}

function parseAlternative(text: string): Alternative {
  const match = /^([^\s:(]+)(?::[^\s(]+)?\s*(?:\(\s*(<<|<=|=|>=|>>|<|>)\s*([^\s)]+)\s*\))?/.exec(text.trim());
  if (match === null) throw new HostelryError("broken-index", `the package index has a dependency that cannot be read: ${JSON.stringify(text)}`);
  const [, name, relation, version] = match;
  // "<" and ">" alone are ancient spellings of "<=" and ">=".
  const full = relation === "<" || relation === ">" ? (`${relation}=` as VersionRelation) : (relation as VersionRelation);
  return { name, constraint: version === undefined ? null : { relation: full, version } };
}

function parseRecord(stanza: string): PackageRecord {
  const fields = new Map<string, string>();
  for (const [, key, value] of stanza.matchAll(/^([A-Za-z0-9-]+): *(.*(?:\n[ \t].*)*)$/gm)) fields.set(key, value);
  const need = (key: string): string => {
    const value = fields.get(key);
    if (value === undefined) throw new HostelryError("broken-index", `the package index lacks ${key} for ${fields.get("Package")}: fetch it again`);
    return value;
  };
  const clauses = (...keys: string[]): Clause[] => keys.flatMap((key) => parseClauses(fields.get(key) ?? ""));
  const sha256 = need("SHA256");
  const size = Number(need("Size"));
  if (!/^[0-9a-f]{64}$/.test(sha256) || !Number.isSafeInteger(size)) {
    throw new HostelryError("broken-index", `the package index has no proper size and SHA256 for ${fields.get("Package")}: fetch it again`);
  }
  return {
    name: need("Package"),
    version: need("Version"),
    architecture: need("Architecture"),
    filename: need("Filename"),
    size,
    sha256,
    priority: fields.get("Priority") ?? "optional",
    depends: clauses("Pre-Depends", "Depends"),
    conflicts: clauses("Conflicts", "Breaks").flat(),
    provides: clauses("Provides").flat(),
  };
}

function append(map: Map<string, string[]>, key: string, value: string): void {
  const list = map.get(key);
  if (list === undefined) map.set(key, [value]);
  else list.push(value);
}
