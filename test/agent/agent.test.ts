/** The default image's agent, on the bare machine and in a VM: docs/agent.md, from end to end. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { after, before, suite, test } from "node:test";
import { Random } from "#base/random.ts";
import type { Exec } from "#agent/exec.ts";
import type { AgentSession, ExecOptions } from "#agent/session.ts";
import { AgentChannel } from "#host/node/agent-channel.ts";
import { readShared } from "#host/node/boot-files.ts";
import { Harts } from "#host/node/harts.ts";
import type { MachineConfig } from "#host/node/machine-config.ts";
import { MachineThread } from "#host/node/machine-thread.ts";
import type { ByteRing } from "#base/byte-ring.ts";
import { defaultImage } from "../kit/hostelry.ts";

const MIB = 1 << 20;
/** However busy the host is. */
const PATIENCE_MS = 120_000;

const found = await defaultImage();

interface Guest {
  readonly output: ByteRing;
  write(bytes: Uint8Array): Promise<void>;
  /** Resolves when it is gone. */
  end(): Promise<void>;
}

const warning = (message: string): never => assert.fail(message);

const kinds: Readonly<Record<string, (config: MachineConfig, agent: AgentChannel) => Promise<Guest>>> = {
  async "on the bare machine"(config, agent) {
    const machine = new MachineThread();
    const result = machine.run(config, { started() {}, restarted() {}, warning }, agent);
    const end = async (): Promise<void> => {
      machine.stop();
      await result.catch(() => {});
    };
    return Object.assign(machine, { end });
  },
  async "in a VM with two vCPUs"(config, agent) {
    const harts = new Harts({ harts: 1, memory: config.memory + 4 * MIB });
    const vm = harts.create({ ...config, name: "test", cpus: 2, allotment: { shares: 1, cap: 1 } }, await readShared(config), { warning }, agent);
    const end = async (): Promise<void> => {
      vm.stop();
      await vm.result;
      await harts.close();
    };
    return Object.assign(vm, { end });
  },
};

