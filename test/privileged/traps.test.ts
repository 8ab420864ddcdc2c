/** Traps, interrupts and the way back (privileged manual, 3.1.6 to 3.1.9, 3.3 and 12.1), each combination against the rule in a few lines. */
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { forms } from "#riscv/form.ts";
import { RAM, TestHart, tiers } from "../kit/hart.ts";
import { Bench, interruptBit, modes, trapOf, vector, type Mode } from "./bench.ts";

const bench = new Bench();
const code = BigInt(RAM);
const illegal = 2n;
const anyMode = Object.keys(modes) as Mode[];
const bit = (position: number): bigint => 1n << BigInt(position);
const field = (value: bigint, position: number, width: number): number => Number((value >> BigInt(position)) & ((1n << BigInt(width)) - 1n));

/** Every combination of the given lists. */
function* combinations<T extends readonly (readonly unknown[])[]>(...lists: T): Generator<{ [K in keyof T]: T[K][number] }> {
  const [first, ...rest] = lists as unknown as [readonly unknown[], ...unknown[][]];
  if (first === undefined) {
    yield [] as { [K in keyof T]: T[K][number] };
    return;
  }
  for (const value of first) for (const others of combinations(...rest)) yield [value, ...others] as { [K in keyof T]: T[K][number] };
}

const bits = [0n, 1n] as const;

suite("exceptions", () => {
  const ecall = { user: 8n, supervisor: 9n, machine: 11n };

  test("go to machine mode, or to supervisor mode if delegated and not from machine mode", () => {
    for (const [mode, delegated, sie, mie] of combinations(anyMode, [false, true], bits, bits)) {
      bench.reset();
      const status = (sie << 1n) | (mie << 3n);
      bench.set({ mstatus: status, medeleg: delegated ? bit(8) | bit(9) : 0n });
      const outcome = bench.try("ecall", mode);
      const level = delegated && mode !== "machine" ? "supervisor" : "machine";
      assert.deepEqual(outcome, { trap: ecall[mode], value: 0n, mode: level, pc: vector[level] });
      const now = bench.get("mstatus");
      if (level === "machine") {
        assert.equal(bench.get("mepc"), code);
        assert.equal(field(now, 11, 2), modes[mode], "MPP");
        assert.equal(field(now, 7, 1), Number(mie), "MPIE");
        assert.equal(field(now, 3, 1), 0, "MIE");
        assert.equal(field(now, 1, 1), Number(sie), "SIE stays");
      } else {
        assert.equal(bench.get("sepc"), code);
        assert.equal(field(now, 8, 1), modes[mode], "SPP");
        assert.equal(field(now, 5, 1), Number(sie), "SPIE");
        assert.equal(field(now, 1, 1), 0, "SIE");
        assert.equal(field(now, 3, 1), Number(mie), "MIE stays");
      }
    }
  });

  test("each cause by its own bit of medeleg", () => {
    const causes: [text: string, cause: number, value: bigint][] = [
      [".word 0xffffffff", 2, 0xffffffffn],
      [".half 0", 2, 0n],
      ["c.addiw zero, 1", 2, 0x2005n],
      ["ebreak", 3, code],
      ["c.ebreak", 3, code],
      ["lr.w a0, (a1)", 4, 1n],
      ["ld a0, 0(a1)", 5, 1n],
      ["sc.w a0, a0, (a1)", 6, 1n],
      ["amoadd.d a0, a0, (a1)", 6, 1n],
      ["sb a0, 0(a1)", 7, 1n],
      ["cbo.zero (a1)", 7, 1n],
      ["ecall", 9, 0n],
    ];
    for (const [text, cause, value] of causes) {
      for (const delegated of [false, true]) {
        bench.reset();
        bench.set({ medeleg: delegated ? bit(cause) : 0xb3ffn & ~bit(cause), menvcfg: 0xf0n });
        const level = delegated ? "supervisor" : "machine";
        assert.deepEqual(bench.try(text, "supervisor", { a1: 1n }), { trap: BigInt(cause), value, mode: level, pc: vector[level] }, text);
      }
    }
  });

  test("exceptions don't use the vectors", () => {
    bench.reset();
    bench.set({ mtvec: vector.machine | 1n, stvec: vector.supervisor | 1n });
    const outcome = bench.try("ecall", "user");
    assert.equal(outcome.pc, vector.machine);
  });

  test("a jump to where nothing is traps there", () => {
    bench.reset();
    const outcome = bench.try("jalr a0, 1(a1)", "machine", { a1: 0x1001n });
    // The jump itself retires.
    assert.deepEqual(outcome, { trap: 1n, value: 0x1002n, mode: "machine", pc: vector.machine });
    assert.equal(bench.get("mepc"), 0x1002n);
    assert.equal(bench.hart.x(10), code + 4n);
  });
});

