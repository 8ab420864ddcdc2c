import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, existsSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { suite, test } from "node:test";
import { ConsoleHub } from "./console-hub.ts";
import { ConsoleLog } from "./console-log.ts";
import { Scrollback } from "./scrollback.ts";
import { TestPort } from "./test-machine.ts";

const bytes = (text: string): Uint8Array => Buffer.from(text);
const text = (some: Uint8Array): string => Buffer.from(some).toString();

suite("what a console has shown lately", () => {
  test("is all, while there is room", () => {
    const scrollback = new Scrollback(8);
    assert.equal(text(scrollback.bytes()), "");
    scrollback.push(bytes("abc"));
    scrollback.push(bytes("defgh"));
    assert.equal(text(scrollback.bytes()), "abcdefgh");
  });

  test("begins with a line once some is lost", () => {
    const scrollback = new Scrollback(8);
    for (const some of ["abc\nde", "f\ngh", "ij"]) scrollback.push(bytes(some));
    assert.equal(text(scrollback.bytes()), "ghij");
    scrollback.push(bytes("0123456789ab\ncd"));
    assert.equal(text(scrollback.bytes()), "cd");
  });
});

suite("viewers", () => {
  test("one that does not read is dropped, and the others go on", async () => {
    const hub = new ConsoleHub(1);
    const [deaf, good] = [new TestPort({ deaf: true }), new TestPort()];
    hub.attach(deaf);
    hub.attach(good);
    await hub.write(bytes("a"));
    await hub.write(bytes("b"));
    assert.equal(good.heard.output, "ab");
    assert.deepEqual([deaf.open, good.open], [false, true]);
  });
});

suite("the log", () => {
  const folder = mkdtempSync(join(tmpdir(), "hostelry-test-"));
  process.on("exit", () => rmSync(folder, { recursive: true }));
  const fail = (message: string): void => assert.fail(message);

  test("is bounded, goes on where it was, and can be removed", () => {
    const path = join(folder, "a", "vm.log");
    new ConsoleLog(path, fail, 10).write(bytes("12345678"));
    const log = new ConsoleLog(path, fail, 10);
    log.write(bytes("ab"));
    log.write(bytes("cdef"));
    assert.deepEqual([readFileSync(`${path}.1`, "utf8"), readFileSync(path, "utf8")], ["12345678ab", "cdef"]);
    log.remove();
    assert.deepEqual([existsSync(path), existsSync(`${path}.1`)], [false, false]);
  });

  test("our lines are lines of their own", () => {
    const log = new ConsoleLog(join(folder, "lines.log"), fail);
    log.write(bytes("login: "));
    log.line("ended: stopped");
    assert.match(readFileSync(log.path, "utf8"), /^login: \n\[hostelry \d{4}-.*Z\] ended: stopped\n$/);
  });

  test("that can't be written is said once", () => {
    writeFileSync(join(folder, "no"), "a file");
    const warnings: string[] = [];
    const log = new ConsoleLog(join(folder, "no", "vm.log"), (message) => void warnings.push(message));
    log.write(bytes("a"));
    log.write(bytes("b"));
    assert.equal(warnings.length, 1);
  });
});
