import { HostelryError } from "./errors.ts";

/** What `save()` returns: plain data that JSON keeps. Numbers are exact below 2^53; larger ones are decimal strings. */
export type SavedValue = number | string | boolean | null | readonly SavedValue[] | { readonly [name: string]: SavedValue };

export type SavedState = { readonly kind: string; readonly version: number } & { readonly [name: string]: SavedValue };

const DECIMAL = /^-?[0-9]{1,40}$/;

/** Something whose state can be taken out and put back, by field name. */
export interface Saveable {
  save(): SavedState;
  /** Throws HostelryError `bad-snapshot` if `state` is not what `save()` of this kind and version returns; then nothing has changed. */
  restore(state: unknown): void;
}

/**
 * Reads a saved state field by field, checking each: a snapshot may be broken or hostile. Read all fields before changing
 * anything, so that a bad one changes nothing.
 */
export class StateReader {
  readonly #fields: Record<string, unknown>;
  readonly #what: string;

  private constructor(fields: Record<string, unknown>, what: string) {
    this.#fields = fields;
    this.#what = what;
  }

  static open(state: unknown, kind: string, version: number): StateReader {
    const reader = StateReader.#of(state, kind);
    if (reader.#fields["kind"] !== kind) throw reader.#bad("kind", `"${kind}"`);
    if (reader.#fields["version"] !== version) throw reader.#bad("version", `${version}`);
    return reader;
  }

  static #of(value: unknown, what: string): StateReader {
    if (typeof value !== "object" || value === null || Array.isArray(value)) throw bad(`${what} is not an object`);
    return new StateReader(value as Record<string, unknown>, what);
  }

  /** An unsigned integer below 2^bits. */
  uint(name: string, bits: number): number {
    const value = this.#fields[name];
    if (!isUint(value, bits)) throw this.#bad(name, `an unsigned integer of ${bits} bits`);
    return value;
  }

  flag(name: string): boolean {
    const value = this.#fields[name];
    if (typeof value !== "boolean") throw this.#bad(name, "true or false");
    return value;
  }

  /** A decimal string: a number that may be beyond 2^53. */
  bigint(name: string): bigint {
    const value = this.#fields[name];
    if (typeof value !== "string" || !DECIMAL.test(value)) throw this.#bad(name, "a decimal string");
    return BigInt(value);
  }

  /** A list of unsigned integers below 2^bits: exactly `length` of them, or at most `length.atMost`. */
  uints(name: string, bits: number, length: number | { readonly atMost: number }): number[] {
    const value = this.#fields[name];
    if (!Array.isArray(value) || !value.every((item) => isUint(item, bits))) {
      throw this.#bad(name, `a list of unsigned integers of ${bits} bits`);
    }
    const fits = typeof length === "number" ? value.length === length : value.length <= length.atMost;
    if (!fits) throw this.#bad(name, typeof length === "number" ? `${length} long` : `at most ${length.atMost} long`);
    return value as number[];
  }

  /** A list of `length` decimal strings. */
  bigints(name: string, length: number): bigint[] {
    const value = this.#fields[name];
    const fits = Array.isArray(value) && value.length === length && value.every((item) => typeof item === "string" && DECIMAL.test(item));
    if (!fits) throw this.#bad(name, `a list of ${length} decimal strings`);
    return (value as string[]).map(BigInt);
  }

  /** A nested object. */
  object(name: string): StateReader {
    return StateReader.#of(this.#fields[name], `${this.#what}.${name}`);
  }

  /** A list of `length` nested objects. */
  objects(name: string, length: number): StateReader[] {
    const value = this.#fields[name];
    if (!Array.isArray(value) || value.length !== length) throw this.#bad(name, `a list of ${length} objects`);
    return value.map((item, index) => StateReader.#of(item, `${this.#what}.${name}[${index}]`));
  }

  /** A list of `length` states whose own owners restore them. */
  list(name: string, length: number): readonly unknown[] {
    const value = this.#fields[name];
    if (!Array.isArray(value) || value.length !== length) throw this.#bad(name, `a list of ${length}`);
    return value;
  }

  /** A field whose own owner restores it. */
  raw(name: string): unknown {
    return this.#fields[name];
  }

  #bad(name: string, wanted: string): HostelryError {
    return bad(`${this.#what}.${name} is not ${wanted}`);
  }
}

function isUint(value: unknown, bits: number): value is number {
  return typeof value === "number" && Number.isInteger(value) && value >= 0 && value < 2 ** bits;
}

function bad(what: string): HostelryError {
  return new HostelryError("bad-snapshot", `The snapshot can't be restored: ${what}. Take it again with this version of Hostelry.`);
}
