import assert from "node:assert/strict";
import { closeSync, fstatSync, ftruncateSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, suite, test } from "node:test";
import { SwapFile } from "./swap-file.ts";

const directory = mkdtempSync(join(tmpdir(), "hostelry-swap-"));
after(() => rmSync(directory, { recursive: true }));
const page = (byte: number): Uint8Array => new Uint8Array(new SharedArrayBuffer(4096)).fill(byte);

suite("a swap file", () => {
  test("holds pages, has no name and takes no room for what was not written", () => {
    const swap = SwapFile.create(join(directory, "below", "swap"), 64 << 20);
    assert.deepEqual(readdirSync(join(directory, "below")), []);
    const { size, blocks, mode } = fstatSync(swap.shared.file);
    assert.deepEqual([size, blocks, mode & 0o777], [64 << 20, 0, 0o600]);
    const other = new SwapFile(swap.shared, 0.5);
    assert.deepEqual([swap.take(), swap.take(), other.take()], [0, 1, 8192]);
    swap.write(0, [page(1), page(2)]);
    other.write(8192, [page(3)]);
    const read = [page(0), page(0), page(0)];
    other.read(0, read.slice(0, 2));
    swap.read(8192, read.slice(2));
    assert.deepEqual(read.map((bytes) => [bytes[0], bytes[4095]]), [[1, 1], [2, 2], [3, 3]]);
    assert.equal(other.used, 3 * 4096);
    swap.close();
  });

  test("says what is wrong", () => {
    writeFileSync(join(directory, "there"), "");
    assert.throws(() => SwapFile.create(join(directory, "there"), 4096), { code: "swap", message: /there can't be made: EEXIST.*--swap-file/ });
    const swap = SwapFile.create(join(directory, "short"), 8192);
    ftruncateSync(swap.shared.file, 6000);
    assert.throws(() => swap.read(1, [page(0)]), { code: "swap", message: /read from the swap file: the file has become shorter/ });
    closeSync(swap.shared.file);
    assert.throws(() => swap.write(0, [page(0)]), { code: "swap", message: /written to the swap file: EBADF/ });
  });
});
