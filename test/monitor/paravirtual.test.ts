/** Paravirtual guests: what each call answers, and kernels that mean harm. The small kernel's own tests are in test/kernel. */
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { Random } from "#base/random.ts";
import { SbiError } from "#devices/sbi.ts";
import { bank, layout } from "#machine/layout.ts";
import { hypercalls, INTERFACE } from "#monitor/cpu/hypercalls.ts";
import { address } from "#platform/memory-map.ts";
import { instructions } from "#riscv/table.ts";
import { cases, seed } from "../kit/effort.ts";
import { TestMonitor, type TestVm } from "../kit/monitor.ts";

const PAGE = 4096;
/** Its cause, in U-mode. */
const ECALL = 8;
/** `sd rs2, 0(rs1)`, without its registers. */
const SD = 0x3023;
const page = (n: number): number => address.memory + n * PAGE;
const RESULTS = page(32);
const FRAMES = page(33);
const SHARED = page(40);
const number = (name: string): number => hypercalls.findIndex((call) => call.name === name);

/** Sets a0 to a2 to numbers, or `=register` to what is in a register. */
const call = (name: string, ...args: readonly (number | string)[]): string => `
  li a7, ${INTERFACE}
  li a6, ${number(name)}
  ${args.map((value, i) => (typeof value === "number" ? `li a${i}, ${value}` : `mv a${i}, ${value}`)).join("\n  ")}
  ecall
  sd a0, 0(s0)
  sd a1, 8(s0)
  addi s0, s0, 16`;
/** The frame of a page, in a register. */
const frame = (register: string, n: number): string => `
  li t0, ${FRAMES + 4 * n}
  lwu ${register}, 0(t0)`;
const off = `
  li a7, 0x53525354
  li a6, 0
  li a0, 0
  li a1, 0
  ecall`;
const prologue = `
  li s0, ${RESULTS}
  ${call("attach", SHARED)}
  ${call("frames", address.memory / PAGE, 48, FRAMES)}`;

/** Runs a kernel in its first view; its calls' errors and values. */
function run(source: string, calls: number): { readonly errors: readonly number[]; readonly values: readonly bigint[]; readonly vm: TestVm } {
  const vm = new TestMonitor({ translate: true }).runToEnd(source, { cpu: "paravirtual" });
  const bytes = vm.vm.memory.readable(RESULTS, 16 * calls);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const results = Array.from({ length: calls }, (_, i) => [Number(view.getBigInt64(16 * i, true)), view.getBigUint64(16 * i + 8, true)] as const);
  return { errors: results.map(([error]) => error), values: results.map(([, value]) => value), vm };
}

const { success, notSupported, invalidParameter, denied, invalidAddress, alreadyAvailable } = SbiError;

