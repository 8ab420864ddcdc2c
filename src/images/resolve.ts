import { HostelryError } from "#base/errors.ts";
import { type Alternative, type Clause, describeClause, type PackageIndex, type PackageRecord, satisfies } from "./packages.ts";
import { compareVersions } from "./version.ts";

const PRIORITIES = ["required", "important", "standard", "optional", "extra"];

/**
 * The packages named, with all that they depend on, dependencies first. Of alternatives the first that can be had is taken,
 * unless another is already in; nothing is ever taken back, so a set that only another choice could solve is an error.
 * Recommended packages are left out, and so are essential ones that nobody names: busybox stands in for them.
 * Throws HostelryError `no-package`, `unsolvable`.
 */
export function resolvePackages(names: readonly string[], index: PackageIndex): PackageRecord[] {
  const chosen = new Map<string, PackageRecord>();
  const ordered: PackageRecord[] = [];
  const choose = (record: PackageRecord): void => {
    if (chosen.has(record.name)) return;
    chosen.set(record.name, record);
    for (const clause of record.depends) {
      if (clause.some((alternative) => [...chosen.values()].some((present) => satisfies(present, alternative)))) continue;
      choose(candidate(clause, index, chosen) ?? unsolvable(record, clause));
    }
    ordered.push(record);
  };
  for (const name of names) choose(newest(name, index));
  verifyNoConflicts(ordered);
  return ordered;
}

/** The newest version of the package of this name, or else what provides it. Throws HostelryError `no-package`. */
export function newest(name: string, index: PackageIndex): PackageRecord {
  const record = candidate([{ name, constraint: null }], index, new Map());
  if (record !== undefined) return record;
  const similar = index.similar(name);
  const hint = similar.length > 0 ? `did you mean ${similar.join(", ")}?` : "check its name";
  throw new HostelryError("no-package", `there is no package ${name} for riscv64: ${hint}`);
}

function candidate(clause: Clause, index: PackageIndex, chosen: ReadonlyMap<string, PackageRecord>): PackageRecord | undefined {
  for (const alternative of clause) {
    const found = [...best(index.named(alternative.name), alternative), ...best(index.providing(alternative.name), alternative)];
    // One version of a package at a time.
    const free = found.find((record) => !chosen.has(record.name));
    if (free !== undefined) return free;
  }
  return undefined;
}

function best(records: readonly PackageRecord[], wanted: Alternative): PackageRecord[] {
  return records.filter((record) => satisfies(record, wanted)).sort((one, other) => {
    const byPriority = PRIORITIES.indexOf(one.priority) - PRIORITIES.indexOf(other.priority);
    return byPriority || one.name.localeCompare(other.name) || compareVersions(other.version, one.version);
  });
}

function unsolvable(record: PackageRecord, clause: Clause): never {
  throw new HostelryError("unsolvable", `${record.name} needs ${describeClause(clause)}, which is not to be had: leave out the package that brings it in`);
}

function verifyNoConflicts(records: readonly PackageRecord[]): void {
  for (const record of records) {
    for (const conflict of record.conflicts) {
      // A package may conflict with a name that it provides itself: that means "only one of us".
      const other = records.find((candidate) => candidate.name !== record.name && satisfies(candidate, conflict));
      if (other === undefined) continue;
      throw new HostelryError("unsolvable", `${record.name} cannot be together with ${other.name}: leave out the package that brings in one of them`);
    }
  }
}
