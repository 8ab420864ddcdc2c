/**
 * Random programs as trees of items, each of which is a few lines of assembly, so that a failing program can be shrunk by leaving items out.
 *
 *   x1 ra   x3 gp: data   x4 tp: counter of the inner loop   x2 sp: counter of the outer loop   x31: temporary of items
 *   the others are anybody's
 */
import { disassemble } from "#riscv/disassemble.ts";
import { decode, decoderGroups, instructions, type DecoderRow } from "#riscv/table.ts";
import type { Random } from "../kit/random.ts";

export interface Item {
  readonly id: number;
  /** Assembly; `%` stands for the items inside. */
  readonly lines: readonly string[];
  readonly inside: readonly Item[];
  /** Lines that stand behind the end of the program. */
  readonly behind?: readonly string[];
}

export interface Program {
  readonly items: readonly Item[];
  readonly mode: "user" | "supervisor" | "machine";
  readonly paging: boolean;
  /** Whether code, and data, are used at their alias. */
  readonly codeAlias: boolean;
  readonly dataAlias: boolean;
  /** Bytes before the first instruction, so that programs lie across pages in different ways. */
  readonly padding: number;
  readonly x: readonly bigint[];
  readonly f: readonly bigint[];
  readonly fcsr: number;
}

const reserved = [1, 2, 3, 4, 31];
const anyRegister = Array.from({ length: 32 }, (_, i) => i).filter((i) => i !== 0 && !reserved.includes(i));

/** Rows that compute on registers alone, or on floating-point registers; QEMU 7.2 has no Zicond. */
const computing: readonly DecoderRow[] = decoderGroups.flat().filter(({ number }) => {
  const { flow, syntax, name } = instructions[number]!;
  return number !== 0 && flow === "next" && !syntax.includes("(") && !/^(czero|ctzw|fence|auipc)/.test(name);
});

export class Generator {
  readonly #random: Random;
  #nextId = 0;

  constructor(random: Random) {
    this.#random = random;
  }

  program(): Program {
    const random = this.#random;
    const paging = random.oneIn(2);
    const mode = paging ? random.pick(["user", "supervisor"] as const) : random.pick(["user", "supervisor", "machine"] as const);
    return {
      items: this.#items(4 + random.below(12), 0),
      mode,
      paging,
      codeAlias: paging && random.oneIn(2),
      dataAlias: paging && random.oneIn(2),
      padding: random.oneIn(2) ? 0 : 4096 - 2 * random.below(200),
      x: Array.from({ length: 32 }, () => random.operand()),
      f: Array.from({ length: 32 }, () => (random.oneIn(2) ? random.operand() : 0xffffffff00000000n | BigInt(random.u32()))),
      fcsr: random.below(5) << 5,
    };
  }

  #items(count: number, depth: number): Item[] {
    return Array.from({ length: count }, () => this.#item(depth));
  }

