/** The H extension by its manual: who may do what, where traps go and what they leave, interrupts, and what a monitor is told. */
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { csrNumbers } from "#riscv/csr-names.ts";
import { Random } from "../kit/random.ts";
import { cases, seed } from "../kit/effort.ts";
import { interruptBit } from "./bench.ts";
import { allModes, anyMode, causeOf, code, guestVector, HypervisorBench, type AnyMode, type Level } from "./hypervisor-bench.ts";

const bench = new HypervisorBench();
const all = (1n << 64n) - 1n;
const bit = (position: number): bigint => 1n << BigInt(position);
const illegal = 2;
const virtual = 22;
const isGuest = (mode: AnyMode): boolean => allModes[mode] >= 4;
const nominal = (mode: AnyMode): bigint => BigInt(allModes[mode] & 3);
const field = (value: bigint, position: number, width = 1): bigint => (value >> BigInt(position)) & ((1n << BigInt(width)) - 1n);

const everything = {
  mcounteren: 0xffffffffn, hcounteren: 0xffffffffn, scounteren: 0xffffffffn,
  mstatus: 3n << 13n, parkedStatus: 3n << 13n, menvcfg: bit(63), henvcfg: bit(63),
};

/** Whether an instruction is allowed in each mode. */
function expectCauses(text: string, expected: Record<AnyMode, number | undefined>, registers = {}): void {
  for (const mode of anyMode) assert.equal(causeOf(bench.attempt(text, mode, registers)), expected[mode], `${text} in ${mode} mode`);
}

