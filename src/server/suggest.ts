/** The name that was probably meant, for an error's message. */

/** More slips than this, and it is another name: one, in long names two. */
const mostSlips = (name: string): number => (name.length === 1 ? 0 : name.length < 6 ? 1 : 2);

/** Returns ": did you mean …?", or nothing. */
export function didYouMean(name: string, known: Iterable<string>): string {
  const near = [...known].map((candidate) => ({ candidate, slips: slips(name, candidate) })).sort((a, b) => a.slips - b.slips)[0];
  return near === undefined || near.slips > mostSlips(name) ? "" : `: did you mean ${near.candidate}?`;
}

/** Letters changed, left out, put in, or swapped with their neighbour (optimal string alignment). */
function slips(a: string, b: string): number {
  const rows = [Array.from({ length: b.length + 1 }, (_, j) => j)];
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const above = rows[i - 1]!;
      let best = Math.min(above[j]! + 1, row[j - 1]! + 1, above[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1));
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) best = Math.min(best, rows[i - 2]![j - 2]! + 1);
      row.push(best);
    }
    rows.push(row);
  }
  return rows[a.length]![b.length]!;
}
