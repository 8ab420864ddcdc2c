/** `hostelry serve` and its clients, each in a process of its own, as a user has them. The guests are a few instructions long. */
import assert from "node:assert/strict";
import { spawn, type ChildProcess } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { Client } from "#api/client.ts";
import { UnixTransport } from "#host/node/unix-transport.ts";
import type { VmDescription } from "#monitor/action.ts";
import { address } from "#platform/memory-map.ts";
import { defaultImage, elfProgram, executable, hostelry, type Finished } from "./kit/hostelry.ts";

const MIB = 2 ** 20;

/** Says "hi", then sends back each byte plus one; "q" switches off, with status 5. In between it waits for a millisecond, so that it costs little. */
const ECHO = `
  li   s0, ${address.uart}
  li   s2, 0x71
  li   t1, 0x68
  sb   t1, 0(s0)
  li   t1, 0x69
  sb   t1, 0(s0)
  li   t1, 32
  csrw sie, t1
  li   s3, 10000
  next: lbu t1, 5(s0)
  andi t1, t1, 1
  bnez t1, take
  rdtime t1
  add  t1, t1, s3
  csrw stimecmp, t1
  wfi
  j    next
  take: lbu t1, 0(s0)
  beq  t1, s2, quit
  addi t1, t1, 1
  sb   t1, 0(s0)
  j    next
  quit: li t0, ${address.test}
  li   t1, 0x53333
  sw   t1, 0(t0)
  stay: j stay`;

const found = await defaultImage();
const skip = "skip" in found ? found.skip : false;

const folder = mkdtempSync(join(tmpdir(), "hostelry-test-"));
const environment = { XDG_RUNTIME_DIR: folder, XDG_STATE_HOME: join(folder, "state") };
const socket = join(folder, "hostelry", "hostelry.sock");
const kernel = elfProgram(ECHO, 4096, {});

const servers: ChildProcess[] = [];

/** Resolves when it listens. */
async function serve(...args: string[]): Promise<ChildProcess> {
  const child = spawn(process.execPath, [executable, "serve", "--memory", "64M", "--harts", "2", ...args], { env: { ...process.env, ...environment } });
  servers.push(child);
  let stderr = "";
  await new Promise<void>((resolve, reject) => {
    child.stderr.on("data", (text: Buffer) => (stderr += text.toString()).includes("Serving at") && resolve());
    child.on("exit", () => reject(new Error(stderr)));
  });
  return child;
}

function ended(child: ChildProcess): Promise<number | null> {
  return new Promise((resolve) => void child.once("exit", (status) => resolve(status)));
}

const client = new Client(new UnixTransport(socket));
const run = (...args: string[]): Promise<Finished> => hostelry(args, { environment });
const show = (name: string): Promise<VmDescription> => client.do({ kind: "show", name });

/** One line of ours, and status 2. */
async function refused(...args: string[]): Promise<string> {
  const { status, stdout, stderr } = await run(...args);
  assert.deepEqual([status, stdout], [2, ""], stderr);
  assert.match(stderr, /^hostelry: .*\n$/);
  return stderr.slice("hostelry: ".length, -1);
}

/** Types into a console and waits for what comes of it. */
async function type(name: string, keys: string, expected: string): Promise<string> {
  const port = await client.converse({ kind: "console", name });
  let shown = "";
  await port.send({ kind: "bytes", channel: "input", bytes: Buffer.from(keys) });
  for await (const message of port.messages) {
    if (message.kind === "bytes") shown += Buffer.from(message.bytes).toString();
    else if (message.kind === "ended") return `${shown}${JSON.stringify(message.end)}`;
    if (shown.includes(expected)) break;
  }
  port.close();
  return shown;
}

after(() => {
  for (const child of servers) child.kill("SIGKILL");
  rmSync(folder, { recursive: true, force: true });
});

suite("without a server", () => {
  test("a client says how to start one", async () => {
    assert.equal(await refused("ps"), `there is no server at ${socket}: start one with "hostelry serve"`);
  });
});