suite("access to CSRs with the H extension", () => {
  const implemented = new Set(csrNumbers.values());
  implemented.delete(csrNumbers.get("tdata3")!);

  test("by number and mode: illegal, virtual or allowed", () => {
    bench.reset();
    for (let number = 0; number < 4096; number++) {
      const level = (number >> 8) & 3;
      const isReadOnly = number >> 10 === 3;
      for (const mode of anyMode) {
        for (const writes of [false, true]) {
          bench.set(everything);
          const outcome = bench.attempt(`csrrs a0, ${number}, ${writes ? "a1" : "zero"}`, mode);
          let expected: number | undefined;
          if (!implemented.has(number) || (writes && isReadOnly)) expected = illegal;
          else if (isGuest(mode)) expected = level === 3 ? illegal : level > (nominal(mode) === 1n ? 1 : 0) ? virtual : undefined;
          else if (level > (mode === "supervisor" ? 2 : allModes[mode])) expected = illegal;
          assert.equal(causeOf(outcome), expected, `CSR 0x${number.toString(16)} in ${mode} mode, ${writes ? "set" : "read"}`);
          if (expected !== undefined) assert.equal(field(outcome.trap!.value, 0, 7), 0x73n, "tval has the instruction");
        }
      }
    }
  });

  const warl: readonly [name: string, ones: bigint, zeros?: bigint][] = [
    ["hstatus", (2n << 32n) | 0x7003c0n, 2n << 32n],
    ["hedeleg", 0xb1ffn],
    ["hideleg", 0x444n],
    ["hie", 0x444n],
    ["hvip", 0x444n],
    ["hip", 0x004n],
    ["hcounteren", 0xffffffffn],
    ["htimedelta", all],
    ["htval", all],
    ["htinst", all],
    ["mtval2", all],
    ["mtinst", all],
    ["hgeie", 0n],
    ["vsstatus", bit(63) | (2n << 32n) | 0xc6122n, 2n << 32n],
    ["vsscratch", all],
    ["vsepc", all & ~1n],
    ["vscause", all],
    ["vstval", all],
    ["vstimecmp", all],
  ];
  for (const [name, ones, zeros = 0n] of warl) {
    test(`${name} holds what can be held`, () => {
      bench.reset();
      for (const [value, kept] of [[all, ones], [0n, zeros], [all, ones]] as const) assert.equal(bench.write(name, value), kept);
    });
  }

  test("henvcfg: the bits of menvcfg that are clear read as zero", () => {
    for (const allowed of [0n, bit(61), bit(62), bit(63), 7n << 61n]) {
      bench.reset();
      bench.write("menvcfg", allowed);
      assert.equal(bench.write("henvcfg", all), allowed | 0xf1n);
    }
  });

  test("hgatp: of a mode that isn't there, the rest is written; 14 bits of VMID; a root of 16 KiB", () => {
    const rest = bit(58) - 4n;
    for (let mode = 0n; mode < 16n; mode++) {
      bench.reset();
      bench.write("hgatp", 8n << 60n);
      const isThere = [0n, 8n, 9n, 10n].includes(mode);
      assert.equal(bench.write("hgatp", (mode << 60n) | (bit(60) - 1n)), ((isThere ? mode : 8n) << 60n) | rest);
    }
  });

  test("vsatp: a write with a mode that isn't there changes nothing, by either name", () => {
    for (let mode = 0n; mode < 16n; mode++) {
      const value = (mode << 60n) | 0x123n;
      const kept = [0n, 8n, 9n, 10n].includes(mode) ? value : 0n;
      bench.reset();
      assert.equal(bench.write("vsatp", value), kept);
      bench.reset();
      bench.attempt("csrw satp, a0", "virtualSupervisor", { a0: value });
      assert.equal(bench.get("parkedSatp"), kept);
      assert.equal(bench.get("satp"), 0n);
    }
  });

  test("in VS-mode a supervisor's registers are VS-mode's", () => {
    const pairs = { stvec: "vstvec", sscratch: "vsscratch", sepc: "vsepc", scause: "vscause", stval: "vstval", stimecmp: "vstimecmp" };
    for (const [name, own] of Object.entries(pairs)) {
      bench.reset();
      bench.set(everything);
      bench.write(name, 0x1000n);
      bench.write(own, 0x2000n);
      assert.equal(bench.attempt(`csrr a0, ${name}`, "virtualSupervisor").a0, 0x2000n, name);
      bench.attempt(`csrw ${name}, a0`, "virtualSupervisor", { a0: 0x4000n });
      assert.equal(bench.read(own), 0x4000n, own);
      assert.equal(bench.read(name), 0x1000n, name);
    }
  });

  test("vsstatus in VS-mode, and sstatus left alone", () => {
    const random = new Random(seed);
    for (let i = 0; i < cases(200); i++) {
      bench.reset();
      const [host, guest, value] = [random.u64(), random.u64(), random.u64()];
      bench.write("sstatus", host);
      const before = bench.read("sstatus");
      bench.write("vsstatus", guest);
      assert.equal(bench.attempt("csrr a0, sstatus", "virtualSupervisor").a0, bench.read("vsstatus"));
      bench.attempt("csrw sstatus, a0", "virtualSupervisor", { a0: value });
      bench.write("vsscratch", 0n);
      const after = bench.read("vsstatus");
      assert.equal(after & ~bit(63), (value & 0xc6122n) | (2n << 32n));
      assert.equal(after >> 63n, field(value, 13, 2) === 3n ? 1n : 0n);
      assert.equal(bench.read("sstatus"), before);
    }
  });

  test("vsie and vsip are what hideleg gives of hie and hip, one bit lower", () => {
    for (const delegated of [0n, 0x4n, 0x40n, 0x400n, 0x444n]) {
      bench.reset();
      const bothShow = (name: "sie" | "sip"): void => {
        assert.equal(bench.read(`v${name}`), delegated >> 1n, name);
        assert.equal(bench.attempt(`csrr a0, ${name}`, "virtualSupervisor").a0, delegated >> 1n, name);
      };
      bench.set({ hideleg: delegated, mie: 0xfffn });
      bothShow("sie");
      bench.attempt("csrw sie, zero", "virtualSupervisor");
      assert.equal(bench.read("hie"), 0x444n & ~delegated);
      bench.set({ mie: 0n, mip: 0xfffn });
      bothShow("sip");
      bench.attempt("csrw sip, zero", "virtualSupervisor");
      assert.equal(bench.read("hvip"), 0x444n & ~(delegated & 4n), "only the software interrupt can be written");
      bench.attempt("csrw sip, a0", "virtualSupervisor", { a0: all });
      assert.equal(bench.read("hvip"), 0x444n);
    }
  });

  test("hip, hvip and mip: VSSIP is one bit, the others of hvip show in both", () => {
    bench.reset();
    bench.write("hvip", 0x440n);
    assert.equal(bench.read("hip"), 0x440n);
    assert.equal(bench.read("mip"), 0x440n);
    assert.equal(bench.write("mip", 0x4n), 0x444n);
    assert.equal(bench.read("hvip"), 0x444n);
    assert.equal(bench.write("hip", 0n), 0x440n);
    assert.equal(bench.write("mip", 0n), 0x440n);
  });

  test("counters: mcounteren, hcounteren, scounteren", () => {
    for (const name of ["cycle", "time", "instret", "hpmcounter3", "hpmcounter31"]) {
      const number = csrNumbers.get(name)! & 31;
      for (let on = 0; on < 8; on++) {
        bench.reset();
        const [m, h, s] = [0, 1, 2].map((i) => on & (1 << i));
        bench.set({ mcounteren: m ? bit(number) : 0n, hcounteren: h ? bit(number) : 0n, scounteren: s ? bit(number) : 0n });
        expectCauses(`csrr a0, ${name}`, {
          machine: undefined,
          supervisor: m ? undefined : illegal,
          user: m && s ? undefined : illegal,
          virtualSupervisor: m ? (h ? undefined : virtual) : illegal,
          virtualUser: m ? (h && s ? undefined : virtual) : illegal,
        });
      }
    }
  });

  test("a guest's time is htimedelta ahead", () => {
    bench.reset();
    bench.set(everything);
    bench.hart.time = 1000;
    bench.write("htimedelta", -400n & all);
    assert.equal(bench.attempt("csrr a0, time", "virtualUser").a0, 600n);
    assert.equal(bench.attempt("csrr a0, time", "user").a0, 1000n);
    bench.hart.time = 0;
  });

  test("stimecmp and vstimecmp: STCE and TM of M-mode, then of HS-mode", () => {
    for (let on = 0; on < 16; on++) {
      const [mStce, mTm, hStce, hTm] = [0, 1, 2, 3].map((i) => (on & (1 << i)) !== 0);
      bench.reset();
      bench.set({ menvcfg: mStce ? bit(63) : 0n, mcounteren: mTm ? 2n : 0n, henvcfg: hStce ? bit(63) : 0n, hcounteren: hTm ? 2n : 0n });
      const host = mStce && mTm;
      expectCauses("csrr a0, stimecmp", {
        machine: undefined,
        supervisor: host ? undefined : illegal,
        user: illegal,
        virtualSupervisor: host ? (hStce && hTm ? undefined : virtual) : illegal,
        virtualUser: host ? virtual : illegal,
      });
      expectCauses("csrr a0, vstimecmp", {
        machine: undefined,
        supervisor: host ? undefined : illegal,
        user: illegal,
        virtualSupervisor: host ? virtual : illegal,
        virtualUser: host ? virtual : illegal,
      });
    }
  });

  test("VSTIP follows the guest's time and vstimecmp, or hvip", () => {
    bench.reset();
    bench.set({ menvcfg: bit(63), henvcfg: bit(63) });
    bench.hart.time = 1000;
    bench.write("htimedelta", 500n);
    bench.write("vstimecmp", 1501n);
    assert.equal(bench.read("hip"), 0n);
    bench.write("vstimecmp", 1500n);
    assert.equal(bench.read("hip"), 0x40n);
    assert.equal(bench.read("hvip"), 0n);
    bench.write("htimedelta", 0n);
    assert.equal(bench.read("hip"), 0n);
    bench.write("htimedelta", 500n);
    bench.write("henvcfg", 0n);
    assert.equal(bench.read("hip"), 0n);
    bench.write("hvip", 0x40n);
    assert.equal(bench.read("hip"), 0x40n);
    bench.hart.time = 0;
  });
});

