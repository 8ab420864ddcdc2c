import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { GuestFailure, Machine } from "./machine.ts";

const shell = (script: string) => new Machine(["sh", "-c", script]);

test("a match is taken from what was written behind the one before", async () => {
  const machine = shell("echo one two; read line; echo again $line");
  assert.equal((await machine.waitFor(/o(n)e/, 5000, "one")).match[1], "n");
  const sent = machine.send("sent");
  const { at, before } = await machine.waitFor(/ sent/, 5000, "echo");
  assert.ok(at >= sent);
  assert.equal(before, " two\nagain");
  assert.ok(machine.arrivalOf(/two/)! <= at);
  assert.equal(await machine.finish(5000), true);
});

test("a guest that says nothing is a failure, and is ended with all its processes", async () => {
  const machine = shell("sleep 1000 & echo $!; wait");
  const { match } = await machine.waitFor(/\d+\n/, 5000, "pid");
  await assert.rejects(machine.waitFor(/never/, 50, "miracle"), (error) => error instanceof GuestFailure && /no miracle within 0.05 s/.test(error.message));
  assert.equal(await machine.finish(50), false);
  assert.equal(machine.running, false);
  await gone(Number(match[0]));
});

/** Waits until a process has ended, reaped or not. */
async function gone(pid: number): Promise<void> {
  for (;;) {
    try {
      if (/\) Z /.test(readFileSync(`/proc/${pid}/stat`, "utf8"))) return;
    } catch {
      return;
    }
    await sleep(10);
  }
}

test("a machine that ends, or can't be started, is a failure at once", async () => {
  await assert.rejects(shell("echo broken >&2; exit 3").waitFor(/never/, 5000, "prompt"), /exited with status 3; it said "broken"/);
  await assert.rejects(new Machine(["/nonexistent/emulator"]).waitFor(/never/, 5000, "prompt"), GuestFailure);
});