/** Highest priority first (3.1.9). */
const priority = [11, 3, 7, 9, 1, 5];
const supervisorInterrupts = 0x222n;

suite("interrupts", () => {
  /** What is taken, by the rules: machine level first; then by priority. */
  function expected(pending: bigint, mideleg: bigint, mode: Mode, mie: boolean, sie: boolean): { readonly number: number; readonly level: "machine" | "supervisor" } | undefined {
    const delegated = mideleg & supervisorInterrupts;
    const machine = mode !== "machine" || mie ? pending & ~delegated : 0n;
    const supervisor = mode === "user" || (mode === "supervisor" && sie) ? pending & delegated : 0n;
    const level = machine !== 0n ? "machine" : "supervisor";
    const number = priority.find((candidate) => (level === "machine" ? machine : supervisor) & bit(candidate));
    return number === undefined ? undefined : { number, level };
  }

  test("all sets pending and enabled, in every mode, delegated or not", () => {
    bench.reset();
    const spread = (index: number): bigint => priority.reduce((set, number, i) => set | ((index >> i) & 1 ? bit(number) : 0n), 0n);
    for (let pending = 0; pending < 64; pending++) {
      for (const [mode, mideleg, mie, sie] of combinations(anyMode, [0n, 0x222n, 0x20n, 0x202n], bits, bits)) {
        const enabled = spread((pending * 29 + Number(mideleg)) % 64) | (pending % 3 === 0 ? 0xaaan : 0n);
        const set = spread(pending);
        bench.set({
          mstatus: (mie << 3n) | (sie << 1n),
          mideleg,
          mie: enabled,
          mip: set & supervisorInterrupts,
          lines: Number(set & ~supervisorInterrupts),
          mepc: 0n,
          sepc: 0n,
        });
        const outcome = bench.try("addi a0, a0, 1", mode);
        const wanted = expected(set & enabled, mideleg, mode, mie === 1n, sie === 1n);
        const name = `pending ${set.toString(16)}, enabled ${enabled.toString(16)}, mideleg ${mideleg.toString(16)}, ${mode}, MIE ${mie}, SIE ${sie}`;
        if (wanted === undefined) assert.equal(trapOf(outcome), undefined, name);
        else {
          assert.equal(trapOf(outcome), interruptBit | BigInt(wanted.number), name);
          assert.equal(outcome.mode, wanted.level, name);
          assert.equal("value" in outcome && outcome.value, 0n, name);
          assert.equal(bench.get(wanted.level === "machine" ? "mepc" : "sepc"), code, name);
        }
      }
    }
  });

  test("vectored: to four bytes a cause behind the base", () => {
    for (const number of priority) {
      bench.reset();
      bench.set({ mtvec: vector.machine | 1n, mie: bit(number), mip: bit(number) });
      const outcome = bench.try("nop", "user");
      // One instruction of the handler has run.
      assert.equal(outcome.pc, vector.machine + BigInt(4 * number) + 4n);
      bench.set({ stvec: vector.supervisor | 1n, mideleg: 0x222n });
      if (supervisorInterrupts & bit(number)) assert.equal(bench.try("nop", "user").pc, vector.supervisor + BigInt(4 * number) + 4n);
    }
  });

  test("are taken as soon as an instruction enables them", () => {
    const writes: [text: string, a0: bigint, fields: Record<string, bigint | number>][] = [
      ["csrs mstatus, a0", bit(3), { mie: bit(7), lines: 1 << 7 }],
      ["csrs mie, a0", bit(7), { mstatus: bit(3), lines: 1 << 7 }],
      ["csrs mip, a0", bit(1), { mstatus: bit(3), mie: bit(1) }],
      ["csrc mideleg, a0", bit(1), { mstatus: bit(3), mie: bit(1), mip: bit(1), mideleg: bit(1) }],
      ["csrw stimecmp, zero", 0n, { mstatus: bit(3), mie: bit(5), menvcfg: bit(63), stimecmp: -1n }],
      ["csrs menvcfg, a0", bit(63), { mstatus: bit(3), mie: bit(5), stimecmp: 0n }],
    ];
    for (const [text, a0, fields] of writes) {
      bench.reset();
      bench.set(fields);
      const outcome = bench.try(text, "machine", { a0 });
      assert.ok("trap" in outcome && outcome.trap >> 63n === 1n, text);
      assert.equal(bench.get("mepc"), code + 4n, text);
    }
  });
});

