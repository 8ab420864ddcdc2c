/** A hart on which single instructions are tried in any mode, guests' included. Its fields are set and read as V = 0 has them. */
import type { FieldName } from "#machine/layout.ts";
import { RAM } from "../kit/hart.ts";
import { Bench, interruptBit, vector } from "./bench.ts";

export const allModes = { user: 0, supervisor: 1, machine: 3, virtualUser: 4, virtualSupervisor: 5 } as const;
export type AnyMode = keyof typeof allModes;
export const anyMode = Object.keys(allModes) as AnyMode[];

export const guestVector = BigInt(RAM + 0x3000);
export const code = BigInt(RAM);

/** Where a trap went: machine mode, HS-mode or VS-mode. */
export type Level = "machine" | "supervisor" | "guest";

const levelFields = {
  machine: { vector: vector.machine, cause: "mcause", epc: "mepc", value: "mtval" },
  supervisor: { vector: vector.supervisor, cause: "scause", epc: "sepc", value: "stval" },
  guest: { vector: guestVector, cause: "parkedScause", epc: "parkedSepc", value: "parkedStval" },
} as const satisfies Record<Level, { vector: bigint; cause: FieldName; epc: FieldName; value: FieldName }>;

export interface Trap {
  readonly level: Level;
  readonly cause: bigint;
  readonly value: bigint;
  readonly epc: bigint;
  readonly pc: bigint;
}

/** What an instruction came to; the mode is the one afterwards. */
export interface Outcome {
  readonly mode: AnyMode;
  readonly trap?: Trap;
  readonly a0: bigint;
  readonly pc: bigint;
  readonly exit: ReturnType<Bench["hart"]["run"]>;
}

export class HypervisorBench extends Bench {
  override reset(): void {
    super.reset();
    this.hart.program("nop\n".repeat(64), Number(guestVector));
    this.set({ parkedStvec: guestVector });
  }

  /** Executes one instruction. Interrupts that are pending come first. */
  attempt(text: string, mode: AnyMode, registers: Partial<Record<"a0" | "a1" | "a2", bigint>> = {}): Outcome {
    this.hart.program(text);
    return this.step(mode, code, registers);
  }

  /** Executes what stands at `pc`. */
  step(mode: AnyMode, pc: bigint, { a0 = 0n, a1 = 0n, a2 = 0n }: Partial<Record<"a0" | "a1" | "a2", bigint>> = {}): Outcome {
    const { hart } = this;
    const { exports } = hart.instance;
    if (allModes[mode] >= 4) exports.enterGuest(hart.map.hart);
    this.set({ pc, privilege: allModes[mode] });
    for (const [register, value] of [[10, a0], [11, a1], [12, a2]] as const) hart.state.set("x", value, register);
    const exit = hart.run(1);
    const now = anyMode.find((name) => BigInt(allModes[name]) === hart.get("privilege"))!;
    if (allModes[now] >= 4) exports.leaveGuest(hart.map.hart);
    const at = hart.get("pc");
    const outcome = { mode: now, a0: hart.x(10), pc: at, exit };
    for (const [level, fields] of Object.entries(levelFields) as [Level, (typeof levelFields)[Level]][]) {
      if (at < fields.vector || at >= fields.vector + 256n) continue;
      const trap = { level, cause: hart.get(fields.cause), value: hart.get(fields.value), epc: hart.get(fields.epc), pc: at };
      return { ...outcome, trap };
    }
    return outcome;
  }
}

/** An exception's number, an interrupt's as a negative one; undefined if there was no trap. */
export const causeOf = ({ trap }: Outcome): number | undefined =>
  trap && (trap.cause >= interruptBit ? -Number(trap.cause - interruptBit) : Number(trap.cause));

