/**
 * Programs that kernels seldom are, on the bare machine and by every technique: at the end the same registers, the same memory to the last byte, the
 * same count of instructions. Each trap is in memory too, with what its registers said.
 */
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { address } from "#platform/memory-map.ts";
import { runBare } from "../kit/bare-machine.ts";
import { watchExits } from "../kit/confinement.ts";
import { TestMonitor } from "../kit/monitor.ts";
import { allTechniques, titleOf } from "../kit/techniques.ts";
import { DATA, entry, flag, inUser, kernel, KERNEL_PAGE, L0, L1, NEXT_L0, pte, ROOT, space, USER, USER_PAGE } from "./guest-kernel.ts";

const PAGE = 4096;
const PAGES = 1024;
const READ_ONLY = USER_PAGE & ~flag.w;
const SUM = "li t0, 0x40000";
const page = (index: number): number => USER + index * PAGE;
/** Reads so many pages of user mode, as the kernel with SUM, into a sum. */
const look = (...indices: readonly number[]): string =>
  `${SUM}\ncsrs sstatus, t0\n${indices.map((index) => `li t1, ${page(index)}\nld t2, 0(t1)\nadd s2, s2, t2\nslli s2, s2, 1`).join("\n")}`;
const number = (first: number, count: number): string =>
  Array.from({ length: count }, (_, i) => `li t0, ${DATA + (first + i) * PAGE}\nli t1, ${0x1111 * (first + i + 1)}\nsd t1, 0(t0)`).join("\n");

/** Stores to entries 16 to 23 of L0 and what is next to it: an instruction with its table's address in a0, and values in a1, fa1. */
const stores: readonly string[] = [
  "sb a1, 128(a0)", "sb a1, 129(a0)", "sh a1, 130(a0)", "sw a1, 136(a0)", "sd a1, 144(a0)", "sd a1, 148(a0)", "sw a1, 151(a0)", "sh a1, 159(a0)",
  "fsd fa1, 160(a0)", "fsw fa1, 160(a0)", "fsd fa1, 165(a0)", "c.sd a1, 120(a0)", "c.sw a1, 124(a0)",
  "addi a2, a0, 168\namoswap.d a3, a1, (a2)", "addi a2, a0, 172\namoor.w a3, a1, (a2)", "addi a2, a0, 136\namoand.d a3, a1, (a2)",
  "addi a2, a0, 172\namoswap.w a1, a1, (a2)", "addi a2, a0, 176\namoxor.d a2, a1, (a2)", "addi a2, a0, 176\namoor.d x0, a1, (a2)", "addi a2, a0, 140\namoand.w a3, a1, (a2)",
  "addi a2, a0, 176\namoadd.d x0, a1, (a2)", "addi a2, a0, 177\namoadd.d a3, a1, (a2)",
  "addi a2, a0, 176\nlr.d a3, (a2)\nsc.d a4, a1, (a2)", "addi a2, a0, 180\nlr.w a3, (a2)\nsc.w a4, a1, (a2)", "addi a2, a0, 184\nsc.d a4, a1, (a2)",
  "addi a2, a0, 140\ncbo.zero (a2)", "addi a2, a0, 128\ncbo.clean (a2)",
  // Over the end of a table: into the next table, and from the page before.
  "li a2, 4092\nadd a2, a2, a0\nsd a1, 0(a2)", "li a2, 4095\nadd a2, a2, a0\nsw a1, 0(a2)", "sd a1, -4(a0)", "sw a1, -1(a0)", "fsd fa1, -3(a0)",
];

