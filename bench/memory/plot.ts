/** Figures: lines over two axes, as SVG that stands alone and is the same for the same numbers. */

export interface Axis {
  readonly label: string;
  readonly max: number;
  readonly min?: number;
}

export interface Series {
  readonly name: string;
  readonly points: readonly (readonly [x: number, y: number])[];
  /** Of somebody else's: dashed. */
  readonly reference?: boolean;
}

export interface Figure {
  readonly title: string;
  readonly x: Axis;
  readonly y: Axis;
  readonly series: readonly Series[];
}

const WIDTH = 640;
const HEIGHT = 360;
const frame = { left: 60, top: 40, right: 470, bottom: 310 } as const;
const TICKS = 5;
/** Told apart also by those who see few colours (Okabe and Ito). */
const COLORS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"];
const ROW = 18;

export function svg({ title, x, y, series }: Figure): string {
  const across = scale(x, frame.left, frame.right);
  const up = scale(y, frame.bottom, frame.top);
  const grid = [
    ...ticks(x).map((at) => `${line(across(at), frame.bottom, across(at), frame.bottom + 4, "#000")}${text(across(at), frame.bottom + 18, plain(at), "middle")}`),
    ...ticks(y).map((at) => `${line(frame.left, up(at), frame.right, up(at), "#ddd")}${text(frame.left - 8, up(at) + 4, plain(at), "end")}`),
  ];
  const lines = series.map(({ points, reference = false }, i) => {
    const path = points.map(([px, py]) => `${short(across(px))},${short(up(py))}`).join(" ");
    return `<polyline points="${path}" fill="none" stroke="${color(i)}" stroke-width="2"${reference ? ' stroke-dasharray="5 4"' : ""}/>`;
  });
  const legend = series.map(({ name, reference = false }, i) => {
    const at = frame.top + i * ROW;
    return `<line x1="${frame.right + 12}" y1="${at}" x2="${frame.right + 32}" y2="${at}" stroke="${color(i)}" stroke-width="2"${reference ? ' stroke-dasharray="5 4"' : ""}/>${text(frame.right + 38, at + 4, name)}`;
  });
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" width="${WIDTH}" height="${HEIGHT}" font-family="sans-serif" font-size="12">`,
    `<rect width="${WIDTH}" height="${HEIGHT}" fill="#fff"/>`,
    text((frame.left + frame.right) / 2, 22, title, "middle", ' font-size="14"'),
    ...grid,
    line(frame.left, frame.bottom, frame.right, frame.bottom, "#000"), line(frame.left, frame.top, frame.left, frame.bottom, "#000"),
    text((frame.left + frame.right) / 2, HEIGHT - 12, x.label, "middle"),
    text(0, 0, y.label, "middle", ` transform="translate(16 ${(frame.top + frame.bottom) / 2}) rotate(-90)"`),
    ...lines, ...legend,
    "</svg>\n",
  ].join("\n");
}

const scale = ({ min = 0, max }: Axis, from: number, to: number) => (value: number): number => from + ((Math.min(Math.max(value, min), max) - min) / (max - min)) * (to - from);
const color = (i: number): string => COLORS[i % COLORS.length]!;
const short = (value: number): string => String(Math.round(10 * value) / 10);
const plain = (value: number): string => String(Number(value.toPrecision(6)));
const line = (x1: number, y1: number, x2: number, y2: number, stroke: string): string => `<line x1="${short(x1)}" y1="${short(y1)}" x2="${short(x2)}" y2="${short(y2)}" stroke="${stroke}"/>`;
const escaped = (words: string): string => words.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
const text = (x: number, y: number, words: string, anchor: "start" | "middle" | "end" = "start", more = ""): string =>
  `<text x="${short(x)}" y="${short(y)}" text-anchor="${anchor}"${more}>${escaped(words)}</text>`;

/** Round numbers, about TICKS of them. */
export function ticks({ min = 0, max }: Axis): number[] {
  const rough = (max - min) / TICKS;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((candidate) => candidate >= rough)!;
  const found: number[] = [];
  for (let at = Math.ceil(min / step) * step; at <= max + step / 1e6; at += step) found.push(at);
  return found;
}
