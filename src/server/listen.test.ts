import assert from "node:assert/strict";
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createServer, Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { suite, test } from "node:test";
import { socketPath } from "#host/node/socket-path.ts";
import { listen } from "./listen.ts";
import { spawnSync } from "node:child_process";

const folder = mkdtempSync(join(tmpdir(), "hostelry-test-"));
process.on("exit", () => rmSync(folder, { recursive: true }));

async function withServer(path: string, work: () => Promise<void>): Promise<void> {
  const server = createServer();
  await listen(server, path);
  await work();
  await new Promise<void>((resolve) => void server.close(() => resolve()));
}

suite("the server's socket", () => {
  test("is its user's alone, in a folder that is made for it", async () => {
    const path = join(folder, "made", "a.sock");
    await withServer(path, async () => {
      assert.equal(statSync(path).mode & 0o777, 0o600);
      assert.equal(statSync(join(folder, "made")).mode & 0o777, 0o700);
    });
    assert.ok(!existsSync(path));
  });

  test("of a living server is left alone", async () => {
    const path = join(folder, "living.sock");
    await withServer(path, async () => {
      await assert.rejects(listen(new Server(), path), { code: "socket-in-use" });
      assert.ok(existsSync(path));
    });
  });

  test("of a dead one is cleared away", async () => {
    const path = join(folder, "dead.sock");
    const killed = `require("node:net").createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, "SIGKILL"))`;
    spawnSync(process.execPath, ["-e", killed]);
    assert.ok(existsSync(path));
    await withServer(path, async () => {});
  });

  test("takes no file's place", async () => {
    const path = join(folder, "file");
    writeFileSync(path, "precious");
    await assert.rejects(listen(new Server(), path), { code: "bad-socket" });
    assert.equal(readFileSync(path, "utf8"), "precious");
  });

  test("does not stand where others can put theirs", async () => {
    const open = join(folder, "open");
    mkdirSync(open);
    chmodSync(open, 0o777);
    await assert.rejects(listen(new Server(), join(open, "a.sock")), { code: "bad-socket", message: /not this user's alone/ });
  });

  test("is where options and environment say", () => {
    assert.equal(socketPath("/a/b.sock", { HOSTELRY_SOCKET: "/c" }), "/a/b.sock");
    assert.equal(socketPath(undefined, { HOSTELRY_SOCKET: "/c", XDG_RUNTIME_DIR: "/run/user/1" }), "/c");
    assert.equal(socketPath(undefined, { XDG_RUNTIME_DIR: "/run/user/1" }), "/run/user/1/hostelry/hostelry.sock");
    assert.match(socketPath(undefined, {}), /\/hostelry-\d+\/hostelry\.sock$/);
    assert.throws(() => socketPath(`/${"x".repeat(120)}`, {}), { code: "bad-socket", message: /longer than the 107 bytes/ });
  });
});
