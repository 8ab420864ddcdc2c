/** The decoder that runs in the machine gives what the table's plain one does. */
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { entryByte, handlerOf, hasShortImmediate } from "#machine/hart/decode.ts";
import { decode, decoderGroups, type Decoded } from "#riscv/table.ts";
import { cases, seed } from "../kit/effort.ts";
import { TestHart } from "../kit/hart.ts";
import { Random } from "../kit/random.ts";

/** An entry of the machine's decoded pages: see decode.ts there. */
function entryOf({ number, length, instruction, rd, rs1, rs2, rs3, imm }: Decoded): bigint {
  const discarded = rd === 0 && !instruction.syntax.startsWith("frd");
  const entry = new DataView(new ArrayBuffer(8));
  entry.setUint16(entryByte.handler, handlerOf(number, length), true);
  entry.setUint8(entryByte.rd, discarded ? 32 : rd);
  entry.setUint8(entryByte.rs1, rs1);
  if (hasShortImmediate(number)) {
    entry.setUint8(entryByte.rs2, rs2);
    entry.setUint8(entryByte.rs3, rs3);
    entry.setInt16(entryByte.imm16, imm, true);
    assert.equal(entry.getInt16(entryByte.imm16, true), imm, `the immediate of ${instruction.name} is too long`);
  } else entry.setInt32(entryByte.imm, imm, true);
  return entry.getBigUint64(0, true);
}

suite(`the machine's decoder, seed ${seed}`, () => {
  const { decode: run } = new TestHart().instance.exports as unknown as { decode: (word: number) => bigint };
  const check = (word: number): void => {
    const given = BigInt.asUintN(64, run(word));
    const decoded = decode(word);
    // An illegal instruction has no operands to agree on.
    const mask = decoded.number === 0 ? 0xffffn : -1n;
    if ((given & mask) !== (entryOf(decoded) & mask)) {
      assert.equal((given & mask).toString(16), (entryOf(decoded) & mask).toString(16), `0x${(word >>> 0).toString(16)} ${decoded.instruction.name}`);
    }
  };

  test("all 16-bit words", () => {
    for (let word = 0; word < 0x10000; word++) if ((word & 3) !== 3) check(word);
  });

  test("random 32-bit words", () => {
    const random = new Random(seed);
    for (let i = 0; i < cases(200_000); i++) check(random.u32() | 3);
  });

  test("words near instructions: one bit changed, fields random", () => {
    const random = new Random(seed + 1);
    const rows = decoderGroups.flat();
    for (let i = 0; i < cases(200_000); i++) {
      const { encoding } = random.pick(rows);
      const word = encoding.match | (random.u32() & ~encoding.mask);
      check(random.oneIn(2) ? word : word ^ (1 << random.below(32)));
    }
  });
});
