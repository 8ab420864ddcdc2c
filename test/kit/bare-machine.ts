/** The bare machine on this thread, for tests that compare guests with it. */
import assert from "node:assert/strict";
import { Doorbell } from "#base/doorbell.ts";
import { Machine } from "#machine/machine.ts";
import { Board } from "#platform/board.ts";
import { address } from "#platform/memory-map.ts";
import { assemble } from "#riscv/assemble.ts";
import { QuietHost } from "./monitor.ts";

const MIB = 1 << 20;

export interface BareRun {
  readonly machine: Machine;
  readonly output: string;
}

/** Runs one program to its end, by the instruction clock. */
export function runBare(source: string, memory = 4 * MIB): BareRun {
  let output = "";
  const machine = new Machine({
    ramSize: memory, clock: "instructions", outside: new QuietHost(), doorbell: new Doorbell(), hypervisor: false, command: () => "run",
  });
  const board = new Board({
    computer: machine.computer, drives: [], terminal: { columns: 80, rows: 24 }, warn: assert.fail,
    output: (bytes) => void (output += Buffer.from(bytes).toString("latin1")),
  });
  board.boot({ kernel: { format: "raw", bytes: assemble(source, { base: address.memory }) }, append: "" });
  machine.run();
  return { machine, output };
}