  #item(depth: number): Item {
    const kinds = [...plainKinds, ...(depth < 2 ? nestedKinds : [])];
    const id = this.#nextId++;
    const kind = this.#random.pick(kinds);
    const made = this.#make(kind, id, depth);
    return { id, inside: [], ...made };
  }

  #make(kind: Kind, id: number, depth: number): Omit<Item, "id" | "inside"> & { inside?: Item[] } {
    const random = this.#random;
    const r = (): string => `x${random.pick(anyRegister)}`;
    switch (kind) {
      case "compute":
        return { lines: Array.from({ length: 1 + random.below(6) }, () => this.#computation()) };
      case "memory":
        return { lines: [this.#memory("gp", random.below(250) * 8)] };
      case "indexed":
        // Anywhere in the two pages of data, with any alignment.
        return { lines: [`li x31, 0x1fff`, `and x31, x31, ${r()}`, "add x31, x31, gp", this.#memory("x31", 0)] };
      case "wild":
        // Where nothing is, QEMU splits what isn't aligned, and tval has the part's address.
        return random.oneIn(4)
          ? { lines: ["li x31, 0x8000000", this.#memory("x31", 0, 8)] }
          : { lines: [...this.#wildPointer(), this.#memory("x31", 0)] };
      case "atomic": {
        const size = random.pick(["w", "d"]);
        const name = random.pick(["amoswap", "amoadd", "amoxor", "amoand", "amoor", "amomin", "amomax", "amominu", "amomaxu"]);
        return { lines: [`addi x31, gp, ${8 * random.below(255)}`, `${name}.${size}${random.pick(["", ".aq", ".rl", ".aqrl"])} ${r()}, ${r()}, (x31)`] };
      }
      case "reserve": {
        const size = random.pick(["w", "d"]);
        // Interrupts may break the reservation: try until it holds. What is added must not change by that.
        const addend = random.pick(anyRegister.filter((i) => i !== 29));
        return {
          lines: [`addi x31, gp, ${8 * random.below(255)}`, `again${id}: lr.${size} x30, (x31)`, `add x30, x30, x${addend}`, `sc.${size} x29, x30, (x31)`, `bnez x29, again${id}`],
        };
      }
      case "trap":
        return { lines: [random.pick(["ebreak", "c.ebreak", ".half 0", ".word 0xffffffff", "ecall", "csrwi mvendorid, 1", "csrr a0, 0x7c0", "c.addiw zero, 1", ".word 0x02c5d553"])] };
      case "flags":
        return { lines: [random.pick([`csrrw ${r()}, fflags, ${r()}`, `csrrsi ${r()}, fflags, ${random.below(32)}`, `csrrwi ${r()}, frm, ${random.below(5)}`, `csrrs ${r()}, fcsr, zero`])] };
      case "skip": {
        const condition = random.pick(["beq", "bne", "blt", "bge", "bltu", "bgeu"]);
        const inside = this.#items(1 + random.below(4), depth + 1);
        // Branches reach 4 KiB: what is inside may be longer.
        return { lines: [`${condition} ${r()}, ${r()}, into${id}`, `j past${id}`, `into${id}:`, "%", `past${id}:`], inside };
      }
      case "loop": {
        const counter = depth === 0 ? "sp" : "tp";
        const inside = this.#items(1 + random.below(5), depth + 1);
        const count = random.oneIn(5) ? 200 + random.below(200) : 1 + random.below(20);
        return { lines: [`li ${counter}, ${count}`, `loop${id}:`, "%", `addi ${counter}, ${counter}, -1`, `beqz ${counter}, done${id}`, `j loop${id}`, `done${id}:`], inside };
      }
      case "call": {
        const inside = this.#items(1 + random.below(3), 2);
        return { lines: [random.oneIn(2) ? `call function${id}` : `la x31, function${id}\njalr ra, 0(x31)`], behind: [`function${id}:`, "%", "ret"], inside };
      }
      case "table": {
        const targets = [0, 1, 2, 3];
        return {
          lines: [
            `andi x31, ${r()}, 3`,
            "slli x31, x31, 3",
            `la x30, table${id}`,
            "add x31, x31, x30",
            "jr x31",
            `table${id}:`,
            ...targets.flatMap((i) => [this.#longComputation(), i === 3 ? "nop" : `j join${id}`]),
            `join${id}:`,
          ],
        };
      }
      case "patch": {
        // The instruction changes each time that it is passed: all of it, or its upper half. A jump to it may make it a region's head.
        const one = this.#longWord();
        const change = random.oneIn(2) ? one ^ this.#longWord() : one ^ this.#withOtherOperands(one);
        const [load, store, at] = (change & 0xffff) === 0 ? (["lhu", "sh", 2] as const) : (["lw", "sw", 0] as const);
        return {
          lines: [
            `la x31, slot${id}`,
            `${load} x30, ${at}(x31)`,
            `li x29, ${(at === 2 ? change >>> 16 : change) >>> 0}`,
            "xor x30, x30, x29",
            `${store} x30, ${at}(x31)`,
            "fence.i",
            ...(random.oneIn(2) ? [this.#computation()] : []),
            ...(random.oneIn(2) ? [`j slot${id}`] : []),
            `slot${id}: .word ${one}`,
          ],
        };
      }
      case "scribble":
        // Data among the code, which never runs.
        return { lines: [`la x31, pool${id}`, this.#memory("x31", 0)], behind: [`pool${id}: .zero 32`] };
    }
  }

  #computation(): string {
    for (;;) {
      const row = this.#random.pick(computing);
      const word = (row.encoding.match | (this.#random.u32() & ~row.encoding.mask)) >>> 0;
      if (isHarmless(word, row)) return row.encoding.length === 2 ? `.half ${word & 0xffff}` : `.word ${word}`;
    }
  }

  /** The same instruction, its upper half another if that is possible. */
  #withOtherOperands(word: number): number {
    const row = computing.find(({ encoding: { mask, match } }) => ((word & mask) >>> 0) === match)!;
    for (let i = 0; i < 20; i++) {
      const other = (word ^ (this.#random.u32() & ~row.encoding.mask & 0xffff0000)) >>> 0;
      if (isHarmless(other, row)) return other;
    }
    return word;
  }

  #longWord(): number {
    const text = this.#longComputation();
    return Number(text.slice(6));
  }

  #longComputation(): string {
    for (;;) {
      const text = this.#computation();
      if (text.startsWith(".word")) return text;
    }
  }

  #memory(base: string, offset: number, alignment = 1): string {
    const random = this.#random;
    const integer = `x${random.pick(anyRegister)}`;
    const float = `f${random.below(32)}`;
    const at = offset + (alignment === 1 && random.oneIn(4) ? random.below(24) : 8 * random.below(3));
    const name = random.pick(["lb", "lbu", "lh", "lhu", "lw", "lwu", "ld", "sb", "sh", "sw", "sd", "flw", "fld", "fsw", "fsd"]);
    return `${name} ${name.startsWith("f") ? float : integer}, ${at}(${base})`;
  }

  /** To pages that are read-only or missing, and across their edges. */
  #wildPointer(): string[] {
    const random = this.#random;
    return [`li x31, ${random.pick([0x2000, 0x2000, 0x1ff9, 0x2ff8, 0x2ffc, 0x3000, 0x3008, 0x0ffc]) - 16}`, "add x31, x31, gp"];
  }
}

const plainKinds = ["compute", "compute", "compute", "memory", "memory", "indexed", "wild", "atomic", "reserve", "trap", "flags", "table", "patch", "scribble"] as const;
const nestedKinds = ["skip", "skip", "loop", "loop", "call"] as const;
type Kind = (typeof plainKinds)[number] | (typeof nestedKinds)[number];

/** Leaves the reserved registers and rounding modes alone. */
function isHarmless(word: number, row: DecoderRow): boolean {
  const decoded = decode(word);
  if (decoded.number !== row.number) return false;
  if (row.encoding.text.includes(" rm ") && [5, 6].includes(decoded.imm & 7)) return false;
  return !decoded.instruction.syntax.startsWith("rd") || !reserved.includes(decoded.rd);
}

/** Ids of an item and of all inside it. */
export function idsOf(items: readonly Item[]): number[] {
  return items.flatMap(({ id, inside }) => [id, ...idsOf(inside)]);
}

/** Only the items whose ids are kept. */
export function keep(items: readonly Item[], ids: ReadonlySet<number>): Item[] {
  return items.filter(({ id }) => ids.has(id)).map((item) => ({ ...item, inside: keep(item.inside, ids) }));
}

/** The program as assembly: items, end, and what stands behind it. */
export function textOf({ items, padding }: Program, end: readonly string[]): string[] {
  const behind: string[] = [];
  const write = (list: readonly Item[]): string[] =>
    list.flatMap((item) => {
      const fill = (lines: readonly string[], inside: readonly string[]): string[] => lines.flatMap((line) => (line === "%" ? inside : [line]));
      if (item.behind === undefined) return fill(item.lines, write(item.inside));
      const isInside = item.behind.includes("%");
      behind.push(...fill(item.behind, isInside ? write(item.inside) : []));
      return [...item.lines];
    });
  const body = write(items);
  return [`.zero ${padding}`, "entry:", ...body, ...end, ...behind];
}

/** For a failure's message: words as instructions. */
export function readable(lines: readonly string[]): string {
  return lines.map((line) => line.replace(/\.(word|half) (\d+)$/, (_text, _size, word: string) => `${disassemble(Number(word))}    # ${Number(word).toString(16)}`)).join("\n");
}
