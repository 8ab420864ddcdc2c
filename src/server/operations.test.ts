import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, suite, test } from "node:test";
import { HostelryError } from "#base/errors.ts";
import type { Action, ActionOf, RequestKind, VmDescription } from "#monitor/action.ts";
import type { Agent } from "./agent.ts";
import { Operations } from "./operations.ts";
import { TestMachine, TestPort, until } from "./test-machine.ts";

const MIB = 2 ** 20;
const folder = mkdtempSync(join(tmpdir(), "hostelry-test-"));
after(() => rmSync(folder, { recursive: true }));
let servers = 0;

function serving({ overcommit = false } = {}) {
  const machine = new TestMachine(64 * MIB);
  const bugs: unknown[] = [];
  const operations = new Operations({
    machine, harts: 2, overcommit,
    logs: join(folder, String(servers++)),
    files: async ({ append = "" }) => ({ append }),
    warn: (message) => assert.fail(message),
    bug: (error) => void bugs.push(error),
  });
  const act = <A extends ActionOf<RequestKind>>(action: A) => operations.do(action as ActionOf<A["kind"]>);
  const create = (name: string, rest: Partial<ActionOf<"create">> = {}) => operations.do<"create">({ kind: "create", name, kernel: "/k", memory: 16 * MIB, ...rest });
  const show = (name: string): Promise<VmDescription> => operations.do<"show">({ kind: "show", name });
  const refused = async (action: Action): Promise<string> => {
    const error = await operations.do(action as ActionOf<RequestKind>).then(() => assert.fail("it was done"), (reason: unknown) => reason);
    assert.ok(error instanceof HostelryError, String(error));
    return `${error.code}: ${error.message}`;
  };
  return { machine, operations, act, create, show, refused, bugs };
}