suite("a server", () => {
  let server: ChildProcess;
  before(async () => void (server = await serve()));

  test("its socket is its user's", () => assert.equal(statSync(socket).mode & 0o777, 0o600));

  test("a VM from its creation to its removal", async () => {
    const created = await run("create", "web", "--kernel", kernel, "--memory", "8M", "--shares", "50", "--start", "--json");
    const vm = JSON.parse(created.stdout) as VmDescription;
    assert.deepEqual([vm.state, vm.memory, vm.shares, vm.kernel], ["running", 8 * MIB, 50, kernel]);
    assert.match((await run("ps")).stdout, /^NAME +STATE .*\nweb +running +1 +8 MiB +50 +100% /);
    assert.equal(await type("web", "abc", "bcd"), "hibcd");
    await run("pause", "web");
    assert.equal((await show("web")).state, "paused");
    await run("resume", "web");
    assert.equal(await type("web", "x", "y"), "hibcdy");
    const { stdout } = await run("stats", "web", "--json");
    const stats = JSON.parse(stdout) as { instructions: number; exits: Record<string, number> };
    assert.ok(stats.instructions > 10 && stats.exits["device-write"]! >= 6);
    const trace = (await run("trace", "web", "--json")).stdout.trim().split("\n").map((line) => JSON.parse(line) as { pc: string; kind: string });
    assert.ok(trace.some(({ pc, kind }) => kind === "device-write" && /^0x8[0-9a-f]{7}$/.test(pc)));
    assert.equal(await type("web", "q", "?"), 'hibcdy{"kind":"fail","code":5}');
    assert.match((await run("trace", "web", "--follow")).stdout, /^ +0\.\d{6}  0x8[0-9a-f]{7} .*\n( +\d+\.\d{6}  0x.*\n)+$/);
    const { state, end, log } = await show("web");
    assert.deepEqual([state, end], ["ended", { kind: "fail", code: 5 }]);
    assert.match(readFileSync(log, "utf8"), /\] starts\nhibcdy\n\[hostelry .*\] ended: switched off by its guest with status 5\n$/);
    await run("start", "web");
    assert.equal((await show("web")).state, "running");
    await run("rm", "web", "--force");
    assert.deepEqual(await client.do({ kind: "list" }), []);
  });

  test("several consoles of one VM, one of them a pipe", async () => {
    await run("create", "tea", "--kernel", kernel, "--memory", "4M", "--start");
    const piped = hostelry(["console", "tea"], { environment, input: "ab" });
    await type("tea", "", "bc");
    await run("stop", "tea");
    const { status, stdout, stderr } = await piped;
    assert.deepEqual([status, stdout], [0, "hibc"]);
    assert.match(stderr, /tea has ended: stopped/);
    await run("rm", "tea");
  });

  test("what can't be done is one line, and nothing is lost", async () => {
    await run("create", "one", "--kernel", kernel, "--memory", "16M", "--start");
    assert.match(await refused("create", "one", "--kernel", kernel), /there is a VM one already/);
    assert.match(await refused("create", "big", "--kernel", kernel, "--memory", "65M"), /more than the machine's 64 MiB/);
    assert.match(await refused("create", "two", "--kernel", kernel, "--memory", "60M", "--start"), /only 46 MiB .* 15 MiB too few/);
    assert.match(await refused("create", "two", "--kernel", join(folder, "none"), "--memory", "4M", "--start"), /is not there/);
    assert.match(await refused("create", "two", "--kernel", "/dev/zero", "--memory", "4M", "--start"), /\/dev\/zero is a device/);
    assert.match(await refused("create", "a/b", "--kernel", kernel), /is no name/);
    assert.match(await refused("create", "two", "--kernel", kernel, "--cap", "200%"), /--cap "200%" is no part of a hart/);
    assert.match(await refused("create", "two", "default", "--kernel", kernel), /leave out one of them/);
    assert.equal(await refused("stop", "onee"), "there is no VM onee: did you mean one?");
    assert.match(await refused("start", "one"), /is on already/);
    assert.match(await refused("set", "one"), /nothing is to be set/);
    assert.match(await refused("exec", "one", "--", "ls"), /has no agent/);
    assert.match(await refused("serve"), /listens at .* already/);
    assert.deepEqual((await client.do({ kind: "list" })).map(({ name, state }) => [name, state]), [["one", "running"]]);
    assert.equal(await type("one", "1", "2"), "hi2");
    await run("rm", "one", "--force");
  });

  test("requests that make no sense are refused", async () => {
    const ask = (method: string, path: string, body: string): Promise<[number, unknown]> => new Promise((resolve, reject) => {
      const asked = request({ socketPath: socket, method, path }, async (response) => {
        let text = "";
        for await (const some of response) text += String(some);
        resolve([response.statusCode!, (JSON.parse(text) as { error: { code: string } }).error.code]);
      });
      asked.on("error", reject);
      asked.end(body);
    });
    assert.deepEqual(await ask("POST", "/v1/vms", "{"), [400, "bad-json"]);
    assert.deepEqual(await ask("POST", "/v1/vms", '{"name":"a","image":"default","memory":"much"}'), [400, "bad-request"]);
    assert.deepEqual(await ask("POST", "/v1/vms", " ".repeat(2 * MIB)), [413, "too-large"]);
    assert.deepEqual(await ask("GET", "/v1/vms/none", ""), [404, "no-vm"]);
    assert.deepEqual(await ask("GET", "/", ""), [404, "no-route"]);
    assert.deepEqual(await ask("GET", "/v1/vms/none/console", ""), [400, "bad-request"]);
    await assert.rejects(client.converse({ kind: "console", name: "none" }), { code: "no-vm" });
  });

  test("SIGTERM ends it in order", async () => {
    await run("create", "last", "--kernel", kernel, "--memory", "4M", "--start");
    const { log } = await show("last");
    const end = ended(server);
    server.kill("SIGTERM");
    assert.equal(await end, 0);
    assert.ok(!existsSync(socket));
    assert.match(readFileSync(log, "utf8"), /ended: stopped\n$/);
  });
});

