import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { HostelryError } from "#base/errors.ts";
import { TestStore } from "../../../test/kit/store.ts";
import { pagedOut, Pmap, UNTOUCHED } from "./pmap.ts";
import { SwapSlots, wentTogether, writeOut } from "./swap.ts";

suite("slots", () => {
  test("are taken side by side, each once, until there is none, and come back", () => {
    const slots = SwapSlots.create(70);
    const other = new SwapSlots(slots.shared, 40);
    assert.deepEqual([slots.take(), slots.take(), other.take(), other.take()], [0, 1, 40, 41]);
    const taken = new Set([0, 1, 40, 41]);
    for (let slot; (slot = slots.take()) >= 0; taken.add(slot)) assert.ok(!taken.has(slot) && slot < 70);
    assert.deepEqual([taken.size, slots.used, other.take()], [70, 70, -1]);
    slots.release(33);
    assert.deepEqual([other.take(), slots.used], [33, 70]);
    slots.release(69);
    assert.throws(() => slots.release(69), /not in use/);
  });
});

test("neighbours come back together whose slots follow each other", () => {
  const pmap = new Pmap(0x80000, 64);
  const put = (page: number, slot: number): void => pmap.set(0x80000 + page, slot < 0 ? UNTOUCHED : pagedOut(slot));
  [[7, 9], [8, 10], [9, 11], [10, 20], [11, 12], [13, 13], [14, 8], [16, 14]].forEach(([page, slot]) => put(page!, slot!));
  assert.deepEqual(wentTogether(pmap, 0x80000 + 9), [8, 9, 11, 13].map((page) => 0x80000 + page));
  assert.deepEqual(wentTogether(pmap, 0x80000 + 10), [0x80000 + 10]);
  assert.deepEqual(wentTogether(pmap, 0x80000 + 7), [0x80000 + 7]);
});

test("what can't be written is not in the store, and keeps no slot", () => {
  const store = new TestStore(5);
  const contents = new Map(Array.from({ length: 7 }, (_, i) => [i, new Uint8Array(4096).fill(i)]));
  assert.deepEqual([...writeOut(store, contents).slots], [[0, 0], [1, 1], [2, 2], [3, 3], [4, 4]]);
  assert.equal(store.pages.get(3)![4095], 3);
  for (const slot of [1, 2, 4]) store.release(slot);
  store.broken.write = true;
  const { slots, failure } = writeOut(store, contents);
  assert.deepEqual([slots.size, store.slots.used], [0, 2]);
  assert.ok(failure instanceof HostelryError && failure.code === "swap");
});
