/** What a curious kernel asks of its machine: instructions and registers. Of memory, see detector-memory.ts. */
import { address } from "#platform/memory-map.ts";
import { csrNumbers } from "#riscv/csr-names.ts";
import type { Instruction } from "#riscv/instruction.ts";
import { decode, instructions } from "#riscv/table.ts";
import { cases, seed } from "../kit/effort.ts";
import { Random } from "../kit/random.ts";
import { count, each, kernel, modes, program, supervisorCsrs, type Mode, type Probe } from "./detector-guest.ts";
import { memoryProbes } from "./detector-memory.ts";
import { DATA, USER } from "./guest-kernel.ts";

const random = new Random(seed);
const both = (title: string, lines: string): Probe[] => modes.map((mode) => ({ title, mode, lines }));
const word = (value: number): string => `.word ${value >>> 0}`;

const CSRS = count(4096);
const CSRRW = 0x1073;
const CSRRS = 0x2073;
const A1 = 11 << 15;
/** The bare machine's kernel has those of a hypervisor, as its device tree says; a guest has not. */
const isOfHypervisor = (csr: number): boolean => (csr >> 8 & 3) === 2;
/** What a read finds stands in a register until the next trap, or sixteen more. */
const reads = (mode: Mode): string => each(CSRS, (csr) =>
  `${mode === "kernel" && isOfHypervisor(csr) ? "nop" : word(CSRRS | (csr << 20) | ((10 + (csr % 16)) << 7))}${csr % 16 === 15 ? "\nebreak" : ""}`);
const written = new Set(supervisorCsrs.map((name) => csrNumbers.get(name)!));
const isSatp = (csr: number): boolean => csr === csrNumbers.get("satp");

/** Whether a kernel, or a program, may not write it: what it may is for others to ask. */
const isForeign = (csr: number, mode: Mode): boolean =>
  (mode === "program" ? csr > 3 : !isSatp(csr) && !written.has(csr) && !isOfHypervisor(csr));

/** Each is written, read and put back. */
const values = ["0", "-1", "0x5555555555555555", "-0x5555555555555556", ...count(64).map((bit) => `${1n << BigInt(bit)}`)];
const csrProbes: readonly Probe[] = [
  ...modes.map((mode) => ({ title: "each CSR that there may be is read", mode, lines: reads(mode) })),
  ...modes.map((mode) => ({
    title: "each CSR that there may be is written",
    mode,
    lines: `li a1, -1\n${each(CSRS.filter((csr) => csr % 5 === 0 && isForeign(csr, mode)), (csr) => word(CSRRW | (csr << 20) | A1 | (10 << 7)))}`,
  })),
  ...supervisorCsrs.map((name) => kernel(`what ${name} holds of what is written to it`, each(values, (value) => `
    li    a1, ${value}
    csrrw a0, ${name}, a1
    csrr  a2, ${name}
    csrrs a3, ${name}, a1
    csrrc a4, ${name}, a1
    csrrsi a5, ${name}, 8
    csrrci a6, ${name}, 31
    csrr  a7, ${name}
    csrw  ${name}, a0
    ebreak`))),
  kernel("a CSR in which nothing is set or cleared is only read", each([0xc00, 0xc01, 0xc02, 0xc1f], (csr) => each([2, 3, 6, 7], (operation) => `
    ${word((csr << 20) | (operation << 12) | (10 << 7) | 0x73)}
    ${word((csr << 20) | (operation << 12) | (10 << 7) | A1 | 0x73)}`))),
];

/** HFENCE and HINVAL. */
const fencesOfHypervisor: readonly number[] = [0x11, 0x13, 0x31, 0x33];
/** Of funct12, with nothing in the registers' places, but for what ends probes or sleeps. */
const systemWords = (mode: Mode): readonly number[] =>
  CSRS.filter((n) => n !== 0 && (n < 0x800 || n % 8 === 0) && (mode === "program" || !(n === 0x102 || n === 0x105 || fencesOfHypervisor.includes(n >> 5))));
