/** An assertion is for our own bugs only: never for a guest's fault, never for hostile input. */
export function assert(condition: unknown, message: string, values?: Record<string, unknown>): asserts condition {
  if (!condition) throw new AssertionError(message, values);
}

export class AssertionError extends Error {
  override readonly name = "AssertionError";

  constructor(message: string, values?: Record<string, unknown>) {
    super(values === undefined ? message : `${message} (${describe(values)})`);
  }
}

function describe(values: Record<string, unknown>): string {
  return Object.entries(values)
    .map(([name, value]) => `${name}=${format(value)}`)
    .join(", ");
}

function format(value: unknown): string {
  if (typeof value === "bigint") return `0x${value.toString(16)}`;
  if (typeof value === "number" && Number.isInteger(value)) return `${value}`;
  return String(value);
}

/** For the default arm of a switch over a union: the compiler proves that it is never reached. */
export function unreachable(value: never): never {
  throw new AssertionError("unreachable", { value });
}