const programs: Readonly<Record<string, string>> = {
  "a kernel that rewrites itself": `
    li   s3, 5
    again: la t0, patch
    li   t1, 0x00140413
    sw   t1, 0(t0)
    fence.i
    patch: addi s0, s0, 7
    la   t0, patch
    li   t1, 0x06440413
    sw   t1, 0(t0)
    fence.i
    addi s3, s3, -1
    bnez s3, again
    la   t0, patch2
    li   t1, 0x14002473
    sw   t1, 0(t0)
    li   t2, 77
    csrw sscratch, t2
    fence.i
    patch2: addi s0, s0, 7`,

  "an instruction that writes to tables for a while, and to other pages for a while": `
    ${number(0, 4)}
    li   s4, 320
    li   s5, ${L0 + 8 * 20}
    li   s6, ${DATA + 40 * PAGE}
    li   s7, ${pte(DATA, USER_PAGE)}
    write: andi t0, s4, 32
    mv   t1, s5
    bnez t0, there
    mv   t1, s6
    there: sd s7, 0(t1)
    sfence.vma
    ${look(20)}
    xori s7, s7, 1024
    addi s4, s4, -1
    bnez s4, write
    ld   s8, 0(s5)
    ld   s9, 0(s6)`,

  "tables that move": `
    ${number(0, 4)}
    li   t0, ${ROOT}
    li   t1, ${DATA + 64 * PAGE}
    li   t2, 512
    copy: ld t3, 0(t0)
    sd   t3, 0(t1)
    addi t0, t0, 8
    addi t1, t1, 8
    addi t2, t2, -1
    bnez t2, copy
    ${space(DATA + 64 * PAGE)}
    ${look(0, 1)}
    li   t0, ${ROOT}
    li   t2, 512
    wipe: sd x0, 0(t0)
    addi t0, t0, 8
    addi t2, t2, -1
    bnez t2, wipe
    sfence.vma
    ${look(2, 3)}
    ${entry(DATA + 64 * PAGE, 1, 0)}
    sfence.vma
    ${look(2)}
    ${entry(DATA + 64 * PAGE, 1, pte(L1, flag.v))}
    sfence.vma
    ${look(3)}`,

  "tables that user mode writes": `
    ${number(0, 4)}
    ${entry(L0, 4, pte(L0, USER_PAGE))}
    sfence.vma
    ${look(0, 5)}
    ${inUser("first", `li t0, ${page(4)}\nli t1, ${pte(DATA + 3 * PAGE, USER_PAGE)}\nsd t1, 40(t0)\nsb x0, 8(t0)\nli t2, ${page(0)}\nsd t1, 8(t2)`)}
    sfence.vma
    ${look(5, 1, 2)}
    ${inUser("second", `li t0, ${page(4)}\nld a0, 0(t0)\nsd a0, 8(t0)\namoor.d a1, a0, (t0)\nli t2, ${page(5)}\nld a2, 0(t2)`)}
    sfence.vma
    ${look(5, 1, 2)}`,

  "a table in its own tree": `
    ${number(0, 4)}
    ${entry(ROOT, 3, pte(ROOT, flag.v))}
    sfence.vma
    li   s3, ${0xc000_0000 + 3 * 0x20_0000 + 3 * PAGE}
    ld   s4, 8(s3)
    ld   s5, 16(s3)
    sd   s5, 32(s3)
    li   s6, ${0xc000_0000 + 0x20_0000}
    ld   s7, 0(s6)
    li   t1, ${pte(DATA + 2 * PAGE, USER_PAGE)}
    sd   t1, 0(s6)
    sfence.vma
    ${look(0)}
    sd   x0, 24(s3)
    sfence.vma
    ld   s7, 0(s6)`,

  ...Object.fromEntries(stores.map((text) => [
    `a store to tables: ${text.replaceAll("\n", "; ")}`,
    `${number(0, 32)}
    ${entry(NEXT_L0, 0, pte(DATA, USER_PAGE))}
    ${entry(L1 + PAGE - 8, 0, pte(DATA, USER_PAGE))}
    ${look(14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 1024)}
    li   a0, ${L0}
    li   a1, ${pte(DATA + 5 * PAGE, USER_PAGE) + 2 ** 40 * 0xdf}
    fmv.d.x fa1, a1
    ${text}
    csrr s8, sstatus
    sfence.vma
    ${look(14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 1024)}
    li   t1, ${page(16)}
    sd   t1, 8(t1)
    li   t1, ${page(18)}
    sd   t1, 8(t1)`,
  ])),

  "a compare and swap loop on an entry": `
    ${number(0, 4)}
    ${look(0, 1)}
    li   s3, 6
    li   a2, ${L0 + 8}
    more: lr.d a3, (a2)
    addi a3, a3, 1024
    sc.d a4, a3, (a2)
    add  s4, s4, a4
    bnez a4, more
    sfence.vma
    ${look(1)}
    addi s3, s3, -1
    bnez s3, more`,

  "reservations over what only a monitor sees": `
    ${entry(L0, 0, pte(DATA, USER_PAGE & ~flag.d))}
    sfence.vma
    ${SUM}
    csrs sstatus, t0
    li   a2, ${page(0)}
    lr.d a3, (a2)
    sc.d s3, a2, (a2)
    li   a2, ${DATA + 8 * PAGE}
    lr.d a3, (a2)
    csrr t0, sscratch
    sc.d s4, a2, (a2)
    lr.d a3, (a2)
    li   a7, 0x10
    li   a6, 0
    ecall
    sc.d s5, a2, (a2)
    lr.w a3, (a2)
    ebreak
    sc.w s6, a2, (a2)
    li   t0, ${address.uart}
    lr.w a3, (a2)
    lbu  t1, 5(t0)
    sc.w s7, a2, (a2)`,

  "two address spaces that share tables": `
    ${number(0, 4)}
    li   t0, ${ROOT}
    li   t1, ${DATA + 64 * PAGE}
    ld   t2, 0(t0)
    sd   t2, 0(t1)
    ld   t2, 8(t0)
    sd   t2, 8(t1)
    ld   t2, 16(t0)
    sd   t2, 16(t1)
    ${look(0, 1)}
    ${space(DATA + 64 * PAGE, 1)}
    ${look(0, 1)}
    ${entry(L0, 0, pte(DATA + 2 * PAGE, USER_PAGE))}
    sfence.vma
    ${look(0, 1)}
    ${space(ROOT, 0)}
    ${look(0, 1)}
    ${entry(DATA + 64 * PAGE, 1, 0)}
    sfence.vma
    ${look(0)}
    ${space(DATA + 64 * PAGE, 1)}
    ${look(0)}
    ${space(ROOT, 0)}
    ${entry(L0, 1, pte(DATA + 3 * PAGE, USER_PAGE))}
    sfence.vma
    ${look(0, 1)}`,

  "fences by the name that an address space had before": `
    ${number(0, 4)}
    ${entry(L0, 0, pte(DATA, READ_ONLY))}
    ${space(ROOT, 5)}
    sfence.vma
    ${look(0, 1)}
    ${space(ROOT, 6)}
    ${look(0, 1)}
    ${entry(L0, 0, pte(DATA + 2 * PAGE, READ_ONLY))}
    li   t0, 5
    sfence.vma x0, t0
    ${space(ROOT, 5)}
    ${look(0, 1)}
    ${entry(L0, 0, pte(DATA + 3 * PAGE, USER_PAGE))}
    li   t0, ${page(0)}
    li   t1, 5
    sfence.vma t0, t1
    ${look(0, 1)}`,

  "a large page that moves under the fence of one address": `
    ${entry(L1, 3, pte(0x8020_0000, READ_ONLY))}
    ${entry(0x8020_0000, 0, 1)}
    ${entry(0x8020_5000, 0, 2)}
    ${entry(0x8021_7000, 0, 3)}
    ${entry(0x8000_5000, 0, 4)}
    ${entry(0x8001_7000, 0, 5)}
    sfence.vma
    ${look(1536, 1541, 1559)}
    ${entry(L1, 3, pte(0x8000_0000, READ_ONLY))}
    li   t0, ${page(1536)}
    sfence.vma t0, x0
    ${look(1541, 1559)}
    ${entry(L1, 3, pte(L0, flag.v))}
    sfence.vma
    ${look(1541, 1559)}`,

  "a large page that becomes dirty in two address spaces": `
    ${entry(L1, 3, pte(0x8020_0000, USER_PAGE & ~flag.d & ~flag.a))}
    li   t0, ${DATA + 64 * PAGE}
    li   t2, ${pte(L1, flag.v)}
    sd   t2, 8(t0)
    li   t2, ${pte(address.memory, KERNEL_PAGE)}
    sd   t2, 16(t0)
    ${look(1536, 1537)}
    ${space(DATA + 64 * PAGE, 1)}
    ${look(1536, 1537)}
    ld   s3, ${L1 + 24 - L1}(x0)
    li   t1, ${page(1536)}
    sd   t1, 0(t1)
    ${space(ROOT, 0)}
    sfence.vma
    ${look(1536, 1537)}
    li   t1, ${page(1537)}
    sd   t1, 8(t1)
    li   t1, ${L1 + 24}
    ld   s4, 0(t1)`,

  "SUM and MXR, on and off": [0xd1, 0xd3, 0xd7, 0xd9, 0xdb, 0xdf, 0xc9, 0xc3, 0x19, 0x59].map((flags, i) => `
    ${entry(L0, i, pte(DATA + i * PAGE, flags))}
    sfence.vma
    li   s3, ${page(i)}
    ${[0, 0x40000, 0x80000, 0xc0000].map((status) => `
    li   t0, 0xc0000
    csrc sstatus, t0
    li   t0, ${status}
    csrs sstatus, t0
    ld   s4, 0(s3)
    lr.w s5, (s3)
    sd   s3, 8(s3)
    jalr ra, 0(s3)
    cbo.flush (s3)
    li   t1, ${page(i) + PAGE - 3}
    lw   s6, 0(t1)`).join("\n")}`).join("\n") + `
    li   t0, 0x80000
    csrs sstatus, t0
    ${inUser("mxr", [0, 1, 2, 3, 4, 5, 6].map((i) => `li t0, ${page(i)}\nld a0, 0(t0)\nsd a0, 16(t0)`).join("\n"))}`,

  "returns with interrupts pending": `
    csrsi sie, 2
    csrsi sip, 2
    ${inUser("pending", "addi s3, s3, 1\naddi s3, s3, 1")}
    csrsi sip, 2
    csrsi sstatus, 2
    addi s3, s3, 1
    csrci sstatus, 2
    csrsi sip, 2
    la   t0, here
    csrw sepc, t0
    li   t0, 0x120
    csrs sstatus, t0
    sret
    here: addi s3, s3, 1
    csrr s4, sip
    li   t0, 0x222
    csrw sie, t0
    csrr s5, sie
    li   t0, -1
    csrw sie, t0
    csrw sip, t0
    csrr s6, sie
    csrr s7, sip
    csrci sstatus, 2
    csrw sip, x0`,

  "timers, waiting, and vectors": `
    li   t0, 0x22
    csrw sie, t0
    rdtime t1
    addi t1, t1, 40
    csrw stimecmp, t1
    csrr s3, sip
    wfi
    csrr s4, sip
    rdtime s5
    csrsi sstatus, 2
    csrci sstatus, 2
    csrr s6, sip
    la   t0, vectors
    addi t0, t0, 1
    csrw stvec, t0
    csrr s7, stvec
    csrsi sstatus, 2
    csrsi sip, 2
    rdtime t1
    csrw stimecmp, t1
    addi s8, s8, 1
    csrci sstatus, 2
    ebreak
    j    over
    .align 6
    vectors: j handler
    j software
    j handler
    j handler
    j handler
    addi s9, s9, 3
    j handler
    software: addi s9, s9, 16
    j handler
    over: csrsi sip, 2
    wfi
    addi s8, s8, 1`,

  "a trap in a trap": `
    la   t0, outer
    csrw stvec, t0
    .word 0xffffffff
    li   s3, 1
    j    behind
    .align 4
    outer: csrr s4, sepc
    csrr s5, scause
    la   t0, handler
    csrw stvec, t0
    ebreak
    ld   t1, 0(x0)
    csrr s6, sstatus
    li   t0, 0x100
    csrs sstatus, t0
    addi s4, s4, 4
    csrw sepc, s4
    sret
    behind: csrr s7, sepc`,

  "floating point, off, clean and dirty": `
    csrr s2, sstatus
    li   t0, 0x6000
    csrc sstatus, t0
    fmv.d.x fa0, t0
    csrr s3, fcsr
    csrr s3, fflags
    csrr s4, sstatus
    li   t0, 0x2000
    csrs sstatus, t0
    fmv.x.d t1, fa0
    csrr s5, sstatus
    li   t0, 0x6000
    csrc sstatus, t0
    li   t0, 0x4000
    csrs sstatus, t0
    fmv.x.d t1, fa0
    csrr s6, sstatus
    fmv.d.x fa0, t0
    csrr s7, sstatus
    li   t0, 0x2000
    csrc sstatus, t0
    csrr s8, sstatus
    csrw fflags, t0
    csrr s9, sstatus
    ${inUser("float", "fadd.d fa1, fa0, fa0\nfmv.x.d a0, fa1")}
    li   t0, 0x6000
    csrc sstatus, t0
    ${inUser("nofloat", "fadd.d fa1, fa1, fa0\ncsrw fflags, a0")}
    csrr s3, sstatus`,

  "counters and what user mode may": [0, 1, 2, 4, 7, -1].map((bits, i) => `
    li   t0, ${bits}
    csrw scounteren, t0
    csrr s2, scounteren
    csrw senvcfg, ${i % 2 === 0 ? "x0" : "t0"}
    csrr s3, senvcfg
    rdinstret s4
    rdtime s5
    rdcycle s6
    csrr s7, 0xc03
    ${inUser(`counters${i}`, `rdcycle a0\nrdtime a1\nrdinstret a2\ncsrr a3, 0xc03\nli t0, ${page(1)}\ncbo.zero (t0)\ncbo.clean (t0)\ncbo.inval (t0)\ncbo.flush (t0)`)}
    li   t0, ${page(2)}
    cbo.zero (t0)`).join("\n"),

  "blocks that are only looked after": `
    ${entry(L0, 0, pte(DATA, USER_PAGE & ~flag.d & ~flag.a))}
    ${entry(L0, 1, pte(DATA + PAGE, USER_PAGE & ~flag.w & ~flag.d))}
    ${entry(L0, 2, pte(DATA, flag.v | flag.x | flag.u | flag.a))}
    sfence.vma
    ${SUM}
    csrs sstatus, t0
    ${[0, 1, 2].map((i) => `li t1, ${page(i) + 100}\ncbo.clean (t1)\ncbo.flush (t1)\ncbo.inval (t1)\nli t2, ${L0 + 8 * i}\nld s3, 0(t2)`).join("\n")}
    li   t1, ${address.uart}
    cbo.clean (t1)
    li   t1, 0x30000000
    cbo.flush (t1)
    cbo.zero (t1)
    li   t1, ${page(40)}
    cbo.clean (t1)`,

  "what is not there, or not allowed": `
    ${[0x300, 0x305, 0x341, 0x3a0, 0x7a0, 0xc03, 0xf14, 0x5a8, 0x181].map((csr) => `csrr s3, ${csr}`).join("\n")}
    csrw 0xc00, x0
    csrw cycle, t0
    mret
    .word 0x00000000
    .word 0xffffffff
    li   t0, -1
    ${["stvec", "sscratch", "sepc", "scause", "stval", "sstatus"].map((csr) => `csrr s3, ${csr}\ncsrw ${csr}, t0\ncsrr s4, ${csr}\ncsrw ${csr}, s3\nadd s5, s5, s4`).join("\n")}
    csrr s6, satp
    li   t1, 0xf
    slli t1, t1, 60
    csrs satp, t1
    csrr s7, satp
    ${inUser("forbidden", "csrr a0, sstatus\ncsrw sscratch, a0\nsret\nwfi\nsfence.vma\nsinval.vma x0, x0\nsfence.w.inval\nmret\nebreak\nfence.i\ncsrr a0, satp\nli t0, 0x80000000\nld a1, 0(t0)\nsd a1, 0(t0)")}
    sfence.w.inval
    sinval.vma x0, x0
    sfence.inval.ir`,

  "accesses over the end of memory, to devices, and to nothing": `
    ${entry(L0, 8, pte(DATA, KERNEL_PAGE))}
    ${entry(L0, 9, pte(0x3000_0000, KERNEL_PAGE))}
    ${entry(L0, 10, pte(address.uart, KERNEL_PAGE))}
    ${entry(L0, 11, pte(2 ** 40, KERNEL_PAGE))}
    ${entry(L0, 12, pte(2 ** 54, KERNEL_PAGE))}
    sfence.vma
    li   s3, ${page(9)}
    sd   s3, 0(s3)
    ld   s4, 0(s3)
    ld   s4, -4(s3)
    amoadd.w s4, s3, (s3)
    lr.w s4, (s3)
    fld  fa0, 0(s3)
    jalr ra, 0(s3)
    li   s3, ${page(10)}
    lw   s4, 4(s3)
    ld   s4, 0(s3)
    lbu  s4, 5(s3)
    amoadd.w s4, s3, (s3)
    jalr ra, 0(s3)
    li   s3, ${page(11)}
    ld   s4, 0(s3)
    li   s3, ${page(12)}
    ld   s4, 0(s3)
    li   s3, 0x4000000000
    ld   s4, 0(s3)
    jalr ra, 0(s3)
    li   s3, ${address.memory + PAGES * PAGE - 4}
    ld   s4, 0(s3)
    sw   s3, 0(s3)`,
};

