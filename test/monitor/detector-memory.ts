/** What a curious kernel asks of memory: each access to each kind of page, tables wherever they may stand, addresses with nothing behind them, devices. */
import { address } from "#platform/memory-map.ts";
import { count, each, kernel, MEMORY, modes, program, type Mode, type Probe } from "./detector-guest.ts";
import { DATA, entry, flag, KERNEL_PAGE, L0, L1, pte, ROOT, USER, USER_PAGE } from "./guest-kernel.ts";

const PAGE = 4096;
const END = address.memory + MEMORY;
const NOTHING = 0x3000_0000;
const [ROOT4, ROOT5] = [0x8020_0000, 0x8020_1000];
const page = (index: number): number => USER + index * PAGE;
const high = (bit: number): bigint => 1n << BigInt(bit);
const raw = (at: number, flags: number): bigint => BigInt(pte(at, flags));

const SUM = 0x40000;
const MXR = 0x80000;
const status = (bits: number): string => `li t0, ${SUM | MXR}\ncsrc sstatus, t0\nli t0, ${bits}\ncsrs sstatus, t0`;

/** By the address in a1. `rd` is another one each time, so that what was read stands in the record of the next trap. */
const accesses = [
  "lb rd, 256(a1)", "lhu rd, 256(a1)", "lwu rd, 256(a1)", "ld rd, 256(a1)", "flw fa0, 256(a1)", "fld fa1, 256(a1)", "lr.w rd, (a1)", "lr.d rd, (a1)",
  "sb a2, 264(a1)", "sh a2, 264(a1)", "sw a2, 264(a1)", "sd a2, 272(a1)", "fsw fa0, 280(a1)", "fsd fa1, 288(a1)", "sc.w rd, a2, (a1)", "sc.d rd, a2, (a1)",
    "amoadd.w rd, a2, (a1)",
  "amoswap.d rd, a2, (a1)", "amomaxu.w rd, a2, (a1)", "c.sw a0, 4(a1)", "c.ld a0, 8(a1)", "ori x0, a1, 0x20", "cbo.zero (a1)", "cbo.clean (a1)",
    "cbo.flush (a1)", "cbo.inval (a1)",
] as const;
/** What the others are handled by is four bytes behind. */
const line = (text: string, i: number): string => `${text.replace("rd", `x${14 + (i % 4)}`)}${text.startsWith("c.") ? "\nc.addi a3, 1" : ""}`;
/** There is a return, if it can be executed: then the kernel's next probe begins. */
const FETCH = "jalr ra, 512(a1)";
const all = (): string => `li a2, 0x123456789abcdef\n${each(accesses, line)}`;

const U = USER_PAGE;
const pages: readonly (readonly [title: string, value: bigint])[] = [
  ["all", raw(DATA, U)], ["no W", raw(DATA, U & ~flag.w)], ["no X", raw(DATA, U & ~flag.x)], ["X only", raw(DATA, U & ~(flag.r | flag.w))],
  ["W without R", raw(DATA, U & ~flag.r)], ["W alone", raw(DATA, U & ~(flag.r | flag.x))], ["a table", raw(DATA, flag.v)], ["nothing", 0n],
  ["all but V", raw(DATA, U & ~flag.v)], ["the kernel's", raw(DATA, KERNEL_PAGE)],
  ["the kernel's, X only", raw(DATA, KERNEL_PAGE & ~(flag.r | flag.w))], ["not accessed", raw(DATA, U & ~flag.a & ~flag.d)],
  ["not dirty", raw(DATA, U & ~flag.d)], ["global", raw(DATA, U | flag.g)], ["software's bits", raw(DATA, U | 0x300)],
  ...[54, 57, 60, 61, 62, 63].map((bit) => [`bit ${bit}`, raw(DATA, U) | high(bit)] as const),
  ["a contiguous range", raw(DATA & ~0xffff | 0x8000, U) | high(63)], ["nothing behind it", raw(NOTHING, U)], ["far beyond memory", raw(2 ** 40, U)],
  ["the last page", raw(2 ** 56 - PAGE, U)], ["the first page behind memory", raw(END, U)], ["the last of memory", raw(END - PAGE, U)],
  ["a UART", raw(address.uart, U)], ["a CLINT", raw(address.clint, U)],
];
/** In which each access is tried. */
const views = [0, SUM, MXR, SUM | MXR];