suite("returns", () => {
  test("MRET", () => {
    for (const [mpp, mpie, mprv, mode] of combinations([0, 1, 3] as const, bits, bits, anyMode)) {
      bench.reset();
      const status = (BigInt(mpp) << 11n) | (mpie << 7n) | (mprv << 17n) | bit(8) | bit(5);
      bench.set({ mstatus: status, mepc: code + 0x100n });
      const outcome = bench.try("mret", mode);
      if (mode !== "machine") {
        assert.equal(trapOf(outcome), illegal);
        continue;
      }
      const now = bench.get("mstatus");
      assert.equal(outcome.pc, code + 0x100n);
      assert.equal(modes[outcome.mode], mpp);
      assert.equal(field(now, 3, 1), Number(mpie), "MIE");
      assert.equal(field(now, 7, 1), 1, "MPIE");
      assert.equal(field(now, 11, 2), 0, "MPP");
      assert.equal(field(now, 17, 1), mpp === 3 ? Number(mprv) : 0, "MPRV");
      assert.equal(now & (bit(8) | bit(5)), bit(8) | bit(5), "the supervisor's stay");
    }
  });

  test("SRET", () => {
    for (const [spp, spie, mprv, tsr, mode] of combinations([0, 1] as const, bits, bits, bits, anyMode)) {
      bench.reset();
      const status = (BigInt(spp) << 8n) | (spie << 5n) | (mprv << 17n) | (tsr << 22n) | bit(7);
      bench.set({ mstatus: status, sepc: code + 0x100n });
      const outcome = bench.try("sret", mode);
      if (mode === "user" || (mode === "supervisor" && tsr === 1n)) {
        assert.equal(trapOf(outcome), illegal);
        continue;
      }
      const now = bench.get("mstatus");
      assert.equal(outcome.pc, code + 0x100n);
      assert.equal(modes[outcome.mode], spp);
      assert.equal(field(now, 1, 1), Number(spie), "SIE");
      assert.equal(field(now, 5, 1), 1, "SPIE");
      assert.equal(field(now, 8, 1), 0, "SPP");
      assert.equal(field(now, 17, 1), 0, "MPRV");
      assert.equal(field(now, 7, 1), 1, "MPIE stays");
    }
  });
});

suite("reservations", () => {
  // Unprivileged manual, 13.2; privileged manual, 3.3.2: a trap or an xRET may end one, a handler that must have it ended sees to that itself.
  // Here each trap ends it, so that no handler has to.
  for (const tier of tiers) {
    test(`SC fails after a trap, after another SC, and elsewhere, by the ${tier}`, () => {
      const hart = new TestHart({ tier });
      hart.program(`
        la   t0, handler
        csrw mtvec, t0
        li   a1, ${RAM + 0x4000}
        addi a2, a1, 8
        li   s11, 200
        again: lr.d a0, (a1)
        sc.d s0, zero, (a1)
        lr.d a0, (a1)
        ecall
        sc.d s1, zero, (a1)
        lr.d a0, (a1)
        sc.d s2, zero, (a2)
        sc.d s3, zero, (a1)
        addi s11, s11, -1
        bnez s11, again
        stay: j stay
        handler: csrr t0, mepc
        addi t0, t0, 4
        csrw mepc, t0
        mret`);
      hart.run(5000);
      assert.equal(hart.x(27), 0n);
      assert.deepEqual([8, 9, 18, 19].map((number) => hart.x(number)), [0n, 1n, 1n, 1n]);
      assert.equal(hart.translatedShare > 0.5, tier === "translator");
    });
  }
});

