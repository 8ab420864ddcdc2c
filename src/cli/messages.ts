/** What we say, on stderr: stdout is the guest's. */
import type { Progress, Transfer } from "#images/progress.ts";

/** Redraws a line that moves no more often. */
const REDRAW_MS = 100;

export interface MessageStream {
  readonly isTTY?: boolean;
  write(text: string): unknown;
}

export class Messages implements Progress {
  readonly #stream: MessageStream;
  readonly #colour: boolean;
  /** In raw mode a line feed does not return the carriage. */
  raw = false;

  constructor(stream: MessageStream = process.stderr, environment: Readonly<Record<string, string | undefined>> = process.env) {
    this.#stream = stream;
    this.#colour = stream.isTTY === true && (environment["NO_COLOR"] ?? "") === "" && environment["TERM"] !== "dumb";
  }

  /** A line of ours. */
  line(text: string): void {
    this.#write(this.#style("2", text));
  }

  warn(message: string): void {
    this.#write(`${this.#style("33", "hostelry:")} ${message}`);
  }

  error(message: string): void {
    this.#write(`${this.#style("31", "hostelry:")} ${message}`);
  }

  step(message: string): void {
    this.line(message);
  }

  /** On a terminal a line that moves; else a line at the beginning and one at the end. */
  transfer(label: string, totalBytes: number): Transfer {
    const began = performance.now();
    const total = formatBytes(totalBytes);
    let drawn = -Infinity;
    if (this.#stream.isTTY !== true) this.line(`${label}: ${total}`);
    return {
      at: (bytes) => {
        const now = performance.now();
        if (this.#stream.isTTY !== true || now - drawn < REDRAW_MS) return;
        drawn = now;
        const share = totalBytes === 0 ? 100 : Math.floor((100 * bytes) / totalBytes);
        this.#stream.write(`\r\x1b[K${this.#style("2", `${label}: ${formatBytes(bytes)} of ${total}, ${share} %`)}`);
      },
      done: () => {
        if (this.#stream.isTTY === true) this.#stream.write("\r\x1b[K");
        this.line(`${label}: ${total} in ${formatSeconds(performance.now() - began)}`);
      },
    };
  }

  #write(text: string): void {
    this.#stream.write(this.raw ? `${text.replaceAll("\n", "\r\n")}\r\n` : `${text}\n`);
  }

  #style(code: string, text: string): string {
    return this.#colour ? `\x1b[${code}m${text}\x1b[0m` : text;
  }
}

export function formatBytes(bytes: number): string {
  const units = ["bytes", "KiB", "MiB", "GiB"];
  let unit = 0;
  while (bytes >= 1024 && unit < units.length - 1) [bytes, unit] = [bytes / 1024, unit + 1];
  return `${unit === 0 || bytes >= 100 ? Math.round(bytes) : Number(bytes.toFixed(1))} ${units[unit]}`;
}

export function formatPercent(part: number): string {
  return `${Number((100 * part).toFixed(1))}%`;
}

export function formatSeconds(milliseconds: number): string {
  return milliseconds < 1000 ? `${Math.round(milliseconds)} ms` : `${(milliseconds / 1000).toFixed(1)} s`;
}
