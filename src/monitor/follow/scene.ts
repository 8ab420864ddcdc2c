/** What is to be followed: a program with a kernel of its own, and from where to where. */
import { assembleWithSymbols } from "#riscv/assemble.ts";
import { address } from "#platform/memory-map.ts";

export interface Scene {
  readonly title: string;
  /** For the start of memory, entered in S-mode. */
  readonly bytes: Uint8Array;
  /** The process's pages are its memory again, from this virtual address on. */
  readonly processBase: number;
  /** Virtual addresses in the process: of the instruction where the flow begins, and of that before which it has come to its end. */
  readonly begin: bigint;
  readonly end: bigint;
}

const PROCESS_BASE = 0x4000_0000;

/**
 * A kernel that a page holds: one table of two large pages (Sv39), memory in its place for the kernel and again at 0x40000000 for the process; one
 * system call, which gives the process its number. Temporary registers are the callee's.
 */
const SYSTEM_CALL = `
start:   la     t0, table
         li     t1, 0x200000df             # for the process: V R W X U A D
         sd     t1, 8(t0)
         li     t1, 0x200000cf             # for the kernel
         sd     t1, 16(t0)
         srli   t0, t0, 12
         li     t1, 8
         slli   t1, t1, 60
         or     t0, t0, t1
         csrw   satp, t0
         sfence.vma
         la     t0, handler
         csrw   stvec, t0
         la     t0, stack
         csrw   sscratch, t0
         la     t0, process
         li     t1, ${PROCESS_BASE}
         sub    t0, t0, t1
         csrw   sepc, t0
         li     t0, 0x100                  # SPP: U-mode
         csrc   sstatus, t0
         sret

handler: csrrw  sp, sscratch, sp           # the kernel's stack
         csrr   t0, scause
         li     t1, 8                      # an ecall from U-mode
bad:     bne    t0, t1, bad
         csrr   t0, sepc
         addi   t0, t0, 4
         csrw   sepc, t0
         li     a0, 42                     # the process's number
         csrrw  sp, sscratch, sp
         sret

process: li     a7, 172                    # getpid
call:    ecall
         mv     s0, a0
after:   j      process
         .align 12
table:   .zero  4096
stack:   .dword 0
`;

export function systemCall(): Scene {
  const { bytes, symbols } = assembleWithSymbols(SYSTEM_CALL, { base: address.memory });
  const inProcess = (name: string): bigint => symbols.get(name)! - BigInt(address.memory - PROCESS_BASE);
  return { title: "a system call", bytes, processBase: PROCESS_BASE, begin: inProcess("call"), end: inProcess("after") };
}
