import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { Doorbell } from "#base/doorbell.ts";
import { assemble } from "#riscv/assemble.ts";
import type { MmioDevice } from "./bus.ts";
import { HostTime } from "./host-time.ts";
import { Recording, type Arrival, type Outside, type StampedInput } from "./inputs.ts";
import type { ClockMode, Computer, MachineEnd, Surroundings } from "./computer.ts";
import { Machine } from "./machine.ts";

const RAM = 0x80000000;
const DEVICE = 0x1000_0000;

/** A device whose registers are what a test wants of stores: 0 ends the machine, 8 is mtimecmp, 16 the offset of mtime. */
function control(computer: () => Computer): MmioDevice {
  return {
    name: "control",
    size: 32,
    read: () => 0,
    write(offset, _size, value) {
      if (offset === 0) computer().end({ kind: "fail", code: value });
      if (offset === 8) computer().setTimecmp(0, value);
      if (offset === 16) computer().setMtimeOffset(value);
    },
    deviceTreeNode: () => ({ name: "control", properties: {} }),
    reset() {},
  };
}

class Quiet implements Outside {
  readonly time = new HostTime();
  ticks = (): number => this.time.ticks();
  realTime = (): bigint => this.time.realTime();
  entropy = (length: number): Uint8Array => new Uint8Array(length);
  arrival(_instret: number): Arrival | undefined {
    return undefined;
  }
}

interface Run {
  readonly machine: Machine;
  readonly end: MachineEnd;
  readonly arrivals: readonly string[];
  readonly x: (index: number) => number;
}

function start(source: string, clock: ClockMode, outside: Outside = new Quiet(), record?: StampedInput[], patience = 10_000): Run {
  // A test that goes wrong ends all the same.
  const deadline = performance.now() + patience;
  const command = (): "run" | "stop" => (performance.now() > deadline ? "stop" : "run");
  const machine: Machine = new Machine({ ramSize: 1 << 20, clock, outside, doorbell: new Doorbell(), command });
  if (record !== undefined) machine.computer.inputs.recorder = (input) => void record.push(input);
  machine.computer.bus.map(DEVICE, control(() => machine.computer));
  const arrivals: string[] = [];
  const surroundings: Surroundings = {
    firmwareCall: () => machine.computer.end({ kind: "poweroff" }),
    arrived(input) {
      arrivals.push(input.kind === "console" ? Buffer.from(input.bytes).toString() : input.kind);
      machine.computer.line(0, 11).set(true);
    },
    ready: () => true,
    sliceEnded() {},
  };
  machine.computer.attach(surroundings);
  machine.processor.dma.writable(RAM, 4096).set(assemble(source, { base: RAM }));
  machine.state.set("pc", RAM);
  const end = machine.run();
  return { machine, end, arrivals, x: (index) => Number(machine.state.get("x", index)) };
}

/** Ends with the status in a0. */
const END = `
  li    t6, ${DEVICE}
  sw    a0, 0(t6)
  stay: j stay
`;

