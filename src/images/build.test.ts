import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { buildInitramfs, readKernelPackage } from "./build.ts";
import { busyboxApplets } from "./busybox.ts";
import { streamOf } from "./byte-reader.ts";
import { endOfInput, quoteInput } from "./console-input.ts";
import { parseManifest, requireImageName } from "./image.ts";
import { collectModules, modulesAlias, modulesDep, parseBuiltin } from "./modules.ts";
import { deb, elf, riscvImage, type TarSpec } from "./testing.ts";
import { decodeText, encodeText } from "./text.ts";

const BUSYBOX = encodeText("…program…[\0[[\0cat\0halt\0linuxrc\0sh\0\0…");

function packageFile(name: string, files: readonly TarSpec[]) {
  return { name, open: () => streamOf(deb(files)) };
}

function module(...modinfo: string[]): Uint8Array {
  return elf({ sections: { ".modinfo": `${modinfo.join("\0")}\0` } });
}

const MODULES = new Map([
  ["kernel/fs/ext4/ext4.ko", module("alias=fs-ext4", "alias=ext3", "depends=jbd2,crc16")],
  ["kernel/fs/jbd2/jbd2.ko", module("depends=crc16")],
  ["kernel/lib/crc16.ko", module("depends=")],
  ["kernel/drivers/char/virtio-rng.ko", module("alias=virtio:d00000004v*", "depends=virtio_ring")],
  ["kernel/other.ko", module()],
]);
const BUILTIN = parseBuiltin("kernel/drivers/virtio/virtio_ring.ko\n");

describe("kernel modules", () => {
  it("are collected with what they depend on, and in that order", async () => {
    const modules = await collectModules(["virtio_rng", "ext4"], MODULES, BUILTIN);
    assert.deepEqual(modules.map(({ name }) => name), ["virtio_rng", "crc16", "jbd2", "ext4"]);
    assert.equal(
      modulesDep(modules),
      "kernel/drivers/char/virtio-rng.ko:\nkernel/lib/crc16.ko:\nkernel/fs/jbd2/jbd2.ko: kernel/lib/crc16.ko\n" +
        "kernel/fs/ext4/ext4.ko: kernel/fs/jbd2/jbd2.ko kernel/lib/crc16.ko\n",
    );
    assert.equal(modulesAlias(modules), "alias virtio:d00000004v* virtio_rng\nalias fs-ext4 ext4\nalias ext3 ext4\n");
  });

  it("that the kernel does not have are an error by name", () => assert.rejects(collectModules(["zfs"], MODULES, BUILTIN), { code: "no-module", message: /zfs/ }));
});

describe("the kernel package", () => {
  it("gives kernel, release and modules", async () => {
    const image = riscvImage(0x400, 0x400);
    const kernel = await readKernelPackage(
      packageFile("it", [
        { path: "./boot/vmlinux-6.12-riscv64", content: image },
        { path: "./boot/config-6.12-riscv64", content: "CONFIG_X=y" },
        { path: "./usr/lib/modules/6.12-riscv64/kernel/a.ko.xz", content: "module" },
        { path: "./usr/lib/modules/6.12-riscv64/modules.builtin", content: "kernel/b.ko\n" },
      ]),
    );
    assert.deepEqual([kernel.release, kernel.kernel, [...kernel.modules.keys()], [...kernel.builtin]], ["6.12-riscv64", image, ["kernel/a.ko.xz"], ["b"]]);
  });

  it("must hold a kernel", () => assert.rejects(readKernelPackage(packageFile("it", [])), { code: "not-a-kernel" }));
});

describe("the initramfs", () => {
  it("holds packages, links to busybox for all that they lack, modules and our own files", async () => {
    const archive = decodeText(
      await buildInitramfs({
        release: "6.12",
        modules: await collectModules(["crc16"], MODULES, BUILTIN),
        busybox: packageFile("busybox", [{ path: "./usr/bin/busybox", mode: 0o755, content: BUSYBOX }]),
        packages: [packageFile("coreutils", [{ path: "./bin/cat", mode: 0o755, content: "real cat" }, { path: "./usr/share/man/man1/cat.1.gz", content: "x" }])],
        overlay: new Map([["init", encodeText("#!/bin/sh\n")], ["usr/lib/agent", encodeText("\x7fELF…")], ["etc/passwd", encodeText("root::0:0::/:/bin/sh\n")]]),
      }),
    );
    const has = (name: string, mode: number): boolean => new RegExp(`070701[0-9a-f]{8}${mode.toString(16).padStart(8, "0")}[0-9a-f]{88}${name}\0`).test(archive);
    assert.ok(has("usr/bin/cat", 0o100755) && archive.includes("real cat"), "the package's own cat");
    assert.ok(has("usr/bin/sh", 0o120777) && has("usr/sbin/halt", 0o120777), "links to busybox");
    assert.ok(!archive.includes("linuxrc\0/") && !archive.includes("man1"), "nothing superfluous");
    assert.ok(has("init", 0o100755) && has("usr/lib/agent", 0o100755) && has("etc/passwd", 0o100644), "our own files, scripts and programs executable");
    assert.ok(has("usr/lib/modules/6.12/kernel/lib/crc16.ko", 0o100644) && has("usr/lib/modules/6.12/modules.dep", 0o100644), "modules");
    assert.ok(has("dev/console", 0o020600) && has("tmp", 0o041777) && has("bin", 0o120777), "the skeleton");
  });

  it("is refused when busybox is not what it was", async () => {
    assert.throws(() => busyboxApplets(encodeText("no table here")), { code: "no-applets" });
    const parts = { release: "1", modules: [], packages: [], overlay: new Map() };
    await assert.rejects(buildInitramfs({ ...parts, busybox: packageFile("it", []) }), { code: "no-applets" });
  });
});

describe("image.json", () => {
  const file = { file: "vmlinux", bytes: 1, sha256: "x" };
  const manifest = { format: 1, created: "", recipe: "", append: "", kernel: { ...file, release: "6" }, initrd: { ...file, compression: "none" }, modules: [], requested: [], packages: [] };

  it("is checked when it is read", () => {
    assert.deepEqual(parseManifest(JSON.stringify(manifest), "it"), manifest);
    const broken = ["{", "null", "[]", JSON.stringify({ ...manifest, format: 2 }), JSON.stringify({ ...manifest, kernel: { ...file, file: "../../etc/passwd" } }), JSON.stringify({ ...manifest, packages: [1] })];
    for (const text of broken) assert.throws(() => parseManifest(text, "it"), { code: "broken-image" });
  });

  it("lies under a name that is a plain file's", () => {
    for (const name of ["default", "my-image_2.0"]) requireImageName(name);
    for (const name of ["", ".", "..", "../x", "a/b", ".hidden", "-x", "a b", "x".repeat(65)]) assert.throws(() => requireImageName(name), { code: "image-name" });
  });
});

it("console input is quoted where a terminal would act on it", () => {
  assert.deepEqual([...quoteInput(Uint8Array.of(0x61, 0x03, 0x04, 0x16, 0x0a))], [0x61, 0x03, 0x16, 0x04, 0x16, 0x16, 0x0a]);
  assert.ok(endOfInput().length > 1 && endOfInput().every((byte) => byte === 0x04));
});
