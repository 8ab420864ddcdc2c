import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { decodeMessage, encodeMessage, type StreamMessage } from "./stream.ts";

const messages: readonly StreamMessage[] = [
  { kind: "bytes", channel: "input", bytes: Uint8Array.of(0, 255, 10) },
  { kind: "bytes", channel: "error", bytes: new Uint8Array(0) },
  { kind: "resize", columns: 80, rows: 24 },
  { kind: "end-of-input" },
  { kind: "rebooted" },
  { kind: "ended", end: { kind: "fail", code: 3 } },
  { kind: "exited", status: 127 },
  { kind: "failed", code: "too-slow", message: "a line" },
];

suite("messages of a stream", () => {
  test("go there and back", () => assert.deepEqual(messages.map((message) => decodeMessage(encodeMessage(message))), messages));

  test("that make no sense are refused", () => {
    for (const encoded of [new Uint8Array(0), Uint8Array.of(3), "", "{", "null", '{"kind":"sing"}', '{"kind":"resize","columns":0,"rows":1}']) {
      assert.throws(() => decodeMessage(encoded), { code: "bad-message" }, String(encoded));
    }
  });
});
