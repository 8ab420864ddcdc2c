import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { PackageIndex, parseClauses } from "./packages.ts";
import { parseRelease } from "./release.ts";
import { newest, resolvePackages } from "./resolve.ts";
import { compareVersions } from "./version.ts";

function stanza(name: string, fields: Readonly<Record<string, string>> = {}): string {
  const all = { Package: name, Version: "1", Architecture: "riscv64", Filename: `pool/${name}.deb`, Size: "1", SHA256: "0".repeat(64), ...fields };
  return Object.entries(all).map(([key, value]) => `${key}: ${value}`).join("\n");
}

function names(wanted: readonly string[], ...stanzas: string[]): string[] {
  return resolvePackages(wanted, new PackageIndex(stanzas.join("\n\n"))).map(({ name, version }) => (version === "1" ? name : `${name}=${version}`));
}

describe("compareVersions", () => {
  // Each older than the next, as deb-version(7) says.
  const ascending = ["1.0~~", "1.0~rc1", "1.0", "1.0-1", "1.0-1+b1", "1.0-1.1", "1.0-2", "1.0a", "1.0+x", "1.2", "1.10", "20250101120000123456789", "1:0.1"];
  it("orders as Debian does", () => {
    ascending.forEach((one, i) => ascending.forEach((other, j) => assert.equal(Math.sign(compareVersions(one, other)), Math.sign(i - j), `${one} against ${other}`)));
    assert.equal(compareVersions("0:1.00-1", "1.0-1"), 0);
  });
});

describe("resolvePackages", () => {
  it("brings in what is needed, dependencies first, cycles and all", () => {
    const a = stanza("a", { Depends: "b (>= 1), c", "Pre-Depends": "d" });
    assert.deepEqual(names(["a"], a, stanza("b", { Depends: "a" }), stanza("c"), stanza("d"), stanza("e")), ["d", "b", "c", "a"]);
  });

  it("takes the first alternative that is to be had, or one that is in already", () => {
    const a = stanza("a", { Depends: "gone | b (>= 2) | c, c | d" });
    assert.deepEqual(names(["a"], a, stanza("b"), stanza("c"), stanza("d")), ["c", "a"]);
    assert.deepEqual(names(["d", "a"], a, stanza("b", { Version: "3" }), stanza("c"), stanza("d")), ["d", "b=3", "a"]);
  });

  it("finds providers, and only versioned ones for versioned demands", () => {
    const mawk = stanza("mawk", { Provides: "awk" });
    const gawk = stanza("gawk", { Provides: "awk (= 5)", Priority: "standard" });
    assert.deepEqual(names(["a"], stanza("a", { Depends: "awk" }), mawk, gawk), ["gawk", "a"]);
    assert.deepEqual(names(["a"], stanza("a", { Depends: "awk (>= 4)" }), mawk, gawk), ["gawk", "a"]);
    assert.throws(() => names(["a"], stanza("a", { Depends: "awk (>= 4)" }), mawk), { code: "unsolvable", message: /a needs awk \(>= 4\)/ });
  });

  it("takes the newest version that fits", () => {
    const versions = ["1.9", "1.10", "2"].map((Version) => stanza("b", { Version }));
    assert.deepEqual(names(["a"], stanza("a", { Depends: "b (<< 2)" }), ...versions), ["b=1.10", "a"]);
  });

  it("says what is missing, and suggests names", () => {
    assert.throws(() => names(["pyhton3"], stanza("python3")), { code: "no-package", message: /did you mean python3\?/ });
    assert.throws(() => names(["zzz"], stanza("python3")), { code: "no-package" });
  });

  it("refuses packages that exclude each other, but not one that only excludes its likes", () => {
    assert.throws(() => names(["a", "b"], stanza("a", { Conflicts: "b (<< 2)" }), stanza("b")), { code: "unsolvable", message: /a cannot be together with b/ });
    assert.deepEqual(names(["a"], stanza("a", { Provides: "mta", Conflicts: "mta" })), ["a"]);
  });

  it("refuses an index that lacks what is needed to verify a package", () => {
    assert.throws(() => newest("a", new PackageIndex(stanza("a", { SHA256: "00" }))), { code: "broken-index" });
    assert.throws(() => newest("a", new PackageIndex("Package: a\nVersion: 1")), { code: "broken-index" });
  });
});

it("parseClauses reads qualifiers, versions and alternatives", () => {
  assert.deepEqual(parseClauses("python3:any (>= 3.13~), a | b(=1)"), [
    [{ name: "python3", constraint: { relation: ">=", version: "3.13~" } }],
    [{ name: "a", constraint: null }, { name: "b", constraint: { relation: "=", version: "1" } }],
  ]);
});

describe("parseRelease", () => {
  const sum = "a".repeat(64);
  const body = `Suite: stable\nCodename: trixie\nAcquire-By-Hash: yes\nSHA256:\n ${sum}     12 main/Packages.xz\n ${sum}      3 - odd\n`;

  it("reads the checksums", () => {
    const release = parseRelease(body, "it");
    assert.deepEqual([release.codename, release.byHash, release.validUntil], ["trixie", true, null]);
    assert.deepEqual(release.files.get("main/Packages.xz"), { sha256: sum, size: 12 });
  });

  it("looks only at the text inside a signature", () => {
    const signed = `-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n${body}\n-----BEGIN PGP SIGNATURE-----\n\nabc\n-----END PGP SIGNATURE-----\nCodename: evil\n`;
    assert.equal(parseRelease(signed.replace("Codename", "- Codename"), "it").codename, "trixie");
  });

  it("refuses what is no Release file", () => assert.throws(() => parseRelease("<html>", "it"), { code: "broken-index" }));
});