suite("what machine mode keeps from the supervisor", () => {
  const refused = (text: string, mode: Mode, status: bigint): boolean => {
    bench.reset();
    bench.set({ mstatus: status });
    return trapOf(bench.try(text, mode)) === illegal;
  };
  const rules: [text: string, bit: number | undefined, userMay: boolean][] = [
    ["csrr a0, satp", 20, false],
    ["csrw satp, zero", 20, false],
    ["sfence.vma", 20, false],
    ["sinval.vma zero, zero", 20, false],
    ["sfence.w.inval", undefined, false],
    ["sfence.inval.ir", undefined, false],
    ["sret", 22, false],
    ["csrr a0, sstatus", undefined, false],
  ];

  test("TVM and TSR", () => {
    for (const [text, position] of rules) {
      for (const set of [false, true]) {
        const status = set && position !== undefined ? bit(position) : 0n;
        assert.equal(refused(text, "user", status), true, `${text} in user mode`);
        assert.equal(refused(text, "supervisor", status), set && position !== undefined, `${text} in supervisor mode`);
        assert.equal(refused(text, "machine", status), false, `${text} in machine mode`);
      }
    }
  });

  test("TW, and WFI in user mode", () => {
    for (const tw of [0n, bit(21)]) {
      bench.reset();
      bench.set({ mstatus: tw });
      assert.equal(trapOf(bench.try("wfi", "machine")), undefined);
      assert.equal(trapOf(bench.try("wfi", "supervisor")), tw === 0n ? undefined : illegal);
      assert.equal(trapOf(bench.try("wfi", "user")), illegal);
    }
  });

  test("WFI goes on if something is pending and enabled, delegated or masked or not", () => {
    bench.reset();
    bench.hart.program("wfi\nli a0, 5\nj .");
    bench.set({ pc: code, mie: 2n, mip: 0n });
    assert.equal(bench.hart.run(10), "wait");
    assert.equal(bench.get("pc"), code + 4n);
    bench.set({ pc: code, mie: 2n, mip: 2n });
    assert.equal(bench.hart.run(2), "slice");
    assert.equal(bench.hart.x(10), 5n);
  });

  test("FS off: no floating-point instruction, no floating-point CSR", () => {
    const touching = forms.filter(({ operands }) => operands.some((operand) => operand.startsWith("f")));
    assert.ok(touching.length > 60);
    const addressed = (operands: readonly string[]): string =>
      operands
        .map((operand) => operand.replace("imm", "0").replace(/f(rd|rs\d)/, "fa0").replace(/\b(rd|rs\d)\b/, "a1"))
        .join(", ");
    const texts = [...touching.map(({ name, operands }) => `${name} ${addressed(operands)}`), "csrr a0, fcsr", "csrwi frm, 1", "csrr a0, fflags"];
    for (const text of texts) {
      bench.reset();
      bench.hart.state.set("x", RAM + 0x8000, 2);
      assert.equal(trapOf(bench.try(text, "machine", { a1: code + 0x8000n })), illegal, text);
      bench.set({ mstatus: 1n << 13n });
      assert.equal(trapOf(bench.try(text, "machine", { a1: code + 0x8000n })), undefined, text);
    }
  });

  test("what changes floating-point state makes it dirty; what doesn't, does not", () => {
    const texts: [text: string, changes: boolean][] = [
      ["fadd.d fa0, fa1, fa2", true],
      ["fmv.d.x fa0, a0", true],
      ["fld fa0, 0(a1)", true],
      ["csrwi fflags, 1", true],
      ["fsd fa0, 0(a1)", false],
      ["fmv.x.d a0, fa0", false],
      ["csrr a0, fcsr", false],
    ];
    for (const [text, changes] of texts) {
      bench.reset();
      bench.set({ mstatus: 2n << 13n });
      bench.try(text, "machine", { a1: code + 0x8000n });
      assert.equal(field(bench.get("mstatus"), 13, 2), changes ? 3 : 2, text);
    }
  });

  test("reserved rounding modes, static and dynamic", () => {
    for (const [frm, text, isIllegal] of [
      [0n, ".word 0x02c5d553", true],
      [0n, ".word 0x02c5e553", true],
      [5n, "fadd.d fa0, fa1, fa2, dyn", true],
      [6n, "fadd.d fa0, fa1, fa2, dyn", true],
      [7n, "fadd.d fa0, fa1, fa2, dyn", true],
      [4n, "fadd.d fa0, fa1, fa2, dyn", false],
      [7n, "fadd.d fa0, fa1, fa2, rne", false],
      [7n, "fsgnj.d fa0, fa1, fa2", false],
    ] as const) {
      bench.reset();
      bench.set({ mstatus: 3n << 13n, frm });
      assert.equal(trapOf(bench.try(text)) === illegal, isIllegal, `${text}, frm ${frm}`);
    }
  });

  test("cache-block operations need their bits of menvcfg, and of senvcfg in user mode", () => {
    const operations: [text: string, envcfg: bigint][] = [
      ["cbo.zero (a1)", bit(7)],
      ["cbo.clean (a1)", bit(6)],
      ["cbo.flush (a1)", bit(6)],
      ["cbo.inval (a1)", bit(4)],
    ];
    for (const [text, allow] of operations) {
      for (const [mode, m, s] of combinations(anyMode, [0n, allow], [0n, allow])) {
        bench.reset();
        bench.set({ menvcfg: m, senvcfg: s });
        const may = mode === "machine" || (m !== 0n && (mode === "supervisor" || s !== 0n));
        assert.equal(trapOf(bench.try(text, mode, { a1: code + 0x8010n })), may ? undefined : illegal, `${text} ${mode} ${m} ${s}`);
      }
    }
  });
});

