import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { assemble, encode, type OperandValues } from "./assemble.ts";
import { disassemble } from "./disassemble.ts";
import { immediateOf, registerOf, type Encoding } from "./encoding.ts";
import { compressedInstructions, decode, decoderGroup, decoderGroups, instructions } from "./table.ts";

interface Row {
  readonly name: string;
  readonly encoding: Encoding;
}

const rows: readonly Row[] = [...instructions.slice(1), ...compressedInstructions];

/** The words of a row with some values of its other bits: all zeros, all ones, each single bit, and a few mixtures. */
function* samples({ encoding }: Row): Generator<number> {
  const all = encoding.length === 2 ? 0xffff : -1;
  const free = all & ~encoding.mask;
  yield encoding.match;
  yield (encoding.match | free) >>> 0;
  for (let bit = 0; bit < 32; bit++) if ((free >>> bit) & 1) yield (encoding.match | (1 << bit)) >>> 0;
  for (let i = 1; i < 60; i++) yield (encoding.match | (Math.imul(i, 0x9e3779b1) & free)) >>> 0;
}

const overlap = (a: Row, b: Row): boolean =>
  a.encoding.length === b.encoding.length &&
  ((a.encoding.match ^ b.encoding.match) & a.encoding.mask & b.encoding.mask) === 0;

suite("the instruction table", () => {
  test("names are unique", () => {
    const names = rows.map(({ name }) => name).filter((name) => name !== "reserved");
    assert.equal(new Set(names).size, names.length);
  });

  test("no encodings overlap, but for compressed ones inside others", () => {
    const found: string[] = [];
    rows.forEach((a, i) => {
      for (const b of rows.slice(i + 1)) if (overlap(a, b)) found.push(`${a.name} and ${b.name}`);
    });
    // Each of these pairs: the manual gives a register or an immediate of the wider one another meaning.
    const reservedInside = ["c.addi4spn", "c.addiw", "c.addi16sp", "c.lui", "c.lwsp", "c.ldsp", "c.jr", "c.mv"];
    const inside = ["c.addi16sp and c.lui", "c.jr and c.mv", "c.ebreak and c.jalr", "c.ebreak and c.add", "c.jalr and c.add"];
    assert.deepEqual(found.sort(), [...inside, ...reservedInside.map((name) => `${name} and reserved`)].sort());
  });

  test("where encodings overlap, the decoder tries the more specific or the reserved one first", () => {
    for (const group of decoderGroups) {
      group.forEach((a, i) => {
        for (const b of group.slice(i + 1)) {
          const isOverlap = ((a.encoding.match ^ b.encoding.match) & a.encoding.mask & b.encoding.mask) === 0;
          const isFirst = a.number === 0 || (a.encoding.mask & b.encoding.mask) >>> 0 === b.encoding.mask;
          assert.ok(!isOverlap || isFirst, `${a.encoding.text} before ${b.encoding.text}`);
        }
      });
    }
  });

  test("every row's words fall into the group where the decoder looks for them", () => {
    for (const row of rows) {
      for (const word of samples(row)) assert.equal(decoderGroup(word), decoderGroup(row.encoding.match), row.name);
    }
  });

  test("every 32-bit instruction decodes to itself, with its operands", () => {
    for (const instruction of instructions.slice(1)) {
      for (const word of samples(instruction)) {
        const decoded = decode(word);
        assert.equal(decoded.instruction.name, instruction.name);
        assert.equal(decoded.length, 4);
        for (const field of instruction.encoding.registers) {
          assert.equal(decoded[field.operand], (word >>> field.low) & 31);
        }
      }
    }
  });

  test("encoding what was decoded gives the same word", () => {
    for (const { name, encoding } of rows) {
      for (const word of samples({ name, encoding })) {
        const values: OperandValues = { imm: immediateOf(encoding, word) };
        for (const field of encoding.registers) values[field.operand] = registerOf(field, word);
        const ignored = encoding.text.split(" ").some((part) => part.startsWith("-"));
        if (!ignored) assert.equal(encode(encoding, values), word, `${name} ${word.toString(16)}`);
      }
    }
  });

  test("the assembler takes what the disassembler writes", () => {
    for (const row of rows) {
      for (const word of samples(row)) {
        const text = disassemble(word);
        // The fences have fields that are ignored, and the assembler writes no reserved rounding mode.
        if (/^fence/.test(text) || text.endsWith("reserved")) continue;
        const bytes = assemble(text);
        const again = bytes.reduce((sum, byte, i) => sum + byte * 2 ** (8 * i), 0);
        assert.equal(again.toString(16), word.toString(16), text);
      }
    }
  });

  test("16-bit words that are no instruction are those that the manual reserves", () => {
    for (let word = 0; word < 0x10000; word++) {
      if ((word & 3) === 3) continue;
      assert.equal(decode(word).number === 0, isReserved(word), `0x${word.toString(16)}`);
      assert.equal(decode(word).length, 2);
    }
  });

  test("32-bit words of opcodes that no implemented extension uses are illegal", () => {
    const used = [0x03, 0x07, 0x0f, 0x13, 0x17, 0x1b, 0x23, 0x27, 0x2f, 0x33, 0x37, 0x3b, 0x43, 0x47, 0x4b, 0x4f, 0x53, 0x63, 0x67, 0x6f, 0x73];
    for (let opcode = 3; opcode < 128; opcode += 4) {
      assert.equal(decoderGroups[32 + (opcode >> 2)]!.length > 0, used.includes(opcode), `opcode 0x${opcode.toString(16)}`);
      const { number, length } = decode((0xabcdef << 8) | opcode);
      if (!used.includes(opcode)) assert.deepEqual({ number, length }, { number: 0, length: 4 });
    }
  });
});