suite("a paravirtual guest", () => {
  test("finds the interface; a guest of another technique doesn't", () => {
    const probe = `
      li a7, 0x10
      li a6, 3
      li a0, ${INTERFACE}
      ecall
      mv s1, a1
      ${off}`;
    for (const [cpu, version] of [["paravirtual", 4n], ["hardware", 0n], ["trap-and-emulate", 0n]] as const) {
      assert.equal(new TestMonitor().runToEnd(probe, { cpu }).x(9), version, cpu);
    }
  });

  test("is refused what it may not ask for", () => {
    const { errors, values, vm } = run(`
      ${prologue}
      ${call("attach", SHARED)}
      ${call("frames", 0x1000, 1, FRAMES)}
      ${call("frames", address.memory / PAGE, 1, 0x1000)}
      ${frame("s1", 20)}
      ${call("pin", "s1", 3)}
      ${call("pin", 0x80001, 0)}
      ${call("pin", "s1", 0)}
      ${call("pin", "s1", 0)}
      ${call("frames", address.memory / PAGE, 1, page(20))}
      ${call("multicall", page(41) + 8, 1)}
      ${call("multicall", page(41), 513)}
      ${call("multicall", 0x2000, 1)}
      ${call("return", page(41) + 8)}
      ${call("base", "s1", 0)}
      ${call("device_read", 0x4000_0000)}
      ${call("device_read", 0x1000_1000)}
      li a7, ${INTERFACE}
      li a6, 99
      ecall
      sd a0, 0(s0)
      ${off}`, 18);
    assert.deepEqual(errors, [
      success, success, alreadyAvailable, invalidParameter, invalidAddress, invalidParameter, denied, success, alreadyAvailable, invalidAddress,
      invalidAddress, invalidParameter, invalidAddress, invalidAddress, denied, invalidParameter, success, notSupported,
    ]);
    assert.equal(values[0], 0x80000n, "the machine's first frame");
    assert.equal(values[16], 0x74726976n, "what a register of virtio's holds");
    assert.deepEqual(vm.end(), { kind: "poweroff" });
  });

  test("a shared page outside of its memory, or in a table, is none", () => {
    const { errors } = run(`
      li s0, ${RESULTS}
      ${call("attach", 0x1000)}
      ${call("attach", SHARED + 8)}
      ${call("frames", address.memory / PAGE, 48, FRAMES)}
      ${frame("s1", 40)}
      ${call("pin", "s1", 0)}
      ${call("attach", SHARED)}
      ${off}`, 5);
    assert.deepEqual(errors, [invalidAddress, invalidAddress, success, success, denied]);
  });

  test("a list of calls ends with the one that fails, and says which", () => {
    const rows = [
      [number("pin"), "s1", 0], [number("wait"), "zero", "zero"], [number("pin"), "s1", 0],
    ] as const;
    const { errors, values } = run(`
      ${prologue}
      ${frame("s1", 20)}
      li t1, ${page(41)}
      ${rows.map(([which, a, b], row) => `
        li t2, ${which}
        sd t2, ${32 * row}(t1)
        sd ${a}, ${32 * row + 8}(t1)
        ${typeof b === "number" ? `sd zero, ${32 * row + 16}(t1)` : ""}`).join("\n")}
      ${call("multicall", page(41), 1)}
      ${call("multicall", page(41), 3)}
      ${call("multicall", page(41) + 32, 1)}
      ${off}`, 5);
    assert.deepEqual(errors.slice(2), [success, alreadyAvailable, notSupported]);
    assert.deepEqual(values.slice(2), [1n, 0n, 0n]);
  });

  test("that writes to its own table has a fault, and the table is as it was", () => {
    const { vm, errors } = run(`
      ${prologue}
      ${frame("s1", 20)}
      ${call("pin", "s1", 0)}
      li t0, ${SHARED}
      la t1, handler
      sd t1, 0x30(t0)
      li t1, ${page(44)}
      sd t1, 0x48(t0)
      li t1, ${page(20)}
      fault:
      sd t1, 0(t1)
      li s3, 1
      ${off}
      .align 2
      handler:
      li t0, ${SHARED}
      ld s2, 8(t0)
      ld s4, 16(t0)
      li t1, ${page(44)}
      ld s5, 0(t1)
      la s6, fault
      ${off}`, 3);
    assert.equal(errors[2], success);
    assert.deepEqual([vm.x(18), vm.x(19), vm.x(20)], [15n, 0n, BigInt(page(20))]);
    assert.equal(vm.x(21), vm.x(22), "the pc is among the registers");
    assert.ok(vm.vm.memory.readable(page(20), 8).every((byte) => byte === 0));
  });

  test("can't write by what the hart remembers to a page that has become a table", () => {
    const [root, middle, leaf, written] = [5, 6, 7, 30];
    const { vm, errors } = run(`
      ${prologue}
      li t0, ${SHARED}
      la t1, handler
      sd t1, 0x30(t0)
      li t1, ${page(44)}
      sd t1, 0x48(t0)
      # Each page where it is, but tables read-only.
      li t1, ${FRAMES}
      li t2, ${page(leaf)}
      li t3, 48
      next:
      lwu t4, 0(t1)
      slli t4, t4, 10
      ori t4, t4, 0xdf
      sd t4, 0(t2)
      addi t1, t1, 4
      addi t2, t2, 8
      addi t3, t3, -1
      bnez t3, next
      ${[root, middle, leaf].map((n) => `
        li t2, ${page(leaf) + 8 * n}
        ld t4, 0(t2)
        andi t4, t4, -5
        sd t4, 0(t2)`).join("\n")}
      ${[[root, 2, middle], [middle, 0, leaf]].map(([table, index, below]) => `
        ${frame("t4", below!)}
        slli t4, t4, 10
        ori t4, t4, 1
        li t2, ${page(table!) + 8 * index!}
        sd t4, 0(t2)`).join("\n")}
      ${frame("s1", root)}
      ${call("base", "s1", 0)}
      li s2, ${page(written)}
      sd zero, 0(s2)
      ${frame("s3", written)}
      ${frame("s4", leaf)}
      slli s5, s3, 10
      ori s5, s5, 0xdb
      slli s4, s4, 12
      addi s4, s4, ${8 * written}
      ${call("update", "s4", "s5")}
      ${call("pin", "s3", 0)}
      li s6, 1
      sd s6, 0(s2)
      li s6, 2
      ${off}
      .align 2
      handler:
      li t0, ${SHARED}
      ld s7, 8(t0)
      ${off}`, 5);
    assert.deepEqual(errors, [success, success, success, success, success]);
    assert.deepEqual([vm.x(22), vm.x(23)], [1n, 15n]);
    assert.ok(vm.vm.memory.readable(page(written), 8).every((byte) => byte === 0));
  });

  test("that has no place for a trap ends", () => {
    for (const source of ["ebreak", `${prologue}\nebreak`]) {
      const vm = new TestMonitor().runToEnd(source, { cpu: "paravirtual" });
      assert.equal((vm.end() as { code: string }).code, "bad-upcall");
    }
  });

  test("grants a ring and a buffer, and is told when the buffer has been filled", () => {
    const [list, ring, buffer] = [20, 21, 22];
    const [granted, entropy, asked] = [3, 4, 16];
    const { errors, vm } = run(`
      ${prologue}
      li t0, ${SHARED}
      la t1, handler
      sd t1, 0x30(t0)
      li t1, ${page(44)}
      sd t1, 0x48(t0)
      li t1, -1
      sd t1, 0x28(t0)
      # Software interrupts.
      li t1, 2
      sd t1, 0x20(t0)
      sd t1, 0(t0)
      li t2, ${page(list)}
      ${[ring, buffer].map((n, reference) => `
        ${frame("s1", n)}
        li t1, ${granted}
        sw t1, ${8 * reference}(t2)
        sw s1, ${8 * reference + 4}(t2)`).join("\n")}
      ${call("connect", entropy, 0)}
      ${call("grants", page(list) + 8)}
      ${call("grants", page(list))}
      ${call("grants", page(list))}
      ${call("kick", entropy)}
      ${call("connect", 5, 0)}
      ${call("connect", entropy, 0)}
      ${call("connect", entropy, 1)}
      ${call("revoke", 0)}
      # One request: reference 1, offset 8, 16 bytes; an event when there is a response.
      li t2, ${page(ring)}
      li t1, 1
      sw t1, 0(t2)
      sw t1, 8(t2)
      sw t1, 68(t2)
      li t1, 8
      sw t1, 72(t2)
      li t1, ${asked}
      sw t1, 76(t2)
      ${call("kick", entropy)}
      j end
      .align 2
      handler:
      mv s8, a0
      li t0, ${SHARED}
      ld s2, 8(t0)
      ld s3, 0x50(t0)
      sd zero, 0x50(t0)
      ld s4, 0x18(t0)
      li t1, ${page(ring)}
      lw s5, 4(t1)
      lw s6, 68(t1)
      ${call("kick", entropy)}
      li t0, ${SHARED}
      ld s7, 0x18(t0)
      ${call("disconnect", entropy)}
      ${call("disconnect", entropy)}
      ${call("revoke", 0)}
      ${call("connect", entropy, 0)}
      end:
      ${off}`, 16);
    assert.deepEqual(errors, [
      success, success, denied, invalidAddress, success, alreadyAvailable, denied, invalidParameter, success, alreadyAvailable, denied,
      success, success, denied, success, denied,
    ]);
    assert.equal(vm.x(24), 0n, "the kick's own result");
    assert.deepEqual([18, 19, 20, 21, 22].map((x) => vm.x(x)), [(1n << 63n) | 1n, 1n << 4n, 2n, 1n, BigInt(asked)]);
    assert.equal(vm.x(23), 0n, "no event is pending when all have been taken");
    const bytes = vm.vm.memory.readable(page(buffer), 32);
    assert.deepEqual([...bytes], Array.from({ length: 32 }, (_, at) => (at >= 8 && at < 24 ? 0x5a : 0)));
  });

  test("is interrupted by itself until it has taken the event", () => {
    const pending = (register: string): string => `
      ${call("flush", 0)}
      li t0, ${SHARED}
      ld ${register}, 0x18(t0)`;
    const { vm } = run(`
      ${prologue}
      li t0, ${SHARED}
      li t1, -1
      sd t1, 0x28(t0)
      li a7, 0x735049
      li a6, 0
      li a0, 1
      li a1, 0
      ecall
      ${pending("s1")}
      ld s2, 0x50(t0)
      sd zero, 0x50(t0)
      ${pending("s3")}
      ${off}`, 2);
    assert.deepEqual([vm.x(9), vm.x(18), vm.x(19)], [2n, 1n, 0n]);
  });

  test("has one hart", () => {
    assert.throws(() => new TestMonitor().create("nop", { cpu: "paravirtual", cpus: 2 }), { code: "one-hart" });
  });
});