for (const [where, create] of Object.entries(kinds)) suite(`a guest's agent ${where}`, { skip: "skip" in found && found.skip }, () => {
  let machine: Guest;
  let agent: AgentSession;
  let consoleOutput = "";

  before(async () => {
    const { kernelPath, initrdPath, manifest } = (found as Exclude<typeof found, { skip: string }>).image;
    const channel = new AgentChannel();
    agent = channel.session;
    machine = await create({
      memory: 128 * MIB,
      clock: "host",
      kernel: kernelPath,
      initrd: initrdPath,
      append: manifest.append,
      drives: [],
      terminal: { columns: 111, rows: 33 },
      signature: false,
      interpreterOnly: false,
    }, channel);
    void readConsole();
  });

  after(async () => {
    await machine.end();
    await assert.rejects(agent.exec(["true"]), { code: "agent-lost" });
  });

  async function readConsole(): Promise<void> {
    for (;;) {
      await machine.output.waitForBytes();
      consoleOutput += Buffer.from(machine.output.shift()).toString("latin1");
    }
  }

  const start = (argv: readonly string[], options: ExecOptions = {}): Promise<Exec> => agent.exec(argv, { patienceMs: PATIENCE_MS, ...options });

  async function bytesOf(stream: AsyncIterable<Uint8Array>): Promise<Buffer> {
    const chunks: Uint8Array[] = [];
    for await (const chunk of stream) chunks.push(chunk);
    return Buffer.concat(chunks);
  }

  /** Runs a command to its end; its output as text. */
  async function run(argv: readonly string[], { input = "", ...options }: ExecOptions & { readonly input?: string | Uint8Array } = {}) {
    const exec = await start(argv, options);
    void exec.stdin.write(Buffer.from(input));
    exec.stdin.end();
    const [stdout, stderr, status] = await Promise.all([bytesOf(exec.stdout), bytesOf(exec.stderr), exec.status]);
    return { stdout: stdout.toString("latin1"), stderr: stderr.toString("latin1"), status };
  }

  /** Resolves when the guest has no such process any more. */
  async function gone(name: string): Promise<void> {
    assert.deepEqual((await run(["sh", "-c", `while pidof ${name}; do sleep 0.01; done`])).status, exited(0));
  }

  const exited = (code: number) => ({ kind: "exited", code });

  test("runs a command while the guest boots, and tells its status and its streams apart", async () => {
    assert.deepEqual(await run(["sh", "-c", "echo out; echo err >&2; exit 7"]), { stdout: "out\n", stderr: "err\n", status: exited(7) });
  });

  test("passes arguments, environment and directory as they are", async () => {
    const script = 'printf "%s|" "$0" "$@" "$SPACED" "$PWD" "$HOME" "$PATH"';
    const { stdout } = await run(["sh", "-c", script, "a b", "", "ü\n*"], { env: { SPACED: "x  y", PATH: "/bin" }, cwd: "/usr/bin" });
    assert.equal(Buffer.from(stdout, "latin1").toString(), "a b||ü\n*|x  y|/usr/bin|/root|/bin|");
    assert.equal((await run(["pwd"])).stdout, "/root\n");
  });

  test("a command reads its stdin to the end", async () => {
    assert.deepEqual(await run(["wc", "-c"], { input: "12345" }), { stdout: "5\n", stderr: "", status: exited(0) });
    assert.equal((await run(["cat"])).stdout, "");
  });

  test("signals reach a command and what it started", async () => {
    const exec = await start(["sh", "-c", "echo up; tail -f /dev/null | cat"]);
    for await (const _ of exec.stdout) {
      exec.kill(15);
      break;
    }
    assert.deepEqual(await exec.status, { kind: "killed", signal: 15 });
    await gone("tail");
    const trapping = await start(["sh", "-c", "trap 'echo caught; exit 3' USR1; echo ready; while :; do sleep 0.1; done"]);
    let text = "";
    for await (const chunk of trapping.stdout) {
      text += Buffer.from(chunk).toString();
      if (text === "ready\n") trapping.kill(10);
    }
    assert.deepEqual([text, await trapping.status], ["ready\ncaught\n", exited(3)]);
  });

  test("ten megabytes go in, and come out on either stream", async () => {
    const data = new Uint8Array(10 * MIB);
    new Random(9).fill(data);
    const exec = await start(["tee", "/dev/stderr"]);
    void exec.stdin.write(data);
    exec.stdin.end();
    const [stdout, stderr, status] = await Promise.all([bytesOf(exec.stdout), bytesOf(exec.stderr), exec.status]);
    const sums = [data, stdout, stderr].map((bytes) => createHash("sha256").update(bytes).digest("hex"));
    assert.deepEqual([sums[1], sums[2], status], [sums[0], sums[0], exited(0)]);
  });

  test("a command whose output nobody reads holds up itself alone", async () => {
    const chatty = await start(["yes"]);
    const deaf = await start(["sleep", "1000"]);
    void deaf.stdin.write(new Uint8Array(MIB));
    assert.equal((await run(["echo", "still here"])).stdout, "still here\n");
    let bytes = 0;
    for await (const chunk of chatty.stdout) if ((bytes += chunk.length) > MIB) break;
    chatty.kill(9);
    deaf.kill(9);
    assert.deepEqual([await chatty.status, await deaf.status], [{ kind: "killed", signal: 9 }, { kind: "killed", signal: 9 }]);
  });

  test("many at once, and one too many", async () => {
    const many = await Promise.all(Array.from({ length: 64 }, () => start(["cat"])));
    await assert.rejects(start(["true"]), { code: "exec-failed", message: /as many commands as it can/ });
    await Promise.all(many.map(async (exec, index) => {
      void exec.stdin.write(Buffer.from(`${index}`));
      exec.stdin.end();
      assert.deepEqual([(await bytesOf(exec.stdout)).toString(), await exec.status], [`${index}`, exited(0)]);
    }));
  });

  test("a command that leaves something behind has ended all the same, with all that it wrote", async () => {
    const { stdout, status } = await run(["sh", "-c", "sleep 1000 & dd if=/dev/zero bs=1k count=60 2>/dev/null; echo done"]);
    assert.deepEqual([stdout.length, status], [60 * 1024 + 5, exited(0)]);
    await run(["killall", "sleep"]);
  });

  test("a command that takes no input is no trouble", async () => {
    const { status } = await run(["true"], { input: new Uint8Array(MIB) });
    assert.deepEqual(status, exited(0));
    assert.equal((await run(["sh", "-c", "exec <&-; sleep 0.2; echo ok"], { input: new Uint8Array(MIB) })).stdout, "ok\n");
  });

  test("what can't be started is said by name", async () => {
    await assert.rejects(start(["no-such-command"]), { code: "no-command" });
    await assert.rejects(start(["/no/such/file"]), { code: "no-command" });
    await assert.rejects(start(["/etc/passwd"]), { code: "not-executable" });
    await assert.rejects(start(["ls"], { cwd: "/nowhere" }), { code: "no-directory" });
  });

  test("a new host finds an agent at its beginning, in the middle of whatever", async () => {
    const exec = await start(["yes"]);
    agent.opened(true);
    await assert.rejects(exec.status, { code: "agent-lost" });
    assert.equal((await run(["echo", "anew"])).stdout, "anew\n");
    await gone("yes");
  });

  test("an agent that is killed takes its commands' answers with it, and is there again", async () => {
    const exec = await start(["sleep", "1000"]);
    const killer = await start(["sh", "-c", "kill -9 $(pidof agent)"]);
    await assert.rejects(exec.status, { code: "agent-lost" });
    await killer.status.catch(() => {});
    assert.equal((await run(["echo", "back"])).stdout, "back\n");
  });

  test("a guest that reboots has its agent again", async () => {
    const exec = await start(["reboot", "-f"]);
    await assert.rejects(exec.status, { code: "agent-lost" });
    assert.equal((await run(["echo", "rebooted"])).stdout, "rebooted\n");
    assert.equal(consoleOutput.match(/Linux version/g)?.length, 2);
  });

  test("the console's shell and the console's size are as without it", async () => {
    const deadline = Date.now() + PATIENCE_MS;
    // It has just booted: the agent may be there before the console.
    for (let size = await run(["stty", "-F", "/dev/hvc0", "size"]); size.stdout !== "33 111\n"; size = await run(["stty", "-F", "/dev/hvc0", "size"])) {
      assert.ok(Date.now() < deadline, JSON.stringify(size));
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    await machine.write(Buffer.from("echo al''ive\n"));
    while (!consoleOutput.includes("alive")) {
      assert.ok(Date.now() < deadline, consoleOutput.slice(-1000));
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  });
});
