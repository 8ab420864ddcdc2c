import { HostelryError } from "#base/errors.ts";

/** What a repository's `Release` file says of one of its indexes. */
export interface IndexFile {
  /** Bytes. */
  readonly size: number;
  /** Hexadecimal. */
  readonly sha256: string;
}

export interface Release {
  readonly suite: string;
  readonly codename: string;
  /** By path below `dists/SUITE/`. */
  readonly files: ReadonlyMap<string, IndexFile>;
  /** True if indexes are also found as `by-hash/SHA256/…` beside their names, where no update of the mirror replaces them. */
  readonly byHash: boolean;
  /** After this time the mirror is out of date, or someone replays an old state: milliseconds since the Unix epoch. */
  readonly validUntil: number | null;
}

/** Reads a `Release` file, or an `InRelease` file with the signature around it. Throws HostelryError `broken-index`. */
export function parseRelease(text: string, what: string): Release {
  const body = withoutArmour(text);
  const field = (name: string): string => new RegExp(`^${name}: *(.*)$`, "m").exec(body)?.[1].trim() ?? "";
  const list = /^SHA256:\s*\n((?:[ \t].*\n?)+)/m.exec(body)?.[1];
  if (list === undefined) throw new HostelryError("broken-index", `${what} lists no SHA256 checksums: it is not a Debian repository's Release file`);
  const files = new Map<string, IndexFile>();
  for (const [, sha256, size, path] of list.matchAll(/^\s*([0-9a-f]{64})\s+(\d+)\s+(\S+)\s*$/gm)) files.set(path, { sha256, size: Number(size) });
  const validUntil = Date.parse(field("Valid-Until"));
  return {
    suite: field("Suite"),
    codename: field("Codename"),
    files,
    byHash: field("Acquire-By-Hash") === "yes",
    validUntil: Number.isNaN(validUntil) ? null : validUntil,
  };
}

/** The signed text of a clear-signed message (RFC 9580, section 7), where lines beginning with a hyphen are escaped. */
function withoutArmour(text: string): string {
  const match = /^-----BEGIN PGP SIGNED MESSAGE-----\r?\n(?:.+\r?\n)*\r?\n([\s\S]*?)\r?\n-----BEGIN PGP SIGNATURE-----/m.exec(text);
  return match === null ? text : match[1].replace(/^- /gm, "");
}