suite("instructions with the H extension", () => {
  const fenceLike = (text: string): void => expectCauses(text, { machine: undefined, supervisor: undefined, user: illegal, virtualSupervisor: virtual, virtualUser: virtual });

  test("fences of the hypervisor", () => {
    for (const text of ["hfence.vvma zero, zero", "hfence.gvma a0, a1", "hinval.vvma a0, zero", "hinval.gvma zero, a1"]) {
      bench.reset();
      fenceLike(text);
      bench.set({ mstatus: bit(20) });
      const isGuestStage = text.includes("gvma");
      assert.equal(causeOf(bench.attempt(text, "supervisor")), isGuestStage ? illegal : undefined, `${text} with TVM`);
      assert.equal(causeOf(bench.attempt(text, "machine")), undefined);
      assert.equal(causeOf(bench.attempt(text, "virtualSupervisor")), virtual);
    }
  });

  test("TVM and VTVM: satp, hgatp, sfence.vma, sinval.vma", () => {
    for (const [tvm, vtvm] of [[0n, 0n], [0n, 1n], [1n, 0n], [1n, 1n]] as const) {
      bench.reset();
      bench.set({ mstatus: tvm << 20n, hstatus: vtvm << 20n });
      for (const text of ["csrr a0, satp", "csrw satp, zero", "sfence.vma zero, zero", "sinval.vma zero, zero"]) {
        expectCauses(text, {
          machine: undefined,
          supervisor: tvm ? illegal : undefined,
          user: illegal,
          virtualSupervisor: vtvm ? virtual : undefined,
          virtualUser: virtual,
        });
      }
      for (const text of ["csrr a0, hgatp", "csrw hgatp, zero"]) {
        expectCauses(text, { machine: undefined, supervisor: tvm ? illegal : undefined, user: illegal, virtualSupervisor: virtual, virtualUser: virtual });
      }
      expectCauses("csrr a0, vsatp", { machine: undefined, supervisor: undefined, user: illegal, virtualSupervisor: virtual, virtualUser: virtual });
      for (const text of ["sfence.w.inval", "sfence.inval.ir"]) {
        expectCauses(text, { machine: undefined, supervisor: undefined, user: illegal, virtualSupervisor: undefined, virtualUser: virtual });
      }
    }
  });

  test("TW and VTW: wfi", () => {
    for (const [tw, vtw] of [[0n, 0n], [0n, 1n], [1n, 0n], [1n, 1n]] as const) {
      bench.reset();
      bench.set({ mstatus: tw << 21n, hstatus: vtw << 21n });
      expectCauses("wfi", {
        machine: undefined,
        supervisor: tw ? illegal : undefined,
        user: illegal,
        virtualSupervisor: tw ? illegal : vtw ? virtual : undefined,
        virtualUser: tw ? illegal : virtual,
      });
    }
  });

  test("TSR and VTSR: sret; and mret", () => {
    for (const [tsr, vtsr] of [[0n, 0n], [0n, 1n], [1n, 0n], [1n, 1n]] as const) {
      bench.reset();
      bench.set({ mstatus: tsr << 22n, hstatus: vtsr << 22n, sepc: 0x80000800n, parkedSepc: 0x80000800n });
      expectCauses("sret", {
        machine: undefined,
        supervisor: tsr ? illegal : undefined,
        user: illegal,
        virtualSupervisor: vtsr ? virtual : undefined,
        virtualUser: virtual,
      });
    }
    bench.reset();
    expectCauses("mret", { machine: undefined, supervisor: illegal, user: illegal, virtualSupervisor: illegal, virtualUser: illegal });
  });

  test("virtual-machine loads and stores: in U-mode only with HU", () => {
    for (const text of ["hlv.b a0, (a1)", "hlv.d a0, (a1)", "hlvx.hu a0, (a1)", "hsv.w a0, (a1)"]) {
      for (const hu of [0n, 1n]) {
        bench.reset();
        bench.set({ hstatus: hu << 9n });
        expectCauses(
          text,
          { machine: undefined, supervisor: undefined, user: hu ? undefined : illegal, virtualSupervisor: virtual, virtualUser: virtual },
          { a1: code + 0x8000n },
        );
      }
    }
  });

  test("they load and store", () => {
    bench.reset();
    const at = 0x8000;
    bench.hart.view.setBigUint64(at, 0xfedcba9876548081n, true);
    const loads: Record<string, bigint> = {
      "hlv.b": -0x7fn & all, "hlv.bu": 0x81n, "hlv.h": -0x7f7fn & all, "hlv.hu": 0x8081n, "hlvx.hu": 0x8081n,
      "hlv.w": 0x76548081n, "hlv.wu": 0x76548081n, "hlvx.wu": 0x76548081n, "hlv.d": 0xfedcba9876548081n,
    };
    for (const [name, value] of Object.entries(loads)) {
      assert.equal(bench.attempt(`${name} a0, (a1)`, "supervisor", { a1: code + BigInt(at) }).a0, value, name);
    }
    for (const [name, size] of [["hsv.b", 1], ["hsv.h", 2], ["hsv.w", 4], ["hsv.d", 8]] as const) {
      bench.hart.view.setBigUint64(at, 0n, true);
      bench.attempt(`${name} a0, (a1)`, "supervisor", { a0: all, a1: code + BigInt(at) });
      assert.equal(bench.hart.view.getBigUint64(at, true), (1n << BigInt(8 * size)) - 1n, name);
    }
  });

  test("cache-block operations: menvcfg, henvcfg, senvcfg", () => {
    for (const [text, allow] of [["cbo.zero (a1)", bit(7)], ["cbo.clean (a1)", bit(6)], ["cbo.inval (a1)", bit(4)]] as const) {
      for (let on = 0; on < 8; on++) {
        const [m, h, s] = [0, 1, 2].map((i) => (on & (1 << i)) !== 0);
        bench.reset();
        bench.set({ menvcfg: m ? allow : 0n, henvcfg: h ? allow : 0n, senvcfg: s ? allow : 0n });
        expectCauses(
          text,
          {
            machine: undefined,
            supervisor: m ? undefined : illegal,
            user: m && s ? undefined : illegal,
            virtualSupervisor: m ? (h ? undefined : virtual) : illegal,
            virtualUser: m ? (h && s ? undefined : virtual) : illegal,
          },
          { a1: code + 0x8000n },
        );
      }
    }
  });

  test("floating point needs both FS, and makes both dirty", () => {
    for (let host = 0n; host < 4n; host++) {
      for (let guest = 0n; guest < 4n; guest++) {
        bench.reset();
        bench.set({ mstatus: host << 13n, parkedStatus: guest << 13n });
        const outcome = bench.attempt("fmv.d.x fa0, a0", "virtualSupervisor");
        const isOff = host === 0n || guest === 0n;
        assert.equal(causeOf(outcome), isOff ? illegal : undefined);
        const expected = (before: bigint): bigint => (isOff ? before : 3n);
        assert.equal(field(bench.get("mstatus"), 13, 2), expected(host), "HS-mode's");
        assert.equal(field(bench.get("parkedStatus"), 13, 2), expected(guest), "VS-mode's");
      }
    }
  });

  test("what VS-mode says of FS is its own; what it used is dirty for HS-mode", () => {
    bench.reset();
    bench.set({ mstatus: 1n << 13n, parkedStatus: 1n << 13n });
    bench.attempt("csrw sstatus, a0", "virtualSupervisor", { a0: 3n << 13n });
    assert.equal(field(bench.get("mstatus"), 13, 2), 1n);
    assert.equal(field(bench.get("parkedStatus"), 13, 2), 3n);
    bench.hart.program("fmv.d.x fa0, a0\ncsrw sstatus, a1\ncsrr a0, sstatus");
    bench.set({ mstatus: 1n << 13n, parkedStatus: 1n << 13n });
    const { exports } = bench.hart.instance;
    exports.enterGuest(bench.hart.map.hart);
    bench.set({ pc: code, privilege: 5 });
    bench.hart.state.set("x", 2n << 13n, 11);
    bench.hart.run(3);
    exports.leaveGuest(bench.hart.map.hart);
    assert.equal(field(bench.hart.x(10), 13, 2), 2n);
    assert.equal(field(bench.get("mstatus"), 13, 2), 3n);
    assert.equal(field(bench.get("parkedStatus"), 13, 2), 2n);
  });
});

