import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { request } from "../layout.ts";
import { codeHash } from "./code-hash.ts";
import { LatelyTold, standsAt } from "./code-index.ts";
import type { CompiledRegion } from "./compile.ts";
import type { RegionRequest } from "./region.ts";

const code = Uint8Array.from({ length: 16 }, (_, i) => i + 1);
const memory = new Uint8Array(8 * 4096);
/** The code begins at the end of frames 1 and 4, and goes on in frames 2 and 6. */
for (const frame of [1, 4]) memory.set(code.subarray(0, 8), frame * 4096 + 4088);
for (const frame of [2, 6]) memory.set(code.subarray(8), frame * 4096);

/** The last 8 bytes of one frame, with another mapped behind it. */
function across(first: number, second: number): RegionRequest {
  const frames = Array.from({ length: 2 * request.reach + 1 }, () => 0);
  frames.splice(request.reach, 2, first * 4096, second * 4096);
  return { head: first * 4096 + 4088, frames, privilege: 1 };
}

const region: CompiledRegion = {
  pages: [0, 1],
  spans: [{ offset: 0, length: 8 }, { offset: 8, length: 8 }],
  code,
  hash: 0,
  instructions: 4,
  request: across(1, 2),
};

suite("code that stands in several places", () => {
  test("is known by its bytes at their distances", () => {
    for (const place of [across(1, 2), across(4, 6), across(1, 6)]) assert.ok(standsAt(memory, region, place));
    for (const place of [across(1, 3), across(3, 2), across(1, 0)]) assert.ok(!standsAt(memory, region, place));
  });

  test("has one hash", () => {
    const hashes = [1, 4, 3].map((frame) => codeHash(new DataView(memory.buffer), frame * 4096 + 4088));
    assert.equal(hashes[0], hashes[1]);
    assert.notEqual(hashes[0], hashes[2]);
  });

  test("who was told of it is refused once", () => {
    const told = new LatelyTold();
    assert.ok(!told.has(memory, across(4, 6)));
    told.add([region]);
    assert.ok(!told.has(memory, { ...across(4, 6), privilege: 0 }));
    assert.ok(!told.has(memory, { ...across(4, 6), hotLoops: [0] }));
    assert.ok(told.has(memory, across(4, 6)));
    assert.ok(!told.has(memory, across(4, 6)));
  });
});
