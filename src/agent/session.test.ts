import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { Random } from "#base/random.ts";
import { AgentSession } from "./session.ts";

/* docs/agent.md, written once more: what the host sends is taken apart here, and what an agent would send is put together. */
const Kind = { hello: 1, start: 2, data: 3, credit: 4, kill: 5, started: 6, failed: 7, exited: 8 } as const;
const WINDOW = 64 * 1024;

interface Frame {
  readonly kind: number;
  readonly exec: number;
  readonly payload: Buffer;
}

class FakeAgent {
  readonly session = new AgentSession((bytes) => void this.#heard(bytes));
  readonly frames: Frame[] = [];

  #heard(bytes: Uint8Array): void {
    const buffer = Buffer.from(bytes);
    assert.equal(buffer.length, 12 + buffer.readUInt32LE(0), "one frame at a time");
    this.frames.push({ kind: buffer.readUInt32LE(4), exec: buffer.readUInt32LE(8), payload: buffer.subarray(12) });
  }

  static frame(kind: number, exec: number, ...payload: readonly (number | string | Uint8Array)[]): Buffer {
    const parts = payload.map((part) => typeof part === "number" ? Buffer.from(Uint32Array.of(part).buffer) : Buffer.from(part as string));
    const length = parts.reduce((sum, part) => sum + part.length, 0);
    return Buffer.concat([Buffer.from(Uint32Array.of(length, kind, exec).buffer), ...parts]);
  }

  say(kind: number, exec: number, ...payload: readonly (number | string | Uint8Array)[]): void {
    this.session.received(FakeAgent.frame(kind, exec, ...payload));
  }

  /** The last frame of the host's, and none before it. */
  take(): Frame {
    assert.equal(this.frames.length, 1, JSON.stringify(this.frames));
    return this.frames.pop()!;
  }

  greet(version = 1): void {
    this.session.opened(true);
    const hello = this.take();
    assert.equal(hello.kind, Kind.hello);
    assert.equal(hello.payload.toString("latin1", 0, 8), "hostelry");
    const answer = Buffer.from(hello.payload);
    answer.writeUInt32LE(version, 8);
    this.say(Kind.hello, 0, answer);
  }

  async exec(argv: string[], options = {}) {
    const promise = this.session.exec(argv, options);
    await settled();
    const { exec, kind } = this.take();
    assert.equal(kind, Kind.start);
    this.say(Kind.started, exec);
    return { exec, command: await promise };
  }
}

const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

async function textOf(stream: AsyncIterable<Uint8Array>): Promise<string> {
  let text = "";
  for await (const chunk of stream) text += Buffer.from(chunk).toString("latin1");
  return text;
}

