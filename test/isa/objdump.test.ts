/** Our decoder and disassembler against GNU's, which knows nothing of our table. */
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { suite, test } from "node:test";
import { disassemble } from "#riscv/disassemble.ts";
import { forms } from "#riscv/form.ts";
import { decode, decoderGroups } from "#riscv/table.ts";
import { cases, seed } from "../kit/effort.ts";
import { Random } from "../kit/random.ts";
import { runTool, skipWithout, temporaryFolder } from "../kit/tools.ts";

/** Binutils 2.40 doesn't know Zicond; its Zicbop shows prefetches, which we show as the ORI that they are. */
const march = "rv64gch_zba_zbb_zbs_zicbom_zicboz_svinval";

suite(`objdump, seed ${seed}`, { skip: skipWithout("assembler", "objcopy", "objdump") }, () => {
  const folder = temporaryFolder();
  const path = (name: string): string => join(folder, name);

  /** What objdump makes of each word; all of one length, so that no error displaces what follows. */
  function dump(words: readonly number[], length: 2 | 4): string[] {
    const bytes = Buffer.alloc(words.length * length);
    words.forEach((word, i) => (length === 2 ? bytes.writeUInt16LE(word, i * 2) : bytes.writeUInt32LE(word >>> 0, i * 4)));
    writeFileSync(path("words.bin"), bytes);
    // An object that says which extensions it uses, its text replaced.
    writeFileSync(path("empty.s"), ".text\n.insn 2, 1\n");
    runTool("assembler", [`-march=${march}`, path("empty.s"), "-o", path("empty.o")]);
    runTool("objcopy", ["--update-section", `.text=${path("words.bin")}`, path("empty.o"), path("words.o")]);
    const text = runTool("objdump", ["-D", "-z", "-j", ".text", "-M", "no-aliases", path("words.o")]).toString();
    const lines = new Map<number, string>();
    for (const match of text.matchAll(/^ +([0-9a-f]+):\t[0-9a-f ]+\t(.*)$/gm)) lines.set(Number.parseInt(match[1]!, 16), match[2]!);
    return words.map((_, i) => lines.get(i * length)!);
  }

  function compare(words: readonly number[], length: 2 | 4): void {
    const expected = dump(words, length);
    words.forEach((word, i) => {
      const given = ours(word, BigInt(i * length));
      const said = theirs(expected[i]!);
      if (given === said || isKnownDifference(word, given, said)) return;
      assert.equal(given, said, `0x${(word >>> 0).toString(16)}`);
    });
  }

  test("all 16-bit words", () => {
    compare(Array.from({ length: 0x10000 }, (_, word) => word).filter((word) => (word & 3) !== 3), 2);
  });

  test("32-bit words of every row, fields random", () => {
    const random = new Random(seed);
    const rows = decoderGroups.flat().filter(({ encoding }) => encoding.length === 4);
    const words = rows.flatMap(({ encoding: { mask, match } }) =>
      Array.from({ length: cases(60) }, () => (match | (random.u32() & ~mask)) >>> 0),
    );
    compare(words, 4);
  });

  test("random 32-bit words of the opcodes in use", () => {
    const random = new Random(seed + 1);
    const opcodes = decoderGroups.flatMap((group, i) => (group.length > 0 && i >= 32 ? [((i & 31) << 2) | 3] : []));
    const words = Array.from({ length: cases(30_000) }, () => ((random.u32() & ~0x7f) | random.pick(opcodes)) >>> 0);
    compare(words, 4);
  });
});

/** Both sides without spaces, numbers as two's complement of 64 bits in hexadecimal. */
const numbers = (text: string): string =>
  text.replace(/(?<![\w.])-?(0x[0-9a-f]+|[0-9]+)\b/g, (number) => {
    const sign = number.startsWith("-") ? -1n : 1n;
    return `0x${BigInt.asUintN(64, sign * BigInt(number.replace("-", ""))).toString(16)}`;
  });

function ours(word: number, pc: bigint): string {
  const text = disassemble(word, { pc });
  if (text.startsWith(".")) return "illegal";
  const decoded = decode(word);
  // Reserved rounding modes are illegal when they execute; objdump prints them as unknown.
  return numbers(text.replaceAll(", ", ",").replace(/,(rne|dyn)$/, decoded.instruction.name.startsWith("f") ? "" : "$&"));
}

/** Names that binutils gives to special cases of an instruction. */
const special: Readonly<Record<string, string>> = {
  "c.nop": "c.addi zero,0",
  "c.unimp": "illegal",
  unimp: "illegal",
  "fence.tso": "fence rw,rw",
  pause: "fence w,0",
};

function theirs(text: string): string {
  const [name, operands = ""] = text.replace(/ *[#<].*$/, "").trim().split(/\s+/) as [string, string?];
  if (name.startsWith(".")) return "illegal";
  let rest = operands.replace(/,(rne|dyn)$/, name.startsWith("f") ? "" : "$&").replace("unknown", "reserved");
  if (name === "c.nop" && rest !== "") return numbers(`c.addi zero,${rest}`);
  if (name in special) return numbers(special[name]!);
  // Targets are printed without a prefix.
  if (/^(c\.)?(jal|j|b(eq|ne|lt|ge|ltu|geu|eqz|nez))$/.test(name)) rest = rest.replace(/(^|,)([0-9a-f]+)$/, "$10x$2");
  const plain = name.replace(/^c\.(s[lr][la]i)64$/, "c.$1");
  if (plain !== name) rest += ",0";
  return numbers(rest === "" ? plain : `${plain} ${rest}`);
}

const names = new Set(forms.flatMap(({ name, orders }) => (orders ? ["", ".aq", ".rl", ".aqrl"].map((o) => name + o) : [name])));

/** Where the manual is on our side, or binutils knows more or less. */
function isKnownDifference(word: number, given: string, said: string): boolean {
  const [ourName] = given.split(" ") as [string];
  const [theirName] = said.split(" ") as [string];
  if (said === "illegal") {
    // Zicond is newer than binutils 2.40. Reserved fields of fences are to be ignored; these conversions have a rounding mode, though they never round.
    return /^(czero\.|fence|fcvt\.d\.(w|wu|s)$)/.test(ourName);
  }
  if (given === "illegal") {
    // Extensions that we don't have, and an immediate of 0, which is reserved.
    return !names.has(theirName) || (word & 0xffff) === 0x6101;
  }
  // Registers that we have no name for, and those of the custom space, for which binutils has none.
  const isUnnamed = /,0x[0-9a-f]+,/.test(given) || /,0x[0-9a-f]+,/.test(said);
  return ourName.startsWith("csr") && isUnnamed && given.replace(/,\w+,/, ",,") === said.replace(/,\w+,/, ",,");
}
