/** Control and status registers: who may access which, and which bits hold what is written (privileged manual, chapters 2, 3 and 12). */
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { csrNumbers } from "#riscv/csr-names.ts";
import { Bench, modes, trapOf, type Mode } from "./bench.ts";

const bench = new Bench();
const all = (1n << 64n) - 1n;
const illegal = 2n;

suite("access to CSRs", () => {
  const everything = { mcounteren: 0xffffffffn, scounteren: 0xffffffffn, mstatus: 3n << 13n, menvcfg: 1n << 63n };
  const implemented = new Set(csrNumbers.values());
  implemented.delete(csrNumbers.get("tdata3")!);

  test("by number: whether it exists, the privilege that it needs, whether it can be written", () => {
    bench.reset();
    for (let number = 0; number < 4096; number++) {
      // Level 2 is the hypervisor's, in supervisor mode.
      const needed = [0, 1, 1, 3][(number >> 8) & 3]!;
      const isReadOnly = number >> 10 === 3;
      for (const mode of Object.keys(modes) as Mode[]) {
        bench.set(everything);
        const may = implemented.has(number) && modes[mode] >= needed;
        const name = `CSR 0x${number.toString(16)} in ${mode} mode`;
        assert.equal(trapOf(bench.try(`csrrs a0, ${number}, zero`, mode)), may ? undefined : illegal, `read ${name}`);
        // csrrs with x0 doesn't write; with another register it does, whatever that holds.
        assert.equal(trapOf(bench.try(`csrrs a0, ${number}, a1`, mode)), may && !isReadOnly ? undefined : illegal, `set ${name}`);
        assert.equal(trapOf(bench.try(`csrrci a0, ${number}, 0`, mode)), may ? undefined : illegal, `clear nothing of ${name}`);
      }
      if (isReadOnly) assert.equal(trapOf(bench.try(`csrrw zero, ${number}, zero`)), illegal, "CSRRW always writes");
    }
  });

  test("an illegal access has the instruction in tval, and writes no register", () => {
    bench.reset();
    const outcome = bench.try("csrrw a0, mstatus, a1", "user", { a0: 77n });
    assert.deepEqual("trap" in outcome && { trap: outcome.trap, value: outcome.value }, { trap: illegal, value: 0x30059573n });
    assert.equal(bench.hart.x(10), 77n);
  });

  test("write, set and clear, by register and by immediate", () => {
    bench.reset();
    const steps: [text: string, a1: bigint, old: bigint, now: bigint][] = [
      ["csrrw a0, mscratch, a1", 0xff00n, 0n, 0xff00n],
      ["csrrs a0, mscratch, a1", 0x000fn, 0xff00n, 0xff0fn],
      ["csrrc a0, mscratch, a1", 0x0f01n, 0xff0fn, 0xf00en],
      ["csrrwi a0, mscratch, 21", 0n, 0xf00en, 21n],
      ["csrrsi a0, mscratch, 10", 0n, 21n, 31n],
      ["csrrci a0, mscratch, 17", 0n, 31n, 14n],
    ];
    for (const [text, a1, old, now] of steps) {
      const outcome = bench.try(text, "machine", { a1 });
      assert.equal("a0" in outcome && outcome.a0, old, text);
      assert.equal(bench.read("mscratch"), now, text);
    }
    // The same register as source and destination.
    bench.try("csrrw a1, mscratch, a1", "machine", { a1: 5n });
    assert.equal(bench.hart.x(11), 14n);
    assert.equal(bench.read("mscratch"), 5n);
  });
});

