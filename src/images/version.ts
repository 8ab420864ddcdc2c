/** How a version must stand to another for a dependency to hold, as Debian writes it. */
export type VersionRelation = "<<" | "<=" | "=" | ">=" | ">>";

const HOLDS: Readonly<Record<VersionRelation, (order: number) => boolean>> = {
  "<<": (order) => order < 0,
  "<=": (order) => order <= 0,
  "=": (order) => order === 0,
  ">=": (order) => order >= 0,
  ">>": (order) => order > 0,
};

export function versionSatisfies(version: string, relation: VersionRelation, wanted: string): boolean {
  return HOLDS[relation](compareVersions(version, wanted));
}

/** Negative, zero or positive as `one` is older than, the same as or newer than `other`: deb-version(7). */
export function compareVersions(one: string, other: string): number {
  const [a, b] = [parts(one), parts(other)];
  return a.epoch - b.epoch || compareText(a.upstream, b.upstream) || compareText(a.revision, b.revision);
}

/** [epoch:]upstream[-revision], the revision after the last hyphen. */
function parts(version: string): { epoch: number; upstream: string; revision: string } {
  const [, epoch, rest] = /^(?:(\d+):)?(.*)$/s.exec(version)!;
  const hyphen = rest.lastIndexOf("-");
  return {
    epoch: Number(epoch ?? 0),
    upstream: hyphen < 0 ? rest : rest.slice(0, hyphen),
    revision: hyphen < 0 ? "" : rest.slice(hyphen + 1),
  };
}

/** In turns a run of non-digits, compared by `weight`, and a run of digits, compared as a number. */
function compareText(one: string, other: string): number {
  let [a, b] = [one, other];
  while (a !== "" || b !== "") {
    const [letters, otherLetters] = [/^\D*/.exec(a)![0], /^\D*/.exec(b)![0]];
    const byLetters = compareLetters(letters, otherLetters);
    if (byLetters !== 0) return byLetters;
    [a, b] = [a.slice(letters.length), b.slice(otherLetters.length)];
    const [digits, otherDigits] = [/^\d*/.exec(a)![0], /^\d*/.exec(b)![0]];
    // Numbers of any length: a date with a hash behind it exceeds 2^53.
    const byNumber = BigInt(digits) - BigInt(otherDigits);
    if (byNumber !== 0n) return byNumber < 0n ? -1 : 1;
    [a, b] = [a.slice(digits.length), b.slice(otherDigits.length)];
  }
  return 0;
}

function compareLetters(one: string, other: string): number {
  for (let index = 0; index < Math.max(one.length, other.length); index++) {
    const order = weight(one[index]) - weight(other[index]);
    if (order !== 0) return order;
  }
  return 0;
}

/** `~` sorts before the end, the end before letters, letters before all else. */
function weight(character: string | undefined): number {
  if (character === undefined) return 0;
  if (character === "~") return -1;
  const code = character.charCodeAt(0);
  return /[A-Za-z]/.test(character) ? code : code + 256;
}
