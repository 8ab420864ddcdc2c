import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { homedir, hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { IMAGE_FORMAT, type ImageManifest } from "#images/image.ts";
import { aptConfiguration, usesProxy } from "./apt-configuration.ts";
import { ContentCache, hashBytes } from "./cache.ts";
import { runCommand } from "./command.ts";
import { readInputFile, writeFileAtomic } from "./files.ts";
import { ImageStore } from "./image-store.ts";
import { withLock } from "./lock.ts";
import { readOverlay } from "./rootfs-overlay.ts";
import { hostelryDirectories } from "./xdg.ts";

async function inDirectory(work: (directory: string) => Promise<void>): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), "hostelry-storage-"));
  try {
    await work(directory);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

it("directories follow the XDG specification", () => {
  assert.deepEqual(hostelryDirectories({ XDG_CACHE_HOME: "/c", XDG_DATA_HOME: "/d", XDG_STATE_HOME: "/s" }), { cache: "/c/hostelry", data: "/d/hostelry", state: "/s/hostelry" });
  const standard = { cache: join(homedir(), ".cache/hostelry"), data: join(homedir(), ".local/share/hostelry"), state: join(homedir(), ".local/state/hostelry") };
  assert.deepEqual(hostelryDirectories({}), standard);
  assert.deepEqual(hostelryDirectories({ XDG_CACHE_HOME: "relative", XDG_DATA_HOME: "" }), standard);
});

describe("files", () => {
  it("that cannot be read are an error in one line", () =>
    inDirectory(async (directory) => {
      await assert.rejects(readInputFile(join(directory, "none"), "the kernel"), { code: "no-file", message: /^the kernel .*none is not there/ });
      await assert.rejects(readInputFile(directory, "the kernel"), { code: "unreadable", message: /is a directory/ });
    }));

  it("are written as a whole or not at all", () =>
    inDirectory(async (directory) => {
      const path = join(directory, "file");
      await writeFileAtomic(path, "one");
      await writeFileAtomic(path, "two");
      assert.equal(await readFile(path, "utf8"), "two");
      await assert.rejects(writeFileAtomic(join(directory, "none", "file"), "x"), { code: "no-file" });
      assert.deepEqual(await readdir(directory), ["file"]);
    }));
});

describe("the lock", () => {
  it("lets one in at a time, and the next after a failure", () =>
    inDirectory(async (directory) => {
      const path = join(directory, "lock");
      let inside = 0;
      let waited = 0;
      const work = async (): Promise<void> => {
        assert.equal(++inside, 1);
        await new Promise((resolve) => setTimeout(resolve, 5));
        inside--;
      };
      const failing = withLock(path, () => Promise.reject(new Error("failed")));
      await assert.rejects(failing, /failed/);
      await Promise.all([1, 2, 3].map(() => withLock(path, work, () => waited++)));
      assert.equal(waited, 2);
      assert.deepEqual(await readdir(directory), []);
    }));

  it("of a process that is gone is taken over", () =>
    inDirectory(async (directory) => {
      const path = join(directory, "lock");
      const { pid } = spawnSync(process.execPath, ["--version"]);
      await writeFile(path, `${pid} ${hostname()} x`);
      assert.equal(await withLock(path, async () => "in"), "in");
    }));
});

describe("the cache", () => {
  it("takes only what has the content that it claims", () =>
    inDirectory(async (directory) => {
      const cache = new ContentCache(directory);
      const sha256 = hashBytes("content");
      const partial = await cache.partialPath(sha256);
      await writeFile(partial, "conten");
      assert.equal(await cache.adopt(partial, sha256), false);
      await writeFile(partial, "content");
      assert.equal(await cache.adopt(partial, sha256), true);
      assert.equal(await cache.has(sha256, 7), true);
      assert.equal(await cache.has(sha256, 8), false);
      assert.deepEqual(await cache.entries(), [{ sha256, size: 7 }]);
      assert.throws(() => cache.path("../../etc/passwd"), { name: "AssertionError" });
    }));
});

describe("the image store", () => {
  const file = { file: "vmlinux", bytes: 2, sha256: "" };
  const manifest: ImageManifest = {
    format: IMAGE_FORMAT,
    created: "",
    recipe: "",
    append: "",
    kernel: { ...file, release: "6" },
    initrd: { ...file, file: "initrd", compression: "none" },
    modules: [],
    requested: [],
    packages: [],
  };
  const files = { kernel: Uint8Array.of(1, 2), initrd: Uint8Array.of(3, 4) };

  it("recovers from a process killed at any point of replacing an image", () =>
    inDirectory(async (root) => {
      const store = new ImageStore(root);
      await store.write("a", manifest, files);
      // Killed while writing, and killed between moving the old one aside and the new one in.
      await mkdir(join(root, ".b.new"));
      await rename(join(root, "a"), join(root, ".a.old"));
      await mkdir(join(root, ".a.new"));
      assert.deepEqual(await store.names(), []);
      await store.recover();
      assert.deepEqual(await readdir(root), ["a"]);
      assert.equal((await store.open("a")).manifest.kernel.release, "6");
    }));

  it("refuses names that lead elsewhere, and images whose files are not whole", () =>
    inDirectory(async (root) => {
      const store = new ImageStore(root);
      for (const name of ["..", "../x", "/etc"]) {
        await assert.rejects(store.open(name), { code: "image-name" });
        await assert.rejects(store.remove(name), { code: "image-name" });
        await assert.rejects(store.write(name, manifest, files), { code: "image-name" });
      }
      const image = await store.write("a", manifest, files);
      await writeFile(image.kernelPath, "x");
      await assert.rejects(store.open("a"), { code: "broken-image" });
    }));
});

describe("apt's configuration", () => {
  const directories = { root: "/r", configuration: "/r/c", sources: "/r/s", lists: "/r/l", downloads: "/r/d" };
  const host = [
    'Acquire::http::Proxy "http://proxy:3128";',
    'Acquire::AllowInsecureRepositories "1";',
    'Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled "true";',
    'APT::Update::Post-Invoke:: "rm -f /var/cache/apt/archives/*.deb || true";',
    'Dir::State "var/lib/apt";',
  ].join("\n");

  it("takes over the host's proxy, and neither its hooks nor its trust", () => {
    const lines = aptConfiguration(directories, host, false).split("\n");
    assert.equal(lines[0], 'Acquire::http::Proxy "http://proxy:3128";');
    assert.ok(!lines.some((line) => /Invoke|Insecure|Contents|var\/lib|Sandbox/.test(line)));
    assert.ok(lines.includes('Dir::State "/r";') && lines.includes('APT::Architecture "riscv64";'));
    assert.ok(aptConfiguration(directories, host, true).includes('APT::Sandbox::User "root";'));
  });

  it("knows a proxy when it sees one", () => {
    assert.equal(usesProxy(host), true);
    assert.equal(usesProxy('Acquire::http::Proxy-Auto-Detect "/usr/bin/find-proxy";'), true);
    assert.equal(usesProxy('Acquire::http::Proxy "";\nAcquire::http::Timeout "30";'), false);
  });
});

it("a command's output and status lines are told apart", async () => {
  const lines: string[] = [];
  const script = 'process.stdout.write("out"); process.stderr.write("err"); require("fs").writeSync(3, "one\\ntwo\\n"); process.exitCode = 3';
  const result = await runCommand(process.execPath, ["-e", script], { onStatusLine: (line) => void lines.push(line) });
  assert.deepEqual([result, lines], [{ status: 3, stdout: "out", stderr: "err" }, ["one", "two"]]);
});

it("the overlay holds /init and what it needs", async () => {
  const overlay = await readOverlay();
  for (const path of ["init", "etc/inittab", "etc/hostelry/session", "etc/hostelry/unmount", "etc/passwd"]) assert.ok(overlay.has(path), path);
});