const pageProbes: readonly Probe[] = pages.flatMap(([title, value], i) => [
  kernel(`a page is there: ${title}`, `li t0, ${DATA + 512}\nli t1, 0x80828082\nsw t1, 0(t0)\n${entry(L0, 30, value)}\nsfence.vma`),
  ...views.map((view) => kernel(`accesses to a page: ${title}, ${view.toString(16)}`,
    `${status(view)}\nli a1, ${page(30)}\n${all()}\nebreak\nli t0, ${L0 + 240}\nld a3, 0(t0)`)),
  ...views.slice(0, 2).map((view) => kernel(`a fetch from a page: ${title}, ${view}`, `${status(view)}\nli a1, ${page(30)}\n${FETCH}`)),
  kernel("MXR", status(i % 2 === 0 ? MXR : 0)),
  program(`accesses to a page: ${title}`, `li a1, ${page(30)}\n${all()}\nli t1, 0x80828082`),
  program(`a fetch from a page: ${title}`, `li a1, ${page(30)}\n${FETCH}`),
]);

/** What becomes of A and D by one access. */
const bits: readonly Probe[] = [0, flag.a, flag.d, flag.a | flag.d].flatMap((before) => [
  kernel(`accessed and dirty, from ${before}`,
    `${status(SUM)}\nli a1, ${page(29)}\nli a2, 7\n${each(accesses, (access, i) => `${entry(L0, 29, raw(DATA, (U & ~flag.a & ~flag.d) | before))}
    sfence.vma
    li s2, ${L0 + 29 * 8}
    ${line(access, i)}
    ld a4, 0(s2)
    ebreak`)}`),
  ...["lw a0, 0(a1)", "sw a0, 0(a1)", "sc.w a0, a0, (a1)", FETCH].flatMap((text) => [
    kernel("an entry", `${entry(L0, 29, raw(DATA, (U & ~flag.a & ~flag.d) | before))}\nsfence.vma`),
    program(`accessed and dirty, from ${before}, by ${text}`, `li a1, ${page(29)}\n${text}`),
    kernel(`accessed and dirty, from ${before}, by ${text}`, `li s2, ${L0 + 29 * 8}\nld a4, 0(s2)`),
  ]),
]);

/** The page behind the 28th. Accesses lie across the end of that. */
const neighbours: readonly (readonly [title: string, value: bigint])[] = [
  ["all", raw(DATA + 7 * PAGE, U)], ["no W", raw(DATA, U & ~flag.w)], ["nothing", 0n], ["not dirty", raw(DATA, U & ~flag.d)],
  ["nothing behind it", raw(NOTHING, U)], ["behind memory", raw(END, U)], ["a device", raw(address.virtio, U)],
];
const crossing = [["lh", "sh", 1], ["lw", "sw", 3], ["ld", "sd", 7], ["flw", "fsw", 3], ["fld", "fsd", 7]] as const;
const across = (offset: number): string => each(crossing.filter(([, , most]) => offset <= most), ([load, store]) => {
  const register = load.startsWith("f") ? "fa" : "a";
  return `${load} ${register}3, ${-offset}(a1)\n${store} ${register}2, ${-offset}(a1)`;
});
const over = (mode: Mode, title: string, before = 28): Probe => ({
  title: `accesses over the end of a page: ${title}`,
  mode,
  lines: `li a1, ${page(before + 1)}\nli a2, 0x123456789abcdef
    ${each([1, 2, 3, 4, 5, 6, 7], (offset) => `${across(offset)}\nld a4, -8(a1)\n${title === "a device" ? "" : "ld a5, 0(a1)\n"}ebreak`)}
    ${each(["lr.w a3, (a1)", "lr.d a3, (a1)", "sc.w a3, a2, (a1)", "amoadd.d a3, a2, (a1)", "amoor.w a3, a2, (a1)"], (text) => each([-1, -2, -4, -8],
      (offset) => `li a1, ${page(before + 1) + offset}\n${text}`))}`,
});
const ends: readonly Probe[] = neighbours.flatMap(([title, value]) => [
  kernel(`a page is behind: ${title}`,
    `${entry(L0, 28, raw(DATA + 6 * PAGE, U))}\n${entry(L0, 29, value)}\n${entry(L0, 27, value)}\nsfence.vma\n${status(SUM)}`),
  ...modes.map((mode) => over(mode, title)),
  ...modes.map((mode) => over(mode, `${title}, and then memory`, 27)),
  ...[0, 2].map((offset) => kernel(`code up to the end of a page: ${title}, ${offset}`,
    `li t0, ${DATA + 7 * PAGE - 2 - offset}\nli t1, 0x00010001
      sw t1, -2(t0)\nli t1, ${offset === 0 ? 0x0013 : 0x0001}
      sh t1, 0(t0)\nli t1, 0x80828082\nli t2, ${DATA + 7 * PAGE}
      sw t1, 0(t2)\nfence.i`)),
  ...[0, 2, 4].map((offset) => program(`code over the end of a page: ${title}, ${offset}`, `li a1, ${page(29)}\njalr ra, ${-2 - offset}(a1)`)),
]);