suite("operating VMs", () => {
  test("created, started, paused, resumed, stopped, removed", async () => {
    const { machine, act, create, show } = serving();
    const created = await create("web", { shares: 7, cpus: 2, drives: [{ path: "/d" }] });
    assert.deepEqual([created.state, created.shares, created.cap, created.started, created.drives], ["created", 7, 1, null, [{ path: "/d", readOnly: false }]]);
    assert.equal((await act({ kind: "start", name: "web" })).state, "running");
    const vm = machine.last;
    assert.deepEqual([vm.config.memory, vm.config.cpus, vm.config.allotment, vm.config.shareGroup], [16 * MIB, 2, { shares: 7, cap: 1 }, "default"]);
    assert.equal((await act({ kind: "pause", name: "web" })).state, "paused");
    assert.equal((await act({ kind: "resume", name: "web" })).state, "running");
    assert.equal((await act({ kind: "set", name: "web", cap: 0.5 })).cap, 0.5);
    assert.deepEqual(vm.done, ["pause", "resume", "set 7 0.5 hardware nested", "entitle 4096 160"]);
    assert.deepEqual((await act({ kind: "stop", name: "web" })).end, { kind: "stopped" });
    assert.equal((await act({ kind: "stats", name: "web" })).instructions, 5);
    const { log } = await show("web");
    assert.match(readFileSync(log, "utf8"), /\] starts\n.*\] ended: stopped\n$/s);
    await act({ kind: "remove", name: "web" });
    assert.deepEqual(await act({ kind: "list" }), []);
    assert.ok(!existsSync(log));
  });

  test("a balloon is inflated until so much is left", async () => {
    const { machine, act, create, refused } = serving();
    await create("web");
    assert.equal(await refused({ kind: "balloon", name: "web", size: 4 * MIB }), 'wrong-state: the VM web is not on: start it with "hostelry start web"');
    await act({ kind: "start", name: "web" });
    await act({ kind: "balloon", name: "web", size: 4 * MIB });
    await act({ kind: "balloon", name: "web", size: 16 * MIB });
    assert.deepEqual(machine.last.done, ["inflate 3072", "inflate 0"]);
    assert.match(await refused({ kind: "balloon", name: "web", size: 17 * MIB }), /^balloon-size: web has 16 MiB/);
  });

  test("one that has ended is started anew, with the settings that it has got", async () => {
    const { machine, operations, act, create } = serving();
    await create("a", { start: true });
    await act({ kind: "set", name: "a", shares: 9 });
    const viewer = new TestPort();
    const over = operations.converse({ kind: "console", name: "a" })(viewer);
    machine.last.end({ kind: "fail", code: 3 });
    await over;
    assert.deepEqual((await act({ kind: "show", name: "a" })).end, { kind: "fail", code: 3 });
    await act({ kind: "start", name: "a" });
    assert.equal(machine.last.config.allotment.shares, 9);
    assert.equal((await act({ kind: "show", name: "a" })).end, null);
  });

  test("what can't be done is refused by name, and changes nothing", async () => {
    const { machine, act, create, refused } = serving();
    await create("web");
    assert.equal(await refused({ kind: "create", name: "web", kernel: "/k" }), "name-taken: there is a VM web already: choose another name, or remove that one");
    assert.equal(await refused({ kind: "show", name: "wbe" }), "no-vm: there is no VM wbe: did you mean web?");
    assert.equal(await refused({ kind: "show", name: "mail" }), 'no-vm: there is no VM mail: see "hostelry ps"');
    assert.equal(await refused({ kind: "stop", name: "web" }), 'wrong-state: the VM web is not on: start it with "hostelry start web"');
    assert.equal(await refused({ kind: "pause", name: "web" }), "wrong-state: the VM web does not run");
    assert.equal(await refused({ kind: "stats", name: "web" }), "wrong-state: the VM web has not been started yet");
    await act({ kind: "start", name: "web" });
    assert.equal(await refused({ kind: "start", name: "web" }), "wrong-state: the VM web is on already");
    assert.equal(await refused({ kind: "remove", name: "web" }), "wrong-state: the VM web is on: stop it first, or remove it by force");
    machine.refusal = new HostelryError("no-file", "the drive /d is not there: check the path");
    assert.equal(await refused({ kind: "create", name: "b", kernel: "/k", memory: MIB, start: true }), "no-file: the drive /d is not there: check the path");
    assert.deepEqual((await act({ kind: "list" })).map(({ name, state }) => [name, state]), [["web", "running"]]);
  });

  test("a VM changes its technique, if there is one, and room for its tables", async () => {
    const { machine, act, create, refused } = serving();
    assert.match(await refused({ kind: "create", name: "a", kernel: "/k", cpu: "trap-and-emulate", mmu: "nested" }), /^technique: /);
    await create("a", { start: true, cpu: "trap-and-emulate", shadow: "naive" });
    assert.deepEqual(machine.last.config.technique, { cpu: "trap-and-emulate", mmu: "shadow", shadow: "naive", rewrite: "all", onIllegal: "guest" });
    const { cpu, mmu } = await act({ kind: "set", name: "a", cpu: "hardware" });
    assert.deepEqual([cpu, mmu], ["hardware", "nested"]);
    assert.match(await refused({ kind: "set", name: "a", shares: 5, cpu: "trap-and-emulate", mmu: "nested" }), /^technique: /);
    assert.equal((await act({ kind: "show", name: "a" })).shares, 100);
    await create("b", { start: true, memory: 45 * MIB });
    assert.match(await refused({ kind: "set", name: "b", cpu: "trap-and-emulate" }), /^not-enough-memory: /);
    machine.last.refusal = new HostelryError("no-frames", "none left");
    assert.equal(await refused({ kind: "set", name: "b", shares: 5 }), "no-frames: none left");
    assert.equal((await act({ kind: "show", name: "b" })).shares, 100);
    assert.deepEqual(machine.vms.map((vm) => vm.done), [["set 100 1 hardware nested", "entitle 4096 160"], []]);
  });

  test("memory is promised once, unless told otherwise", async () => {
    const { act, create, refused } = serving();
    assert.match(await refused({ kind: "create", name: "big", kernel: "/k", memory: 64 * MIB }), /^not-enough-memory: big is to have 64 MiB, .* more than the machine's 64 MiB/);
    for (const name of ["a", "b", "c", "d"]) await create(name);
    for (const name of ["a", "b", "c"]) await act({ kind: "start", name });
    assert.match(await refused({ kind: "start", name: "d" }), /^not-enough-memory: d is to be guaranteed 16 MiB, with its tables 17 MiB, but only 13 MiB .* 4 MiB too few/);
    await act({ kind: "stop", name: "a" });
    await act({ kind: "start", name: "d" });
    assert.deepEqual((await act({ kind: "machine" })).memory, { total: 64 * MIB, promised: 51 * MIB, guaranteed: 51 * MIB, free: 64 * MIB });

    const generous = serving({ overcommit: true });
    for (const name of ["a", "b", "c", "d"]) await generous.create(name, { start: true });
    await generous.create("all", { memory: 80 * MIB, start: true });
    assert.deepEqual((await generous.act({ kind: "machine" })).memory, { total: 64 * MIB, promised: (4 * 17 + 81) * MIB, guaranteed: 5 * MIB, free: 64 * MIB });
    assert.match(await generous.refused({ kind: "create", name: "b2", kernel: "/k", memory: 80 * MIB, memoryMin: 60 * MIB, start: true }), /^not-enough-memory: b2 is to be guaranteed 60 MiB, .* only 59 MiB .* 2 MiB too few/);
  });

  test("memory beyond what is guaranteed may be promised to several", async () => {
    const { act, create, show, refused } = serving();
    const half = { memory: 40 * MIB, memoryMin: 20 * MIB };
    await create("a", { ...half, memoryShares: 7, start: true });
    await create("b", { ...half, memoryMin: 30 * MIB, start: true });
    const settings = ({ memoryMin, memoryShares }: VmDescription) => [memoryMin, memoryShares];
    assert.deepEqual([settings(await show("a")), settings(await show("b"))], [[20 * MIB, 7], [30 * MIB, 400]]);
    assert.match(await refused({ kind: "set", name: "a", memoryMin: 41 * MIB }), /^memory-min: a has 40 MiB/);
    assert.match(await refused({ kind: "set", name: "a", memoryMin: 40 * MIB }), /^not-enough-memory: .* only 33 MiB .* 8 MiB too few/);
    assert.deepEqual(settings(await act({ kind: "set", name: "a", memoryMin: 0, memoryShares: 9 })), [0, 9]);
    assert.match(await refused({ kind: "create", name: "c", kernel: "/k", memory: 16 * MIB, memoryMin: 17 * MIB }), /^memory-min: /);
  });

  test("tells of all memory, and of that of each VM", async () => {
    const { act, create } = serving();
    await create("b", { memoryMin: MIB, start: true });
    await create("a", { start: true });
    await create("off");
    const { vms, frames, map, state, guaranteed } = await act({ kind: "memory", map: true });
    const amounts = { promised: 4096, mapped: 0, shared: 0, zero: 0, saved: 0, active: 0, tables: 0, ballooned: 0, pagedOut: 0, target: 16 * MIB };
    assert.deepEqual(vms, [{ name: "a", min: 16 * MIB, shares: 160, ...amounts }, { name: "b", min: MIB, shares: 160, ...amounts }]);
    assert.deepEqual([state, guaranteed, frames.private, frames.free], ["high", 19 * MIB, 8192, 64 * MIB - 8192]);
    assert.deepEqual(map?.map(({ owner, state }) => [owner, state]), [["b", "private"], ["a", "private"], [null, "free"]]);
    assert.equal((await act({ kind: "memory" })).map, null);
  });

  test("the memory policy is changed as a whole, or not", async () => {
    const { act, refused } = serving();
    const before = await act({ kind: "policy" });
    assert.deepEqual(await act({ kind: "setPolicy", idleTax: 0, scanRate: 5 }), { ...before, idleTax: 0, scanRate: 5 });
    assert.match(await refused({ kind: "setPolicy", idleTax: 0.5, low: 0.9 }), /^memory-policy: the threshold low would be 90%/);
    assert.equal((await act({ kind: "policy" })).idleTax, 0);
  });

  test("a disk has one writer, or readers only", async () => {
    const { act, create, refused } = serving();
    const disk = join(folder, "disk.img");
    writeFileSync(disk, "");
    const [writes, reads] = [{ drives: [{ path: disk }] }, { drives: [{ path: `${folder}/./disk.img`, readOnly: true }] }];
    await create("a", { ...writes, start: true });
    await create("b", reads);
    await create("c", reads);
    assert.equal(await refused({ kind: "start", name: "b" }), `drive-in-use: b is not started, since a has its drive ${folder}/./disk.img, and not both for reading only: stop that one first`);
    await act({ kind: "stop", name: "a" });
    await act({ kind: "start", name: "b" });
    await act({ kind: "start", name: "c" });
    assert.match(await refused({ kind: "start", name: "a" }), /^drive-in-use/);
  });

  test("actions on a VM take turns", async () => {
    const { act, create } = serving();
    await create("a");
    const done = await Promise.allSettled([act({ kind: "start", name: "a" }), act({ kind: "pause", name: "a" }), act({ kind: "start", name: "a" }), act({ kind: "remove", name: "a", force: true })]);
    assert.deepEqual(done.map(({ status }) => status), ["fulfilled", "fulfilled", "rejected", "fulfilled"]);
  });

  test("a bug of ours ends the VM, and is reported", async () => {
    const { machine, create, show, bugs } = serving();
    await create("a", { start: true });
    machine.last.fail(new TypeError("oh"));
    await until(() => bugs.length === 1);
    const { state, end } = await show("a");
    assert.deepEqual([state, end?.kind], ["ended", "failed"]);
  });

  test("traces are plain data, and remain when the VM has ended", async () => {
    const { act, create, refused } = serving();
    await create("a");
    assert.match(await refused({ kind: "trace", name: "a" }), /^wrong-state/);
    await act({ kind: "start", name: "a" });
    const exits = [{ time: 1.5, at: "1970-01-01T00:00:01.001Z", pc: "0xffffffff80002000", kind: "wait", detail: 4 }];
    assert.deepEqual(await act({ kind: "trace", name: "a", since: 4 }), { ended: false, exits, next: 5 });
    await act({ kind: "stop", name: "a" });
    assert.deepEqual(await act({ kind: "trace", name: "a", since: 4 }), { ended: true, exits, next: 5 });
  });

  test("the end of the server is that of its VMs", async () => {
    const { machine, operations, create, show, refused } = serving();
    await create("a", { start: true });
    await create("b");
    await operations.close();
    assert.deepEqual((await show("a")).end, { kind: "stopped" });
    assert.ok(machine.closed);
    assert.match(await refused({ kind: "start", name: "b" }), /^server-gone/);
  });
});

