/** The TLB that software fills (docs/software-tlb.md): its registers, what it translates against a plain model, and a kernel that fills it. */
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { standardModel, type MachineModel } from "#machine/model.ts";
import { customCsrNumbers } from "#riscv/csr-names.ts";
import { cases, seed } from "../kit/effort.ts";
import { RAM, TestHart, tiers, type Tier } from "../kit/hart.ts";
import { Random } from "../kit/random.ts";
import { HypervisorBench } from "../privileged/hypervisor-bench.ts";

const model: MachineModel = { ...standardModel, tlb: "software" };
const V = 1, R = 2, W = 4, X = 8, U = 16, G = 32, A = 64, D = 128;
const ALL = V | R | W | X | A | D;
const MODE = 14n << 60n;
const entries = 64;
const lo = (physical: number, flags: number, size = 0): bigint => (BigInt(size) << 54n) | (BigInt(physical / 4096) << 10n) | BigInt(flags);

suite("registers of the software-filled TLB", () => {
  const bench = new HypervisorBench({ model });

  test("are the supervisor's, and no guest's; on other machines they aren't there", () => {
    const standard = new HypervisorBench();
    for (const name of customCsrNumbers.keys()) {
      bench.reset();
      standard.reset();
      const read = (on: HypervisorBench, mode: Parameters<typeof bench.attempt>[1]) => on.attempt(`csrr a0, ${name}`, mode).trap?.cause;
      assert.equal(read(bench, "machine"), undefined, name);
      assert.equal(read(bench, "supervisor"), undefined, name);
      assert.equal(read(bench, "user"), 2n, name);
      assert.equal(read(bench, "virtualSupervisor"), 22n, name);
      assert.equal(read(bench, "virtualUser"), 22n, name);
      assert.equal(read(standard, "machine"), 2n, name);
    }
  });

  test("hold what they can", () => {
    bench.reset();
    const held: [name: string, written: bigint, read: bigint][] = [
      ["stlbindex", -1n, 63n],
      ["stlbwired", -1n, 63n],
      ["stlbhi", -1n, -1n],
      ["stlblo", -1n, (1n << 56n) - 1n],
      ["stlbvec", -1n, -4n],
      ["stlbscratch0", 5n, 5n],
      ["stlbscratch1", 6n, 6n],
      ["stlbop", 0n, 0n],
    ];
    for (const [name, written, read] of held) {
      assert.equal(bench.write(name, BigInt.asUintN(64, written)), BigInt.asUintN(64, read), name);
    }
    assert.equal(bench.read("stlbsize"), 64n);
    // The context is for the page that stlbhi names.
    bench.write("stlbhi", 0x12345_001n);
    assert.equal(bench.write("stlbcontext", 0x1007n), 0x1000n + 0x12345n * 8n);
    // satp: bare or mode 14, and 12 bits of address space.
    assert.equal(bench.write("satp", MODE | (0xffffn << 44n) | 7n), MODE | (0xfffn << 44n) | 7n);
    assert.equal(bench.write("satp", 8n << 60n), MODE | (0xfffn << 44n) | 7n);
    assert.equal(bench.write("satp", 0n), 0n);
  });

  test("entries are written, read and found", () => {
    bench.reset();
    bench.set({ satp: MODE });
    const op = (number: number) => bench.try(`csrwi stlbop, ${number}`);
    bench.write("stlbindex", 9n);
    bench.write("stlbhi", 0x5000_00an);
    bench.write("stlblo", lo(RAM, ALL));
    op(1);
    bench.write("stlbhi", 0n);
    bench.write("stlblo", 0n);
    op(0);
    assert.deepEqual([bench.read("stlbhi"), bench.read("stlblo")], [0x5000_00an, lo(RAM, ALL)]);
    bench.write("stlbindex", 0n);
    op(3);
    assert.equal(bench.read("stlbindex"), 9n);
    bench.write("stlbhi", 0x5000_00bn);
    op(3);
    assert.equal(bench.read("stlbindex"), 1n << 63n, "of another address space");
  });

  test("replacement goes round what isn't wired", () => {
    bench.reset();
    bench.write("stlbwired", 61n);
    const places: bigint[] = [];
    for (let i = 0; i < 5; i++) {
      places.push(bench.read("stlbnext"));
      bench.write("stlbhi", BigInt(i) << 12n);
      bench.try("csrwi stlbop, 2");
    }
    assert.deepEqual(places, [61n, 62n, 63n, 61n, 62n]);
    assert.equal(bench.get("tlbEntryHi"), 0n, "wired");
    assert.deepEqual([61, 62, 63].map((i) => bench.hart.get("tlbEntryHi", i)), [3n << 12n, 4n << 12n, 2n << 12n]);
  });
});