/** Tables wherever they may stand: entry 3 of L1, for 2 MiB. */
const places: readonly (readonly [title: string, value: bigint])[] = [
  ["in a device", raw(address.uart, flag.v)], ["in nothing", raw(NOTHING, flag.v)], ["behind memory", raw(END, flag.v)],
  ["far beyond it", raw(2 ** 40, flag.v)], ["the last page there may be", raw(2 ** 56 - PAGE, flag.v)],
  ...([flag.u, flag.g, flag.a, flag.d] as const).map((bit) => [`with bit ${bit}`, raw(L0, flag.v | bit)] as const),
  ...[54, 60, 61, 63].map((bit) => [`with bit ${bit}`, raw(L0, flag.v) | high(bit)] as const), ["the table itself", raw(L1, flag.v)],
  ["the root", raw(ROOT, flag.v)], ["a large page", raw(address.memory, U)], ["a large page not aligned", raw(DATA, U)],
  ["a large page over the end of memory", raw(END - 10 * PAGE, U)], ["a large page of nothing", raw(NOTHING, U)],
  ["a large page not accessed", raw(0x8020_0000, U & ~flag.a & ~flag.d)], ["W alone", raw(0x8020_0000, U & ~flag.r & ~flag.x)],
  ["a page", raw(L0, flag.v)],
];
const LARGE = USER + 3 * 0x20_0000;
/** There are tables or code behind it. */
const isNeeded = /^(a page|with.*|the root|the table itself|a large page)$/;
const tables: readonly Probe[] = places.flatMap(([title, value]) => [
  kernel(`a table: ${title}`,
    `${entry(L1, 3, value)}\nsfence.vma\n${status(SUM)}\n${each([0, 9 * PAGE, 10 * PAGE, 0x1f_f000], (offset) =>
      `li a1, ${LARGE + offset}\nld a3, 0(a1)\n${isNeeded.test(title) ? "" : "sd a1, 8(a1)\nld a4, 8(a1)\n"}lr.w a5, (a1)`)}
    li s2, ${L1 + 24}
    ld a6, 0(s2)`),
  program(`a table: ${title}`, `li a1, ${LARGE + 0x1000}\nld a3, 0(a1)\nld a4, 2040(a1)`),
  program(`code from a table: ${title}`, `li a1, ${LARGE + 0x1f_0000}\njalr ra, 0(a1)`),
]);

/** At the root: large pages of 1 GiB, and addresses that are none. */
const VIRTUAL = [0x30, 0x38, 0x3f, 0x40, 0x47, 0x48, 0x56, 0x57, 0x63].map((bit) => 1n << BigInt(bit - 0x30 + 30)).flatMap((value) => [value, -value,
  value - 8n, -value - 8n]);
