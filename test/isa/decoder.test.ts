/** The decoder that runs in the machine gives what the table's plain one does. */
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { entryField, firstInstruction } from "#machine/hart/decode.ts";
import { decode, decoderGroups, type Decoded } from "#riscv/table.ts";
import { cases, seed } from "../kit/effort.ts";
import { TestHart } from "../kit/hart.ts";
import { Random } from "../kit/random.ts";

/** An entry of the machine's decoded pages: see decode.ts there. */
function entryOf({ number, length, instruction, rd, rs1, rs2, rs3, imm }: Decoded): bigint {
  const discarded = rd === 0 && !instruction.syntax.startsWith("frd");
  const low =
    (number + firstInstruction) |
    (length === 4 ? 1 << entryField.long : 0) |
    ((discarded ? 32 : rd) << entryField.rd) |
    (rs1 << entryField.rs1) |
    (rs2 << entryField.rs2) |
    (rs3 << entryField.rs3);
  return (BigInt(imm >>> 0) << 32n) | BigInt(low >>> 0);
}

suite(`the machine's decoder, seed ${seed}`, () => {
  const { decode: run } = new TestHart().instance.exports as unknown as { decode: (word: number) => bigint };
  const check = (word: number): void => {
    const given = BigInt.asUintN(64, run(word));
    const decoded = decode(word);
    // An illegal instruction has no operands to agree on.
    const mask = decoded.number === 0 ? (1n << BigInt(entryField.rd)) - 1n : -1n;
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