suite("a session with an agent", () => {
  test("waits for the agent, and gives it a command", async () => {
    const agent = new FakeAgent();
    const promise = agent.session.exec(["ls", "-l", ""], { env: { A: "b=c" }, cwd: "/tmp" });
    agent.greet();
    await settled();
    const { kind, exec, payload } = agent.take();
    assert.equal(kind, Kind.start);
    assert.deepEqual([payload.readUInt32LE(0), payload.readUInt32LE(4), payload.toString("latin1", 8)], [3, 1, "/tmp\0ls\0-l\0\0A=b=c\0"]);
    agent.say(Kind.started, exec);
    const command = await promise;
    agent.say(Kind.data, exec, 1, "out");
    agent.say(Kind.data, exec, 2, "err");
    agent.say(Kind.exited, exec, 7, 0);
    assert.deepEqual([await textOf(command.stdout), await textOf(command.stderr), await command.status], ["out", "err", { kind: "exited", code: 7 }]);
    command.kill(9);
    assert.deepEqual(agent.frames, []);
  });

  test("takes bytes however they are cut, and passes over what came before the answer", async () => {
    const agent = new FakeAgent();
    agent.session.opened(true);
    const hello = agent.take().payload;
    const stale = Buffer.concat([FakeAgent.frame(Kind.data, 1, 1, "hostelry"), FakeAgent.frame(Kind.hello, 0, "hostelry", 1, "otherone"), Buffer.from([1, 2, 3])]);
    const all = Buffer.concat([stale, FakeAgent.frame(Kind.hello, 0, hello)]);
    for (const byte of all) agent.session.received(Uint8Array.of(byte));
    const { exec, command } = await agent.exec(["x"]);
    for (const byte of FakeAgent.frame(Kind.data, exec, 1, "whole")) agent.session.received(Uint8Array.of(byte));
    agent.say(Kind.exited, exec, 0, 15);
    assert.deepEqual([await textOf(command.stdout), await command.status], ["whole", { kind: "killed", signal: 15 }]);
  });

  test("sends input as far as there is room, and its end", async () => {
    const agent = new FakeAgent();
    agent.greet();
    const { exec, command } = await agent.exec(["cat"]);
    const data = new Uint8Array(100_000);
    new Random(3).fill(data);
    void command.stdin.write(data);
    command.stdin.end();
    await settled();
    const sent = (): Buffer => Buffer.concat(agent.frames.map(({ payload }) => payload.subarray(4)));
    assert.equal(sent().length, WINDOW);
    agent.say(Kind.credit, exec, 0, 40_000);
    await settled();
    assert.deepEqual(sent(), Buffer.from(data));
    assert.equal(agent.frames.at(-1)!.payload.length, 4, "no bytes: the end");
    assert.ok(agent.frames.every((frame) => frame.kind === Kind.data && frame.exec === exec && frame.payload.length <= 4 + 16384));
  });

  test("input for a command that has ended goes nowhere, and nobody waits for it", async () => {
    const agent = new FakeAgent();
    agent.greet();
    const { exec, command } = await agent.exec(["true"]);
    const writing = command.stdin.write(new Uint8Array(100_000));
    await settled();
    agent.say(Kind.exited, exec, 0, 0);
    await writing;
    command.stdin.end();
    await settled();
    assert.equal(agent.frames.at(-1)!.payload.length - 4, 16384);
  });

  test("gives room for output as it is read, and not before", async () => {
    const agent = new FakeAgent();
    agent.greet();
    const { exec, command } = await agent.exec(["yes"]);
    for (let count = 0; count < 4; count++) agent.say(Kind.data, exec, 1, new Uint8Array(16384));
    await settled();
    assert.deepEqual(agent.frames, []);
    const reader = command.stdout[Symbol.asyncIterator]();
    await reader.next();
    await reader.next();
    const { kind, payload } = agent.take();
    assert.deepEqual([kind, payload.readUInt32LE(0), payload.readUInt32LE(4)], [Kind.credit, 1, 32768]);
    await reader.return();
    assert.equal(agent.take().payload.readUInt32LE(4), 32768, "what nobody reads any more makes room at once");
  });

  test("two commands don't mix", async () => {
    const agent = new FakeAgent();
    agent.greet();
    const [one, other] = [await agent.exec(["a"]), await agent.exec(["b"])];
    agent.say(Kind.data, other.exec, 1, "B");
    agent.say(Kind.data, one.exec, 1, "A");
    agent.say(Kind.exited, one.exec, 1, 0);
    agent.say(Kind.exited, other.exec, 2, 0);
    assert.deepEqual([await textOf(one.command.stdout), await textOf(other.command.stdout)], ["A", "B"]);
  });

  for (const [step, errno, code] of [[0, 11, "exec-failed"], [0, 12, "exec-failed"], [1, 2, "no-directory"], [2, 2, "no-command"], [2, 13, "not-executable"], [2, 8, "exec-failed"]] as const) {
    test(`a refusal at step ${step} with errno ${errno} is ${code}`, async () => {
      const agent = new FakeAgent();
      agent.greet();
      const promise = agent.session.exec(["x"]);
      await settled();
      agent.say(Kind.failed, agent.take().exec, step, errno);
      await assert.rejects(promise, { code });
    });
  }

  test("refuses what can be no command", async () => {
    const agent = new FakeAgent();
    agent.greet();
    for (const [argv, options] of [[[], {}], [[""], {}], [["a\0b"], {}], [["a"], { env: { "": "x" } }], [["a"], { env: { "b=": "x" } }], [["a"], { cwd: "\0" }], [["a", "x".repeat(140_000)], {}]] as const) {
      await assert.rejects(agent.session.exec(argv, options), { code: "bad-command" });
    }
    assert.deepEqual(agent.frames, []);
  });
});

