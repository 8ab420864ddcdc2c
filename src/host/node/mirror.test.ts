import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, before, beforeEach, describe, it } from "node:test";
import { imageCommands } from "#cli/image.ts";
import { HostelryError } from "#base/errors.ts";
import type { Progress } from "#images/progress.ts";
import { deb, elf, riscvImage } from "#images/testing.ts";
import { encodeText } from "#images/text.ts";
import { hasApt } from "./apt.ts";
import { ContentCache } from "./cache.ts";
import { canVerify } from "./gpgv.ts";
import { download } from "./http.ts";
import { MirrorRepository } from "./mirror.ts";

const sha256 = (bytes: Uint8Array | string): string => createHash("sha256").update(bytes).digest("hex");

const MODULE_NAMES = ["virtio_mmio", "virtio_blk", "virtio-rng", "virtio_balloon", "ext4", "crc32c_generic"];

/** A mirror of three packages: kernel, its meta package and busybox. */
function mirrorFiles(): Map<string, Uint8Array> {
  const files = new Map<string, Uint8Array>();
  const stanzas: string[] = [];
  const publish = (name: string, content: Uint8Array, fields = ""): void => {
    const filename = `pool/main/${name}+x.deb`;
    files.set(`/debian/${filename}`, content);
    stanzas.push(`Package: ${name}\nVersion: 1\nArchitecture: riscv64\n${fields}Filename: ${filename}\nSize: ${content.length}\nSHA256: ${sha256(content)}\n`);
  };
  const module = elf({ sections: { ".modinfo": "depends=\0" } });
  publish("linux-image-riscv64", deb([]), "Depends: linux-image-6-riscv64 (= 1)\n");
  publish(
    "linux-image-6-riscv64",
    deb([
      { path: "./boot/vmlinux-6-riscv64", content: riscvImage(0x4000, 0x8000) },
      ...MODULE_NAMES.map((name) => ({ path: `./usr/lib/modules/6-riscv64/kernel/${name}.ko`, content: module })),
    ]),
  );
  publish("busybox-static", deb([{ path: "./usr/bin/busybox", mode: 0o755, content: "[\0[[\0sh\0\0" }]));
  publish("hello", deb([{ path: "./usr/bin/hello", mode: 0o755, content: "hi" }]));
  // Not compressed: the reader goes by the content.
  const index = encodeText(stanzas.join("\n"));
  files.set(`/debian/dists/trixie/main/binary-riscv64/by-hash/SHA256/${sha256(index)}`, index);
  files.set("/debian/dists/trixie/InRelease", encodeText(`Codename: trixie\nAcquire-By-Hash: yes\nSHA256:\n ${sha256(index)} ${index.length} main/binary-riscv64/Packages.xz\n`));
  return files;
}

/** Keeps what was said, for the tests. */
class Recorder implements Progress {
  readonly transfers: [label: string, total: number][] = [];
  readonly warnings: string[] = [];
  step(): void {}
  warn(message: string): void {
    this.warnings.push(message);
  }
  transfer(label: string, total: number) {
    this.transfers.push([label, total]);
    return { at() {}, done() {} };
  }
}

// Our small mirror cannot sign for Debian: where a signature would be verified, these tests hide gpgv.
const path = process.env["PATH"];

