/** What `--stats` tells of a machine. */
import type { HartState } from "./hart.ts";
import type { MemoryMap } from "./layout.ts";
import type { TranslatorStats } from "./translator.ts";

const exceptionNames: Readonly<Record<number, string>> = {
  0: "instruction misaligned", 1: "instruction access fault", 2: "illegal instruction", 3: "breakpoint",
  4: "load misaligned", 5: "load access fault", 6: "store misaligned", 7: "store access fault",
  8: "ecall from U-mode", 9: "ecall from S-mode", 10: "ecall from VS-mode", 11: "ecall from M-mode",
  12: "instruction page fault", 13: "load page fault", 15: "store page fault",
  20: "instruction guest-page fault", 21: "load guest-page fault", 22: "virtual instruction", 23: "store guest-page fault",
  24: "instruction TLB miss", 25: "load TLB miss", 27: "store TLB miss",
};

const interruptNames: Readonly<Record<number, string>> = {
  1: "supervisor software", 3: "machine software", 5: "supervisor timer", 7: "machine timer",
  9: "supervisor external", 11: "machine external",
  2: "virtual supervisor software", 6: "virtual supervisor timer", 10: "virtual supervisor external",
};

export interface MachineStats {
  /** Retired. */
  readonly instructions: number;
  /** Executing, without the time in which the hart waited. */
  readonly seconds: number;
  readonly mips: number;
  readonly idleSeconds: number;
  readonly traps: Readonly<Record<string, number>>;
  readonly interrupts: Readonly<Record<string, number>>;
  readonly tlbMisses: number;
  readonly walks: number;
  readonly tiers: {
    readonly interpreter: Tier & { readonly predecodedPages: number; readonly predecodedPagesDropped: number };
    readonly translator: Tier & TranslatorStats & { readonly entries: number };
  };
  /** Calls from WebAssembly to JavaScript. */
  readonly crossings: number;
  readonly crossingsPerMillionInstructions: number;
  readonly memory: { readonly guest: number; readonly linear: number };
}

interface Tier {
  readonly instructions: number;
  /** Estimated: see TierTimes. */
  readonly seconds: number;
}

export interface StatsParts {
  readonly state: HartState;
  readonly map: MemoryMap;
  readonly instructions: number;
  readonly executingSeconds: number;
  readonly idleSeconds: number;
  readonly tiers: TierTimes;
  readonly translator: TranslatorStats | undefined;
}

export function machineStats(parts: StatsParts): MachineStats {
  const { state, map, instructions, executingSeconds, idleSeconds, tiers } = parts;
  const crossings = state.counter("crossings");
  const translated = state.counter("translated");
  const seconds = tiers.seconds(executingSeconds);
  return {
    instructions,
    seconds: rounded(executingSeconds),
    mips: rounded(executingSeconds === 0 ? 0 : instructions / executingSeconds / 1e6),
    idleSeconds: rounded(idleSeconds),
    traps: byName(state, "traps", exceptionNames),
    interrupts: byName(state, "interrupts", interruptNames),
    tlbMisses: state.counter("tlbMisses"),
    walks: state.counter("walks"),
    tiers: {
      interpreter: {
        instructions: instructions - translated,
        seconds: rounded(seconds.interpreter),
        predecodedPages: state.counter("pagesPredecoded"),
        predecodedPagesDropped: state.counter("pageFlushes"),
      },
      translator: {
        instructions: translated,
        seconds: rounded(seconds.translator),
        entries: state.counter("regionEntries"),
        ...(parts.translator ?? { regions: 0, shared: 0, wasmBytes: 0, compileSeconds: 0 }),
      },
    },
    crossings,
    crossingsPerMillionInstructions: rounded(instructions === 0 ? 0 : (crossings / instructions) * 1e6),
    memory: { guest: map.ramSize, linear: map.pages * 65536 },
  };
}

function byName(state: HartState, field: "traps" | "interrupts", names: Readonly<Record<number, string>>): Record<string, number> {
  const counts: Record<string, number> = {};
  for (let number = 0; number < 64; number++) {
    const count = state.counter(field, number);
    if (count > 0) counts[names[number] ?? `${number}`] = count;
  }
  return counts;
}

function rounded(value: number): number {
  return Number(value.toFixed(3));
}

/**
 * How the time splits between the tiers. To look at a clock at each entry of a region would cost more than many a region; but of
 * each slice its time and its instructions in either tier are known, and time = a · interpreted + b · translated fits a and b by least squares.
 */
export class TierTimes {
  #ii = 0;
  #tt = 0;
  #it = 0;
  #is = 0;
  #ts = 0;
  #interpreted = 0;
  #translated = 0;

  /** What to give to `end`. */
  begin(state: HartState, instret: number): { readonly instret: number; readonly translated: number } {
    return { instret, translated: state.counter("translated") };
  }

  end(begin: { readonly instret: number; readonly translated: number }, state: HartState, instret: number, seconds: number): void {
    const translated = state.counter("translated") - begin.translated;
    const interpreted = instret - begin.instret - translated;
    this.#interpreted += interpreted;
    this.#translated += translated;
    this.#ii += interpreted * interpreted;
    this.#tt += translated * translated;
    this.#it += interpreted * translated;
    this.#is += interpreted * seconds;
    this.#ts += translated * seconds;
  }

  seconds(total: number): { readonly interpreter: number; readonly translator: number } {
    const determinant = this.#ii * this.#tt - this.#it * this.#it;
    if (this.#translated === 0 || determinant <= 0) return { interpreter: total, translator: 0 };
    const a = Math.max((this.#is * this.#tt - this.#ts * this.#it) / determinant, 0) * this.#interpreted;
    const b = Math.max((this.#ts * this.#ii - this.#is * this.#it) / determinant, 0) * this.#translated;
    const interpreter = a + b === 0 ? 0 : (total * a) / (a + b);
    return { interpreter, translator: total - interpreter };
  }
}