const unknown = (length: number): readonly number[] => {
  const found: number[] = [];
  while (found.length < length) {
    const candidate = random.u32() | 3;
    if (decode(candidate).instruction.name === "illegal") found.push(candidate);
  }
  return found;
};
const unknownHalves = count(0x10000).filter((half) => (half & 3) !== 3 && decode(half).instruction.name === "illegal");
const hypervisorAccess = (n: number): string => word(((0x30 + (n >> 2)) << 25) | ((n & 3) << 20) | A1 | (4 << 12) | (10 << 7) | 0x73);
const fence = (funct7: number, register: number): string => word((funct7 << 25) | (register << 20) | (register << 15) | 0x73);
const VECTORS = [0x57, 0x0c0572d7, 0x02056007, 0x02056027, 0x5e003057, 0x9e003057];

const instructionProbes: readonly Probe[] = [
  ...modes.map((mode) => ({ title: "instructions of the system", mode, lines: each(systemWords(mode), (n) => word((n << 20) | 0x73)) })),
  program("accesses by a hypervisor", each(count(8 * 4), hypervisorAccess)),
  ...both("fences with registers", each(count(16), (n) => each([9, 11, 12, 0x51, 0x71], (funct7) => fence(funct7, n)))),
  program("a hypervisor's fences with registers", each(count(16), (n) => each(fencesOfHypervisor, (funct7) => fence(funct7, n)))),
  ...both("what is no instruction", each(unknown(400), word)),
  ...both("what is no compressed instruction", each(unknownHalves.filter((_, i) => i % 7 === 0 || i < 100), (half) => `.half ${half}\n.half 1`)),
  ...both("vectors", each(VECTORS, word)),
  ...both("calls and breakpoints", "ebreak\n.half 0x9002\n.half 1\nebreak"),
];

/** An address in a1 that is good, whatever is done to it; other operands in a2 and on. */
const operands: Readonly<Record<string, number>> = { rd: 10, rs1: 11, rs2: 12, rs3: 13 };
function plainly({ encoding }: Instruction): string {
  return word(encoding.registers.reduce((all, { operand, low }) => all | (operands[operand]! << low), encoding.match));
}
const FLOAT_STATES = [0, 1, 2, 3] as const;
const floatState = (state: number): string => `li t0, 0x6000\ncsrc sstatus, t0\nli t0, ${state << 13}\ncsrs sstatus, t0`;
const plain = instructions.filter(({ flow, name }) => flow === "next" && name !== "illegal");
const isFloat = ({ declared }: Instruction): boolean => declared.traps === "mstatus.FS";
const given = (mode: Mode): string => `li a1, ${mode === "kernel" ? DATA : USER}\nli a2, 0x123456789abcdef\nli a3, -5`;

const everyInstruction: readonly Probe[] = [
  ...FLOAT_STATES.flatMap((state) => [
    kernel(`each instruction of floating point where FS was ${state}`, `${given("kernel")}
      ${each(plain.filter(isFloat), (one) => `${floatState(state)}\n${plainly(one)}\nebreak`)}`),
    kernel(`FS is ${state}`, floatState(state)),
    program(`each instruction of floating point with FS ${state}`, `${given("program")}\n${each(plain.filter(isFloat), (one) => `${plainly(one)}\nebreak`)}`),
  ]),
  ...modes.map((mode) => ({
    title: "each other instruction",
    mode,
    lines: `${given(mode)}\n${each(plain.filter((one) => !isFloat(one)), (one, i) =>
      `${plainly(one)}${i % 8 === 7 ? "\nebreak\nli a2, 0x123456789abcdef" : ""}`)}`,
  })),
  ...FLOAT_STATES.map((state) => kernel(`what becomes of FS ${state}`, each([
    "csrr a0, fcsr", "csrr a0, frm", "csrr a0, fflags", "csrw fcsr, x0", "csrw fflags, x0", "csrsi frm, 1", "csrci frm, 0", "csrsi fflags, 0", "csrwi frm, 5",
      "fadd.s fa0, fa1, fa2",
    "fadd.s fa0, fa1, fa2, rtz", "csrwi frm, 0", "flw fa0, 0(a1)", "fsw fa0, 0(a1)", "fld fa0, 0(a1)", "fmv.x.d a0, fa0", "fmv.d.x fa0, a0",
      "feq.d a0, fa0, fa0", "fclass.d a0, fa0", "fmul.d fa0, fa0, fa0",
  ], (text) => `li a1, ${DATA}\n${floatState(state)}\n${text}\ncsrr a2, sstatus\nebreak`))),
];