suite("counters", () => {
  test("mcounteren and scounteren", () => {
    for (const [name, number] of [["cycle", 0], ["time", 1], ["instret", 2], ["hpmcounter3", 3], ["hpmcounter31", 31]] as const) {
      for (const [mode, m, s] of combinations(anyMode, [0n, bit(number)], [0n, bit(number)])) {
        bench.reset();
        bench.set({ mcounteren: m, scounteren: s });
        const may = mode === "machine" || (m !== 0n && (mode === "supervisor" || s !== 0n));
        assert.equal(trapOf(bench.try(`csrr a0, ${name}`, mode)), may ? undefined : illegal, `${name} ${mode} ${m} ${s}`);
      }
    }
  });

  test("stimecmp needs STCE and mcounteren.TM below machine mode", () => {
    for (const [mode, stce, tm] of combinations(anyMode, [0n, bit(63)], [0n, bit(1)])) {
      bench.reset();
      bench.set({ menvcfg: stce, mcounteren: tm });
      const may = mode === "machine" || (mode === "supervisor" && stce !== 0n && tm !== 0n);
      assert.equal(trapOf(bench.try("csrr a0, stimecmp", mode)), may ? undefined : illegal, `${mode} ${stce} ${tm}`);
    }
  });

  test("minstret counts what retired before, and takes what is written", () => {
    bench.reset();
    bench.hart.program(`
        csrr  a0, minstret
        nop
        nop
        csrr  a1, minstret
        li    a2, 1000
        csrw  minstret, a2
        csrr  a3, minstret
        nop
        csrr  a4, instret
        csrw  mcycle, zero
        csrr  a5, cycle
        ecall
    `);
    // A trap retires nothing.
    bench.hart.program("csrr a6, instret\nj .", Number(vector.machine));
    bench.set({ pc: code });
    bench.hart.run(14);
    const x = (number: number): bigint => bench.hart.x(number);
    assert.equal(x(11) - x(10), 3n);
    assert.equal(x(13), 1000n);
    assert.equal(x(14), 1002n);
    assert.equal(x(15), 0n);
    assert.equal(x(16), 1005n);
  });

  test("a slice of any length counts the same", () => {
    const counts = [1, 2, 3, 7, 1000].map((slice) => {
      bench.reset();
      bench.hart.program("li a0, 50\nloop: addi a0, a0, -1\nbnez a0, loop\necall");
      bench.hart.program("csrr a1, minstret\nhere: j here", Number(vector.machine));
      bench.set({ pc: code, instretTarget: 0n, instretOffset: 0n });
      for (let i = 0; i < 400; i += slice) bench.hart.run(slice);
      return bench.hart.x(11);
    });
    assert.deepEqual(counts, Array(5).fill(101n));
  });

  test("time is the machine's", () => {
    bench.reset();
    bench.hart.time = 123456;
    assert.equal(bench.read("time"), 123456n);
    bench.hart.time = 0;
  });
});
