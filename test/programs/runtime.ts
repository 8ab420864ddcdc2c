/**
 * The machine-mode program that runs random programs one after another, under QEMU and on our hart alike: it gives each its registers and its mode,
 * logs and skips the instructions that trap, answers timer interrupts at any point without a trace, and ends by the test device.
 *
 *   memory, from 0x80000000
 *   0x0000   runtime        0x1000  page tables (see image.ts)     0x10000  one region for each program
 *
 *   a program's region      page 0  record: registers, modes, see `record`
 *                           page 1  log: cause, tval, epc, hash of x1 to x31, 8 bytes each
 *                           2, 3    code, writable
 *                           4, 5    data
 *                           6       data, read-only where pages are
 *                           7       not mapped where pages are
 */
import { assembleWithSymbols } from "#riscv/assemble.ts";
import { RAM } from "../kit/hart.ts";

export const regionsAt = RAM + 0x10000;
export const regionSize = 8 * 4096;
export const page = { record: 0, log: 1, code: 2, data: 4, readOnly: 6, hole: 7 } as const;

/** Offsets in a record. x0's place holds the pc. */
export const record = { x: 0, f: 256, fcsr: 512, mstatus: 520, satp: 528, traps: 536, next: 544 } as const;

/** An ECALL with this in a7 ends the program. */
export const endCode = 0x5ead;
export const trapLimit = 100;

/** Where paging is on, all memory is mapped twice: at its physical address, and this much above. */
export const aliasDistance = 0x40000000;

export const device = { test: 0x100000, mtimecmp: 0x2004000, mtime: 0x200bff8 } as const;

const registers = (from: number, to: number): number[] => Array.from({ length: to - from + 1 }, (_, i) => from + i);

const source = `
start:
    la    t0, trap
    csrw  mtvec, t0
    li    t0, -1
    csrw  pmpaddr0, t0
    li    t0, 0x1f
    csrw  pmpcfg0, t0
    csrw  medeleg, zero
    csrw  mideleg, zero
    li    t0, 128
    csrw  mie, t0
    la    t6, first
    ld    t6, 0(t6)
    j     enter

    .align 3
first: .dword ${regionsAt}
random: .dword 88172645463325252

    # t6: the record of the program to start
enter:
    csrw  mscratch, t6
    li    t0, 0x6000
    csrs  mstatus, t0
    ${registers(0, 31).map((i) => `fld f${i}, ${record.f + 8 * i}(t6)`).join("\n    ")}
    ld    t0, ${record.fcsr}(t6)
    csrw  fcsr, t0
    ld    t0, ${record.mstatus}(t6)
    csrw  mstatus, t0
    ld    t0, ${record.satp}(t6)
    csrw  satp, t0
    sfence.vma
    fence.i
    ld    t0, ${record.x}(t6)
resume:
    csrw  mepc, t0
    ${registers(1, 31).map((i) => `ld x${i}, ${record.x + 8 * i}(t6)`).join("\n    ")}
    mret

    .align 2
trap:
    csrrw t6, mscratch, t6
    ${registers(1, 30).map((i) => `sd x${i}, ${record.x + 8 * i}(t6)`).join("\n    ")}
    csrrw t0, mscratch, t6
    sd    t0, ${record.x + 8 * 31}(t6)
    csrr  t0, mepc
    csrr  a0, mcause
    bltz  a0, timer
    addi  a1, a0, -8
    sltiu a1, a1, 4
    li    a2, ${endCode}
    ld    a3, ${record.x + 8 * 17}(t6)
    sub   a2, a2, a3
    seqz  a2, a2
    and   a1, a1, a2
    bnez  a1, finish

    # The log: cause, tval, epc, hash of the registers.
    ld    a1, ${record.traps}(t6)
    slli  a2, a1, 5
    li    a3, ${page.log * 4096}
    add   a2, a2, a3
    add   a2, a2, t6
    addi  a1, a1, 1
    sd    a1, ${record.traps}(t6)
    sd    a0, 0(a2)
    csrr  a3, mtval
    # A breakpoint's may be its address (ours) or 0 (QEMU 7.2's).
    addi  a4, a0, -3
    snez  a4, a4
    neg   a4, a4
    and   a3, a3, a4
    sd    a3, 8(a2)
    sd    t0, 16(a2)
    addi  a4, t6, 8
    addi  a5, t6, 256
    li    a6, 0
    li    a7, 31
hash:
    mul   a6, a6, a7
    ld    a3, 0(a4)
    add   a6, a6, a3
    addi  a4, a4, 8
    bne   a4, a5, hash
    sd    a6, 24(a2)
    li    a3, ${trapLimit}
    bgeu  a1, a3, finish

    # Where the program could not go on, it ends; else the instruction is skipped, which is read at its physical address.
    addi  a1, a0, -1
    beqz  a1, finish
    addi  a1, a0, -12
    beqz  a1, finish
    li    a1, ${aliasDistance}
    srli  a2, t0, 30
    addi  a2, a2, -3
    seqz  a2, a2
    neg   a2, a2
    and   a1, a1, a2
    sub   a1, t0, a1
    lhu   a1, 0(a1)
    andi  a1, a1, 3
    addi  a1, a1, -3
    seqz  a1, a1
    slli  a1, a1, 1
    addi  a1, a1, 2
    add   t0, t0, a1
    j     resume

    # The next one comes after a random time (Marsaglia's xorshift64).
timer:
    la    a1, random
    ld    a2, 0(a1)
    slli  a3, a2, 13
    xor   a2, a2, a3
    srli  a3, a2, 7
    xor   a2, a2, a3
    slli  a3, a2, 17
    xor   a2, a2, a3
    sd    a2, 0(a1)
    andi  a2, a2, 511
    li    a1, ${device.mtime}
    ld    a3, 0(a1)
    add   a2, a2, a3
    li    a1, ${device.mtimecmp}
    sd    a2, 0(a1)
    j     resume

finish:
    ${registers(0, 31).map((i) => `fsd f${i}, ${record.f + 8 * i}(t6)`).join("\n    ")}
    csrr  t0, fcsr
    sd    t0, ${record.fcsr}(t6)
    ld    t6, ${record.next}(t6)
    bnez  t6, enter
    la    t0, random
    sd    zero, 0(t0)
    li    t0, ${device.test}
    li    t1, 0x5555
    sw    t1, 0(t0)
stop:
    j     stop
`;

export const runtime: Uint8Array = assembleWithSymbols(source, { base: RAM }).bytes;