/** Returns from traps, by each status. */
const returns: readonly Probe[] = count(16).flatMap((bits) => [0, 1, 2,
  3].map((odd) => kernel(`SRET with ${bits.toString(2)} and an address that is odd by ${odd}`, `
  li   t0, 0x1e0122
  csrc sstatus, t0
  li   t0, ${((bits & 1) << 1) | ((bits & 2) << 4) | ((bits & 4) << 6) | ((bits & 8) << 15)}
  csrs sstatus, t0
  la   t0, behind_${bits}_${odd}
  addi t0, t0, ${odd}
  ${bits & 4 ? "" : "li t1, -0x3fe00000\nadd t0, t0, t1"}
  csrw sepc, t0
  csrr a0, sepc
  sret
  .align 2
  behind_${bits}_${odd}: nop
  nop
  csrr a1, sstatus
  ebreak
  ${bits & 4 ? "csrci sstatus, 2" : "ecall"}`)));

const SOFTWARE = "csrsi sip, 2";
const TIMER = "csrw stimecmp, x0";
const soon = (ticks: number): string => `rdtime t0\naddi t0, t0, ${ticks}\ncsrw stimecmp, t0`;
const NEVER = "li t0, -1\ncsrw stimecmp, t0\ncsrci sip, 2\ncsrw sie, x0\ncsrci sstatus, 2";
const enabled = (bits: number): string => `li t0, ${bits}\ncsrw sie, t0`;
const interrupts: readonly Probe[] = [
  ...[0, 2, 0x20, 0x22, 0x222].flatMap((bits) => [[SOFTWARE], [TIMER], [SOFTWARE, TIMER]].flatMap((raised, i) => [
    kernel(`interrupts ${i}, of those enabled ${bits}`,
      `${NEVER}\n${enabled(bits)}\n${each(raised, (line) => line)}
        csrr a0, sip\nnop\ncsrsi sstatus, 2\nnop\nnop\ncsrci sstatus, 2
        csrr a1, sip\nebreak\n${NEVER}`),
    kernel("to be found in user mode", `${NEVER}\n${enabled(bits)}\n${each(raised, (line) => line)}`),
    program(`interrupts ${i}, of those enabled ${bits}`, "nop\nnop\nnop"),
  ])),
  kernel("no interrupts", NEVER),
  ...count(12).map((n) => kernel(`a timer after ${n}`, `${enabled(0x20)}\ncsrsi sstatus, 2\n${soon(n)}\n${"addi a0, a0, 1\n".repeat(16)}${NEVER}`)),
  ...[[SOFTWARE, 2], [TIMER, 0x20], [soon(20), 0x20], [soon(20), 0x22]].flatMap(([line, bits]) => [
    kernel(`WFI, interrupts ${bits}`, `${NEVER}\n${enabled(bits as number)}\n${line}\nwfi\ncsrr a0, sip\nrdtime a1\nebreak\n${NEVER}`),
    // What is pending at once is taken before, and nothing would come.
    ...(line === SOFTWARE || line === TIMER ? [] : [kernel(`WFI, interrupts ${bits}, taken`,
      `${NEVER}\n${enabled(bits as number)}\ncsrsi sstatus, 2\n${line}\nwfi\nrdtime a1\n${NEVER}`)]),
  ]),
  kernel("vectors", `
    ${NEVER}
    la   t0, table
    addi t0, t0, 1
    csrw stvec, t0
    csrr a0, stvec
    ${enabled(0x22)}
    csrsi sstatus, 2
    ${SOFTWARE}
    nop
    ${TIMER}
    nop
    ebreak
    .word 0
    ${NEVER}
    la   t0, handler
    csrw stvec, t0
    j    over
    .align 8
    table: j handler
    ${each(count(15), (n) => `addi s8, s8, ${2 ** n % 2039}`)}
    j handler
    over: csrr a1, stvec`),
  ...count(4).map((low) => kernel(`stvec that ends with ${low}`,
    `la a0, handler\naddi a0, a0, ${low === 1 ? 0 : low}\ncsrw stvec, a0\ncsrr a1, stvec\nla a0, handler\ncsrw stvec, a0`)),
];

