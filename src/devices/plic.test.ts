import assert from "node:assert/strict";
import { test } from "node:test";
import { Plic } from "./plic.ts";
import { TestLine, TestRandom, fuzzRegisters, throughJson } from "./test-kit.ts";

const priority = (source: number) => 4 * source;
const enable = (context: number, source: number) => 0x2000 + 0x80 * context + 4 * (source >> 5);
const threshold = (context: number) => 0x20_0000 + 0x1000 * context;
const claim = (context: number) => threshold(context) + 4;

function setUp(count = 2) {
  const harts = Array.from({ length: count }, () => ({ machine: new TestLine(), supervisor: new TestLine() }));
  const plic = new Plic(harts);
  return {
    plic, harts,
    get: (offset: number) => plic.read(offset, 4),
    put: (offset: number, value: number) => plic.write(offset, 4, value),
  };
}

test("an interrupt goes to the context that enabled it, is claimed, handled and completed", () => {
  const { plic, harts, get, put } = setUp();
  const line = plic.line(10);
  put(priority(10), 1);
  put(enable(1, 10), 1 << 10);
  line.set(true);
  assert.equal(harts[0]!.supervisor.level, true);
  assert.equal(harts[0]!.machine.level, false);
  assert.equal(harts[1]!.supervisor.level, false);
  assert.equal(get(0x1000), 1 << 10);
  assert.equal(get(claim(1)), 10);
  assert.equal(harts[0]!.supervisor.level, false);
  assert.equal(get(claim(1)), 0, "claimed once only");
  line.set(false);
  put(claim(1), 10);
  assert.equal(harts[0]!.supervisor.level, false);
});

test("a level that is still high at completion interrupts again; a request outlives its level", () => {
  const { plic, harts, get, put } = setUp();
  const line = plic.line(40);
  put(priority(40), 7);
  put(enable(0, 40), 1 << 8);
  line.set(true);
  assert.equal(get(claim(0)), 40);
  line.set(false);
  line.set(true);
  assert.equal(harts[0]!.machine.level, false, "nothing passes a gateway before completion");
  put(claim(0), 40);
  assert.equal(harts[0]!.machine.level, true);
  line.set(false);
  assert.equal(harts[0]!.machine.level, true);
  assert.equal(get(claim(0)), 40);
  put(claim(0), 40);
  assert.equal(harts[0]!.machine.level, false);
});

test("the highest priority is claimed first, of equal ones the lowest source; the threshold masks, but not claims", () => {
  const { plic, harts, get, put } = setUp();
  for (const [source, urgency] of [[3, 2], [9, 5], [33, 5], [95, 7]] as const) {
    put(priority(source), urgency);
    plic.line(source).set(true);
  }
  for (const word of [0, 1, 2]) put(0x2000 + 4 * word, 0xffff_ffff);
  assert.equal(get(enable(0, 0)), 0xffff_fffe, "source 0 does not exist");
  put(threshold(0), 7);
  assert.equal(harts[0]!.machine.level, false);
  put(threshold(0), 6);
  assert.equal(harts[0]!.machine.level, true);
  assert.deepEqual([get(claim(0)), get(claim(0)), get(claim(0)), get(claim(0)), get(claim(0))], [95, 9, 33, 3, 0]);
});

test("priority 0 never interrupts; priorities and thresholds keep 3 bits", () => {
  const { plic, harts, get, put } = setUp();
  put(enable(0, 1), 2);
  plic.line(1).set(true);
  assert.equal(harts[0]!.machine.level, false);
  assert.equal(get(claim(0)), 0);
  put(priority(1), 0xffff_ffff);
  assert.equal(get(priority(1)), 7);
  assert.equal(harts[0]!.machine.level, true);
  put(threshold(0), 0x0f);
  assert.equal(get(threshold(0)), 7);
});

test("completing a source that is not enabled is ignored, as Linux relies on when it masks", () => {
  const { plic, harts, get, put } = setUp();
  put(priority(5), 1);
  put(enable(1, 5), 1 << 5);
  plic.line(5).set(true);
  assert.equal(get(claim(1)), 5);
  put(enable(1, 5), 0);
  put(claim(1), 5);
  put(enable(1, 5), 1 << 5);
  assert.equal(harts[0]!.supervisor.level, false);
  put(claim(1), 5);
  assert.equal(harts[0]!.supervisor.level, true);
});

test("what does not exist reads as 0 and ignores writes", () => {
  const { plic, get, put } = setUp(1);
  for (const offset of [0, priority(96), 0x100c, enable(2, 0), 0x200c, threshold(2), claim(2), threshold(0) + 8]) {
    put(offset, 0xffff_ffff);
    assert.equal(get(offset), 0, `offset 0x${offset.toString(16)}`);
  }
  plic.write(priority(1), 1, 7);
  assert.equal(get(priority(1)), 0, "registers are 32 bits wide");
  assert.throws(() => plic.line(0), /no such source/);
  assert.throws(() => plic.line(96), /no such source/);
});

test("saved between claim and completion, it goes on elsewhere", () => {
  const before = setUp();
  before.put(priority(10), 3);
  before.put(enable(3, 10), 1 << 10);
  before.plic.line(10).set(true);
  before.get(claim(3));
  const after = setUp();
  after.plic.restore(throughJson(before.plic.save()));
  after.plic.line(10).set(true);
  assert.equal(after.harts[1]!.supervisor.level, false);
  after.put(claim(3), 10);
  assert.equal(after.harts[1]!.supervisor.level, true);
  assert.throws(() => setUp(1).plic.restore(before.plic.save()), { code: "bad-snapshot" });
});

test("reset forgets all but the levels", () => {
  const { plic, harts, get, put } = setUp();
  put(priority(2), 1);
  put(enable(0, 2), 4);
  plic.line(2).set(true);
  plic.reset();
  assert.equal(harts[0]!.machine.level, false);
  assert.equal(get(priority(2)), 0);
  put(priority(2), 1);
  put(enable(0, 2), 4);
  assert.equal(harts[0]!.machine.level, true);
});

test("no access makes it throw", () => {
  const { plic } = setUp();
  const random = new TestRandom(5);
  for (const seed of [1, 2, 3]) {
    for (let source = 1; source < 96; source++) plic.line(source).set(random.below(2) === 0);
    fuzzRegisters(plic, seed);
  }
});

test("its node names each hart's two contexts", () => {
  const node = setUp().plic.deviceTreeNode({ address: 0x0c00_0000, phandle: 5, hartControllers: [4, 2] });
  assert.equal(node.name, "plic@c000000");
  assert.deepEqual(node.properties["interrupts-extended"], [4, 11, 4, 9, 2, 11, 2, 9]);
});
