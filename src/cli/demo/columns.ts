/** Text in columns: each cell is some lines, broken where they are too long. */

export interface Column {
  readonly head: string;
  readonly width: number;
}

const GAP = "  ";

/** One row: the lines of its cells side by side. */
export function row(columns: readonly Column[], cells: readonly (readonly string[])[]): string {
  const wrapped = columns.map(({ width }, i) => (cells[i] ?? []).flatMap((line) => wrap(line, width)));
  const height = Math.max(...wrapped.map((lines) => lines.length));
  return Array.from({ length: height }, (_, line) =>
    `${columns.map(({ width }, i) => (wrapped[i]![line] ?? "").padEnd(width)).join(GAP).trimEnd()}\n`).join("");
}

export function heads(columns: readonly Column[]): string {
  return row(columns, columns.map(({ head }) => [head])) + row(columns, columns.map(({ head, width }) => [head === "" ? "" : "─".repeat(width)]));
}

/** At spaces; what has none goes on beyond. */
function wrap(line: string, width: number): string[] {
  const lines: string[] = [];
  let current = "";
  for (const word of line.split(" ")) {
    if (current !== "" && current.length + 1 + word.length > width) {
      lines.push(current);
      current = "  ";
    }
    current += current === "" || current === "  " ? word : ` ${word}`;
  }
  return [...lines, current];
}