/** After a write of all ones, and of zeros: what must read as one, and as zero. */
const warl: readonly [name: string, ones: bigint, zeros?: bigint][] = [
  ["misa", (2n << 62n) | 0x1411adn],
  ["mvendorid", 0n],
  ["mhartid", 0n],
  ["medeleg", 0xf0b7ffn],
  ["mideleg", 0x1666n, 0x1444n],
  ["mie", 0xeeen],
  ["mcounteren", 0xffffffffn],
  ["scounteren", 0xffffffffn],
  ["mcountinhibit", 0n],
  ["mscratch", all],
  ["sscratch", all],
  ["mepc", all & ~1n],
  ["sepc", all & ~1n],
  ["mtval", all],
  ["stval", all],
  ["mcause", all],
  ["scause", all],
  ["pmpaddr0", (1n << 54n) - 1n],
  ["pmpaddr15", (1n << 54n) - 1n],
  ["pmpaddr16", 0n],
  ["pmpaddr63", 0n],
  ["pmpcfg4", 0n],
  ["mhpmcounter3", 0n],
  ["mhpmevent31", 0n],
  ["stimecmp", all],
  ["menvcfg", (7n << 61n) | 0xf1n],
  ["senvcfg", 0xf1n],
  // SXL, UXL: 64 bits; SD, MPV, GVA, FS, TSR, TW, TVM, MXR, SUM, MPRV, MPP, SPP, xPIE, xIE.
  ["mstatus", (1n << 63n) | (0xcan << 32n) | 0x7e79aan, 0xan << 32n],
  ["sstatus", (1n << 63n) | (2n << 32n) | 0xc6122n, 2n << 32n],
];

const readOnly = new Set(["mvendorid", "mhartid"]);

suite("fields that hold what is written, and those that don't", () => {
  for (const [name, ones, zeros] of warl) {
    test(name, () => {
      bench.reset();
      if (readOnly.has(name)) {
        assert.equal(bench.read(name), ones);
        return;
      }
      const kept = name === "misa" ? ones : (zeros ?? 0n);
      assert.equal(bench.write(name, all), ones);
      assert.equal(bench.write(name, 0n), kept);
      assert.equal(bench.write(name, all), ones);
    });
  }

  test("mtvec and stvec: direct or vectored, a multiple of four", () => {
    bench.reset();
    for (const name of ["mtvec", "stvec"]) {
      assert.equal(bench.write(name, 0x80001000n), 0x80001000n);
      assert.equal(bench.write(name, 0x80001001n), 0x80001001n);
      assert.ok(bench.write(name, all) % 4n < 2n, "no reserved mode");
    }
  });

  test("MPP never becomes 2", () => {
    bench.reset();
    for (const level of [0n, 1n, 3n]) {
      assert.equal((bench.write("mstatus", level << 11n) >> 11n) & 3n, level);
      assert.equal((bench.write("mstatus", 2n << 11n) >> 11n) & 3n, level);
    }
  });

  test("SD tells that FS is dirty", () => {
    bench.reset();
    for (const fs of [0n, 1n, 2n, 3n]) assert.equal(bench.write("mstatus", fs << 13n) >> 63n, fs === 3n ? 1n : 0n);
  });

  test("sstatus is a view of mstatus, and changes only its own part", () => {
    bench.reset();
    bench.write("mstatus", (3n << 11n) | (1n << 22n) | (1n << 3n));
    bench.write("sstatus", all);
    const status = bench.read("mstatus");
    assert.equal(status & ((3n << 11n) | (7n << 20n) | (1n << 3n) | (1n << 7n) | (1n << 17n)), (3n << 11n) | (1n << 22n) | (1n << 3n));
    assert.equal(status & 0xc6122n, 0xc6122n);
    bench.write("mstatus", 0n);
    assert.equal(bench.read("sstatus") & 0xffffffffn, 0n);
  });

  test("satp: a write with a mode that isn't there changes nothing", () => {
    bench.reset();
    for (let mode = 0n; mode < 16n; mode++) {
      bench.set({ satp: 0n });
      const value = (mode << 60n) | (0xffffn << 44n) | 0xfffffffffffn;
      const isThere = [0n, 8n, 9n, 10n].includes(mode);
      assert.equal(bench.write("satp", value), isThere ? value : 0n, `mode ${mode}`);
    }
  });

  test("CBIE never becomes 2", () => {
    bench.reset();
    for (const name of ["menvcfg", "senvcfg"]) {
      bench.write(name, 0x30n);
      assert.equal(bench.write(name, 0x20n) & 0x30n, 0x30n);
      assert.equal(bench.write(name, 0x10n) & 0x30n, 0x10n);
      assert.equal(bench.write(name, 0x20n) & 0x30n, 0x10n);
    }
  });

  test("sie and sip show what is delegated, and write no more than that", () => {
    bench.reset();
    bench.set({ mideleg: 0x20n, mie: 0xaaan, mip: 0x222n });
    assert.equal(bench.read("sie"), 0x20n);
    assert.equal(bench.read("sip"), 0x20n);
    bench.write("sie", 0n);
    assert.equal(bench.get("mie"), 0xa8an);
    bench.write("sip", 0n);
    assert.equal(bench.get("mip"), 0x222n, "STIP is machine mode's, SSIP isn't delegated");
    bench.set({ mideleg: 0x222n });
    bench.write("sip", 0n);
    assert.equal(bench.get("mip"), 0x220n, "SSIP alone can be written");
    bench.write("sip", 0x222n);
    assert.equal(bench.get("mip"), 0x222n);
  });

  test("mip: software sets the supervisor's bits, devices the machine's", () => {
    bench.reset();
    assert.equal(bench.write("mip", all), 0x226n);
    bench.set({ lines: (1 << 11) | (1 << 7) | (1 << 3) });
    assert.equal(bench.write("mip", 0n), 0x888n);
    // The line of an interrupt controller shows in SEIP, but setting another bit doesn't latch it.
    bench.set({ lines: 1 << 9 });
    assert.equal(bench.read("mip"), 0x200n);
    bench.try("csrs mip, a0", "machine", { a0: 2n });
    assert.equal(bench.read("mip"), 0x202n);
    bench.set({ lines: 0 });
    assert.equal(bench.read("mip"), 2n);
  });

  test("with Sstc, STIP is the timer's alone", () => {
    bench.reset();
    bench.write("mip", 1n << 5n);
    assert.equal(bench.read("mip"), 1n << 5n);
    bench.write("menvcfg", 1n << 63n);
    assert.equal(bench.read("mip"), 0n, "what software set is gone");
    assert.equal(bench.write("mip", 1n << 5n), 0n);
    bench.hart.time = 1000;
    bench.write("stimecmp", 999n);
    assert.equal(bench.read("mip"), 1n << 5n);
    assert.equal(bench.write("mip", 0n), 1n << 5n);
    bench.write("stimecmp", 1001n);
    assert.equal(bench.read("mip"), 0n);
    bench.hart.time = 0;
  });
});

