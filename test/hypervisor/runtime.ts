/**
 * The machine-mode program that runs scenarios one after another, under QEMU and on our hart alike: for each it sets every register, enters a mode
 * at a few random instructions, and logs what all levels' registers hold when it comes back to machine mode.
 *
 *   memory, from 0x80000000
 *   0x000000  runtime                  0x010000  page tables (see image.ts)
 *   0x020000  handlers, and a place to return to
 *   0x030000  code: 64 bytes for each scenario
 *   0x200000  data: pages whose entries scenarios change
 *   0x400000  scenarios: see `scenario`
 */
import { assembleWithSymbols } from "#riscv/assemble.ts";
import { RAM } from "../kit/hart.ts";

export const place = {
  tables: RAM + 0x10000, handlers: RAM + 0x20000, code: RAM + 0x30000, data: RAM + 0x200000, scenarios: RAM + 0x400000,
} as const;
export const codeSize = 64;

/** What comes back to machine mode is what an ECALL at one of these leaves, where the trap went first. */
export const handler = { supervisor: place.handlers, guest: place.handlers + 0x40, back: place.handlers + 0x80 } as const;

/** Written before a scenario, in this order; mstatus and mepc are last. */
export const inputs = [
  "menvcfg", "henvcfg", "senvcfg", "mcounteren", "hcounteren", "scounteren", "medeleg", "mideleg", "hedeleg", "hideleg", "mie", "mip", "hvip",
  "hstatus", "vsstatus", "satp", "vsatp", "hgatp", "sscratch", "sepc", "scause", "stval", "vsscratch", "vsepc", "vscause", "vstval",
  "htval", "htinst", "mtval2", "mtinst", "htimedelta", "mstatus", "mepc",
] as const;
export type Input = (typeof inputs)[number];

/** Logged after it. */
export const outputs = [
  "mcause", "mepc", "mtval", "mtval2", "mtinst", "mstatus", "scause", "sepc", "stval", "htval", "htinst", "hstatus", "vscause", "vsepc", "vstval",
  "vsstatus", "medeleg", "mideleg", "hedeleg", "hideleg", "mie", "mip", "hie", "hip", "hvip", "vsie", "vsip", "sie", "sip", "satp", "vsatp", "hgatp",
  "sscratch", "vsscratch", "henvcfg", "hcounteren", "htimedelta", "hgeie", "hgeip", "stvec", "vstvec",
] as const;
export type Output = (typeof outputs)[number];

/** Registers that a scenario has operands in, and leaves results in: a0 to a5. */
export const operands = [10, 11, 12, 13, 14, 15] as const;

/** Doublewords of a scenario, one kind behind the other. */
export const patches = 4;
export const scenario = {
  inputs: 0,
  operands: inputs.length * 8,
  /** Address and value of what is written first: entries of page tables, and the data at the addresses in a1 and a3. */
  patches: (inputs.length + operands.length) * 8,
  outputs: (inputs.length + operands.length + 2 * patches) * 8,
  results: (inputs.length + operands.length + 2 * patches + outputs.length) * 8,
  size: 1024,
} as const;

export const testDevice = 0x100000;

const source = `
start:
    la    t0, trap
    csrw  mtvec, t0
    li    t0, -1
    csrw  pmpaddr0, t0
    li    t0, 0x1f
    csrw  pmpcfg0, t0
    li    t6, ${place.scenarios}
    la    t0, count
    ld    t5, 0(t0)

next:
    beqz  t5, finish
    la    t0, count
    sd    t5, 0(t0)
    csrw  mscratch, t6
    ${Array.from({ length: patches }, (_, i) => `
    ld    t0, ${scenario.patches + 16 * i}(t6)
    ld    t1, ${scenario.patches + 16 * i + 8}(t6)
    sd    t1, 0(t0)`).join("\n")}
    li    t0, ${handler.supervisor}
    csrw  stvec, t0
    li    t0, ${handler.guest}
    csrw  vstvec, t0
    li    t0, 0x2000
    csrs  mstatus, t0
    fmv.d.x fa0, zero
    # An interrupt may come before they are loaded.
    ${operands.map((register) => `li x${register}, 0`).join("\n    ")}
    csrw  mcause, zero
    csrw  mtval, zero
    ${inputs.map((name, i) => `ld t0, ${scenario.inputs + 8 * i}(t6)\n    csrw ${name}, t0`).join("\n    ")}
    sfence.vma
    hfence.vvma zero, zero
    hfence.gvma zero, zero
    ${operands.map((register, i) => `ld x${register}, ${scenario.operands + 8 * i}(t6)`).join("\n    ")}
    li    t0, 0
    li    t5, 0
    li    t6, 0
    mret

    .align 3
count: .dword 0

    .align 3
trap:
    csrrw t6, mscratch, t6
    ${operands.map((register, i) => `sd x${register}, ${scenario.results + 8 * i}(t6)`).join("\n    ")}
    # Before anything else is accessed: the status as it is, then one without MPRV.
    csrr  t0, mstatus
    sd    t0, ${scenario.outputs + 8 * outputs.indexOf("mstatus")}(t6)
    ${outputs.filter((name) => name !== "mstatus").map((name) => `csrr t0, ${name}\n    sd t0, ${scenario.outputs + 8 * outputs.indexOf(name)}(t6)`).join("\n    ")}
    la    t0, count
    ld    t5, 0(t0)
    addi  t5, t5, -1
    li    t0, ${scenario.size}
    add   t6, t6, t0
    j     next

finish:
    li    t0, ${testDevice}
    li    t1, 0x5555
    sw    t1, 0(t0)
stop:
    j     stop
`;

const assembled = assembleWithSymbols(source, { base: RAM });
export const runtime: Uint8Array = assembled.bytes;
export const countAt = Number(assembled.symbols.get("count")!);
