import assert from "node:assert/strict";
import { test } from "node:test";
import { StateReader } from "./saved-state.ts";

const good = { kind: "thing", version: 2, byte: 255, on: true, big: "-12345678901234567890", list: [1, 2], inner: { deep: 1 } };

test("fields come back as they were saved", () => {
  const from = StateReader.open(good, "thing", 2);
  assert.equal(from.uint("byte", 8), 255);
  assert.equal(from.flag("on"), true);
  assert.equal(from.bigint("big"), -12345678901234567890n);
  assert.deepEqual(from.uints("list", 8, 2), [1, 2]);
  assert.equal(from.object("inner").uint("deep", 32), 1);
});

test("a snapshot that is not what it should be is refused by the field's name", () => {
  const refusals: [RegExp, () => unknown][] = [
    [/thing is not an object/, () => StateReader.open(null, "thing", 2)],
    [/thing is not an object/, () => StateReader.open([], "thing", 2)],
    [/thing\.kind/, () => StateReader.open({ ...good, kind: "other" }, "thing", 2)],
    [/thing\.version/, () => StateReader.open(good, "thing", 1)],
    [/thing\.byte/, () => StateReader.open(good, "thing", 2).uint("byte", 7)],
    [/thing\.byte/, () => StateReader.open({ ...good, byte: -1 }, "thing", 2).uint("byte", 8)],
    [/thing\.byte/, () => StateReader.open({ ...good, byte: 0.5 }, "thing", 2).uint("byte", 8)],
    [/thing\.on/, () => StateReader.open({ ...good, on: 1 }, "thing", 2).flag("on")],
    [/thing\.big/, () => StateReader.open({ ...good, big: 1 }, "thing", 2).bigint("big")],
    [/thing\.list/, () => StateReader.open(good, "thing", 2).uints("list", 8, 3)],
    [/thing\.list/, () => StateReader.open(good, "thing", 2).uints("list", 8, { atMost: 1 })],
    [/thing\.list/, () => StateReader.open({ ...good, list: [1, "2"] }, "thing", 2).uints("list", 8, 2)],
    [/thing\.inner\.deep/, () => StateReader.open(good, "thing", 2).object("inner").uint("deep", 0)],
    [/thing\.missing/, () => StateReader.open(good, "thing", 2).uint("missing", 8)],
  ];
  for (const [message, refuse] of refusals) assert.throws(refuse, { code: "bad-snapshot", message });
});