/** The tables of the unprivileged manual's chapter on C, for RV64 with D: what they mark RES, and all zeros. */
function isReserved(word: number): boolean {
  const quadrant = word & 3;
  const funct3 = word >>> 13;
  const rd = (word >>> 7) & 31;
  const rs2 = (word >>> 2) & 31;
  const bit12 = (word >>> 12) & 1;
  if (quadrant === 0) return funct3 === 4 || (funct3 === 0 && (word & 0x1fe0) === 0);
  if (quadrant === 1) {
    if (funct3 === 1) return rd === 0;
    if (funct3 === 3) return bit12 === 0 && rs2 === 0;
    // Of the register operations with bit 12 set, only two exist.
    return funct3 === 4 && bit12 === 1 && ((word >>> 10) & 3) === 3 && ((word >>> 6) & 1) === 1;
  }
  if (funct3 === 2 || funct3 === 3) return rd === 0;
  return funct3 === 4 && bit12 === 0 && rs2 === 0 && rd === 0;
}

/** Every compressed instruction with the 32-bit one that the manual says it expands to. */
const expansions: readonly [compressed: string, base: string][] = [
  ["c.addi4spn a0, sp, 1020", "addi a0, sp, 1020"],
  ["c.fld fa0, 248(a1)", "fld fa0, 248(a1)"],
  ["c.lw a0, 124(a1)", "lw a0, 124(a1)"],
  ["c.ld a0, 248(a1)", "ld a0, 248(a1)"],
  ["c.fsd fa0, 8(s1)", "fsd fa0, 8(s1)"],
  ["c.sw a5, 64(s0)", "sw a5, 64(s0)"],
  ["c.sd a0, 128(a1)", "sd a0, 128(a1)"],
  ["c.addi t6, -32", "addi t6, t6, -32"],
  ["c.addiw t6, 31", "addiw t6, t6, 31"],
  ["c.li s11, -1", "addi s11, zero, -1"],
  ["c.addi16sp sp, -512", "addi sp, sp, -512"],
  ["c.addi16sp sp, 496", "addi sp, sp, 496"],
  ["c.lui a0, 0xfffe0", "lui a0, 0xfffe0"],
  ["c.lui a0, 31", "lui a0, 31"],
  ["c.srli a0, 63", "srli a0, a0, 63"],
  ["c.srai a0, 32", "srai a0, a0, 32"],
  ["c.andi a0, -32", "andi a0, a0, -32"],
  ["c.sub a0, a1", "sub a0, a0, a1"],
  ["c.xor a0, a1", "xor a0, a0, a1"],
  ["c.or a0, a1", "or a0, a0, a1"],
  ["c.and a0, a1", "and a0, a0, a1"],
  ["c.subw a0, a1", "subw a0, a0, a1"],
  ["c.addw a0, a1", "addw a0, a0, a1"],
  ["c.j -2048", "jal zero, -2048"],
  ["c.j 2046", "jal zero, 2046"],
  ["c.beqz a0, -256", "beq a0, zero, -256"],
  ["c.bnez a0, 254", "bne a0, zero, 254"],
  ["c.slli t6, 63", "slli t6, t6, 63"],
  ["c.fldsp ft11, 504(sp)", "fld ft11, 504(sp)"],
  ["c.lwsp t6, 252(sp)", "lw t6, 252(sp)"],
  ["c.ldsp t6, 504(sp)", "ld t6, 504(sp)"],
  ["c.jr t6", "jalr zero, 0(t6)"],
  ["c.mv t6, t5", "add t6, zero, t5"],
  ["c.ebreak", "ebreak"],
  ["c.jalr t6", "jalr ra, 0(t6)"],
  ["c.add t6, t5", "add t6, t6, t5"],
  ["c.fsdsp ft11, 504(sp)", "fsd ft11, 504(sp)"],
  ["c.swsp t6, 252(sp)", "sw t6, 252(sp)"],
  ["c.sdsp t6, 504(sp)", "sd t6, 504(sp)"],
];

suite("compressed instructions", () => {
  const wordOf = (text: string): number => assemble(text).reduce((sum, byte, i) => sum + byte * 2 ** (8 * i), 0);

  test("each expands to its 32-bit instruction", () => {
    for (const [compressed, base] of expansions) {
      const { length, ...given } = decode(wordOf(compressed));
      const { length: _, ...expected } = decode(wordOf(base));
      assert.equal(length, 2);
      assert.deepEqual(given, expected, compressed);
    }
  });

  test("none is left out", () => {
    const names = compressedInstructions.map(({ name }) => name).filter((name) => name !== "reserved");
    assert.deepEqual([...new Set(expansions.map(([text]) => text.split(" ")[0]))].sort(), names.sort());
  });
});
