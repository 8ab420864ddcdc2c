import assert from "node:assert/strict";
import { chmodSync, mkdtempSync, readFileSync, rmSync, symlinkSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, suite, test } from "node:test";
import { BlockFile, openDrives } from "./block-file.ts";

suite("a disk in a file", () => {
  const folder = mkdtempSync(join(tmpdir(), "hostelry-test-"));
  after(() => rmSync(folder, { recursive: true, force: true }));
  const file = (name: string, size: number): string => {
    const path = join(folder, name);
    writeFileSync(path, Uint8Array.from({ length: size }, (_, index) => index >> 9));
    return path;
  };

  test("reads and writes buffers one after another, in shared memory", () => {
    const path = file("disk", 8 * 512);
    const disk = new BlockFile(path, false);
    assert.equal(disk.sectors, 8);
    const memory = new Uint8Array(new SharedArrayBuffer(4096));
    disk.read(2, [memory.subarray(0, 100), memory.subarray(1000, 1000 + 924)]);
    assert.deepEqual([memory[0], memory[99], memory[100], memory[1000], memory[1000 + 411], memory[1000 + 412], memory[1923]], [2, 2, 0, 2, 2, 3, 3]);
    memory.fill(0xaa);
    disk.write(6, [memory.subarray(0, 500), memory.subarray(7, 7 + 12)]);
    disk.flush();
    disk.close();
    disk.close();
    const bytes = readFileSync(path);
    assert.equal(bytes.length, 8 * 512);
    assert.deepEqual([bytes[5 * 512 + 511], bytes[6 * 512], bytes[6 * 512 + 511], bytes[7 * 512]], [5, 0xaa, 0xaa, 7]);
  });

  test("a file that has become shorter fails to be read, and says why", () => {
    const path = file("shrinking", 4 * 512);
    const disk = new BlockFile(path, true);
    truncateSync(path, 512);
    assert.throws(() => disk.read(1, [new Uint8Array(512)]), /has become shorter/);
    disk.close();
  });

  test("read-only means that the host refuses writes as well", () => {
    const path = file("read-only", 512);
    chmodSync(path, 0o444);
    const disk = new BlockFile(path, true);
    assert.throws(() => disk.write(0, [new Uint8Array(512)]), { code: "EBADF" });
    disk.close();
  });

  test("what is no disk is refused in one line", () => {
    for (const [path, code, message] of [
      [join(folder, "absent"), "no-file", /is not there/],
      [folder, "unreadable", /is a directory/],
      [file("empty", 0), "not-a-disk", /is empty/],
      [file("odd", 513), "not-a-disk", /513 bytes.*truncate -s 1024/],
      ["/dev/null", "not-a-disk", /no regular file/],
    ] as const) {
      assert.throws(() => new BlockFile(path, false), { code, message });
    }
  });

  test("one file is not two disks, unless both are for reading only", () => {
    const path = file("twice", 512);
    const link = join(folder, "link");
    symlinkSync(path, link);
    const drive = (where: string, readOnly: boolean) => ({ path: where, readOnly });
    assert.throws(() => openDrives([drive(path, false), drive(link, false)]), { code: "drive-twice" });
    assert.throws(() => openDrives([drive(path, true), drive(link, false)]), { code: "drive-twice" });
    for (const disk of openDrives([drive(path, true), drive(link, true)])) disk.close();
  });

  test("the guest sees the file's name, in ASCII and 20 characters", () => {
    const disk = new BlockFile(file("größe of a long name.img", 512), true);
    assert.equal(disk.id, "gr__e_of_a_long_name");
    disk.close();
  });
});