const roots: readonly Probe[] = [
  ...[raw(address.memory, KERNEL_PAGE), raw(address.memory + PAGE, KERNEL_PAGE), raw(0xc000_0000, KERNEL_PAGE), raw(0x4000_0000, KERNEL_PAGE), raw(2 ** 40,
    KERNEL_PAGE), raw(ROOT, flag.v), 0n].map((value) =>
    kernel(`a page of 1 GiB: ${value.toString(16)}`,
      `${entry(ROOT, 5, value)}\nsfence.vma\nli a1, 0x140100000
        ld a3, 0(a1)\nlr.d a4, (a1)\nsc.d a5, a4, (a1)\nli a1, ${0x1_4000_0000 + MEMORY}
        ld a5, -8(a1)\nld a6, 0(a1)\nsd a1, 0(a1)`)),
];

const satp = (mode: number, root: number,
  asid = 0): string => `li a0, ${BigInt.asIntN(64, (BigInt(mode) << 60n) | (BigInt(asid) << 44n) | BigInt(root / PAGE))}`;
const rootOf: Readonly<Record<number, number>> = { 9: ROOT4, 10: ROOT5 };
const look = each(VIRTUAL, (value) => `li a1, ${BigInt.asIntN(64, value)}\nld a3, 0(a1)\nsw a3, 0(a1)`);
const modesOfSatp: readonly Probe[] = [
  kernel("roots of four and five levels",
    `${entry(ROOT4, 0, pte(ROOT, flag.v))}\n${entry(ROOT5, 0, pte(ROOT4, flag.v))}
      ${entry(ROOT4, 511, pte(ROOT, flag.v))}\n${entry(ROOT5, 511, pte(ROOT4, flag.v))}`),
  ...count(16).map((mode) => kernel(`satp's mode ${mode}`,
    `${satp(mode, mode === 0 ? 0 : rootOf[mode] ?? ROOT)}\ncsrrw a4, satp, a0
      sfence.vma\ncsrr a5, satp\nld a6, 0(x0)\n${look}\ncsrrc a6, satp, x0
      csrr a7, satp`)),
  kernel("satp as it was", `${satp(8, ROOT)}\ncsrw satp, a0\nsfence.vma`),
  ...[1, 0x7fff, 0x8000, 0xffff].map((asid) => kernel(`ASID ${asid}`,
    `${satp(8, ROOT, asid)}\ncsrw satp, a0\ncsrr a1, satp\nli t0, ${asid}
      sfence.vma x0, t0\nsfence.vma t0, t0\nsfence.vma t0, x0
      li a1, ${page(3)}\nld a2, 0(a1)`)),
  kernel("satp is set and cleared",
    `csrr a0, satp\ncsrsi satp, 0\ncsrrci a1, satp, 0\nli a2, 3
      slli a2, a2, 60\ncsrrs a3, satp, a2\ncsrr a4, satp\n${satp(8, ROOT, 3)}
      csrrw a0, satp, a0\ncsrr a5, satp`),
  kernel("Bare with a root",
    `${satp(0, ROOT)}\ncsrw satp, a0\ncsrr a1, satp\n${satp(0, 0, 5)}\ncsrw satp, a0\ncsrr a2, satp\n${satp(8, ROOT)}\ncsrw satp, a0`),
];