/** Whose all other frames are. */
const OTHER = 99;

/** Instructions that reach for memory, and calls with random arguments, in a kernel that has told of all its frames; now and then in tables that it made. */
class Hostile {
  readonly random: Random;
  readonly monitor: TestMonitor;
  readonly guest: TestVm;
  readonly #others: Uint8Array;
  /** Kicks that were not refused. */
  kicks = 0;
  /** Page of the last table that maps memory. */
  #leaf = 0;

  static readonly pages = 48;
  static readonly machinePages = 256;
  /** Frames that nobody has, for the monitor's work. */
  static readonly spare = 64;

  constructor(seedOfRun: number, translate: boolean) {
    this.random = new Random(seedOfRun);
    this.monitor = new TestMonitor({ memory: Hostile.machinePages * PAGE, translate });
    this.guest = this.monitor.create(undefined, { memory: Hostile.pages * PAGE, cpu: "paravirtual" });
    for (let n = 0; n < Hostile.pages; n++) this.guest.vm.memory.own(page(n) / PAGE);
    const { frames, memory } = this.monitor;
    while (frames.available > Hostile.spare) this.random.fill(memory.writable(memory.take(OTHER, "private")));
    this.#others = this.#contents();
  }

  below(limit: number): number {
    return this.random.u32() % limit;
  }