suite("traps of guests", () => {
  const ecalls: Record<AnyMode, number> = { user: 8, supervisor: 9, machine: 11, virtualUser: 8, virtualSupervisor: 10 };

  test("are delegated by medeleg, and then by hedeleg", () => {
    for (const mode of anyMode) {
      for (const [medeleg, hedeleg] of [[0n, 0n], [1n, 0n], [0n, 1n], [1n, 1n]] as const) {
        bench.reset();
        const number = ecalls[mode];
        bench.set({ medeleg: medeleg << BigInt(number), hedeleg: (hedeleg << BigInt(number)) & 0xb1ffn });
        const outcome = bench.attempt("ecall", mode);
        const level: Level =
          mode === "machine" || !medeleg ? "machine" : isGuest(mode) && hedeleg && number === 8 ? "guest" : "supervisor";
        const modeAfter = { machine: "machine", supervisor: "supervisor", guest: "virtualSupervisor" } as const;
        assert.equal(causeOf(outcome), number, mode);
        assert.equal(outcome.trap!.level, level, mode);
        assert.equal(outcome.mode, modeAfter[level]);
        assert.equal(outcome.trap!.epc, code);
      }
    }
  });

  test("what is written where", () => {
    const statuses = [0n, bit(1), bit(3), bit(1) | bit(5) | bit(8)];
    for (const mode of anyMode) {
      for (const level of ["machine", "supervisor", "guest"] as const) {
        if ((mode === "machine" && level !== "machine") || (level === "guest" && !isGuest(mode))) continue;
        for (const status of statuses) {
          for (const guestStatus of statuses.map((bits) => bits & ~bit(3))) {
            for (const hstatus of [0n, 0x1c0n]) {
              bench.reset();
              const word = 0x00052503n; // lw a0, 0(a0): misaligned accesses work, but there is nothing at 0
              bench.set({
                mstatus: status, parkedStatus: guestStatus, hstatus, htval: 7n, htinst: 7n, mtval2: 7n, mtinst: 7n,
                medeleg: level === "machine" ? 0n : bit(5), hedeleg: level === "guest" ? bit(5) : 0n,
              });
              const outcome = bench.attempt("lw a0, 0(a0)", mode);
              assert.equal(causeOf(outcome), 5);
              assert.equal(outcome.trap!.level, level);
              const [now, hnow, gnow] = [bench.get("mstatus"), bench.get("hstatus"), bench.get("parkedStatus")];
              const v = isGuest(mode) ? 1n : 0n;
              const transformed = v === 1n ? word & ~(31n << 15n) : 0n;
              assert.equal(bench.get("mtval2"), level === "machine" ? 0n : 7n);
              assert.equal(bench.get("htval"), level === "supervisor" ? 0n : 7n);
              assert.equal(bench.get("mtinst"), level === "machine" ? transformed : 7n);
              assert.equal(bench.get("htinst"), level === "supervisor" ? transformed : 7n);
              if (level === "machine") {
                assert.equal(field(now, 39), v, "MPV");
                assert.equal(field(now, 38), v, "GVA");
                assert.equal(field(now, 11, 2), nominal(mode), "MPP");
                assert.equal(field(now, 7), field(status, 3), "MPIE");
                assert.equal(hnow, hstatus);
                assert.equal(gnow, guestStatus);
              } else if (level === "supervisor") {
                assert.equal(field(hnow, 7), v, "SPV");
                assert.equal(field(hnow, 6), v, "GVA");
                assert.equal(field(hnow, 8), v ? nominal(mode) : field(hstatus, 8), "SPVP");
                assert.equal(field(now, 8), nominal(mode), "SPP");
                assert.equal(field(now, 5), field(status, 1), "SPIE");
                assert.equal(gnow, guestStatus);
              } else {
                assert.equal(hnow, hstatus);
                assert.equal(now, status);
                assert.equal(field(gnow, 8), nominal(mode), "vsstatus.SPP");
                assert.equal(field(gnow, 5), field(guestStatus, 1), "vsstatus.SPIE");
                assert.equal(field(gnow, 1), 0n, "vsstatus.SIE");
              }
            }
          }
        }
      }
    }
  });

  test("sret goes where SPV and SPP say, in VS-mode where vsstatus.SPP says", () => {
    for (const [spv, spp, own] of [[0n, 0n, 0n], [0n, 1n, 0n], [1n, 0n, 1n], [1n, 1n, 0n]] as const) {
      for (const mode of ["machine", "supervisor", "virtualSupervisor"] as const) {
        bench.reset();
        bench.set({
          hstatus: (spv << 7n) | bit(8), mstatus: (spp << 8n) | bit(5) | bit(17) | bit(11) | bit(12), sepc: 0x80000100n,
          parkedStatus: (own << 8n) | bit(5), parkedSepc: 0x80000200n,
        });
        const { mode: now, pc } = bench.attempt("sret", mode);
        const guest = mode === "virtualSupervisor";
        const to = guest ? 4n + own : 4n * spv + spp;
        assert.equal(BigInt(allModes[now]), to);
        assert.equal(pc, guest ? 0x80000200n : 0x80000100n);
        assert.equal(field(bench.get("hstatus"), 7), guest ? spv : 0n);
        const changed = bench.get(guest ? "parkedStatus" : "mstatus");
        assert.equal(changed & (bit(1) | bit(5) | bit(8)), bit(1) | bit(5));
        assert.equal(bench.get(guest ? "mstatus" : "parkedStatus") & bit(1), 0n);
      }
    }
  });

  test("mret goes where MPV and MPP say", () => {
    for (const mpv of [0n, 1n]) {
      for (const mpp of [0n, 1n, 3n]) {
        bench.reset();
        bench.set({ mstatus: (mpv << 39n) | (mpp << 11n) | bit(7) | bit(17), mepc: 0x80000100n });
        const { mode } = bench.attempt("mret", "machine");
        assert.equal(BigInt(allModes[mode]), mpp === 3n ? 3n : mpv * 4n + mpp);
        assert.equal(bench.get("mstatus") & (bit(39) | (3n << 11n)), 0n);
        assert.equal(field(bench.get("mstatus"), 17), mpp === 3n ? 1n : 0n);
      }
    }
  });

  test("a round trip leaves every register where it was", () => {
    bench.reset();
    const random = new Random(seed);
    const names = ["stvec", "sscratch", "sepc", "scause", "stval", "satp"] as const;
    const own = names.map((name) => `parked${name[0]!.toUpperCase()}${name.slice(1)}` as "parkedStvec");
    const values = Object.fromEntries([...names, ...own].map((name) => [name, random.u64()]));
    bench.set({ ...values, mstatus: 0x2000n, parkedStatus: 0xc4000n });
    const { exports } = bench.hart.instance;
    exports.enterGuest(bench.hart.map.hart);
    names.forEach((name, i) => assert.equal(bench.get(name), values[own[i]!]));
    exports.leaveGuest(bench.hart.map.hart);
    for (const [name, value] of Object.entries(values)) assert.equal(bench.get(name as "stvec"), value);
    assert.equal(bench.get("mstatus"), 0x2000n);
    assert.equal(bench.get("parkedStatus"), 0xc4000n);
  });
});

