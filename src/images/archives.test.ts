import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { gzipSync } from "node:zlib";
import { ByteReader, concatenate, streamOf } from "./byte-reader.ts";
import { type CpioEntry, writeCpio } from "./cpio.ts";
import { readDeb } from "./deb.ts";
import { RootFs } from "./rootfs.ts";
import { readTar, type TarEntry } from "./tar.ts";
import { arArchive, deb, tarArchive, type TarSpec, XZ_HELLO } from "./testing.ts";
import { decodeText, encodeText } from "./text.ts";
import { unxz } from "./xz.ts";

async function entriesOf(archive: Uint8Array): Promise<(TarEntry & { text: string })[]> {
  const entries = [];
  for await (const entry of readTar(streamOf(archive), "the archive")) entries.push({ ...entry, text: decodeText(await entry.content()) });
  return entries;
}

function joined(pieces: Iterable<Uint8Array>): Uint8Array {
  const all = [...pieces];
  return concatenate(all, all.reduce((total, piece) => total + piece.length, 0));
}

describe("tar", () => {
  it("reads files, links, devices and modes", async () => {
    const entries = await entriesOf(
      tarArchive([
        { path: "./usr/bin/", type: "5", mode: 0o755 },
        { path: "./usr/bin/su", mode: 0o4755, content: "program", uid: 7, gid: 8, mtime: 1000 },
        { path: "./usr/bin/hard", type: "1", target: "./usr/bin/su" },
        { path: "./bin", type: "2", target: "usr/bin" },
        { path: "./dev/null", type: "3", major: 1, minor: 3 },
      ]),
    );
    assert.deepEqual(
      entries.map(({ path, type, mode, text, target, major, minor, uid, gid, mtime }) => [path, type, mode, text, target, major, minor, uid, gid, mtime]),
      [
        ["usr/bin", "directory", 0o755, "", "", 0, 0, 0, 0, 0],
        ["usr/bin/su", "file", 0o4755, "program", "", 0, 0, 7, 8, 1000],
        ["usr/bin/hard", "hardlink", 0o644, "", "usr/bin/su", 0, 0, 0, 0, 0],
        ["bin", "symlink", 0o644, "", "usr/bin", 0, 0, 0, 0, 0],
        ["dev/null", "character", 0o644, "", "", 1, 3, 0, 0, 0],
      ],
    );
  });

  it("takes long names from GNU and pax headers, for the next entry only", async () => {
    const long = `${"d".repeat(150)}/file`;
    const pax = (key: string, value: string): string => {
      const length = ` ${key}=${value}\n`.length;
      return `${length + String(length + 3).length} ${key}=${value}\n`;
    };
    const entries = await entriesOf(
      tarArchive([
        { path: "././@LongLink", type: "L", content: `${long}\0` },
        { path: "short", content: "gnu" },
        { path: "pax", type: "x", content: pax("path", long) },
        { path: "short", content: "pax" },
        { path: "short", content: "plain" },
      ]),
    );
    assert.deepEqual(entries.map(({ path, text }) => [path, text]), [[long, "gnu"], [long, "pax"], ["short", "plain"]]);
  });

  it("skips content that nobody reads", async () => {
    const paths = [];
    for await (const entry of readTar(streamOf(tarArchive([{ path: "a", content: "x".repeat(700) }, { path: "b" }])), "it")) paths.push(entry.path);
    assert.deepEqual(paths, ["a", "b"]);
  });

  const hostile: [string, TarSpec, string][] = [
    ["a path that climbs out", { path: "../../etc/passwd" }, "unsafe-path"],
    ["a path that climbs out in the middle", { path: "a/../../b" }, "unsafe-path"],
    ["a hard link to outside", { path: "a", type: "1", target: "../b" }, "unsafe-path"],
    ["a file of an absurd size", { path: "a", size: "77777777777" }, "broken-tar"],
    ["a long name of an absurd size", { path: "a", type: "L", size: "77777777777" }, "broken-tar"],
    ["an unknown type", { path: "a", type: "Z" }, "broken-tar"],
    ["a size that is no number", { path: "a", size: "12345x" }, "broken-tar"],
    ["a pax header that is none", { path: "a", type: "x", content: "99 path=b\n" }, "broken-tar"],
  ];
  for (const [name, spec, code] of hostile) {
    it(`refuses ${name}`, () => assert.rejects(entriesOf(tarArchive([spec])), { code }));
  }

  it("takes an absolute path as relative", async () => {
    assert.deepEqual((await entriesOf(tarArchive([{ path: "/etc/passwd" }]))).map(({ path }) => path), ["etc/passwd"]);
  });

  it("refuses a header with a wrong checksum, and an archive that is cut short", async () => {
    const archive = tarArchive([{ path: "a", content: "content" }]);
    await assert.rejects(entriesOf(archive.subarray(0, 515)), { code: "truncated" });
    archive[0] ^= 1;
    await assert.rejects(entriesOf(archive), { code: "broken-tar" });
  });
});

