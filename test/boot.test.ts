/** Whole boots of Debian's unmodified kernel, by the command line, as a user has them. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { spawnSync } from "node:child_process";
import { createReadStream, mkdirSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { suite, test } from "node:test";
import { Random } from "#base/random.ts";
import { cases } from "./kit/effort.ts";
import { defaultImage, hostelry } from "./kit/hostelry.ts";
import { skipWithoutFile, temporaryFolder } from "./kit/tools.ts";

const FIRMWARE = "/usr/lib/riscv64-linux-gnu/opensbi/generic";
const MIB = 1 << 20;

const found = await defaultImage();
const skip = "skip" in found ? found.skip : false;

const SCRIPT = "uname -srm\nread -r first second rest </proc/uptime\necho 'a b' | tr ' ' _\nexit 7\n";

suite("Debian boots on OpenSBI in M-mode", { skip }, () => {
  for (const name of ["fw_dynamic.bin", "fw_jump.bin", "fw_dynamic.elf"]) {
    const firmware = join(FIRMWARE, name);
    test(`its ${name}`, { skip: skipWithoutFile(firmware, "opensbi") }, async () => {
      const { status, stdout } = await hostelry(["run", "default", "--bios", firmware], { input: SCRIPT });
      assert.equal(status, 7, stdout.slice(-2000));
      assert.match(stdout, /OpenSBI v/);
      assert.match(stdout, /\na_b\n$/);
    });
  }
});

for (const [where, run] of [["on the bare machine", ["run", "--bare"]], ["in a VM", ["run"]]] as const) suite(`Debian boots ${where}`, { skip }, () => {
  test("runs a script from a pipe, and ends with its status", async () => {
    const { status, stdout, stderr } = await hostelry(run, { input: SCRIPT });
    assert.equal(status, 7, stdout.slice(-2000));
    assert.match(stdout, /Linux version 6\./);
    assert.match(stdout, /\nLinux 6\.\S+-riscv64 riscv64\na_b\n$/);
    assert.match(stderr, /^The image default: Linux 6\./);
  });

  test("the end of input is the end of the shell, with success", async () => {
    const { status } = await hostelry([...run, "--memory", "128M"]);
    assert.equal(status, 0);
  });

  test("any bytes come through a pipe, and as many as there are", async () => {
    const bytes = new Uint8Array(200_000);
    new Random(11).fill(bytes);
    const base64 = Buffer.from(bytes).toString("base64").replaceAll(/.{76}/g, "$&\n");
    const script = `base64 -d <<'END' | md5sum\n${base64}\nEND\nprintf '\\001\\003\\004\\032\\021\\023\\177'; cat <<'END' | od -An -tx1\n\x01\x03\x04\x11\x13\x16\x1a\x7f\nEND\n`;
    const { stdout } = await hostelry(run, { input: Buffer.from(script, "latin1") });
    assert.ok(stdout.includes(createHash("md5").update(bytes).digest("hex")), stdout.slice(-300));
    assert.ok(stdout.endsWith("\x01\x03\x04\x1a\x11\x13\x7f 01 03 04 11 13 16 1a 7f 0a\n"), JSON.stringify(stdout.slice(-100)));
  });

  test("reboots, and starts again from its files", async () => {
    const { status, stdout } = await hostelry(run, { input: "echo first; reboot -f\n" });
    assert.equal(stdout.match(/Linux version/g)?.length, 2);
    assert.equal(status, 0);
  });

  test("a panic has a status of its own, and one line that says so", async () => {
    const { status, stderr } = await hostelry(run, { input: "echo c >/proc/sysrq-trigger\n" });
    assert.equal(status, 71);
    assert.match(stderr, /hostelry: the guest's kernel panicked/);
  });

  test("on the silent machine as on the standard one: nothing of it is deprivileged", async () => {
    const { status, stdout } = await hostelry([...run, "--machine", "silent"], { input: SCRIPT });
    assert.equal(status, 7, stdout.slice(-2000));
    assert.match(stdout, /\nLinux 6\.\S+-riscv64 riscv64\na_b\n$/);
  });

  test("with the instruction clock, a guest's minute takes no minute", async () => {
    const { status, stdout } = await hostelry([...run, "--clock", "instructions", "--seed", "3"], { input: "date +%Y; sleep 60; exit 4\n", timeoutMs: 50_000 });
    assert.equal(status, 4);
    assert.match(stdout, /\n2026\n$/);
  });
});

suite("a VM with four vCPUs", { skip }, () => {
  test("brings them all up, and each of them works", async () => {
    const script = "nproc\nfor i in 1 2 3 4; do taskset $((1 << (i - 1))) sh -c 'read -r stat </proc/self/stat; set -- $stat; eval echo cpu \\${39}' & done; wait\nexit 3\n";
    const { status, stdout } = await hostelry(["run", "--cpus", "4"], { input: script });
    assert.equal(status, 3, stdout.slice(-2000));
    assert.match(stdout, /\n4\n/);
    assert.deepEqual([...stdout.matchAll(/\ncpu (\d)/g)].map(([, cpu]) => cpu).sort(), ["0", "1", "2", "3"]);
  });
});

suite("disks", { skip: skip || skipWithoutFile("/usr/sbin/mkfs.ext4", "e2fsprogs") }, () => {
  const folder = temporaryFolder();
  const blobSize = cases(48) * MIB;
  const tool = (name: string, ...args: string[]): string => {
    const { status, stdout, stderr } = spawnSync(`/usr/sbin/${name}`, args, { encoding: "utf8", maxBuffer: 1 << 30 });
    assert.equal(status, 0, `${name} ${args.join(" ")}: ${stderr}`);
    return stdout;
  };
  const disk = (name: string, size: number, ...options: string[]): string => {
    const path = join(folder, name);
    writeFileSync(path, "");
    truncateSync(path, size);
    tool("mkfs.ext4", "-q", "-F", ...options, path);
    return path;
  };
  const digest = async (path: string, algorithm: string): Promise<string> => {
    const hash = createHash(algorithm);
    for await (const chunk of createReadStream(path)) hash.update(chunk as Buffer);
    return hash.digest("hex");
  };

  test("what is read from one ext4 disk and written to another has its checksums, on either side", async () => {
    const content = join(folder, "content");
    mkdirSync(content);
    const blob = new Uint8Array(blobSize);
    new Random(5).fill(blob);
    writeFileSync(join(content, "blob"), blob);
    const source = disk("source.img", blobSize + 64 * MIB, "-d", content);
    const target = disk("target.img", blobSize + 64 * MIB);
    const before = await digest(source, "sha256");
    const script = [
      "mkdir /mnt/a /mnt/b", "mount -t ext4 /dev/vda /mnt/a && mount -t ext4 -o ro /dev/vdb /mnt/b || exit 9",
      "cp /mnt/b/blob /mnt/a/copy && umount /mnt/a && mount -t ext4 /dev/vda /mnt/a || exit 8",
      "md5sum </mnt/a/copy", "dd if=/dev/zero of=/dev/vdb bs=512 count=1 2>/dev/null && exit 6", "exit 5",
    ];
    const { status, stdout } = await hostelry(["run", "--drive", target, "--drive", `${source},ro`], { input: `${script.join("\n")}\n` });
    assert.equal(status, 5, stdout.slice(-1000));
    assert.ok(stdout.includes(createHash("md5").update(blob).digest("hex")), stdout.slice(-1000));
    assert.equal(await digest(source, "sha256"), before, "a disk for reading only stays as it is");
    tool("e2fsck", "-fn", target);
    const copy = join(folder, "copy");
    tool("debugfs", "-R", `dump copy ${copy}`, target);
    assert.equal(await digest(copy, "md5"), createHash("md5").update(blob).digest("hex"));
  });

  test("what a guest has synced is on the host's disk, although the machine is killed", async () => {
    const path = disk("killed.img", 64 * MIB);
    const { status, stdout } = await hostelry(["run", "--drive", path], {
      input: "mkdir /mnt/a; mount -t ext4 /dev/vda /mnt/a || exit 9\necho precious >/mnt/a/file; sync; echo syn''ced\nsleep 1000\n",
      onOutput: (text, kill) => void (text.includes("synced") && kill("SIGKILL")),
    });
    assert.equal(status, null, stdout.slice(-1000));
    // The journal is replayed, as after a power failure.
    spawnSync("/usr/sbin/e2fsck", ["-fy", path]);
    assert.equal(tool("debugfs", "-R", "cat file", path), "precious\n");
  });
});