/** A plain model of what the document says: the first entry that matches, then what it permits. */
interface Entry {
  hi: bigint;
  lo: bigint;
}

type Kind = "fetch" | "load" | "store";
const missCause = { fetch: 24n, load: 25n, store: 27n } as const;
const faultCause = { fetch: 12n, load: 13n, store: 15n } as const;
const wanted = { fetch: X, load: R, store: W } as const;

interface Access {
  readonly kind: Kind;
  readonly mode: 0 | 1;
  readonly sum: boolean;
  readonly mxr: boolean;
}

function translate(tlb: readonly Entry[], space: bigint, virtual: bigint, { kind, mode, sum, mxr }: Access): { physical: bigint } | { cause: bigint } {
  const within = (entry: Entry): bigint => (1n << (12n + 9n * ((entry.lo >> 54n) & 3n))) - 1n;
  const found = tlb.find((entry) => {
    const flags = Number(entry.lo & 0xffn);
    return (flags & V) !== 0 && ((entry.hi ^ virtual) & ~within(entry)) === 0n && ((flags & G) !== 0 || (entry.hi & 0xfffn) === space);
  });
  if (found === undefined) return { cause: missCause[kind] };
  const flags = Number(found.lo & 0xffn);
  const permits = (flags & (kind === "load" && mxr ? R | X : wanted[kind])) !== 0;
  const mayUser = mode === 0 ? (flags & U) !== 0 : (flags & U) === 0 || (kind !== "fetch" && sum);
  const needed = kind === "store" ? A | D : A;
  if (!permits || !mayUser || (flags & needed) !== needed) return { cause: faultCause[kind] };
  return { physical: (((found.lo >> 10n) << 12n) & ((1n << 56n) - 1n) & ~within(found)) | (virtual & within(found)) };
}

/** Frames that say who they are, and what a program does in each: `li a0, frame`, a load, a store. */
const frames = 12;
const frameAt = (frame: number): number => RAM + 0x40000 + frame * 4096;
const handler = 0x7fff_f000n;
const pages = [0x10000n, 0x11000n, 0x12000n, 0x13000n, 0x200_0000n, 0x200_1000n, 0x210_0000n, 0xffff_ffff_ffff_e000n, 0xffff_ffff_ffff_f000n];
const [LI, LOAD, STORE] = [0n, 16n, 24n];

