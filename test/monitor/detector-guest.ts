/**
 * A kernel that asks its machine questions, and writes down each trap with all that its registers say: of the instruction that trapped, and of those
 * before it. A probe ends with a trap, too. It has no registers of its own in a probe but s9 to s11.
 *
 *   0x80000000   code, up to the tables of guest-kernel.ts
 *   0x80110000   pages for user mode
 *   0x80200000   other tables
 *   0x80400000   records
 */
import { address } from "#platform/memory-map.ts";
import { assembleWithSymbols } from "#riscv/assemble.ts";
import { csrNumbers } from "#riscv/csr-names.ts";
import { disassemble } from "#riscv/disassemble.ts";
import { EXIT } from "../kit/monitor.ts";
import { ALIAS, beginning, ROOT } from "./guest-kernel.ts";

export const modes = ["kernel", "program"] as const;
export type Mode = (typeof modes)[number];

/** Lines for the kernel or for a program of it. */
export interface Probe {
  readonly title: string;
  readonly mode: Mode;
  readonly lines: string;
}

export const kernel = (title: string, lines: string): Probe => ({ title, mode: "kernel", lines });
export const program = (title: string, lines: string): Probe => ({ title, mode: "program", lines });
export const count = (length: number): readonly number[] => Array.from({ length }, (_, i) => i);
export const each = <Item>(items: readonly Item[], line: (item: Item, index: number) => string): string => items.map(line).join("\n");

const RECORDS = 0x8040_0000;
/** Not a multiple of 2 MiB: large pages lie over its end. */
export const MEMORY = 16 * 2 ** 20 + 10 * 4096;

const csrs = [
  "scause", "stval", "sepc", "sstatus", "sie", "sip", "sscratch", "time", "instret",
] as const;
/** All but s10, which leads to the record. */
const registers = Array.from({ length: 31 }, (_, i) => `x${i + 1}`).filter((name) => name !== "x26");
/** Words of a record. */
const fields: readonly string[] = [...csrs, ...registers];
const RECORD = 8 * fields.length;
const placeOf = (name: string): number => 8 * fields.indexOf(name);

const handler = `
  .align 6
  handler:
  ${registers.map((name) => `sd ${name}, ${placeOf(name)}(s10)`).join("\n")}
  ${csrs.map((name) => `csrr t0, ${name}\nsd t0, ${placeOf(name)}(s10)`).join("\n")}
  ld   t0, ${placeOf("scause")}(s10)
  bltz t0, interrupted
  ${[8, 12, 1].map((cause) => `li t1, ${cause}\nbeq t0, t1, ends`).join("\n")}
  ld   t1, ${placeOf("sepc")}(s10)
  srli t2, t1, 20
  ${[address.memory, address.memory + ALIAS].map((code, i) => `li t3, ${code >>> 20}\n${i === 0 ? "beq t2, t3, is_own" : "bne t2, t3, ends"}`).join("\n")}
  is_own: addi t1, t1, 4
  csrw sepc, t1
  goes_on:
  ${registers.map((name) => `ld ${name}, ${placeOf(name)}(s10)`).join("\n")}
  addi s10, s10, ${RECORD}
  sret
  # A call of user mode, what can't be fetched, and what is no code of ours: the kernel goes on behind the probe.
  ends: csrw sepc, s11
  li   t1, 0x100
  csrs sstatus, t1
  j    goes_on
  interrupted: csrci sip, 2
  li   t1, -1
  csrw stimecmp, t1
  j    goes_on`;

const lines = ({ mode, lines: asked }: Probe, name: string): string => (mode === "kernel" ? `
  la   s11, ${name}_end
  ${asked}
  ebreak
  ${name}_end:` : `
  la   s11, ${name}_end
  la   t0, ${name}_asked
  li   t1, ${ALIAS}
  add  t0, t0, t1
  csrw sepc, t0
  li   t0, 0x100
  csrc sstatus, t0
  sret
  ${name}_asked:
  ${asked}
  ecall
  ${name}_end:`);

export class Detector {
  readonly source: string;
  readonly #probes: readonly { readonly title: string; readonly end: number }[];
  readonly #code: DataView;

  /** They are asked one after another; what one leaves behind, the next finds. */
  constructor(probes: readonly Probe[]) {
    this.source = `
      ${beginning(RECORDS)}
      ${probes.map((probe, i) => lines(probe, `probe${i}`)).join("\n")}
      li a0, 3
      ${EXIT}
      ${handler}`;
    const { bytes, symbols } = assembleWithSymbols(this.source, { base: address.memory });
    if (address.memory + bytes.length > ROOT) throw new RangeError(`${bytes.length} bytes of code reach the tables`);
    this.#code = new DataView(bytes.buffer);
    this.#probes = probes.map(({ title, mode }, i) => ({ title: `${title}, as a ${mode}`, end: Number(symbols.get(`probe${i}_end`)) }));
  }

  /** The records in such a memory. */
  records(memory: Uint8Array): BigUint64Array {
    const all = new BigUint64Array(memory.slice(RECORDS - address.memory).buffer);
    let end = 0;
    while (end + fields.length <= all.length && all[end + fields.indexOf("instret")] !== 0n) end += fields.length;
    return all.subarray(0, end);
  }

  count(records: BigUint64Array): number {
    return records.length / fields.length;
  }

  /** Each trap's cause, value and instruction. */
  traps(records: BigUint64Array): { readonly cause: bigint; readonly value: bigint; readonly instruction: number; readonly at: string }[] {
    return count(this.count(records)).map((i) => {
      const field = (name: string): bigint => records[i * fields.length + fields.indexOf(name)]!;
      const pc = Number(field("sepc"));
      return { cause: field("scause"), value: field("stval"), instruction: this.#code.getUint32(this.#offset(pc), true), at: this.#instructionAt(pc) };
    });
  }

  /** Of each probe the first record that is another, and how. */
  differences(given: BigUint64Array, expected: BigUint64Array): string[] {
    const found = new Map<string, string>();
    for (let first = 0; first < Math.max(given.length, expected.length); first += fields.length) {
      const show = (all: BigUint64Array, name: string): string => all[first + fields.indexOf(name)]?.toString(16) ?? "nothing";
      const wrong = fields.filter((name) => show(given, name) !== show(expected, name));
      const pc = Number(expected[first + fields.indexOf("sepc")] ?? 0n);
      const title = this.#titleAt(pc);
      if (wrong.length === 0 || found.has(title)) continue;
      const shown = wrong.map((name) => `${name} is ${show(given, name)}, on the bare machine ${show(expected, name)}`).join("; ");
      found.set(title, `${title}, record ${first / fields.length}, ${this.#instructionAt(pc)}: ${shown}`);
    }
    return [...found.values()];
  }

  /** Physical or as user mode has it. */
  #offset(pc: number): number {
    return (pc >= address.memory ? pc : pc - ALIAS) - address.memory;
  }

  #titleAt(pc: number): string {
    const at = this.#offset(pc) + address.memory;
    return this.#probes.find(({ end }) => at < end)?.title ?? "elsewhere";
  }

  #instructionAt(pc: number): string {
    const at = this.#offset(pc);
    return at >= 0 && at + 4 <= this.#code.byteLength ? `${pc.toString(16)} ${disassemble(this.#code.getUint32(at, true))}` : pc.toString(16);
  }
}

/** All that a kernel may write, but for satp, which takes the ground from under its feet. */
export const supervisorCsrs: readonly string[] = [...csrNumbers].filter(([name,
  number]) => (number >> 8 & 3) <= 1 && number >> 10 < 3 && name !== "satp").map(([name]) => name);
