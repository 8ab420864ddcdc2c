import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { Doorbell } from "#base/doorbell.ts";
import type { DeviceTreeNode } from "#base/device-tree.ts";
import type { ImmediateBlockBackend } from "#devices/virtio/block.ts";
import { cellsOf, decodeDeviceTree, stringsOf } from "#images/device-tree.ts";
import type { Arrival, Outside } from "#machine/inputs.ts";
import { assemble } from "#riscv/assemble.ts";
import { Machine } from "#machine/machine.ts";
import { Board, type BootFiles } from "./board.ts";
import { address } from "./memory-map.ts";

const MIB = 1 << 20;

class Host implements Outside {
  readonly arrivals: Arrival[] = [];
  ticks = (): number => 0;
  realTime = (): bigint => 0n;
  entropy = (length: number): Uint8Array => new Uint8Array(length).fill(0x5a);
  arrival = (): Arrival | undefined => this.arrivals.shift();
}

const disk: ImmediateBlockBackend = { kind: "immediate", sectors: 8, readOnly: true, id: "disk", read() {}, write() {}, flush() {} };

function setUp(drives: readonly ImmediateBlockBackend[] = []) {
  const host = new Host();
  let output = "";
  const machine = new Machine({ ramSize: 16 * MIB, clock: "instructions", outside: host, doorbell: new Doorbell() });
  const board = new Board({
    computer: machine.computer,
    drives,
    output: (bytes) => void (output += Buffer.from(bytes).toString("latin1")),
    terminal: { columns: 80, rows: 24 },
    warn: (message) => assert.fail(message),
  });
  return { machine, board, host, output: () => output, x: (index: number) => machine.state.get("x", index) };
}

/** Linked to the start of memory. */
function program(source: string): NonNullable<BootFiles["kernel"]> {
  return { format: "raw", bytes: assemble(source, { base: address.memory }) };
}

const POWER_OFF = `
  li   t0, ${address.test}
  li   t1, 0x5555
  sw   t1, 0(t0)
  stay: j stay`;

function find(node: DeviceTreeNode, path: string): DeviceTreeNode {
  return path.split("/").reduce((here, name) => {
    const child = here.children?.find((candidate) => candidate.name === name);
    assert.ok(child, `${path}: no ${name}`);
    return child;
  }, node);
}

