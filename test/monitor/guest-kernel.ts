/**
 * A kernel of a few lines around the programs of the tests. It turns translation on, writes every trap down, goes on behind the instruction, and lets
 * a program in user mode come back by ECALL.
 *
 *   0x40000000   pages of user mode: entry i of L0 maps the page DATA + i · 4096, readable, writable, executable, accessed, dirty
 *   0x80000000   a page of 1 GiB for itself, one to one; another at 0 for devices
 *
 * t3 to t5 are the handler's, s10 is where it writes next, s11 is where user mode's ECALL comes back to.
 */
import { address } from "#platform/memory-map.ts";
import { EXIT } from "../kit/monitor.ts";

export const ROOT = 0x8010_0000;
export const L1 = 0x8010_1000;
export const L0 = 0x8010_2000;
/** Of the 2 MiB behind L0's. */
export const NEXT_L0 = 0x8010_3000;
export const DATA = 0x8011_0000;
const LOG = 0x8018_0000;
export const USER = 0x4000_0000;

export const flag = { v: 1, r: 2, w: 4, x: 8, u: 16, g: 32, a: 64, d: 128 } as const;
export const KERNEL_PAGE = 0xcf;
export const USER_PAGE = 0xdf;

export const pte = (at: number, flags: number): number => (at / 4096) * 1024 + flags;
/** Stores an entry; uses t0 and t1. */
export const entry = (table: number, index: number, value: number | bigint): string => `
  li t0, ${table + 8 * index}
  li t1, ${value}
  sd t1, 0(t0)`;
/** satp with Sv39. */
export const space = (root: number, asid = 0): string => `
  li t0, ${(8n << 60n) | (BigInt(asid) << 44n) | BigInt(root / 4096)}
  csrw satp, t0`;
/** Runs a program's lines in user mode, and goes on when it has said ECALL. Its name must be new. */
export const inUser = (name: string, lines: string): string => `
  la   s11, ${name}_back
  la   t0, ${name}_user
  li   t1, 0x3fffffff
  and  t0, t0, t1
  li   t1, ${USER + 0x20_0000}
  add  t0, t0, t1
  csrw sepc, t0
  li   t0, 0x100
  csrc sstatus, t0
  sret
  ${name}_user:
  ${lines}
  ecall
  ${name}_back:`;

/** Where user mode finds what the kernel has at an address: the first 2 MiB behind USER + 2 MiB are the kernel's own code, for user mode to execute. */
export const ALIAS = USER + 0x20_0000 - address.memory;

/** Its tables, and where it writes traps down. */
export const beginning = (log: number): string => `
  la   t0, handler
  csrw stvec, t0
  li   s10, ${log}
  li   t0, 0x6000
  csrs sstatus, t0
  ${entry(ROOT, 0, pte(0, KERNEL_PAGE & ~flag.x))}
  ${entry(ROOT, 1, pte(L1, flag.v))}
  ${entry(ROOT, 2, pte(address.memory, KERNEL_PAGE))}
  ${entry(L1, 0, pte(L0, flag.v))}
  ${entry(L1, 1, pte(address.memory, USER_PAGE & ~flag.w))}
  ${entry(L1, 2, pte(NEXT_L0, flag.v))}
  li   t0, ${L0}
  li   t1, ${pte(DATA, USER_PAGE)}
  li   t2, 32
  fill: sd t1, 0(t0)
  addi t0, t0, 8
  addi t1, t1, 1024
  addi t2, t2, -1
  bnez t2, fill
  ${space(ROOT)}
  sfence.vma`;

export const kernel = (body: string): string => `
  ${beginning(LOG)}
  ${body}
  li   a0, 3
  ${EXIT}
  .align 6
  handler:
  csrr t3, scause
  sd   t3, 0(s10)
  csrr t4, stval
  sd   t4, 8(s10)
  csrr t4, sepc
  sd   t4, 16(s10)
  csrr t5, sstatus
  sd   t5, 24(s10)
  addi s10, s10, 32
  bltz t3, interrupted
  addi t4, t4, 4
  li   t5, 8
  beq  t3, t5, called
  li   t5, 12
  beq  t3, t5, strayed
  li   t5, 1
  beq  t3, t5, strayed
  csrw sepc, t4
  sret
  called: csrw sepc, s11
  li   t5, 0x100
  csrs sstatus, t5
  sret
  strayed: csrw sepc, ra
  li   t5, 0x100
  csrs sstatus, t5
  sret
  interrupted: csrci sip, 2
  li   t5, -1
  csrw stimecmp, t5
  sret
`;