/** Without translation. */
const PHYSICAL = [
  0n, 8n, 0x1000n, 0x2000n, 0x10_2000n, 0x3000_0000n, 0x7fff_fff8n, BigInt(address.memory + 0x30_0000), BigInt(END - 8), BigInt(END - 4), BigInt(END),
  BigInt(END + 4096), 0xffff_fff8n, 0x1_0000_0000n, 0x1_8000_0000n, ...[33, 40, 52, 55, 56, 60, 63].map((bit) => 1n << BigInt(bit)), 0x1_8030_0000n,
  -8n, -4096n,
];
const nowhere = (title: string, mode: Mode): Probe => ({
  title,
  mode,
  lines: each(PHYSICAL,
    (at) => `li a1, ${BigInt.asIntN(64, at)}\n${each(["ld", "lw", "lbu", "fld", "sd", "sb"], (name) => `${name} ${name.startsWith("f") ? "fa0" : "a3"}, 0(a1)`)}
      lr.d a4, (a1)\namoadd.w a5, a1, (a1)\ncbo.clean (a1)\ncbo.zero (a1)
      ebreak`),
});
const bare: readonly Probe[] = [
  kernel("translation is off", "csrw satp, x0"),
  nowhere("addresses with something behind them or not", "kernel"),
  ...PHYSICAL.filter((at) => BigInt.asUintN(64, at) >= BigInt(END) || at < 0x4000_0000n).map((at) => kernel(`code at ${at.toString(16)}`,
    `li a1, ${BigInt.asIntN(64, at)}\njalr ra, 0(a1)`)),
  kernel("translation is on", `${satp(8, ROOT)}\ncsrw satp, a0\nsfence.vma`),
];

/** What devices say to reads of each size: once, since some change by it. */
const REGISTERS = [
  ...count(8).map((n) => address.uart + n), ...count(4).map((n) => address.clint + 4 * n), address.clint + 0x4000, address.clint + 0xbff8,
  ...count(64).map((n) => address.plic + 4 * n), address.plic + 0x1000, address.plic + 0x2000, address.plic + 0x2080, address.plic + 0x20_0000,
  address.plic + 0x20_1000, address.plic + 0x20_1004, ...count(9).flatMap((slot) => count(68).map((n) => address.virtio + slot * PAGE + 4 * n)),
  address.test,
];
const devices: readonly Probe[] = [
  kernel("registers of devices", each(REGISTERS, (at, i) => {
    const loads = i % 16 === 0 ? ["lbu", "lh", "lw", "ld", "flw", "fld"] : ["lw"];
    const register = (name: string): string => (name.startsWith("f") ? "fa0" : `a${2 + (i % 6)}`);
    return `li a1, ${at}\n${each(loads, (name) => `${name} ${register(name)}, 0(a1)`)}${i % 6 === 5 ? "\nebreak" : ""}`;
  })),
  kernel("registers of devices by other instructions", each([address.uart + 7, address.virtio + 0x70, address.plic + 0x28, address.clint],
    (at) => `li a1, ${at}\nli a2, 1\nfcvt.d.w fa2, a2\n${each(
    ["sb a2, 0(a1)", "lb a3, 0(a1)", "sh a2, 0(a1)", "lhu a4, 0(a1)", "sw a2, 0(a1)", "lwu a5, 0(a1)", "sd a2, 0(a1)", "ld a6, 0(a1)", "fsw fa2, 0(a1)",
      "flw fa3, 0(a1)", "fmv.x.d a3, fa3", "fsd fa2, 0(a1)", "fld fa3, 0(a1)", "fmv.x.d a4, fa3",
      "lr.w a3, (a1)", "sc.w a4, a2, (a1)", "amoor.w a5, a2, (a1)", "cbo.zero (a1)", "cbo.flush (a1)", "lw a6, 1(a1)", "sw a2, 2(a1)", "ld a7, 4(a1)",
        "c.lw a0, 0(a1)\nc.addi a3, 1", "c.sw a0, 0(a1)\nc.addi a3, 1"], (text) => text)}\nebreak`)),
];

/** Code that changes, with and without FENCE.I. */
const rewriting: readonly Probe[] = count(4).map((how) => kernel(`code that rewrites itself, ${how}`, `
  li   a3, 3
  again_${how}: li s2, ${0x00158593 + how * 0x10_0000}
  la   t0, patched_${how}
  sw   s2, 0(t0)
  ${how % 2 === 0 ? "fence.i" : ""}
  patched_${how}: addi a1, a1, 100
  ebreak
  ${how < 2 ? "" : `li s2, 0\nsw s2, 0(t0)\nlw s2, 0(t0)`}
  addi a3, a3, -1
  bnez a3, again_${how}`));

export const memoryProbes: readonly Probe[] = [
  ...pageProbes, ...bits, ...ends, ...tables, ...roots, ...modesOfSatp, ...bare, ...devices, ...rewriting,
];