describe("deb", () => {
  const files: TarSpec[] = [{ path: "./etc/motd", content: "hello\n" }];

  async function pathsOf(archive: Uint8Array): Promise<string[]> {
    const paths = [];
    for await (const entry of readDeb(streamOf(archive), "the package")) paths.push(entry.path);
    return paths;
  }

  it("finds the files behind the control archive, whatever their compression", async () => {
    assert.deepEqual(await pathsOf(deb(files)), ["etc/motd"]);
    const gzipped = arArchive([["debian-binary", encodeText("2.0\n")], ["data.tar.gz", new Uint8Array(gzipSync(tarArchive(files)))]]);
    assert.deepEqual(await pathsOf(gzipped), ["etc/motd"]);
  });

  it("says by name what is wrong", async () => {
    await assert.rejects(pathsOf(encodeText("<html>404 Not Found</html>")), { code: "not-ar" });
    await assert.rejects(pathsOf(arArchive([["debian-binary", encodeText("2.0\n")]])), { code: "not-deb" });
    await assert.rejects(pathsOf(deb(files).subarray(0, 200)), { code: "truncated" });
    await assert.rejects(pathsOf(arArchive([["data.tar.gz", encodeText("no gzip at all")]])), { code: "decompress" });
    await assert.rejects(pathsOf(arArchive([["data.tar.zst", encodeText("")]])), { code: "decompress" });
  });
});

describe("xz", () => {
  const all = async (bytes: Uint8Array): Promise<string> => {
    const pieces = [];
    for await (const piece of unxz(streamOf(bytes), "it")) pieces.push(piece.slice());
    return decodeText(joined(pieces));
  };

  it("decompresses, also after a stream that was abandoned or broken", async () => {
    assert.equal(await all(XZ_HELLO), "hello hello hello hello\n");
    const reader = new ByteReader(unxz(streamOf(XZ_HELLO), "it"), "it");
    await reader.exactly(3);
    await reader.close();
    await assert.rejects(all(XZ_HELLO.subarray(0, 30)), { code: "decompress" });
    await assert.rejects(all(new Uint8Array(0)), { code: "decompress" });
    const flipped = XZ_HELLO.slice();
    flipped[0x22] ^= 0x40;
    await assert.rejects(all(flipped), { code: "decompress" });
    assert.equal(await all(XZ_HELLO), "hello hello hello hello\n");
  });
});

describe("root file system", () => {
  async function add(rootfs: RootFs, specs: TarSpec[]): Promise<void> {
    for await (const entry of readTar(streamOf(tarArchive(specs)), "it")) await rootfs.addTarEntry(entry, "it");
  }
  const paths = (rootfs: RootFs): string[] => [...rootfs.entries()].map(({ path }) => path);

  it("places files through symlinked directories, as the guest will see them", async () => {
    const rootfs = new RootFs();
    rootfs.addSymlink("lib", "usr/lib");
    await add(rootfs, [{ path: "./lib/", type: "5", mode: 0o711 }, { path: "./lib/ld.so", content: "x" }]);
    assert.deepEqual(paths(rootfs), [".", "lib", "usr", "usr/lib", "usr/lib/ld.so"]);
    assert.ok(rootfs.has("lib/ld.so"));
    assert.equal([...rootfs.entries()].find(({ path }) => path === "usr/lib")!.mode, 0o040711);
  });

  it("gives hard links one inode, and the content to the last of them", async () => {
    const rootfs = new RootFs();
    await add(rootfs, [{ path: "a", content: "same" }, { path: "b", type: "1", target: "a" }]);
    const [, a, b] = [...rootfs.entries()];
    assert.equal(a.inode, b.inode);
    assert.deepEqual([a.links, b.links, a.content.length, decodeText(b.content)], [2, 2, 0, "same"]);
  });

  it("refuses what contradicts itself, and does not run in circles", async () => {
    const file: TarSpec = { path: "a", content: "x" };
    await assert.rejects(add(new RootFs(), [file, { path: "a/b", content: "y" }]), { code: "broken-tar" });
    await assert.rejects(add(new RootFs(), [{ path: "d/e", content: "x" }, { path: "d", content: "y" }]), { code: "broken-tar" });
    await assert.rejects(add(new RootFs(), [{ path: "a", type: "1", target: "missing" }]), { code: "broken-tar" });
    const loop: TarSpec[] = [{ path: "l", type: "2", target: "m" }, { path: "m", type: "2", target: "l" }];
    await assert.rejects(add(new RootFs(), [...loop, { path: "l/x", content: "y" }]), { code: "broken-tar" });
    assert.equal(new RootFs().has("no/such/thing"), false);
  });
});

describe("cpio", () => {
  it("writes the newc format to the byte", () => {
    const entry: CpioEntry = { path: "ab", mode: 0o100755, inode: 1, links: 1, uid: 2, gid: 3, mtime: 4, major: 5, minor: 6, content: encodeText("xyz") };
    const hex = (...fields: number[]): string => fields.map((field) => field.toString(16).padStart(8, "0")).join("");
    const expected =
      `070701${hex(1, 0o100755, 2, 3, 1, 4, 3, 0, 0, 5, 6, 3, 0)}ab\0\0\0\0xyz\0` +
      `070701${hex(0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 11, 0)}TRAILER!!!\0\0\0\0`;
    // 110 + 3 bytes of header and name are padded to 116, 110 + 11 to 124; content of 3 to 4.
    assert.equal(decodeText(joined(writeCpio([entry]))), expected);
  });
});