const SBI_EXTENSIONS = [
  0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x09, 0x0f, 0x10, 0x54494d45, 0x735049, 0x52464e43, 0x48534d, 0x53525354, 0x4442434e, 0x504d55, 0x53555350,
    0x4e41434c, 0x535441,
  0x43505043, 0x46574654, 0x44425452, 0x535345, 0x4d505859, 0x0a000000, 0x0a485354, 0x09000000, 0x08000000, 0x12345678,
];
const [HSM, RESET] = [0x48534d, 0x53525354];
/** What would end it, or a suspension, which is a WFI. */
const isEnd = (extension: number, number: number): boolean => (extension === HSM && (number === 1 || number === 3)) || (extension === RESET && number === 0);
const call = (extension: number, number: number, args: readonly string[]): string =>
  `li a7, ${extension}\nli a6, ${number}\n${each(args, (value, i) => `li a${i}, ${value}`)}\necall\nebreak`;
const firmware: readonly Probe[] = [
  ...SBI_EXTENSIONS.map((extension) => kernel(`the SBI's extension ${extension.toString(16)}`, each(count(9).filter((n) => !isEnd(extension, n)),
    (number) => [
    ["7", "8", "9", "10", "11", "12"], ["1", "0", "0x2000", "4096", "0", "0"], ["1", "-1", "-1", "-1", "-1", "-1"], ["0", `${DATA}`, "0", "0x80000000", "3",
      "0"],
    ["16", "0x80400000000", "0", "0", "0", "0"],
  ].map((args) => call(extension, number, args)).join("\n")) + `\n${NEVER}`)),
  kernel("which of the SBI's extensions there are", each([...SBI_EXTENSIONS, 0x08], (extension) => call(0x10, 3, [`${extension}`, "0"]))),
  kernel("a hart's suspension", each(["1", "0x7fffffff", "0x10000000", "0xffffffff"], (type) => call(HSM, 3, [type, "0", "0"]))),
  kernel("resets that there are not", each(["3", "0xefffffff", "0xf0000000", "0xffffffff"], (type) => each(["0", "2"], (reason) => call(RESET, 0, [type,
    reason])))),
  kernel("where a call leads to all ones in all registers",
    `li a7, -1\nli a6, -1\nli a0, -1\nli a1, -1\necall\nebreak\nli a7, 0x100000010\nli a6, 0x100000000\necall`),
];

const counters: readonly Probe[] = [0, 1, 2, 4, 7, -1].flatMap((bits) => [
  kernel(`counters where scounteren is ${bits}`,
    `li t0, ${bits}\ncsrw scounteren, t0\nrdinstret a0\nrdinstret a1\nrdcycle a2\nrdtime a3\nnop\nrdinstret a4\nebreak\nrdinstret a5\n.word 0\nrdinstret a6`),
  program(`counters where scounteren is ${bits}`, "rdinstret a0\nrdcycle a1\nrdtime a2\nnop\nrdinstret a3\nebreak\nrdinstret a4\n.word 0\nrdinstret a5"),
]);