/** Without translation and with Sv48 and Sv57, which the others don't have. */
const wider = [9, 10].map((mode) => [`${mode === 9 ? "Sv48" : "Sv57"}, and translation off again`, `
    ${number(0, 3)}
    ${entry(DATA + 65 * PAGE, 0, pte(ROOT, flag.v))}
    ${entry(DATA + 66 * PAGE, 0, pte(DATA + 65 * PAGE, flag.v))}
    li   t0, ${(BigInt(mode) << 60n) | BigInt((DATA + (mode === 9 ? 65 : 66) * PAGE) / PAGE)}
    csrw satp, t0
    sfence.vma
    ${look(0, 1)}
    ${entry(DATA + 66 * PAGE, 511, pte(DATA + 65 * PAGE, flag.v))}
    ${entry(DATA + 65 * PAGE, 511, pte(ROOT, flag.v))}
    sfence.vma
    li   s3, ${page(2) - 2 ** 39}
    ld   s4, 0(s3)
    li   s3, 0x800000000000
    ld   s4, 0(s3)
    csrw satp, x0
    li   s3, ${DATA}
    ld   s4, 0(s3)
    li   s3, ${page(0)}
    ld   s4, 0(s3)
    ${inUser("bare", "nop").replaceAll("li   t1, 0x3fffffff", "li   t1, -1").replace(`li   t1, ${USER + 0x20_0000}`, "li   t1, 0")}
    li   s3, -8
    ld   s4, 0(s3)`] as const);