describe("a mirror over HTTP", () => {
  let server: Server;
  let url: string;
  let files: Map<string, Uint8Array>;
  let requests: { readonly path: string; readonly range: string | undefined }[];
  let answer: ((request: IncomingMessage, response: ServerResponse) => boolean) | null;
  let root: string;
  let progress: Recorder;

  before(async () => {
    process.env["PATH"] = "";
    server = createServer((request, response) => {
      requests.push({ path: request.url!, range: request.headers.range });
      if (answer?.(request, response) === true) return;
      const content = files.get(request.url!);
      const from = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? "")?.[1] ?? 0);
      if (content === undefined) response.writeHead(404).end("<html>Not Found");
      else if (from > 0 && from >= content.length) response.writeHead(416).end();
      else response.writeHead(from > 0 ? 206 : 200, { "content-length": content.length - from }).end(content.subarray(from));
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/debian`;
  });
  after(() => {
    process.env["PATH"] = path;
    server.close();
    server.closeAllConnections();
  });
  beforeEach(async () => {
    files = mirrorFiles();
    requests = [];
    answer = null;
    progress = new Recorder();
    root = await mkdtemp(join(tmpdir(), "hostelry-mirror-"));
  });
  afterEach(() => rm(root, { recursive: true, force: true }));

  const cache = (): ContentCache => new ContentCache(join(root, "cache", "hostelry", "downloads"));
  const repository = (): MirrorRepository => new MirrorRepository(url, join(root, "mirrors"), cache(), progress);
  const context = () => ({ progress, directories: { cache: join(root, "cache"), data: join(root, "data"), state: join(root, "state") } });
  const build = (options: object = {}) => imageCommands.build({ mirror: url, ...options }, context());

  it("builds an image, tells sizes first and says that no signature was verified", async () => {
    assert.equal(canVerify(), false);
    const image = await build({ packages: ["hello"] });
    assert.deepEqual(image.manifest.packages.map(({ name }) => name), ["linux-image-6-riscv64", "busybox-static", "hello"]);
    assert.deepEqual(progress.transfers.map(([label]) => label), ["package list", "3 packages"]);
    const wanted = ["linux-image-6-riscv64", "busybox-static", "hello"].map((name) => files.get(`/debian/pool/main/${name}+x.deb`)!.length);
    assert.equal(progress.transfers[1][1], wanted.reduce((sum, size) => sum + size));
    assert.match(progress.warnings[0], /signature is not verified/);
    assert.deepEqual((await readdir(image.directory)).sort(), ["image.json", "initrd", "vmlinux"]);
    assert.deepEqual(new Uint8Array(await readFile(image.kernelPath)), riscvImage(0x4000, 0x8000));
  });

  it("fetches nothing twice, and builds offline what it has seen", async () => {
    const first = await build();
    requests = [];
    await build();
    assert.deepEqual(requests.map(({ path }) => path), ["/debian/dists/trixie/InRelease"]);
    answer = (request) => (request.socket.destroy(), true);
    const offline = await build();
    assert.equal(offline.manifest.initrd.sha256, first.manifest.initrd.sha256);
    assert.match(progress.warnings.at(-1)!, /No new package list/);
  });

  it("goes on behind what an interrupted download left", async () => {
    const name = "/debian/pool/main/linux-image-6-riscv64+x.deb";
    const content = files.get(name)!;
    const [record] = (await repository().index()).named("linux-image-6-riscv64");
    await writeFile(await cache().partialPath(record.sha256), content.subarray(0, 1000));
    requests = [];
    await repository().fetch([record]);
    assert.deepEqual(requests, [{ path: name, range: "bytes=1000-" }]);
    assert.deepEqual(new Uint8Array(await readFile(cache().path(record.sha256))), content);
  });

  it("goes on in the same way when the connection breaks", async () => {
    const name = "/debian/pool/main/linux-image-6-riscv64+x.deb";
    const content = files.get(name)!;
    let broken = false;
    answer = (request, response) => {
      if (request.url !== name || broken) return false;
      broken = true;
      response.writeHead(200, { "content-length": content.length });
      response.write(content.subarray(0, 2000), () => setTimeout(() => request.socket.destroy(), 50));
      return true;
    };
    const [record] = (await repository().index()).named("linux-image-6-riscv64");
    await repository().fetch([record]);
    assert.equal(requests.at(-1)!.range, "bytes=2000-");
  });

  it("begins anew when the part does not belong to the whole", async () => {
    const [record] = (await repository().index()).named("hello");
    await writeFile(await cache().partialPath(record.sha256), "something else entirely");
    await repository().fetch([record]);
    assert.ok(await cache().has(record.sha256, record.size));
  });

  const broken: [string, () => void, string][] = [
    ["a package whose content has changed", () => files.get("/debian/pool/main/hello+x.deb")!.fill(1, 100, 101), "download-broken"],
    ["a package that is longer than listed", () => files.set("/debian/pool/main/hello+x.deb", new Uint8Array(99_999)), "download-broken"],
    ["a package that is shorter than listed", () => files.set("/debian/pool/main/hello+x.deb", new Uint8Array(9)), "download-broken"],
    ["a package that is not there", () => files.delete("/debian/pool/main/hello+x.deb"), "not-found"],
    ["an index that has changed", () => [...files].filter(([name]) => name.includes("by-hash")).forEach(([, content]) => content.fill(1, 0, 1)), "download-broken"],
    ["another release", () => files.set("/debian/dists/trixie/InRelease", encodeText("Codename: sid\nSHA256:\n 00 1 x\n")), "bad-mirror"],
    ["an old state", () => files.set("/debian/dists/trixie/InRelease", encodeText("Codename: trixie\nValid-Until: Sat, 01 Jan 2000 00:00:00 UTC\nSHA256:\n 00 1 x\n")), "bad-mirror"],
    ["no riscv64", () => files.set("/debian/dists/trixie/InRelease", encodeText("Codename: trixie\nSHA256:\n 00 1 x\n")), "bad-mirror"],
    ["no mirror at all", () => files.clear(), "not-found"],
    ["a web page in its place", () => files.set("/debian/dists/trixie/InRelease", encodeText("<html>Log in to the hotel's network")), "broken-index"],
  ];
  for (const [name, damage, code] of broken) {
    it(`refuses ${name}, and keeps the image that was there`, async () => {
      await build();
      await rm(join(root, "cache"), { recursive: true });
      damage();
      await assert.rejects(build({ packages: ["hello"] }), (error: unknown) => error instanceof HostelryError && error.code === code && !error.message.includes("\n"));
      const [image] = await imageCommands.list(context());
      assert.deepEqual([image.name, image.problem, image.packages], ["default", null, []]);
    });
  }

  it("refuses an address that is none", async () => {
    for (const mirror of ["nonsense", "ftp://127.0.0.1/", "file:///etc"]) await assert.rejects(build({ mirror }), { code: "bad-mirror" });
  });

  it("lists, removes and prunes", async () => {
    const image = await build({ name: "one", packages: ["hello"] });
    await build({ name: "two" });
    await mkdir(join(root, "data", "images", ".gone.new"));
    await rm(image.initrdPath);
    const [one, two] = await imageCommands.list(context());
    assert.match(one.problem!, /build the image again/);
    assert.deepEqual([two.problem, two.kernel, two.packages, two.current], [null, "6-riscv64", [], true]);
    await assert.rejects(imageCommands.remove(["two", "three"], context()), { code: "no-image" });
    assert.equal((await imageCommands.list(context())).length, 2);
    assert.deepEqual((await imageCommands.remove(["one"], context())).removed, ["one"]);
    const pruned = await imageCommands.prune({}, context());
    assert.equal(pruned.bytes, files.get("/debian/pool/main/hello+x.deb")!.length);
    assert.equal((await imageCommands.prune({ all: true }, context())).removed.length, 2);
    assert.deepEqual(await readdir(join(root, "data", "images")), ["two"]);
  });

  it("ensures the default image: built once, by one of several at a time", async () => {
    const ensure = () => imageCommands.ensure("default", { mirror: url }, context());
    const [one, other] = await Promise.all([ensure(), ensure()]);
    assert.equal(one.manifest.created, other.manifest.created);
    await assert.rejects(imageCommands.ensure("another", {}, context()), { code: "no-image" });
  });

  it("builds a default image of an older version again, or goes on with it when it cannot", async () => {
    const image = await build({ packages: ["hello"] });
    const manifest = join(image.directory, "image.json");
    await writeFile(manifest, JSON.stringify({ ...image.manifest, recipe: "old" }));
    answer = (_, response) => (response.writeHead(403).end(), true);
    assert.equal((await imageCommands.ensure("default", { mirror: url }, context())).manifest.recipe, "old");
    assert.match(progress.warnings.at(-1)!, /older version/);
    answer = null;
    const again = await imageCommands.ensure("default", { mirror: url }, context());
    assert.deepEqual([again.manifest.recipe, again.manifest.requested], [image.manifest.recipe, ["hello"]]);
  });

  it("without apt and without a mirror, says how to go on", async () => {
    assert.equal(hasApt(), false);
    await assert.rejects(imageCommands.build({}, context()), { code: "no-apt", message: /--mirror/ });
  });

  it("says so when nobody answers", async () => {
    await assert.rejects(download("http://127.0.0.1:1/x", join(root, "x"), { maxBytes: 1 }), { code: "no-network" });
  });
});
