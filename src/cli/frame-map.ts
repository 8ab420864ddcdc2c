/** The machine's frames as a picture: a character for so many of them. */
import { frameStates, type FrameRunDescription, type FrameState } from "#monitor/action.ts";

const COLUMNS = 64;
const ROWS = 32;

/** A VM's own frames are a letter of its name that no other VM has, or any letter; what isn't a VM's own has other marks. */
const LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
const marks: Readonly<Record<Exclude<FrameState, "private">, string>> = { free: ".", shared: "=", zero: "_", pinned: "!", "page-table": "#", device: "%" };
const words: Readonly<Record<FrameState, string>> = {
  free: "free", private: "of a VM that has gone", shared: "shared", zero: "of zeros", pinned: "pinned", "page-table": "page tables", device: "of a device",
};

/** Lines of `COLUMNS` characters, and one that says what they mean. Each stands for what most of its frames are. */
export function drawFrames(runs: readonly FrameRunDescription[], frameSize: string): string {
  const total = runs.reduce((sum, { frames }) => sum + frames, 0);
  const frames = Math.max(1, Math.ceil(total / (COLUMNS * ROWS)));
  const letters = lettersFor([...new Set(runs.flatMap(({ owner, state }) => (owner === null || state !== "private" ? [] : [owner])))].sort());
  const mark = ({ state, owner }: FrameRunDescription): string => (state !== "private" ? marks[state] : owner === null ? "?" : letters.get(owner)!);
  const cells: Map<string, number>[] = Array.from({ length: Math.ceil(total / frames) }, () => new Map<string, number>());
  for (const run of runs) {
    for (let at = run.first, end = run.first + run.frames; at < end; ) {
      const cell = Math.floor(at / frames);
      const next = Math.min(end, (cell + 1) * frames);
      cells[cell]!.set(mark(run), (cells[cell]!.get(mark(run)) ?? 0) + next - at);
      at = next;
    }
  }
  const picture = cells.map((counts) => [...counts].reduce((most, other) => (other[1] > most[1] ? other : most))[0]).join("");
  const lines = Array.from({ length: Math.ceil(picture.length / COLUMNS) }, (_, row) => picture.slice(row * COLUMNS, (row + 1) * COLUMNS));
  const used = new Set(runs.map(mark));
  const states = frameStates.flatMap((state) => (state === "private" ? [] : [[marks[state], words[state]] as const])).concat([["?", words.private]]);
  const legend = [...[...letters].map(([owner, letter]) => [letter, owner] as const), ...states.filter(([sign]) => used.has(sign))];
  return `${lines.join("\n")}\n${legend.map(([sign, what]) => `${sign} ${what}`).join(", ")}; each for ${frames === 1 ? "a frame" : `${frames} frames`} of ${frameSize}\n`;
}

function lettersFor(names: readonly string[]): Map<string, string> {
  const letters = new Map<string, string>();
  const taken = new Set<string>();
  for (const name of names) {
    const letter = [...name, ...LETTERS].find((one) => LETTERS.includes(one) && !taken.has(one)) ?? "*";
    letters.set(name, letter);
    taken.add(letter);
  }
  return letters;
}