suite("the board", () => {
  test("a kernel begins in S-mode, with its hart and its device tree", () => {
    const { board, machine, x } = setUp([disk]);
    board.boot({ kernel: program(`mv s0, a0\nmv s1, a1\ncsrr s2, sstatus\ncsrr s3, satp\nrdtime s4\n${POWER_OFF}`), initrd: new Uint8Array(5000), append: "one two" });
    assert.equal(machine.state.number("privilege"), 1);
    assert.deepEqual(machine.run(), { kind: "poweroff" });
    assert.deepEqual([x(8), x(19)], [0n, 0n]);
    const tree = decodeDeviceTree(machine.processor.dma.readable(Number(x(9)), 16384).slice());
    const chosen = find(tree, "chosen").properties;
    assert.deepEqual(stringsOf(chosen["bootargs"]), ["one two"]);
    const [, start, , end] = [...cellsOf(chosen["linux,initrd-start"]), ...cellsOf(chosen["linux,initrd-end"])];
    assert.equal(end! - start!, 5000);
    assert.deepEqual(chosen["rng-seed"], new Uint8Array(64).fill(0x5a));
    assert.deepEqual(cellsOf(find(tree, "memory@80000000").properties["reg"]), [0, 0x80000000, 0, 16 * MIB]);
    const hart = find(tree, "cpus/cpu@0").properties;
    assert.deepEqual(stringsOf(hart["mmu-type"]), ["riscv,sv57"]);
    assert.ok(stringsOf(hart["riscv,isa-extensions"]).includes("sstc"));
    const soc = find(tree, "soc");
    const [path] = stringsOf(chosen["stdout-path"]);
    assert.deepEqual(stringsOf(find(tree, path!.slice(1)).properties["compatible"]), ["ns16550a"]);
    const names = soc.children!.map(({ name }) => name);
    assert.deepEqual(names.slice(0, 5), ["test@100000", "rtc@101000", "clint@2000000", "plic@c000000", "serial@10000000"]);
    assert.equal(names.filter((name) => name.startsWith("virtio_mmio@")).length, 8);
    // Every phandle that is referred to is there.
    const phandles = new Set([find(tree, "cpus/cpu@0/interrupt-controller"), ...soc.children!].flatMap(({ properties }) => (properties["phandle"] ? cellsOf(properties["phandle"]) : [])));
    const parents = soc.children!.map(({ properties }) => properties["interrupt-parent"]).filter((parent) => parent !== undefined);
    assert.equal(parents.length, 10);
    for (const parent of parents) assert.ok(phandles.has(cellsOf(parent)[0]!));
  });

  test("firmware begins in M-mode, and finds what it is to start", () => {
    const { board, machine, x } = setUp();
    board.boot({ firmware: program(`ld s0, 0(a2)\nld s1, 16(a2)\nld s2, 24(a2)\nmv s3, a1\ncsrr s4, mhartid\n${POWER_OFF}`), kernel: { format: "image", bytes: new Uint8Array(64), textOffset: 2 * MIB, memorySize: 64 }, append: "" });
    assert.deepEqual(machine.run(), { kind: "poweroff" });
    assert.equal(x(8), 0x4942534fn);
    assert.equal(x(9), BigInt(address.memory + 2 * MIB));
    assert.equal(x(18), 1n);
    assert.equal(decodeDeviceTree(machine.processor.dma.readable(Number(x(19)), 16384).slice()).name, "");
  });

  test("accessed and dirty bits are kept by hardware from power-on, but for programs that expect Spike", () => {
    const code = assemble(`csrr s0, menvcfg\n${POWER_OFF}`, { base: address.memory });
    for (const [symbols, expected] of [[new Map(), 1n << 61n], [new Map([["tohost", address.memory + 4096]]), 0n]] as const) {
      const { board, machine, x } = setUp();
      board.boot({ append: "", firmware: { format: "elf", entry: address.memory, symbols, segments: [{ address: address.memory, memorySize: 8192, bytes: code }] } });
      assert.deepEqual(machine.run(), { kind: "poweroff" });
      assert.equal(x(8), expected);
    }
  });

  test("drives come first, then console and entropy; the other slots are empty", () => {
    const { machine } = setUp([disk, disk]);
    const ids = Array.from({ length: 8 }, (_, slot) => machine.computer.bus.read(address.virtio + 0x1000 * slot + 8, 4)![0]);
    assert.deepEqual(ids, [2, 2, 3, 4, 0, 0, 0, 0]);
    assert.throws(() => setUp(Array.from({ length: 7 }, () => disk)), { code: "too-many-drives" });
  });

  test("the UART's interrupt reaches the hart through the PLIC", () => {
    const { board, machine, host, x } = setUp();
    host.arrivals.push({ kind: "console", bytes: Buffer.from("k") });
    board.boot({ append: "", kernel: program(`
      la   t0, trap
      csrw stvec, t0
      li   t0, ${address.uart}
      li   t1, 1
      sb   t1, 1(t0)              # received data
      li   t0, ${address.plic}
      sw   t1, 40(t0)             # priority of source 10
      li   t2, ${address.plic + 0x2080}
      li   t1, 1024
      sw   t1, 0(t2)              # enabled for context 1
      li   t0, 512
      csrw sie, t0
      csrsi sstatus, 2
      wait: wfi
      j    wait
      .align 2
      trap: csrr s0, scause
      li   t0, ${address.plic + 0x201004}
      lw   s1, 0(t0)
      li   t0, ${address.uart}
      lbu  s2, 0(t0)
      ${POWER_OFF}`) });
    assert.deepEqual(machine.run(), { kind: "poweroff" });
    assert.deepEqual([x(8), x(9), x(18)], [(1n << 63n) | 9n, 10n, 107n]);
  });

  test("the built-in firmware answers: version, timer, console, shutdown", () => {
    const { board, machine, output, x } = setUp();
    board.boot({ append: "", kernel: program(`
      li   a7, 0x10
      li   a6, 0
      ecall
      mv   s0, a1
      li   a7, 0x4442434e         # debug console: write byte
      li   a6, 2
      li   a0, 0x21
      ecall
      li   a7, 0x54494d45         # timer, 100 ticks from now
      li   a6, 0
      rdtime a0
      addi a0, a0, 100
      mv   s2, a0
      ecall
      li   t0, 32
      csrw sie, t0
      wfi
      rdtime s3
      li   a7, 0x53525354         # shutdown
      li   a6, 0
      li   a0, 0
      li   a1, 0
      ecall`) });
    assert.deepEqual(machine.run(), { kind: "poweroff" });
    assert.equal(x(8), 0x2000000n);
    assert.equal(output(), "!");
    // The instruction that reads the time may begin another tick.
    assert.ok(x(19) - x(18) <= 1n && x(19) >= x(18));
  });

  test("a reboot starts again, with zeroed bss and devices as after power-on", () => {
    const { board, machine, x } = setUp();
    const files: BootFiles = { append: "", kernel: { format: "elf", entry: address.memory, symbols: new Map(), segments: [{ address: address.memory, memorySize: 8192, bytes: assemble(`
      li   t0, ${address.memory + 4096}
      ld   s0, 0(t0)
      sd   t0, 0(t0)
      li   t1, ${address.plic}
      lw   s1, 40(t1)
      sw   t0, 40(t1)
      li   t0, ${address.test}
      li   t1, 0x7777
      sw   t1, 0(t0)
      stay: j stay`, { base: address.memory }) }] } };
    for (let time = 0; time < 2; time++) {
      board.boot(files);
      assert.deepEqual(machine.run(), { kind: "reboot" });
      assert.deepEqual([x(8), x(9)], [0n, 0n], `time ${time}`);
    }
  });
});