test("translates what a plain model translates, whatever is written and replaced", () => {
  const random = new Random(seed);
  const hart = new TestHart({ model });
  hart.openMemory();
  for (let frame = 0; frame < frames; frame++) {
    hart.program(`li a0, ${frame}\nnop\nnop\nnop\nld a0, 32(a1)\nnop\nsd a2, 40(a1)\nnop\n.dword ${100 + frame}, 0`, frameAt(frame));
  }
  hart.program("stay: j stay", frameAt(frames));
  hart.program("csrw stlbindex, a3\ncsrw stlbhi, a1\ncsrw stlblo, a2\ncsrwi stlbop, 1\ncsrwi stlbop, 2\nsfence.vma a1, zero\nsfence.vma", RAM);
  const tlb: Entry[] = Array.from({ length: entries }, () => ({ hi: 0n, lo: 0n }));
  const set = (register: number, value: bigint): void => hart.state.set("x", value, register);
  let next = 60;
  const write = (index: number | "next", hi: bigint, low: bigint): void => {
    set(13, BigInt(index === "next" ? 0 : index));
    set(11, hi);
    set(12, low);
    machineMode(0n, 3);
    machineMode(index === "next" ? 16n : 12n, 1);
    tlb[index === "next" ? next : index] = { hi, lo: low };
    if (index === "next") next = next === 63 ? 60 : next + 1;
  };
  const machineMode = (at: bigint, instructions: number): void => {
    hart.state.set("privilege", 3);
    hart.state.set("pc", BigInt(RAM) + at);
    hart.instance.exports.selectBank(hart.map.hart);
    hart.run(instructions);
  };
  hart.state.set("tlbWired", 60);
  hart.state.set("tlbVector", handler);
  hart.state.set("stvec", handler);
  hart.state.set("medeleg", 0xf0b7ffn);
  write(0, handler, lo(frameAt(frames), V | X | G | A));

  const seen = new Set<string>();
  for (let step = 0; step < cases(20_000); step++) {
    if (random.oneIn(3)) {
      const size = random.oneIn(4) ? 1 : 0;
      const physical = size === 1 ? RAM : frameAt(random.below(frames));
      const flags = random.oneIn(3) ? random.below(256) : ALL | (random.oneIn(2) ? U : 0) | (random.oneIn(4) ? G : 0);
      const page = random.pick(pages);
      write(random.oneIn(2) ? "next" : 1 + random.below(6), (size === 1 ? page & ~0x1fffffn : page) | BigInt(random.below(3)), lo(physical, flags, size));
    }
    if (random.oneIn(20)) {
      set(11, random.pick(pages));
      machineMode(random.oneIn(2) ? 20n : 24n, 1);
    }
    const space = BigInt(random.below(3));
    const mode = random.oneIn(2) ? 0 : 1;
    const [sum, mxr] = [random.oneIn(2), random.oneIn(4)];
    const [offset, kind] = random.pick([[LI, "fetch"], [LOAD, "load"], [STORE, "store"]] as const);
    // A large page's frames are where its address says.
    const page = BigInt.asUintN(64, random.pick(pages) + (random.oneIn(8) ? 0x40000n : 0n));
    const dataPage = random.pick(pages);
    hart.state.set("satp", MODE | (space << 44n));
    hart.state.set("mstatus", (sum ? 1n << 18n : 0n) | (mxr ? 1n << 19n : 0n));
    hart.state.set("privilege", mode);
    hart.state.set("pc", page + offset);
    hart.instance.exports.selectBank(hart.map.hart);
    set(10, 77n);
    set(11, dataPage);
    set(12, BigInt(step));

    const instruction = translate(tlb, space, page + offset, { kind: "fetch", mode, sum, mxr });
    const data = dataPage + (kind === "load" ? 32n : 40n);
    const access = kind === "fetch" ? instruction : translate(tlb, space, data, { kind, mode, sum, mxr });
    const frameOf = (at: bigint): number | undefined => {
      const frame = Math.floor((Number(at) - frameAt(0)) / 4096);
      return frame >= 0 && frame < frames ? frame : undefined;
    };
    // Only frames that were made for it are executed and written to.
    if ("physical" in instruction && frameOf(instruction.physical) === undefined) continue;
    if ("physical" in access && frameOf(access.physical) === undefined) continue;
    hart.run(1);
    const trapped = "cause" in instruction ? { ...instruction, value: page + offset } : "cause" in access ? { ...access, value: data } : undefined;
    const what = `step ${step}, ${kind} at ${(page + offset).toString(16)} of ${data.toString(16)}, space ${space}, mode ${mode}`;
    if (trapped !== undefined) {
      seen.add(`${trapped.cause}`);
      assert.deepEqual([hart.get("scause"), hart.get("stval"), hart.get("sepc"), hart.get("pc")], [trapped.cause, trapped.value, page + offset, handler], what);
      if (trapped.cause >= 24n) assert.equal(hart.get("tlbHi"), (trapped.value & ~0xfffn) | space, what);
      continue;
    }
    assert.ok("physical" in instruction && "physical" in access);
    assert.equal(hart.get("pc"), page + offset + 4n, `${what}: a trap, ${hart.get("scause")}`);
    seen.add(kind);
    if (kind === "fetch") assert.equal(hart.x(10), BigInt(frameOf(instruction.physical)!), what);
    if (kind === "load") assert.equal(hart.x(10), 100n + BigInt(frameOf(access.physical)!), what);
    if (kind === "store") assert.equal(hart.view.getBigUint64(Number(access.physical) - RAM, true), BigInt(step), what);
  }
  assert.deepEqual([...seen].sort(), ["12", "13", "15", "24", "25", "27", "fetch", "load", "store"].sort());
});

const fetchEntry = (shift: number): string => `
        csrr  t1, stval
        srli  t1, t1, ${shift}
        andi  t1, t1, 511
        slli  t1, t1, 3
        add   t0, t0, t1
        ld    t0, (t0)
        andi  t1, t0, 1
        beqz  t1, absent
`;
const nextTable = `
        slli  t0, t0, 10
        srli  t0, t0, 20
        slli  t0, t0, 12
`;

/** How a handler finds a page's entry: in a linear table, by stlbcontext; or in Sv39's tables, their root in satp. */
const lookUps = {
  "a linear table": "csrr t0, stlbcontext\nld t0, (t0)",
  "tables of three levels": `csrr t0, satp\nslli t0, t0, 20\nsrli t0, t0, 8\n${[30, 21, 12].map(fetchEntry).join(nextTable)}`,
} as const;
type LookUp = keyof typeof lookUps;