suite("interrupts with the H extension", () => {
  /** In the order in which those of one level are taken. */
  const order = [11, 3, 7, 9, 1, 5, 10, 2, 6];
  const known = order.reduce((mask, number) => mask | bit(number), 0n);

  test("which is taken, and where to, on random registers", () => {
    const random = new Random(seed);
    for (let i = 0; i < cases(3000); i++) {
      bench.reset();
      const mode = random.pick(anyMode);
      const [pending, enabled, mideleg, hideleg] = [random.u64() & known, random.u64() & known, random.u64() & 0x222n, random.u64() & 0x444n];
      const [mie, sie, vsie] = [random.u64() & 1n, random.u64() & 1n, random.u64() & 1n];
      bench.set({ mip: pending & 0x666n, lines: Number(pending & ~0x666n), mie: enabled, mideleg, hideleg, mstatus: (mie << 3n) | (sie << 1n), parkedStatus: vsie << 1n });
      const toHs = mideleg | 0x444n;
      const v = isGuest(mode);
      const levels: readonly [Level, bigint, boolean][] = [
        ["machine", pending & enabled & ~toHs, mode !== "machine" || mie === 1n],
        ["supervisor", pending & enabled & toHs & ~hideleg, v || mode === "user" || (mode === "supervisor" && sie === 1n)],
        ["guest", pending & enabled & toHs & hideleg, mode === "virtualUser" || (mode === "virtualSupervisor" && vsie === 1n)],
      ];
      const wanted = levels.find(([, set, may]) => set !== 0n && may);
      const outcome = bench.attempt("nop", mode);
      const number = wanted && order.find((n) => wanted[1] & bit(n))!;
      const seen = wanted && (wanted[0] === "guest" ? number! - 1 : number!);
      assert.equal(causeOf(outcome), seen === undefined ? undefined : -seen, `${mode}, pending ${pending.toString(16)}, enabled ${enabled.toString(16)}`);
      assert.equal(outcome.trap?.level, wanted?.[0]);
    }
  });

  test("vectored traps to VS-mode count with VS-mode's numbers", () => {
    for (const [number, at] of [[2, 1n], [6, 5n], [10, 9n]] as const) {
      bench.reset();
      bench.set({ mip: bit(number), mie: bit(number), hideleg: 0x444n, parkedStvec: guestVector | 1n });
      const outcome = bench.attempt("nop", "virtualUser");
      assert.equal(outcome.trap!.cause, interruptBit | at);
      assert.ok(outcome.pc - (guestVector + 4n * at) <= 4n);
    }
  });

  test("those of VS-mode end a wait in any mode", () => {
    bench.reset();
    bench.set({ mip: 0x40n, mie: 0x40n, hideleg: 0x444n });
    assert.equal(bench.attempt("wfi", "supervisor").exit, "slice");
    bench.set({ mie: 0n });
    assert.equal(bench.attempt("wfi", "supervisor").exit, "wait");
  });
});