suite("protection registers", () => {
  test("a locked entry keeps its configuration and address; a locked top of range also the address below", () => {
    bench.reset();
    bench.write("pmpaddr2", 0x100n);
    bench.write("pmpaddr3", 0x200n);
    bench.write("pmpcfg0", 0x1fn | (0x89n << 24n));
    assert.equal(bench.write("pmpaddr3", 0x300n), 0x200n);
    assert.equal(bench.write("pmpaddr2", 0x300n), 0x100n);
    assert.equal(bench.write("pmpaddr4", 0x300n), 0x300n);
    assert.equal(bench.write("pmpcfg0", 0x1fn) >> 24n, 0x89n);
    assert.equal(bench.write("pmpcfg0", 0x1fn | (0x99n << 32n)), 0x1fn | (0x89n << 24n) | (0x99n << 32n));
    // Not a top of range: the address below is free.
    assert.equal(bench.write("pmpaddr3", 0x400n), 0x200n);
    assert.equal(bench.write("pmpaddr5", 0x400n), 0x400n);
  });

  test("bits 5 and 6 of a configuration don't exist, and write without read is refused", () => {
    bench.reset();
    assert.equal(bench.write("pmpcfg2", 0x7fn << 8n), 0x1fn << 8n);
    assert.equal(bench.write("pmpcfg2", 0x1an << 8n), 0x1fn << 8n);
  });
});
