/** What is to be followed: a program with a kernel of its own, and from where to where. */
import { standardModel, type MachineModel } from "#machine/model.ts";
import { assembleWithSymbols } from "#riscv/assemble.ts";
import { address } from "#platform/memory-map.ts";

export interface Scene {
  readonly title: string;
  /** The machine that it is for. */
  readonly model: MachineModel;
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

/**
 * The same where software fills the TLB (docs/software-tlb.md): the kernel in a wired entry of 2 MiB, a linear table for the process's pages, of which
 * the third holds what it reads.
 */
const TLB_MISS = `
start:   la     t0, refill
         csrw   stlbvec, t0
         csrwi  stlbwired, 1
         csrwi  stlbindex, 0
         li     t0, ${address.memory}
         csrw   stlbhi, t0
         li     t0, 0x400000200000ef       # 2 MiB: V R W X G A D
         csrw   stlblo, t0
         csrwi  stlbop, 1
         la     t0, table
         li     t1, ${(PROCESS_BASE / 4096) * 8}
         sub    t0, t0, t1
         csrw   stlbcontext, t0
         li     t0, 14                     # mode; address space 7
         slli   t0, t0, 16
         addi   t0, t0, 7
         slli   t0, t0, 44
         csrw   satp, t0
         la     t0, process
         li     t1, ${address.memory - PROCESS_BASE}
         sub    t0, t0, t1
         csrw   sepc, t0
         li     t0, 0x100                  # SPP: U-mode
         csrc   sstatus, t0
         sret

refill:  csrw   stlbscratch0, t0
         csrr   t0, stlbcontext            # where the page's entry is
         ld     t0, 0(t0)
         csrw   stlblo, t0                 # VPN, from the miss, to PFN
         csrwi  stlbop, 2
         csrr   t0, stlbscratch0
         sret

process: li     t0, ${PROCESS_BASE + 0x2000}
load:    ld     a0, 0(t0)
         mv     s0, a0
after:   j      process
         .align 3
table:   .dword 0x2000005b, 0x2000045b, 0x200008d7     # V R X U A, twice; V R W U A D
         .align 12
         .zero  4096
         .dword 42
`;

export const systemCall = (): Scene => sceneOf("a system call", SYSTEM_CALL, standardModel, "call");
export const tlbMiss = (): Scene => sceneOf("a TLB miss", TLB_MISS, { ...standardModel, tlb: "software" }, "load");

/** From the label `begin` to the label `after`, both in the process. */
function sceneOf(title: string, source: string, model: MachineModel, begin: string): Scene {
  const { bytes, symbols } = assembleWithSymbols(source, { base: address.memory });
  const inProcess = (name: string): bigint => symbols.get(name)! - BigInt(address.memory - PROCESS_BASE);
  return { title, model, bytes, processBase: PROCESS_BASE, begin: inProcess(begin), end: inProcess("after") };
}
