import assert from "node:assert/strict";
import { test } from "node:test";
import { Scanner } from "./scanner.ts";
import type { Sharing } from "./sharing.ts";

/** Where each page finds another like it. */
function scannerOf(rate: number): { readonly scanner: Scanner; readonly looked: () => number } {
  let all = 0;
  const scan = (count: number) => ((all += count), { looked: count, merged: count });
  return { scanner: new Scanner({ pages: 1000, scan } as unknown as Sharing, rate), looked: () => all };
}

for (const [rate, where] of [[500, "guests work"], [10_000, "all guests wait"]] as const) test(`where ${where}, ${rate} pages a second are looked at if that is the rate`, () => {
  const { scanner, looked } = scannerOf(rate);
  scanner.step(0);
  for (let now = 0; now < 10_000; now += Number.isFinite(scanner.patience) ? scanner.patience : 5) scanner.step(now);
  assert.ok(looked() > 8.5 * rate && looked() <= 10 * rate, `${looked()}`);
});

test("where all guests wait, nobody wakes up for a usual rate, and little is looked at when a guest does", () => {
  const { scanner, looked } = scannerOf(500);
  assert.equal(scanner.patience, Infinity);
  scanner.step(0);
  for (let now = 100; now <= 10_000; now += 100) scanner.step(now);
  assert.equal(looked(), 1600);
});

test("without a rate, nobody wakes up for it", () => {
  assert.equal(scannerOf(0).scanner.patience, Infinity);
});
