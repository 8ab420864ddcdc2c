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

for (const rate of [500, 10_000]) test(`where all guests wait, ${rate} pages a second are looked at if that is the rate`, () => {
  const { scanner, looked } = scannerOf(rate);
  scanner.step(0);
  for (let now = 0; now < 10_000; now += scanner.patience) scanner.step(now);
  assert.ok(looked() > 8.5 * rate && looked() <= 10 * rate, `${looked()}`);
});

test("without a rate, nobody wakes up for it", () => {
  assert.equal(scannerOf(0).scanner.patience, Infinity);
});
