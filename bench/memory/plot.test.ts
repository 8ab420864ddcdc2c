import assert from "node:assert/strict";
import { test } from "node:test";
import { svg, ticks } from "./plot.ts";

test("ticks are round numbers from one end of an axis to the other", () => {
  assert.deepEqual(ticks({ label: "", max: 10 }), [0, 2, 4, 6, 8, 10]);
  assert.deepEqual(ticks({ label: "", min: 1, max: 4 }), [1, 2, 3, 4]);
});

test("a figure shows its points between its axes, and its words as they are", () => {
  const picture = svg({ title: "a < b & c", x: { label: "VMs", max: 10 }, y: { label: "%", max: 100 }, series: [{ name: "shared", points: [[0, 0], [10, 100], [20, 50]] }] });
  assert.match(picture, /points="60,310 470,40 470,175"/);
  assert.match(picture, />a &lt; b &amp; c</);
});