suite("consoles", () => {
  test("all see the output, and who comes later what was before; keys come from all", async () => {
    const { machine, operations, act, create } = serving();
    await create("a", { start: true });
    const vm = machine.last;
    const join = (): TestPort => {
      const port = new TestPort();
      void operations.converse({ kind: "console", name: "a" })(port);
      return port;
    };
    const first = join();
    vm.say("one ");
    await until(() => first.heard.output === "one ");
    const second = join();
    vm.say("two");
    await until(() => first.heard.output === "one two" && second.heard.output === "one two");
    first.say({ kind: "bytes", channel: "input", bytes: Buffer.from("ls") });
    second.say({ kind: "resize", columns: 100, rows: 30 });
    await until(() => vm.done.length === 2);
    assert.deepEqual(vm.done, ["write ls", "resize 100 30"]);
    first.close();
    vm.listener.rebooted?.();
    vm.say("!");
    vm.end({ kind: "poweroff" });
    await until(() => !second.open);
    assert.equal(second.heard.output, "one two!");
    assert.deepEqual(second.notes, [{ kind: "rebooted" }, { kind: "ended", end: { kind: "poweroff" } }]);
    assert.equal(first.heard.output, "one two");
    await act({ kind: "start", name: "a" });
    assert.deepEqual(machine.last.config.terminal, { columns: 100, rows: 30 });
  });
});

