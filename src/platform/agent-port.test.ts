import assert from "node:assert/strict";
import { test } from "node:test";
import { AgentPort } from "./agent-port.ts";

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

test("what has no room waits, and no more comes until it has gone", () => {
  const port = new AgentPort({ output() {}, opened() {} });
  let room = 3;
  let received = "";
  port.connect((some) => {
    const taken = Math.min(room, some.length);
    received += new TextDecoder().decode(some.subarray(0, taken));
    room -= taken;
    return taken;
  });
  port.input(bytes("hello"));
  assert.deepEqual([received, port.taken], ["hel", false]);
  const saved = port.save();
  room = 10;
  port.ready();
  assert.deepEqual([received, port.taken], ["hello", true]);
  port.restore(saved);
  port.ready();
  assert.equal(received, "hellolo");
  port.ready();
  assert.equal(received, "hellolo");
});

test("what the agent says, and that it is there, goes to the host", () => {
  const heard: unknown[] = [];
  const port = new AgentPort({ output: (some) => void heard.push(new TextDecoder().decode(some)), opened: (open) => void heard.push(open) });
  port.opened(true);
  assert.equal(port.write(bytes("hi")), true);
  assert.deepEqual(heard, [true, "hi"]);
});