suite("htinst", () => {
  const far = 0x1000_0000n;
  const transformed = (text: string, mode: AnyMode = "virtualSupervisor", registers = { a0: far, a1: far }): bigint => {
    bench.reset();
    bench.set({ medeleg: all, hstatus: bit(8), mstatus: 3n << 13n, parkedStatus: 3n << 13n });
    // Sv39x4 without a single page.
    bench.set({ hgatp: (8n << 60n) | BigInt(0x80010000 / 4096) });
    return (bench.attempt(text, mode, registers), bench.get("htinst"));
  };
  const word = (text: string): bigint => {
    bench.hart.program(text, 0x80008000);
    return BigInt(bench.hart.view.getUint32(0x8000, true));
  };

  test("is a pseudoinstruction where the guest's page table can't be read", () => {
    bench.reset();
    bench.set({ medeleg: all, hgatp: (8n << 60n) | BigInt(0x80010000 / 4096), parkedSatp: 8n << 60n | 0x1234n });
    const outcome = bench.attempt("nop", "virtualSupervisor");
    assert.equal(causeOf(outcome), 20);
    assert.equal(bench.get("htinst"), 0x3000n);
    assert.equal(bench.get("htval"), (0x1234n * 4096n + 2n * 8n) >> 2n);
    assert.equal(outcome.trap!.value, code);
  });

  test("is 0 for fetches", () => {
    assert.equal(transformed("nop"), 0n);
    assert.equal(bench.get("htval"), code >> 2n);
    assert.equal(bench.get("scause"), 20n);
  });

  test("for loads and stores of a hypervisor", () => {
    for (const name of ["hlv.b", "hlv.hu", "hlv.wu", "hlvx.wu", "hlv.d"]) {
      assert.equal(transformed(`${name} a2, (a1)`, "supervisor"), word(`${name} a2, (zero)`), name);
      assert.equal(bench.get("scause"), 21n);
      assert.equal(bench.get("stval"), far);
      assert.equal(bench.get("htval"), far >> 2n);
      assert.equal(bench.get("hstatus") & 0xc0n, 0x40n, "GVA without SPV");
    }
    for (const name of ["hsv.b", "hsv.h", "hsv.w", "hsv.d"]) {
      assert.equal(transformed(`${name} a2, (a1)`, "supervisor"), word(`${name} a2, (zero)`), name);
      assert.equal(bench.get("scause"), 23n);
    }
  });

  const mapped = (text: string, a1: bigint): bigint => {
    bench.reset();
    bench.set({ medeleg: all, mstatus: 3n << 13n, parkedStatus: 3n << 13n });
    // A page of 1 GiB for all of memory.
    bench.hart.view.setBigUint64(0x10000 + 2 * 8, (0x80000n << 10n) | 0xdfn, true);
    bench.set({ hgatp: (8n << 60n) | BigInt(0x80010000 / 4096) });
    bench.hart.state.set("x", a1, 2);
    bench.attempt(text, "virtualSupervisor", { a0: 1n, a1 });
    return bench.get("htinst");
  };

  test("for loads, stores and atomics of a guest: without address and offset", () => {
    const texts: readonly [text: string, plain: string][] = [
      ["lb a2, 12(a1)", "lb a2, 0(zero)"],
      ["lhu t6, -4(a1)", "lhu t6, 0(zero)"],
      ["ld a2, 2047(a1)", "ld a2, 0(zero)"],
      ["fld fa7, 8(a1)", "fld fa7, 0(zero)"],
      ["flw fa7, 8(a1)", "flw fa7, 0(zero)"],
      ["sb a2, 12(a1)", "sb a2, 0(zero)"],
      ["sd t6, -12(a1)", "sd t6, 0(zero)"],
      ["fsw fa7, 12(a1)", "fsw fa7, 0(zero)"],
      ["amoadd.w.aq a2, a0, (a1)", "amoadd.w.aq a2, a0, (zero)"],
      ["amomax.d.rl a2, a0, (a1)", "amomax.d.rl a2, a0, (zero)"],
      ["lr.d a2, (a1)", "lr.d a2, (zero)"],
      ["sc.w a2, a0, (a1)", "sc.w a2, a0, (zero)"],
    ];
    for (const [text, plain] of texts) assert.equal(mapped(text, far), word(plain), text);
  });

  test("for compressed ones: what they stand for, with bit 1 clear", () => {
    const texts: readonly [text: string, plain: string][] = [
      ["c.lw a2, 4(a1)", "lw a2, 0(zero)"],
      ["c.ld a5, 8(a1)", "ld a5, 0(zero)"],
      ["c.fld fa2, 8(a1)", "fld fa2, 0(zero)"],
      ["c.sw a2, 4(a1)", "sw a2, 0(zero)"],
      ["c.sd a5, 8(a1)", "sd a5, 0(zero)"],
      ["c.fsd fs0, 8(a1)", "fsd fs0, 0(zero)"],
      ["c.lwsp t6, 4(sp)", "lw t6, 0(zero)"],
      ["c.ldsp s11, 8(sp)", "ld s11, 0(zero)"],
      ["c.fldsp ft11, 8(sp)", "fld ft11, 0(zero)"],
      ["c.swsp t6, 4(sp)", "sw t6, 0(zero)"],
      ["c.sdsp s11, 8(sp)", "sd s11, 0(zero)"],
      ["c.fsdsp ft11, 8(sp)", "fsd ft11, 0(zero)"],
    ];
    for (const [text, plain] of texts) assert.equal(mapped(text, far), word(plain) & ~2n, text);
  });

  test("an access that straddles pages tells how far behind its start the fault is", () => {
    // The end of the mapped GiB, mirrored: there is no memory, so what faults first is the next page at 0xc0000000.
    const start = 0xc0000000n - 3n;
    bench.reset();
    for (const [text, plain] of [["ld a2, 0(a1)", "ld a2, 0(zero)"], ["sw a2, 0(a1)", "sw a2, 0(zero)"]] as const) {
      bench.reset();
      bench.set({ medeleg: all });
      // 4 KiB pages: the last one of the first GiB behind 3 GiB is memory, the next is not mapped.
      bench.hart.view.setBigUint64(0x10000 + 2 * 8, (0x80014n << 10n) | 1n, true);
      bench.hart.view.setBigUint64(0x14000 + 511 * 8, (0x80015n << 10n) | 1n, true);
      bench.hart.view.setBigUint64(0x15000 + 511 * 8, (0x80020n << 10n) | 0xdfn, true);
      bench.hart.view.setBigUint64(0x14000, (0x80000n << 10n) | 0xdfn, true);
      bench.set({ hgatp: (8n << 60n) | BigInt(0x80010000 / 4096) });
      bench.attempt(text, "virtualSupervisor", { a1: start });
      assert.equal(bench.get("stval"), 0xc0000000n, text);
      assert.equal(bench.get("htval"), 0xc0000000n >> 2n);
      assert.equal(bench.get("htinst"), word(plain) | (3n << 15n));
    }
  });

  test("is 0 for interrupts, and for traps of HS-mode's own", () => {
    bench.reset();
    bench.set({ medeleg: all, htinst: 5n, htval: 5n });
    bench.attempt("lw a0, 0(a0)", "supervisor");
    assert.deepEqual([bench.get("htinst"), bench.get("htval")], [0n, 0n]);
    bench.set({ htinst: 5n, htval: 5n, mip: 0x40n, mie: 0x40n });
    bench.attempt("nop", "virtualSupervisor");
    assert.deepEqual([bench.get("htinst"), bench.get("htval"), bench.get("scause")], [0n, 0n, interruptBit | 6n]);
  });
});