/** One for all programs: what one has left in the TLB is not to be found by the next. */
const monitor = new TestMonitor({ memory: 8 << 20 });

suite("programs by every technique, and on the bare machine", () => {
  for (const [title, body] of [...Object.entries(programs), ...wider]) {
    test(title, () => {
      const source = kernel(body);
      const { machine, output } = runBare(source);
      for (const technique of allTechniques) {
        const free = monitor.frames.available;
        const guest = monitor.create(source, { technique });
        watchExits(monitor.memory, guest.vm);
        monitor.start(guest);
        monitor.run(() => guest.end() !== undefined);
        const by = titleOf(technique);
        assert.deepEqual(guest.end(), { kind: "fail", code: 3 }, by);
        const registers = (x: (index: number) => bigint): string[] => Array.from({ length: 32 }, (_, i) => `x${i} ${x(i).toString(16)}`);
        const { memory } = guest.vm;
        for (let i = address.memory / PAGE; i < address.memory / PAGE + PAGES; i++) {
          const frame = memory.pmap.frame(i);
          const [given, expected] = [frame < 0 ? new Uint8Array(PAGE) : monitor.memory.readable(frame), machine.processor.dma.readable(i * PAGE, PAGE)];
          if (Buffer.compare(given, expected) !== 0) assert.fail(`${by}: page ${i.toString(16)} ${difference(given, expected)}`);
        }
        assert.deepEqual(registers(guest.x), registers((i) => machine.state.get("x", i)), by);
        assert.equal(guest.vm.computer.instret, machine.computer.instret, by);
        assert.equal(guest.output(), output, by);
        guest.vm.release();
        assert.equal(monitor.frames.available, free, by);
      }
    });
  }
});

function difference(given: Uint8Array, expected: Uint8Array): string {
  const at = given.findIndex((byte, i) => byte !== expected[i]) & ~7;
  const word = (bytes: Uint8Array): string => new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(at, true).toString(16);
  return `at ${at.toString(16)}: ${word(given)}, on the bare machine ${word(expected)}`;
}