/** With SC of both sizes, whatever comes between it and LR. */
const DISTURBANCES = [
  "nop", "ebreak", ".word 0", "csrr a3, sstatus", "csrw sscratch, a3", "sfence.vma", "fence.i", "ld a3, 0(x0)", "sd a1, 0(a1)", "sd a1, 64(a1)",
    "sd a1, 2040(a1)", "lr.d a3, (s2)", "sc.d a3, a1, (s2)",
  "amoadd.d a3, a1, (a1)", "cbo.zero (a1)", "csrr t0, satp\ncsrw satp, t0", `li t0, ${address.uart}\nlbu a3, 5(t0)`, "li a7, 0x10\nli a6, 0\necall",
    "rdtime a3", "csrsi sip, 2\ncsrci sip, 2", "c.addi a3, 1\nc.addi a3, 1",
];
const pair = (lr: string, between: string, sc: string): string =>
  `li a0, 0\nlr.${lr} a2, (a1)\n${between}\nsc.${sc} a4, a1, (a1)\nld a5, 0(a1)\nebreak`;
const places = (data: number): string => `li a1, ${data + 0x400}\nli s2, ${data + 0x800}`;
const reservations: readonly Probe[] = [
  kernel("reservations", `${places(DATA)}
    ${each(DISTURBANCES, (text) => each([["d", "d"], ["w", "w"], ["d", "w"]] as const, ([lr, sc]) => pair(lr, text, sc)))}`),
  program("reservations", `${places(USER)}\n${each(
    ["nop", "ebreak", ".word 0", "sd a1, 0(a1)", "lr.d a3, (s2)", "ld a3, 0(x0)", "rdtime a3"], (text) => pair("d", text, "d"))}`),
];

/** Each of what `hostelry classify` calls sensitive, between others. */
const mixed: readonly Probe[] = count(cases(24)).map((n) => {
  const csr = (): string => random.pick(["sstatus", "sie", "sip", "sscratch", "sepc", "scause", "stval", "scounteren", "senvcfg"]);
  const lines = count(40).map(() => random.pick([
    () => `csrr a${random.below(8)}, ${csr()}`, () => `csrrw a0, sscratch, a${random.below(8)}`, () => `csrrw a1, sepc, a${random.below(8)}`,
    () => `csrrsi a2, sstatus, ${random.pick([0, 8])}`,
    () => `li t0, ${random.pick([0x40000, 0x80000, 0xc0000, 0x6000, 0x100, 0x20])}\ncsrr${random.pick(["s", "c"])} a3, sstatus, t0`,
    () => `rdinstret a${random.below(8)}`, () => "sfence.vma",
    () => `li t0, ${DATA + 8 * random.below(512)}\nsd a${random.below(8)}, 0(t0)`, () => `li t0, ${USER}\nld a4, 0(t0)`, () => "ebreak", () => ".word 0",
    () => `csrrci a5, sie, ${random.pick([2, 0])}`, () => "csrr a6, time",
    () => `csrrc a7, scause, a${random.below(8)}`, () => "csrrs a0, stval, a1", () => "fence.i", () => "csrr a3, mstatus", () => "csrr a4, satp",
  ])());
  return kernel(`sensitive instructions in a row, ${n}`, lines.join("\n"));
});

export const probes: readonly Probe[] = [
  kernel("as it begins", ""),
  kernel("with something in each register", each(count(31).filter((x) => x < 25 || x > 26),
    (x) => `li x${x + 1}, ${BigInt(x + 1) * 0x0123_4567_89ab_cdefn}`)),
  ...csrProbes, ...instructionProbes, ...everyInstruction,
  kernel("floating point is on", floatState(1)),
  ...returns, ...interrupts, ...firmware, ...counters, ...reservations, ...memoryProbes, ...mixed,
];

/** The H extension, of which a guest must find nothing: each is illegal. */
export const hypervisorProbes: readonly Probe[] = [
  kernel("CSRs of a hypervisor", each(CSRS.filter(isOfHypervisor),
    (csr) => `${word(CSRRS | (csr << 20) | (10 << 7))}\n${word(CSRRW | (csr << 20) | A1 | (10 << 7))}`)),
  kernel("instructions of a hypervisor", each(count(32), hypervisorAccess) + "\n" + each(count(16), (n) => each(fencesOfHypervisor, (funct7) => fence(funct7,
    n)))),
];
