/** Names and numbers of the control and status registers (privileged manual, chapter 2). */

const single = {
  fflags: 0x001, frm: 0x002, fcsr: 0x003,
  cycle: 0xc00, time: 0xc01, instret: 0xc02,
  sstatus: 0x100, sie: 0x104, stvec: 0x105, scounteren: 0x106, senvcfg: 0x10a,
  sscratch: 0x140, sepc: 0x141, scause: 0x142, stval: 0x143, sip: 0x144, stimecmp: 0x14d, satp: 0x180,
  hstatus: 0x600, hedeleg: 0x602, hideleg: 0x603, hie: 0x604, htimedelta: 0x605, hcounteren: 0x606, hgeie: 0x607, henvcfg: 0x60a,
  htval: 0x643, hip: 0x644, hvip: 0x645, htinst: 0x64a, hgatp: 0x680, hgeip: 0xe12,
  vsstatus: 0x200, vsie: 0x204, vstvec: 0x205, vsscratch: 0x240, vsepc: 0x241, vscause: 0x242, vstval: 0x243, vsip: 0x244,
  vstimecmp: 0x24d, vsatp: 0x280,
  mvendorid: 0xf11, marchid: 0xf12, mimpid: 0xf13, mhartid: 0xf14, mconfigptr: 0xf15,
  mstatus: 0x300, misa: 0x301, medeleg: 0x302, mideleg: 0x303, mie: 0x304, mtvec: 0x305, mcounteren: 0x306, menvcfg: 0x30a,
  mcountinhibit: 0x320, mscratch: 0x340, mepc: 0x341, mcause: 0x342, mtval: 0x343, mip: 0x344, mtinst: 0x34a, mtval2: 0x34b,
  mcycle: 0xb00, minstret: 0xb02,
  tselect: 0x7a0, tdata1: 0x7a1, tdata2: 0x7a2, tdata3: 0x7a3, tinfo: 0x7a4,
} as const;

/** Of the supervisor's custom space: those of a TLB that software fills (docs/software-tlb.md). Only a machine that has it has them. */
const custom = {
  stlbindex: 0x5c0, stlbwired: 0x5c1, stlbnext: 0x5c2, stlbhi: 0x5c3, stlblo: 0x5c4, stlbcontext: 0x5c5, stlbop: 0x5c6, stlbvec: 0x5c7,
  stlbscratch0: 0x5c8, stlbscratch1: 0x5c9, stlbsize: 0xdc0,
} as const;

/** Families that are numbered through: name, number of the first index, indexes. */
const numbered: readonly (readonly [name: string, first: number, from: number, to: number, step?: number])[] = [
  ["hpmcounter", 0xc03, 3, 31],
  ["mhpmcounter", 0xb03, 3, 31],
  ["mhpmevent", 0x323, 3, 31],
  // The odd ones exist in RV32 only.
  ["pmpcfg", 0x3a0, 0, 14, 2],
  ["pmpaddr", 0x3b0, 0, 63],
];

export const csrNumbers: ReadonlyMap<string, number> = new Map([
  ...Object.entries(single),
  ...numbered.flatMap(([name, first, from, to, step = 1]) =>
    Array.from({ length: Math.floor((to - from) / step) + 1 }, (_, i): [string, number] => [
      `${name}${from + i * step}`,
      first + i * step,
    ]),
  ),
]);

export const customCsrNumbers: ReadonlyMap<string, number> = new Map(Object.entries(custom));

const names = new Map([...csrNumbers, ...customCsrNumbers].map(([name, number]) => [number, name]));

/** `mstatus`, or `0x5a8` for a number without a name. */
export function csrName(number: number): string {
  return names.get(number) ?? `0x${number.toString(16)}`;
}