suite("commands in a guest", () => {
  test("without an agent there are none", async () => {
    const { operations, create } = serving();
    await create("a", { start: true });
    assert.throws(() => operations.converse({ kind: "exec", name: "a", command: ["ls"] }), { code: "no-agent" });
  });

  test("have their streams and their status", async () => {
    const { machine, operations, create } = serving();
    machine.agent = agentThat(async function* (input) {
      for await (const line of input) yield `got ${line}`;
    }, { kind: "killed", signal: 15 });
    await create("a", { start: true });
    const port = new TestPort();
    const over = operations.converse({ kind: "exec", name: "a", command: ["cat"] })(port);
    port.say({ kind: "bytes", channel: "input", bytes: Buffer.from("x") });
    port.say({ kind: "end-of-input" });
    await over;
    assert.deepEqual([port.heard, port.notes], [{ input: "", output: "got x", error: "cat" }, [{ kind: "exited", status: 143 }]]);
  });
});

/** Its commands write their name to stderr, and what `work` makes of their stdin to stdout. */
function agentThat(work: (input: AsyncIterable<string>) => AsyncIterable<string>, status: Awaited<Awaited<ReturnType<Agent["exec"]>>["status"]>): Agent {
  return {
    async exec([name]) {
      const { readable, writable } = new TransformStream<string, string>();
      const writer = writable.getWriter();
      return {
        stdin: { write: (bytes) => writer.write(Buffer.from(bytes).toString()), end: () => void writer.close() },
        stdout: (async function* () {
          for await (const text of work(readable)) yield Buffer.from(text);
        })(),
        stderr: (async function* () {
          yield Buffer.from(name!);
        })(),
        status: Promise.resolve(status),
        kill: () => {},
      };
    },
  };
}