suite("a server that is killed", () => {
  test("leaves no socket in the way of the next", async () => {
    const first = await serve();
    await run("create", "a", "--kernel", kernel, "--memory", "4M", "--start");
    const end = ended(first);
    first.kill("SIGKILL");
    await end;
    assert.match(await refused("ps"), /no server listens at .* any more: start one with "hostelry serve"/);
    const second = await serve();
    assert.deepEqual(await client.do({ kind: "list" }), []);
    const over = ended(second);
    second.kill("SIGINT");
    assert.equal(await over, 0);
  });

  test("leaves on disks what guests have flushed", { skip }, async () => {
    const disk = join(folder, "disk.img");
    writeFileSync(disk, new Uint8Array(MIB));
    const boot = async (): Promise<ChildProcess> => {
      const server = await serve("--memory", "300M");
      await run("create", "d", "--memory", "256M", "--drive", disk, "--start");
      return server;
    };
    const first = await boot();
    assert.equal((await run("exec", "d", "--", "sh", "-c", "echo flushed >/dev/vda && sync")).status, 0);
    const end = ended(first);
    first.kill("SIGKILL");
    await end;
    assert.equal(readFileSync(disk, "latin1").slice(0, 8), "flushed\n");
    const second = await boot();
    assert.equal((await run("exec", "d", "head", "-n", "1", "/dev/vda")).stdout, "flushed\n");
    second.kill("SIGKILL");
  });
});

test("commands in a guest have their own streams and status", { skip }, async () => {
  const server = await serve("--memory", "160M");
  try {
    await run("create", "e", "--memory", "128M", "--start");
    const command = "cat; echo failed >&2; exit 5";
    // It waits until the guest is up.
    const { status, stdout, stderr } = await hostelry(["exec", "e", "--", "sh", "-c", command], { environment, input: "fed\n" });
    assert.deepEqual([status, stdout, stderr], [5, "fed\n", "failed\n"]);
    assert.match(await refused("exec", "e", "no-such-command"), /has no command no-such-command/);
    assert.equal((await run("exec", "e", "sh", "-c", "kill -9 $$")).status, 137);
    assert.equal((await run("exec", "--env", "A=b=c", "--env", "B=", "--cwd", "/tmp", "e", "sh", "-c", 'pwd; echo "$A,${B-none},$HOME"')).stdout, "/tmp\nb=c,,/root\n");
    assert.match(await refused("exec", "--cwd", "/none", "e", "ls"), /\/none/);
    assert.match(await refused("exec", "--cwd", "tmp", "e", "ls"), /cwd is no absolute path/);
    assert.match(await refused("exec", "--env", "A", "e", "ls"), /--env "A" is no variable/);
  } finally {
    const end = ended(server);
    server.kill("SIGTERM");
    await end;
  }
});