suite("a machine", () => {
  test("runs until the guest ends it, and no instruction more", () => {
    const { end, machine } = start(`li a0, 7\n${END}`, "instructions");
    assert.deepEqual(end, { kind: "fail", code: 7 });
    // Two loads of a constant, and the store.
    assert.equal(machine.computer.instret, 3);
  });

  test("a store to nowhere is the guest's fault", () => {
    const { end, x } = start(`
      la    t0, trap
      csrw  mtvec, t0
      li    t1, 0x70000000
      sw    a0, 0(t1)
      .align 2
      trap: csrr  a0, mcause
      li    t6, ${DEVICE}
      sw    a0, 0(t6)`, "instructions");
    assert.deepEqual(end, { kind: "fail", code: 7 });
    assert.equal(x(10), 7);
  });

  test("instruction clock: an instruction is 10 ns, and waiting is free", () => {
    const { machine, x, end } = start(`
      csrr  s0, time
      li    t0, 128              # MTIE
      csrw  mie, t0
      li    t0, ${DEVICE}
      li    t1, 36000000         # 3.6 seconds of 10 MHz
      sw    t1, 8(t0)
      wfi
      csrr  s1, time
      csrr  s2, mip
      csrr  s3, instret
      li    a0, 0
      ${END}`, "instructions");
    assert.deepEqual(end, { kind: "fail", code: 0 });
    assert.equal(x(8), 0);
    // 10 instructions make a tick.
    assert.equal(x(9), 36_000_000);
    assert.equal(x(18), 128);
    assert.ok(x(19) < 20, "waiting retires nothing");
    assert.equal(machine.computer.mtime, 36_000_001);
  });

  test("instruction clock: a timer interrupt comes at its very instruction", () => {
    const { x } = start(`
      la    t0, trap
      csrw  mtvec, t0
      li    t0, 128
      csrw  mie, t0
      li    t0, ${DEVICE}
      li    t1, 3
      sw    t1, 8(t0)            # mtime ≥ 3 from instruction 30 on
      csrsi mstatus, 8
      loop: addi s0, s0, 1
      j     loop
      .align 2
      trap: csrr s1, instret
      li    a0, 0
      ${END}`, "instructions");
    assert.equal(x(9), 30);
  });

  test("instruction clock: Sstc's timer as well, and mtime can be set", () => {
    const { x, machine } = start(`
      li    t0, ${DEVICE}
      li    t1, 5000
      sw    t1, 16(t0)
      csrr  s0, time
      li    t0, -1
      csrw  menvcfg, t0
      csrw  mcounteren, t0
      li    t0, 32               # STIE
      csrw  mie, t0
      li    t1, 9000
      csrw  stimecmp, t1
      wfi
      csrr  s1, time
      csrr  s2, mip
      li    a0, 0
      ${END}`, "instructions");
    assert.equal(x(8), 5000);
    assert.equal(x(9), 9000);
    assert.equal(x(18), 32);
    assert.equal(machine.computer.clock.ticks(), machine.computer.mtime - 5000);
  });

  test("host clock: waits for its timer, and not longer for the look at it", () => {
    const { x, machine } = start(`
      li    t0, 128
      csrw  mie, t0
      li    t0, ${DEVICE}
      csrr  s0, time
      li    t1, 200000           # 20 ms
      add   t1, t1, s0
      sw    t1, 8(t0)
      again: wfi
      csrr  t2, mip
      beqz  t2, again
      csrr  s1, time
      li    a0, 0
      ${END}`, "host");
    assert.ok(x(9) - x(8) >= 200_000, `${x(9) - x(8)}`);
    assert.ok(machine.stats().idleSeconds > 0.015);
    assert.ok(machine.computer.instret < 1000);
  });

  test("a command pauses it, and the time that it is paused is not the guest's; another stops it", () => {
    const outside = new Quiet();
    let paused = 0;
    let asked = 0;
    const now = performance.now();
    const options = {
      ramSize: 1 << 20,
      clock: "host" as const,
      doorbell: new Doorbell(),
      outside: Object.assign(outside, { pause: () => void (paused++, outside.time.pause()), resume: () => outside.time.resume() }),
    };
    const machine = new Machine({
      ...options,
      command() {
        asked++;
        if (asked === 2) options.doorbell.ring();
        return asked === 2 ? "pause" : asked < 5 ? "run" : "stop";
      },
    });
    machine.computer.attach({ firmwareCall() {}, arrived() {}, ready: () => true, sliceEnded() {} });
    machine.processor.dma.writable(RAM, 64).set(assemble("loop: j loop", { base: RAM }));
    machine.state.set("pc", RAM);
    assert.deepEqual(machine.run(), { kind: "stopped" });
    assert.equal(paused, 1);
    assert.ok(machine.computer.clock.ticks() <= (performance.now() - now) * 10_000);
  });

  test("a hart whose trap vector faults hears a command all the same", () => {
    const { end, machine } = start("ecall", "instructions", new Quiet(), undefined, 200);
    assert.deepEqual(end, { kind: "stopped" });
    assert.equal(machine.computer.instret, 0);
    assert.ok(machine.stats().traps["instruction access fault"]! > 1000);
  });

  test("reset: the hart as after power-on, the count of instructions goes on", () => {
    const { machine } = start(`li t0, -1\ncsrw menvcfg, t0\ncsrw pmpaddr0, t0\ncsrw mie, t0\ncsrw mscratch, t0\nli a0, 1\n${END}`, "instructions");
    const instret = machine.computer.instret;
    machine.computer.core.reset();
    for (const field of ["menvcfg", "mie", "mscratch", "pmpaddr", "pc", "mstatus", "satp"] as const) assert.equal(machine.state.get(field), 0n, field);
    assert.equal(machine.state.get("x", 5), 0n);
    assert.equal(machine.state.number("privilege"), 3);
    assert.equal(machine.computer.instret, instret);
  });

  test("more memory than there can be is refused", () => {
    const options = { clock: "host" as const, outside: new Quiet(), doorbell: new Doorbell() };
    assert.throws(() => new Machine({ ...options, ramSize: 8 * 2 ** 30 }), { code: "memory-size", message: /give at most \d+M$/ });
  });
});

suite("inputs", () => {
  const program = `
      la    t0, trap
      csrw  mtvec, t0
      li    t0, 2048             # MEIE
      csrw  mie, t0
      csrsi mstatus, 8
      loop: csrr t1, time
      add   s1, s1, t1
      addi  s0, s0, 1
      j     loop
      .align 2
      trap: csrr s2, instret
      csrr  s3, time
      li    a0, 3
      ${END}`;

  test("what was recorded, given again, makes the same run again", () => {
    const recorded: StampedInput[] = [];
    const outside = new Quiet();
    let polls = 0;
    outside.arrival = () => (++polls === 3 ? { kind: "console", bytes: Buffer.from("key") } : undefined);
    const first = start(program, "host", outside, recorded);
    assert.deepEqual(first.arrivals, ["key"]);
    assert.ok(recorded.length > 10);
    const recording = new Recording(recorded);
    const second = start(program, "host", recording);
    assert.deepEqual(second.arrivals, ["key"]);
    assert.ok(recording.finished);
    for (let index = 0; index < 32; index++) assert.equal(second.x(index), first.x(index), `x${index}`);
    assert.equal(second.machine.computer.instret, first.machine.computer.instret);
  });

  test("a replay that leaves the record is told so", () => {
    const recording = new Recording([]);
    assert.throws(() => start(program, "host", recording), { code: "replay-diverged", message: /asks for ticks, the recording has nothing more/ });
    const other = new Recording([{ instret: 0, input: { kind: "entropy", bytes: new Uint8Array(4) } }]);
    assert.throws(() => other.entropy(5), { code: "replay-diverged" });
  });
});

test("the host's time stands still while the machine is paused", () => {
  let now = 1000;
  const time = new HostTime(() => now);
  now += 5;
  assert.equal(time.ticks(), 50_000);
  time.pause();
  now += 1000;
  assert.equal(time.ticks(), 50_000);
  time.pause();
  now += 1000;
  time.resume();
  assert.equal(time.ticks(), 50_000);
  now += 1;
  assert.equal(time.ticks(), 60_000);
  time.resume();
  assert.equal(time.ticks(), 60_000);
});