/** A kernel in one wired entry, and a program that adds up a word of each of 100 pages, twice, and stores the sum in each. */
const kernel = (lookUp: LookUp): string => `
        la    t0, refill
        csrw  stlbvec, t0
        la    t0, other
        csrw  stvec, t0
        csrwi stlbwired, 1
        csrwi stlbindex, 0
        csrw  stlbhi, s0            # the first 2 MiB of memory, of all address spaces
        csrw  stlblo, s1
        csrwi stlbop, 1
        csrw  stlbcontext, s2
        csrw  satp, s3
        csrw  sepc, s4
        sret
        .align 2
refill: csrw  stlbscratch0, t0
        csrw  stlbscratch1, t1
        ${lookUps[lookUp]}
        csrw  stlblo, t0
        csrwi stlbop, 2
        csrr  t1, stlbscratch1
        csrr  t0, stlbscratch0
        sret
absent: j     absent
        .align 2
other:  csrr  s11, scause
end:    j     end
`;
const program = `
        li    a0, 0
        li    a5, 2
again:  li    a1, 0x400000
        li    a2, 100
        li    a4, 4096
next:   ld    a3, 8(a1)
        add   a0, a0, a3
        sd    a0, 16(a1)
        add   a1, a1, a4
        addi  a2, a2, -1
        bnez  a2, next
        addi  a5, a5, -1
        bnez  a5, again
        ecall
`;

function runKernel(tier: Tier, lookUp: LookUp): TestHart {
  const hart = new TestHart({ tier, model, ramSize: 2 << 20 });
  hart.openMemory();
  hart.state.set("privilege", 1);
  hart.state.set("medeleg", 0xf0b7ffn);
  const [table, code, data] = [RAM + 0x10000, RAM + 0x8000, RAM + 0x40000];
  hart.program(kernel(lookUp));
  hart.program(program, code);
  // The linear table, and above it tables of levels 1 and 2: it is their level 0, for 3 times 2 MiB.
  const entry = (page: number, low: bigint): void => hart.view.setBigUint64(table + page * 8 - RAM, low, true);
  const [level1, root] = [table + 0x8000, table + 0x9000];
  for (const i of [0, 1, 2]) entry(0x1000 + i, lo(table + i * 4096, V));
  entry(0x1200, lo(level1, V));
  entry(0x10, lo(code, V | R | X | U | A));
  for (let page = 0; page < 100; page++) {
    entry(0x400 + page, lo(data + page * 4096, V | R | W | U | A | D));
    hart.view.setBigUint64(data + page * 4096 + 8 - RAM, BigInt(page * page), true);
  }
  const registers = { 8: BigInt(RAM), 9: lo(RAM, ALL | G, 1), 18: BigInt(table), 19: MODE | (5n << 44n) | BigInt(root / 4096), 20: 0x10000n };
  for (const [register, value] of Object.entries(registers)) hart.state.set("x", value, Number(register));
  hart.settle();
  hart.run(20_000);
  return hart;
}

for (const lookUp of Object.keys(lookUps) as LookUp[]) suite(`a kernel that fills the TLB from ${lookUp}`, () => {
  const runs = tiers.map((tier) => [tier, runKernel(tier, lookUp)] as const);
  for (const [tier, hart] of runs) {
    test(`its program does not notice, ${tier}`, () => {
      const sum = 99 * 100 * 199 / 6;
      assert.equal(hart.get("scause"), 8n);
      assert.equal(hart.x(27), 8n, "the program's ecall");
      assert.equal(hart.x(10), BigInt(2 * sum));
      assert.equal(hart.view.getBigUint64(0x40000 + 99 * 4096 + 16, true), BigInt(2 * sum));
    });
    test(`misses are counted: more pages than entries miss each time, ${tier}`, () => {
      // What is replaced goes round, and the program's own page with it, once in 63 misses.
      assert.equal(hart.get("traps", 25), 200n);
      assert.equal(hart.get("traps", 27), 0n);
      assert.ok(hart.get("traps", 24) >= 1n && hart.get("traps", 24) < 10n);
    });
  }

  test("both tiers agree, to the last register", () => {
    const [[, first], [, second]] = runs as [(typeof runs)[number], (typeof runs)[number]];
    for (let register = 1; register < 32; register++) assert.equal(first.x(register), second.x(register), `x${register}`);
    assert.equal(first.get("traps", 24), second.get("traps", 24));
    for (let index = 0; index < entries; index++) {
      assert.equal(first.get("tlbEntryHi", index), second.get("tlbEntryHi", index), `entry ${index}`);
    }
    assert.equal(second.translatedShare > 0.1, true, `translated code takes part: ${second.translatedShare}`);
  });
});
