/**
 * The operations by which techniques of virtualization are told apart (Adams & Agesen 2006, table 1; Barham 2003, table 3): each a guest that does it
 * over and over. Those of kernels are assembly, with translation on; those of processes are the small kernel's programs.
 */
import { EXIT } from "../test/kit/monitor.ts";

export interface Operation {
  readonly name: string;
  /** So many of them are enough. */
  readonly count: number;
  /** A guest that does it so many times, and ends. */
  readonly guest: (count: number) => { readonly source: string } | { readonly command: string };
  /** Operations in one turn; 1 if absent. */
  readonly each?: number;
  /** Whether that guest knows of a monitor that offers its interface. */
  readonly knows?: true;
}

interface KernelOperation {
  readonly before?: string;
  readonly turn: string;
  /** A trap's handler; goes on behind the instruction if absent. */
  readonly handler?: string;
  readonly after?: string;
}

/** Kernel and devices at their own addresses, by large pages; one page more at 0x40000000, in t3, whose entry's address is in s5 and its value in s6. */
function kernel(count: number, { before = "", turn, handler = "csrr t2, sepc\n addi t2, t2, 4\n csrw sepc, t2\n sret", after = "" }: KernelOperation): string {
  const entry = (from: string, to: string, flags: number): string => `la t1, ${to}\n srli t1, t1, 2\n ori t1, t1, ${flags}\n ${from}\n`;
  return `
    la   t0, root
    li   t1, 0x200000ef
    sd   t1, 16(t0)
    li   t1, 0xe7
    sd   t1, 0(t0)
    ${entry("sd t1, 8(t0)", "middle", 1)}
    la   t0, middle
    ${entry("sd t1, 0(t0)", "leaf", 1)}
    la   s5, leaf
    ${entry("sd t1, 0(s5)", "page", 0xe7)}
    mv   s6, t1
    ${entry("mv s7, t1", "other", 0xe7)}
    la   t0, root
    srli t0, t0, 12
    li   t1, 8
    slli t1, t1, 60
    or   t0, t0, t1
    csrw satp, t0
    sfence.vma
    la   t0, handler
    csrw stvec, t0
    li   t3, 0x40000000
    li   s3, 0x10000000
    ${before}
    li   s0, ${count}
    again:
    ${turn}
    addi s0, s0, -1
    bnez s0, again
    li   a0, 0
    ${EXIT}
    .align 4
    handler:
    ${handler}
    .align 4
    ${after}
    .align 12
    root: .zero 4096
    middle: .zero 4096
    leaf: .zero 4096
    page: .zero 4096
    other: .zero 4096
  `;
}

const ofKernel = (name: string, count: number, operation: KernelOperation): Operation => ({ name, count, guest: (times) => ({ source: kernel(times, operation) }) });
const ofProgram = (name: string, program: string, count: number, each = 1): Operation =>
  ({ name, count, each, knows: true, guest: (times) => ({ command: `${program} ${times}` }) });

export const operations: readonly Operation[] = [
  ofProgram("system call", "syscall", 3000),
  ofKernel("CSR read", 100_000, { turn: "csrr t1, sscratch" }),
  ofKernel("CSR write", 100_000, { turn: "csrw sscratch, t1" }),
  ofKernel("interrupts off and on", 100_000, { turn: "csrrci t1, sstatus, 2\n csrs sstatus, t1" }),
  ofKernel("device access", 50_000, { turn: "lbu t1, 5(s3)" }),
  ofKernel("call and return", 1_000_000, { turn: "jal ra, callee", after: "callee: ret" }),
  ofKernel("page fault", 20_000, { turn: "sd zero, 0(s5)\n sfence.vma t3\n ld t1, 0(t3)", handler: "sd s6, 0(s5)\n sfence.vma t3\n sret" }),
  ofKernel("page-table write, fence, use", 20_000, { turn: "mv t1, s6\n mv s6, s7\n mv s7, t1\n sd t1, 0(s5)\n sfence.vma t3\n ld t1, 0(t3)" }),
  ofKernel("illegal instruction", 50_000, { turn: ".word 0xffffffff" }),
  ofProgram("context switch", "pipe", 1000, 2),
  ofProgram("fork", "fork", 100),
  ofProgram("exec", "exec", 60),
  ofProgram("mmap of 64 pages", "memory", 60),
];
