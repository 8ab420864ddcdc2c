/** What is found by walking all tables is what is counted as it changes. */
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { auditPages, auditSharing } from "#monitor/memory/audit.ts";
import { Hints } from "#monitor/memory/hints.ts";
import { BALLOONED } from "#monitor/memory/pmap.ts";
import { savedPages } from "#monitor/memory/saved-pages.ts";
import { groupOf, Sharing } from "#monitor/memory/sharing.ts";
import { address } from "#platform/memory-map.ts";
import { TestMonitor } from "../kit/monitor.ts";

const FIRST = address.memory / 4096 + 16;

/** Guests with pages of these contents, which have been looked at; 0 for pages of zeros that have a frame of their own until then. */
function scene(...contents: readonly (readonly number[])[]) {
  const monitor = new TestMonitor();
  const sharing = new Sharing(monitor.memory, Hints.create(monitor.frames.total));
  const memories = contents.map((pages) => {
    const { memory } = monitor.create(undefined).vm;
    pages.forEach((content, i) => memory.writable((FIRST + i) * 4096, 4096).fill(content));
    sharing.add({ memory, salt: 0 });
    return memory;
  });
  const audit = () => {
    for (const memory of memories) memory.settle();
    return auditSharing(memories.map(auditPages), monitor.frames);
  };
  return { monitor, memories, audit, share: () => void contents.forEach(() => sharing.scan(1000)) };
}

suite("an audit of memory", () => {
  test("finds what is shared and reclaimed", () => {
    const { audit, share } = scene([1, 1, 2, 0], [1, 3]);
    assert.deepEqual(audit(), { mapped: 6, zero: 0, shared: 0, copyOnWrite: 0, reclaimed: 0, wrong: 0 });
    share();
    assert.deepEqual(audit(), { mapped: 6, zero: 1, shared: 3, copyOnWrite: 3, reclaimed: 2, wrong: 0 });
  });

  test("agrees with the counters, also when pages are written, hidden and ballooned", () => {
    const { memories, audit, share } = scene([1, 2, 3, 4, 5], [1, 2, 3, 4, 6]);
    share();
    const [one, other] = memories;
    one!.writable(FIRST * 4096, 1)[0] = 9;
    other!.hide([FIRST + 1, FIRST + 4]);
    other!.vacate([FIRST + 2], BALLOONED);
    const found = audit();
    const sum = (of: (memory: (typeof memories)[number]) => number): number => memories.reduce((total, memory) => total + of(memory), 0);
    assert.equal(found.wrong, 0);
    assert.equal(found.mapped, sum(({ pmap }) => pmap.counts.mapped));
    assert.equal(found.copyOnWrite, sum(({ pmap }) => pmap.counts.shared - pmap.counts.zero));
    assert.equal(found.reclaimed, sum(savedPages));
    assert.deepEqual([found.mapped, found.shared, found.copyOnWrite], [9, 4, 6]);
  });

  test("sees a frame whose count is wrong, and a table that says something else than the pmap", () => {
    const { monitor, memories, audit, share } = scene([1, 2], [1]);
    share();
    assert.equal(audit().wrong, 0);
    const shared = memories[0]!.pmap.frame(FIRST);
    monitor.frames.join(shared, groupOf({ salt: 0 }));
    assert.equal(audit().wrong, 2);
    monitor.frames.release(shared);
    memories[0]!.tables.map(FIRST + 1, shared, "read-only");
    assert.equal(audit().wrong, 1);
  });
});