suite("a monitor", () => {
  const monitored = (): void => {
    bench.reset();
    bench.set({ monitored: 1, medeleg: all, hedeleg: 0xb1ffn, hideleg: 0x444n, mideleg: 0x222n });
  };
  const record = () =>
    Object.fromEntries((["exitCause", "exitPc", "exitTval", "exitGuestPhysical", "exitInstruction", "exitImplicit"] as const).map((name) => [name.slice(4), bench.get(name)]));
  const nothing = { Tval: 0n, GuestPhysical: 0n, Instruction: 0n, Implicit: 0n };

  test("gets what HS-mode or M-mode would get of a guest, and the guest stands where it was", () => {
    monitored();
    const outcome = bench.attempt("ecall", "virtualSupervisor", { a0: 5n });
    assert.equal(outcome.exit, "exit");
    assert.deepEqual([outcome.mode, outcome.pc, outcome.a0], ["virtualSupervisor", code, 5n]);
    assert.deepEqual(record(), { ...nothing, Cause: 10n, Pc: code });
  });

  test("does not get what the guest handles", () => {
    monitored();
    for (const mode of ["virtualUser", "virtualSupervisor"] as const) {
      const outcome = bench.attempt("ebreak", mode);
      assert.deepEqual([outcome.exit, outcome.trap!.level], ["slice", "guest"]);
    }
  });

  test("gets virtual instructions, WFI among them", () => {
    monitored();
    assert.equal(bench.attempt("csrr a0, hstatus", "virtualSupervisor").exit, "exit");
    assert.deepEqual(record(), { ...nothing, Cause: 22n, Pc: code, Tval: 0x60002573n, Instruction: 0x60002573n });
    bench.set({ hstatus: bit(21) });
    assert.equal(bench.attempt("wfi", "virtualSupervisor").exit, "exit");
    assert.equal(bench.get("exitInstruction"), 0x10500073n);
  });

  test("gets guest-page faults with the address to the byte, and the instruction", () => {
    monitored();
    bench.hart.view.setBigUint64(0x10000 + 2 * 8, (0x80000n << 10n) | 0xdfn, true);
    bench.set({ hgatp: (8n << 60n) | BigInt(0x80010000 / 4096) });
    assert.equal(bench.attempt("lhu a2, 3(a1)", "virtualUser", { a1: 0x10001000n }).exit, "exit");
    assert.deepEqual(record(), { Cause: 21n, Pc: code, Tval: 0x10001003n, GuestPhysical: 0x10001003n, Instruction: 0x0035d603n, Implicit: 0n });
    assert.equal(bench.attempt("c.sd a5, 8(a1)", "virtualUser", { a1: 0x10001000n }).exit, "exit");
    assert.deepEqual(record(), { Cause: 23n, Pc: code, Tval: 0x10001008n, GuestPhysical: 0x10001008n, Instruction: 0xe59cn, Implicit: 0n });
    bench.set({ parkedSatp: (8n << 60n) | 0x5555n });
    assert.equal(bench.attempt("nop", "virtualUser").exit, "exit");
    assert.deepEqual(record(), { Cause: 20n, Pc: code, Tval: code, GuestPhysical: 0x5555010n, Instruction: 0n, Implicit: 0x3000n });
  });

  test("gets interrupts of its own, while those of the guest go to the guest", () => {
    monitored();
    bench.set({ mip: 0x20n | 0x40n, mie: 0xfffn });
    let outcome = bench.attempt("nop", "virtualUser");
    assert.equal(outcome.exit, "exit");
    assert.deepEqual(record(), { ...nothing, Cause: 0x80000005n, Pc: code });
    bench.set({ mip: 0x40n });
    outcome = bench.attempt("nop", "virtualUser");
    assert.deepEqual([outcome.exit, outcome.trap!.level, outcome.trap!.cause], ["slice", "guest", interruptBit | 5n]);
  });

  test("gets every trap of a deprivileged guest", () => {
    monitored();
    assert.equal(bench.attempt("ecall", "user").exit, "exit");
    assert.deepEqual(record(), { ...nothing, Cause: 8n, Pc: code });
    assert.equal(bench.attempt("csrw sscratch, a0", "user").exit, "exit");
    assert.deepEqual(record(), { ...nothing, Cause: 2n, Pc: code, Tval: 0x14051073n, Instruction: 0x14051073n });
  });

  test("gets a deprivileged guest's interrupts when the guest would take them", () => {
    monitored();
    bench.set({ mip: 0x40n, mie: 0xfffn });
    assert.equal(bench.attempt("nop", "user").exit, "exit", "its programs can't keep them off");
    assert.deepEqual(record(), { ...nothing, Cause: 0x80000006n, Pc: code });
    bench.set({ virtualPrivilege: 1n });
    assert.equal(bench.attempt("nop", "user").exit, "slice", "its kernel has SIE off");
    bench.set({ parkedStatus: 2n });
    assert.equal(bench.attempt("nop", "user").exit, "exit", "its kernel has SIE on");
  });
});