suite("an agent that isn't there, goes, or lies", () => {
  test("is waited for only so long", async () => {
    const agent = new FakeAgent();
    await assert.rejects(agent.session.exec(["x"], { patienceMs: 5 }), { code: "no-agent", message: /none has opened its port/ });
    agent.session.opened(true);
    await assert.rejects(agent.session.exec(["x"], { patienceMs: 5 }), { code: "no-agent", message: /does not answer/ });
  });

  test("takes its commands with it, and may come again", async () => {
    const agent = new FakeAgent();
    agent.greet();
    const { command } = await agent.exec(["sleep"]);
    const reading = textOf(command.stdout);
    agent.session.opened(false);
    await assert.rejects(command.status, { code: "agent-lost" });
    await assert.rejects(reading, { code: "agent-lost" });
    agent.greet();
    assert.ok(await agent.exec(["again"]));
  });

  test("that goes while a command starts is lost too", async () => {
    const agent = new FakeAgent();
    agent.greet();
    const promise = agent.session.exec(["x"]);
    await settled();
    agent.session.opened(false);
    await assert.rejects(promise, { code: "agent-lost" });
  });

  test("ends with the guest", async () => {
    const agent = new FakeAgent();
    const waiting = agent.session.exec(["x"]);
    agent.session.close();
    await assert.rejects(waiting, { code: "agent-lost" });
    agent.session.opened(true);
    await assert.rejects(agent.session.exec(["x"]), { code: "agent-lost" });
  });

  test("of another version is refused", async () => {
    const agent = new FakeAgent();
    agent.greet(2);
    await assert.rejects(agent.session.exec(["x"]), { code: "agent-version", message: /version 2.*we speak 1/ });
  });

  const lies: Readonly<Record<string, (agent: FakeAgent, exec: number) => void>> = {
    "sends more than it may": (agent, exec) => agent.say(Kind.data, exec, 1, new Uint8Array(WINDOW + 1)),
    "sends a frame that is too long": (agent) => agent.session.received(Buffer.from(Uint32Array.of(1 << 20, Kind.data, 1).buffer)),
    "sends a kind that isn't one": (agent) => agent.say(99, 0),
    "sends what only a host may": (agent, exec) => agent.say(Kind.start, exec),
    "sends output on stdin": (agent, exec) => agent.say(Kind.data, exec, 0, "x"),
    "sends a stream that isn't one": (agent, exec) => agent.say(Kind.data, exec, 3, "x"),
    "gives more room than there is": (agent, exec) => agent.say(Kind.credit, exec, 0, 1),
    "cuts a frame short": (agent, exec) => agent.say(Kind.exited, exec, 1),
  };
  for (const [lie, tell] of Object.entries(lies)) {
    test(`that ${lie} is not spoken to again until it opens the port anew`, async () => {
      const agent = new FakeAgent();
      agent.greet();
      const { exec, command } = await agent.exec(["x"]);
      tell(agent, exec);
      await assert.rejects(command.status, { code: "agent-lost" });
      await assert.rejects(agent.session.exec(["y"]), { code: "agent-lost" });
      agent.greet();
      assert.ok(await agent.exec(["y"]));
    });
  }

  test("random frames neither throw nor pile up", async () => {
    for (let seed = 1; seed <= 50; seed++) {
      const random = new Random(seed);
      const below = (limit: number): number => {
        const draw = new Uint8Array(4);
        random.fill(draw);
        return Buffer.from(draw).readUInt32LE(0) % limit;
      };
      const agent = new FakeAgent();
      for (let round = 0; round < 20; round++) {
        agent.greet();
        const { exec } = await agent.exec(["x"]);
        for (let count = 0; count < 10; count++) {
          const payload = new Uint8Array(below(40));
          random.fill(payload);
          if (below(8) === 0) agent.session.received(payload);
          else agent.say(below(10), below(3) === 0 ? below(100) : exec, below(4), payload);
        }
        agent.frames.length = 0;
      }
      agent.session.close();
    }
  });
});
