import assert from "node:assert/strict";
import { test } from "node:test";
import { findCounters } from "./measure-crossings.ts";

test("counters are found behind and before other text, on one line or several", () => {
  const flat = '[ 0.1] a line {with braces}\n{"instructions": 5, "crossings": {"uart": 2}}\nbye\n';
  assert.deepEqual([...findCounters(flat)!], [["instructions", 5], ["crossings.uart", 2]]);
  const indented = 'guest\n{\n  "instructions": 5,\n  "crossings": {\n    "uart": 2\n  },\n  "list": [\n    {"a": 1}\n  ]\n}\n';
  assert.equal(findCounters(indented)!.get("crossings.uart"), 2);
});

test("no object, no counters", () => {
  assert.equal(findCounters("nothing { here }"), null);
  assert.equal(findCounters(""), null);
});
