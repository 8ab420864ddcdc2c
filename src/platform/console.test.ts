import assert from "node:assert/strict";
import { test } from "node:test";
import { Console } from "./console.ts";

function setUp(room = Infinity) {
  let output = "";
  const received: Record<string, string> = { uart: "", virtio: "" };
  const space: Record<string, number> = { uart: room, virtio: room };
  const console = new Console((bytes) => void (output += Buffer.from(bytes).toString("latin1")));
  for (const way of ["uart", "virtio"] as const) {
    console.connect(way, (bytes) => {
      const taken = Math.min(bytes.length, space[way]!);
      received[way] += Buffer.from(bytes.subarray(0, taken)).toString("latin1");
      space[way]! -= taken;
      return taken;
    });
  }
  return { console, received, space, output: () => output };
}

test("output gathers until the slice ends, or until there is much", () => {
  const { console, output } = setUp();
  console.output("uart", Buffer.from("ab"));
  console.output("firmware", Buffer.from("c"));
  assert.equal(output(), "");
  console.flush();
  assert.equal(output(), "abc");
  const much = Buffer.alloc(10_000, "x");
  console.output("uart", much);
  console.flush();
  assert.equal(output(), `abc${much.toString()}`);
});

test("input goes the way that output comes", () => {
  const { console, received } = setUp();
  console.input(Buffer.from("1"));
  console.output("virtio", Buffer.from("$ "));
  console.input(Buffer.from("2"));
  console.output("uart", Buffer.from("$ "));
  console.input(Buffer.from("3"));
  assert.deepEqual(received, { uart: "13", virtio: "2" });
});

test("input for a guest that talks through firmware waits until it asks", () => {
  const { console, received } = setUp();
  console.output("firmware", Buffer.from("> "));
  console.input(Buffer.from("abc"));
  assert.equal(console.ready, false);
  const into = new Uint8Array(2);
  assert.equal(console.take(into), 2);
  assert.equal(Buffer.from(into).toString(), "ab");
  console.output("uart", Buffer.from("$ "));
  assert.equal(received["uart"], "c", "what it left goes where the guest talks next");
  assert.equal(console.ready, true);
});

test("what a device refuses waits, and nothing more is taken meanwhile", () => {
  const { console, received, space } = setUp(2);
  console.input(Buffer.from("abcd"));
  assert.equal(console.ready, false);
  space["uart"] = 10;
  console.deliver();
  assert.equal(received["uart"], "abcd");
  assert.equal(console.ready, true);
});

test("a kernel's panic is seen, however it is cut; a reset forgets it", () => {
  const { console } = setUp();
  console.output("uart", Buffer.from("KKernel panic"));
  console.output("uart", Buffer.from(" - not"));
  assert.equal(console.panicked, false);
  console.output("uart", Buffer.from(" syncing: oops"));
  assert.equal(console.panicked, true);
  console.reset();
  assert.equal(console.panicked, false);
});