  pick<Item>(items: readonly Item[]): Item {
    return items[this.below(items.length)]!;
  }

  #number(): number {
    const { pmap, machine } = this.guest.vm.memory;
    return machine.pageNumber(pmap.frame(page(this.below(Hostile.pages)) / PAGE));
  }

  #entry(): number {
    const frame = this.below(8) === 0 ? 0x80000 + this.below(Hostile.machinePages) : this.#number();
    return ((frame << 10) | this.pick([1, 1, 0x1f, 0x1f, 0x1b, 0x13, 0x17, this.below(1024)])) >>> 0;
  }

  #argument(): bigint {
    const choices = [
      () => this.#number(), () => this.#number(), () => this.below(4), () => page(this.below(Hostile.pages)), () => this.#entry(), () => this.random.u32(),
      () => this.#number() * PAGE + 8 * this.below(512), () => page(this.below(Hostile.pages)) + 32 * this.below(128),
    ];
    return BigInt(this.pick(choices)()) | (this.below(20) === 0 ? BigInt(this.random.u32()) << 32n : 0n);
  }

  #call(): readonly [function_: bigint, a: bigint, b: bigint, c: bigint] {
    const a = (): bigint => this.#argument();
    const entryAt = (): bigint => BigInt(this.#number() * PAGE + 8 * this.below(512));
    return this.pick([
      () => [BigInt(this.below(hypercalls.length + 2)), a(), a(), a()] as const,
      () => [BigInt(number("pin")), BigInt(this.#number()), BigInt(this.below(3)), 0n] as const,
      () => [BigInt(number("copy")), BigInt(page(this.below(Hostile.pages)) / PAGE), BigInt(page(this.below(Hostile.pages)) / PAGE), 0n] as const,
      () => [BigInt(number("own")), BigInt(page(this.below(Hostile.pages)) / PAGE), 0n, 0n] as const,
      () => [BigInt(number("unpin")), BigInt(this.#number()), 0n, 0n] as const,
      () => [BigInt(number("update")), entryAt(), BigInt(this.#entry()), 0n] as const,
      () => [BigInt(number("base")), BigInt(this.#number()), BigInt(this.#number()), 0n] as const,
      () => [BigInt(number("multicall")), BigInt(page(this.below(Hostile.pages))), BigInt(this.below(64)), 0n] as const,
    ])();
  }

  /** Writes words to a page, if it is memory. */
  #write(n: number, words: (view: DataView) => void): void {
    try {
      const bytes = this.guest.vm.memory.writable(page(n), PAGE);
      words(new DataView(bytes.buffer, bytes.byteOffset, PAGE));
    } catch (error) {
      assert.equal((error as { code?: string }).code, "in-table");
    }
  }

  #fill(n: number, next: () => bigint): void {
    this.#write(n, (view) => {
      for (let at = 0; at < PAGE; at += 8) view.setBigUint64(at, this.below(3) === 0 ? next() : 0n, true);
    });
  }

  #fillWithCalls(n: number): void {
    this.#write(n, (view) => {
      for (let at = 0; at < PAGE; at += 32) this.#call().forEach((word, i) => view.setBigUint64(at + 8 * i, word, true));
    });
  }

  /** What an honest kernel would have: upcalls go to the page of code, registers to a page of their own. */
  #shareHonestly(): void {
    this.#write(1, (view) => {
      const words = [0, 0, 0, 0, 0x222, -1, page(3) + 4 * this.below(64), page(4) + 2048, page(4), page(4) + 256];
      words.forEach((word, i) => view.setBigUint64(8 * i, BigInt.asUintN(64, BigInt(word)), true));
    });
  }

  /** A tree of tables that maps memory where it is, or nearly; its root's page. */
  #plant(): number {
    const [root, middle, leaf] = [5, 6, 7].map((n) => n + 3 * this.below(10)) as [number, number, number];
    const { pmap, machine } = this.guest.vm.memory;
    const to = (n: number, flags: number): number => (machine.pageNumber(pmap.frame(page(n) / PAGE)) << 10) | flags;
    const entries = (n: number, filled: readonly (readonly [index: number, entry: number])[]): void => this.#write(n, (view) => {
      for (let at = 0; at < PAGE; at += 8) view.setBigUint64(at, 0n, true);
      for (const [index, entry] of filled) view.setBigUint64(8 * index, BigInt(this.below(100) === 0 ? this.#entry() : entry), true);
    });
    entries(root, [[2, to(middle, 1)]]);
    entries(middle, [[0, to(leaf, 1)]]);
    const isTable = (n: number): boolean => n >= 5 && n < 38;
    this.#leaf = leaf;
    entries(leaf, Array.from({ length: Hostile.pages }, (_, n) => [n, to(n, isTable(n) && this.below(100) > 0 ? 0xdb : 0xdf)] as const));
    return machine.pageNumber(pmap.frame(page(root) / PAGE));
  }

  /** A list of grants and a ring with requests that name them, right but for some of it: calls that have them done. */
  #planRequests(): readonly (readonly bigint[])[] {
    const [list, ring] = [38, 39 + this.below(9)];
    const { pmap, machine } = this.guest.vm.memory;
    const numberOf = (n: number): number => machine.pageNumber(pmap.frame(page(n) / PAGE));
    const or = (usual: number): number => (this.below(12) === 0 ? this.pick([this.random.u32(), this.below(5000), 0xffff_ffff]) : usual);
    this.#write(list, (view) => {
      for (let reference = 0; reference < 64; reference++) {
        view.setUint32(8 * reference, or(3), true);
        view.setUint32(8 * reference + 4, or(reference === 0 ? numberOf(ring) : this.#number()), true);
      }
    });
    this.#write(ring, (view) => {
      view.setUint32(0, or(view.getUint32(0, true) + this.below(129)), true);
      for (let at = 64; at + 16 <= PAGE; at += 16) {
        [1, this.below(64), this.below(2048), this.below(2048)].forEach((word, i) => view.setUint32(at + 4 * i, or(word), true));
      }
    });
    const [console, entropy] = [3n, 4n];
    const ofConsole = [
      [BigInt(number("disconnect")), console, 0n, 0n], [BigInt(number("connect")), console, BigInt(this.below(64)), BigInt(this.below(64))],
      [BigInt(number("kick")), console, 0n, 0n],
    ];
    return [
      ...(this.below(2) === 0 ? ofConsole : []),
      [BigInt(number("grants")), BigInt(page(list)), 0n, 0n], [BigInt(number("disconnect")), entropy, 0n, 0n],
      [BigInt(number("connect")), entropy, 0n, 0n], [BigInt(number("kick")), entropy, 0n, 0n],
    ];
  }

  #instruction(): number {
    if (this.below(3) > 0) return SD | (this.below(32) << 15) | (this.below(32) << 20);
    const accesses = instructions.filter(({ syntax }) => syntax.includes("(rs1)"));
    const { mask, match } = this.pick(this.below(3) > 0 ? accesses : instructions).encoding;
    return ((this.random.u32() & ~mask) | match) >>> 0;
  }

  /** What was written a moment ago becomes a table. */
  #promote(): readonly (readonly bigint[])[] {
    const n = 38 + this.below(10);
    this.#write(n, (view) => {
      for (let at = 0; at < PAGE; at += 8) view.setBigUint64(at, 0n, true);
    });
    const { pmap, machine } = this.guest.vm.memory;
    const frame = (of: number): number => machine.pageNumber(pmap.frame(page(of) / PAGE));
    return [
      [BigInt(number("update")), BigInt(frame(this.#leaf) * PAGE + 8 * n), BigInt((frame(n) << 10) | 0xdb), 0n],
      [BigInt(number("pin")), BigInt(frame(n)), 0n, 0n],
    ];
  }

  /** A step of its life: calls, of which the monitor judges, and then code that tries what they have brought. */
  scene(): void {
    const { vm } = this.guest;
    const { core } = vm;
    const { state } = core;
    vm.computer.begin();
    if (this.below(40) === 0) core.reset();
    if (this.below(4) === 0) this.#fill(this.below(Hostile.pages), () => BigInt(this.#entry()));
    if (this.below(6) === 0) this.#fill(this.below(Hostile.pages), () => this.#argument());
    if (this.below(2) === 0) this.#fillWithCalls(this.below(Hostile.pages));
    if (this.below(4) > 0) this.#shareHonestly();
    const root = this.below(2) === 0 ? BigInt(this.#plant()) : undefined;
    const enter = root === undefined ? [] : [[BigInt(number("base")), root, this.below(2) === 0 ? root : 0n, 0n]];
    const promote = this.below(2) === 0 ? this.#promote() : [];
    const setUp = [[number("attach"), page(1), 0, 0], [number("frames"), address.memory / PAGE, Hostile.pages, page(2)]].map((row) => row.map(BigInt));
    const requests = this.below(2) === 0 ? this.#planRequests() : [];
    for (const row of [...setUp, this.#call(), this.#call(), ...enter, ...requests, this.#call()]) this.#inHart(() => this.#ask(row));
    this.#write(3, (view) => {
      for (let at = 0; at < PAGE; at += 4) view.setUint32(at, this.#instruction(), true);
    });
    for (let i = 1; i < 32; i++) state.set("x", this.below(3) > 0 ? BigInt(page(38 + this.below(10))) : this.#argument(), i);
    state.set("pc", BigInt(page(3) + 4 * this.below(1000)));
    this.#inHart(() => {
      this.monitor.processor.run(vm, 200);
      for (const row of promote) this.#ask(row);
    });
  }

  /** A call, as if its kernel had come to an ECALL. */
  #ask([function_, ...args]: readonly bigint[]): void {
    const { vm } = this.guest;
    const { state } = vm.core;
    state.setNumber("virtualPrivilege", 1);
    state.set("x", BigInt(INTERFACE), 17);
    state.set("x", function_!, 16);
    args.forEach((value, i) => state.set("x", value, 10 + i));
    state.setNumber("exitCause", ECALL);
    vm.exit();
    if (function_ === BigInt(number("kick")) && state.get("x", 10) === 0n) this.kicks++;
  }

  #inHart(body: () => void): void {
    const { core } = this.guest.vm;
    core.load();
    this.monitor.processor.contextChanged();
    body();
    core.unload();
    assert.deepEqual([core.state.number("monitored"), core.state.number("privilege")], [1, 0]);
  }

  #contents(): Uint8Array {
    const all = this.monitor.processor.dma.readable(address.memory, Hostile.machinePages * PAGE).slice();
    const { frames } = this.monitor;
    for (let n = 0; n < Hostile.machinePages; n++) {
      const { owner, state } = frames.info(n);
      if (owner !== OTHER && state !== "zero") all.fill(0, n * PAGE, (n + 1) * PAGE);
    }
    return all;
  }

  /** Nobody else's frame has changed, and what the hart may write without asking is memory of the guest's. */
  check(what: string): void {
    assert.ok(Buffer.compare(this.#others, this.#contents()) === 0, `${what}: a frame that is not the guest's has changed`);
    const { map, memory } = this.monitor.processor;
    const view = new DataView(memory.buffer);
    const pages = new Map([...this.guest.vm.memory.pmap.entries()].map(([n, frame]) => [frame, n]));
    for (let index = 0; index < bank.count; index++) {
      if (view.getBigUint64(map.hart + layout.bankKeys.offset + 8 * index, true) === 0n) continue;
      const base = map.banks + index * bank.size;
      for (let at = base + bank.write; at < base + bank.exec; at += 16) {
        const tag = view.getBigInt64(at, true);
        if (tag === -1n) continue;
        const host = (Number(BigInt.asUintN(32, tag)) + view.getInt32(at + 8, true)) >>> 0;
        const written = pages.get((host - map.ram) / PAGE);
        const isOwn = written !== undefined && !this.guest.vm.memory.pmap.isShared(written);
        assert.ok(isOwn, `${what}: 0x${tag.toString(16)} is written to in no page of the guest's`);
        assert.throws(() => {
          this.guest.vm.memory.writable(written * PAGE, 8);
          throw new Error("memory");
        }, /memory/, `${what}: 0x${tag.toString(16)} is written to in a table`);
      }
    }
  }
}

suite(`hostile paravirtual guests (seed ${seed})`, () => {
  for (const translate of [false, true]) {
    test(`calls with random arguments, random code, random tables${translate ? ", translated" : ""}`, () => {
      const hostile = new Hostile(seed + (translate ? 1 : 0), translate);
      for (let n = 0; n < cases(400); n++) {
        hostile.scene();
        if (n % 4 === 3) hostile.check(`cases to ${n}`);
      }
      const counts = hostile.guest.vm.exits.counts();
      assert.ok(counts["hypercall"] > 2 * cases(400) && counts["true-fault"] > cases(400) / 10, JSON.stringify(counts));
      assert.ok(hostile.kicks > cases(400) / 100, `${hostile.kicks} kicks that were not refused`);
    });
  }
});
