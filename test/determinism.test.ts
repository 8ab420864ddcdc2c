/** The same inputs make the same run, to the last register: by the instruction clock and a seed, or by a recording. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { suite, test } from "node:test";
import { Doorbell } from "#base/doorbell.ts";
import { Random } from "#base/random.ts";
import { parseKernel } from "#images/kernel.ts";
import { HostTime } from "#machine/host-time.ts";
import { Recording, type Arrival, type Outside, type StampedInput } from "#machine/inputs.ts";
import { architecturalFields, layout } from "#machine/layout.ts";
import type { ClockMode } from "#machine/computer.ts";
import { Machine } from "#machine/machine.ts";
import { Board } from "#platform/board.ts";
import { defaultImage } from "./kit/hostelry.ts";

const MIB = 1 << 20;
/** A third of the way to the shell. */
const INSTRUCTIONS = 150_000_000;

class SeededHost implements Outside {
  readonly #time = new HostTime();
  readonly #random: Random;
  #typed = false;

  constructor(seed: number) {
    this.#random = new Random(seed);
  }

  ticks = (): number => this.#time.ticks();
  realTime = (): bigint => this.#time.realTime();

  entropy(length: number): Uint8Array {
    const bytes = new Uint8Array(length);
    this.#random.fill(bytes);
    return bytes;
  }

  /** Someone types ahead. */
  arrival(instret: number): Arrival | undefined {
    if (this.#typed || instret < INSTRUCTIONS / 2) return undefined;
    this.#typed = true;
    return { kind: "console", bytes: Buffer.from("ls\n") };
  }
}

interface EndState {
  readonly instret: number;
  readonly state: Readonly<Record<string, readonly string[]>>;
  readonly memory: string;
  readonly output: string;
}

const found = await defaultImage();

suite("a boot of Debian is repeatable", { skip: "skip" in found && found.skip }, async () => {
  const { kernelPath, initrdPath, manifest } = (found as Exclude<typeof found, { skip: string }>).image ?? {};
  const kernelFile = kernelPath === undefined ? new Uint8Array(0) : await readFile(kernelPath);
  const initrd = initrdPath === undefined ? new Uint8Array(0) : await readFile(initrdPath);

  /** Runs until so many instructions have retired, at the end of that slice. */
  const boot = async (clock: ClockMode, outside: Outside, record?: StampedInput[]): Promise<EndState> => {
    let output = "";
    const command = (): "stop" | "run" => (machine.computer.instret >= INSTRUCTIONS ? "stop" : "run");
    const machine: Machine = new Machine({ ramSize: 96 * MIB, clock, outside, doorbell: new Doorbell(), command });
    const board = new Board({
      computer: machine.computer,
      drives: [],
      output: (bytes) => void (output += Buffer.from(bytes).toString("latin1")),
      terminal: { columns: 80, rows: 24 },
      warn: (message) => assert.fail(message),
    });
    if (record !== undefined) machine.computer.inputs.recorder = (input) => void record.push(input);
    board.boot({ kernel: await parseKernel(kernelFile, "the kernel"), initrd, append: manifest?.append ?? "" });
    assert.deepEqual(machine.run(), { kind: "stopped" });
    const fieldOf = (name: (typeof architecturalFields)[number]): string[] =>
      Array.from({ length: layout[name].count }, (_, index) => machine.state.get(name, index).toString(16));
    // x[32] is where writes to x0 go: no register.
    const state = Object.fromEntries(architecturalFields.map((name) => [name, name === "x" ? fieldOf(name).slice(0, 32) : fieldOf(name)]));
    const memory = createHash("sha256").update(Buffer.from(machine.processor.dma.readable(0x80000000, 96 * MIB))).digest("hex");
    return { instret: machine.computer.instret, state, memory, output };
  };

  test("by the instruction clock and a seed", async () => {
    const first = await boot("instructions", new SeededHost(42));
    assert.match(first.output, /Linux version/);
    assert.deepEqual(await boot("instructions", new SeededHost(42)), first);
  });

  test("another seed is another run", async () => {
    const [first, second] = [await boot("instructions", new SeededHost(1)), await boot("instructions", new SeededHost(2))];
    assert.notEqual(first.memory, second.memory);
  });

  test("by the host's clock, from a recording", async () => {
    const recorded: StampedInput[] = [];
    const first = await boot("host", new SeededHost(7), recorded);
    assert.ok(recorded.some(({ input }) => input.kind === "console") && recorded.some(({ input }) => input.kind === "ticks"));
    assert.deepEqual(await boot("host", new Recording(recorded)), first);
  });
});
