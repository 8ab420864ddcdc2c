/** A hart on which single instructions are tried in any mode. */
import type { FieldName } from "#machine/layout.ts";
import { RAM, TestHart, type TestHartOptions } from "../kit/hart.ts";

export const modes = { user: 0, supervisor: 1, machine: 3 } as const;
export type Mode = keyof typeof modes;

/** A trap; or that the instruction retired, and what it left in a0 and as the next pc. */
export type Outcome =
  | { readonly trap: bigint; readonly value: bigint; readonly mode: Mode; readonly pc: bigint }
  | { readonly a0: bigint; readonly mode: Mode; readonly pc: bigint };

const code = BigInt(RAM);
/** Where a vectored trap leads is less than this behind the vector. */
const vectorSize = 256n;
export const vector = { machine: BigInt(RAM + 0x1000), supervisor: BigInt(RAM + 0x2000) } as const;

export class Bench {
  readonly hart: TestHart;

  constructor(options: TestHartOptions = {}) {
    this.hart = new TestHart(options);
    this.reset();
  }

  reset(): void {
    this.hart.reset();
    this.hart.openMemory();
    // Wherever an interrupt vector leads, there is an instruction.
    this.hart.program("nop\n".repeat(64), Number(vector.machine));
    this.hart.program("nop\n".repeat(64), Number(vector.supervisor));
    this.set({ mtvec: vector.machine, stvec: vector.supervisor });
  }

  set(fields: Partial<Record<FieldName, bigint | number>>): void {
    for (const [name, value] of Object.entries(fields)) this.hart.state.set(name as FieldName, value);
    this.hart.instance.exports.selectBank(this.hart.map.hart);
  }

  get(name: FieldName): bigint {
    return this.hart.get(name);
  }

  /** Executes one instruction, with a0 and a1 as given. Interrupts that are pending come first. */
  try(text: string, mode: Mode = "machine", { a0 = 0n, a1 = 0n }: { a0?: bigint; a1?: bigint } = {}): Outcome {
    const { hart } = this;
    hart.program(text);
    this.set({ pc: code, privilege: modes[mode] });
    hart.state.set("x", a0, 10);
    hart.state.set("x", a1, 11);
    hart.run(1);
    const now = (Object.keys(modes) as Mode[]).find((name) => BigInt(modes[name]) === hart.get("privilege"))!;
    const pc = hart.get("pc");
    for (const level of ["machine", "supervisor"] as const) {
      if (pc < vector[level] || pc >= vector[level] + vectorSize) continue;
      const [trap, value] = level === "machine" ? ([hart.get("mcause"), hart.get("mtval")] as const) : ([hart.get("scause"), hart.get("stval")] as const);
      return { trap, value, mode: now, pc };
    }
    return { a0: hart.x(10), mode: now, pc };
  }

  /** What a CSR reads as, in machine mode. */
  read(name: string): bigint {
    const outcome = this.try(`csrr a0, ${name}`);
    if ("trap" in outcome) throw new Error(`reading ${name} trapped`);
    return outcome.a0;
  }

  /** Writes a CSR in machine mode; what it then reads as. */
  write(name: string, value: bigint): bigint {
    const outcome = this.try(`csrw ${name}, a0`, "machine", { a0: value });
    if ("trap" in outcome) throw new Error(`writing ${name} trapped`);
    return this.read(name);
  }
}

/** A trap's cause, or undefined. */
export const trapOf = (outcome: Outcome): bigint | undefined => ("trap" in outcome ? outcome.trap : undefined);

export const interruptBit = 1n << 63n;
