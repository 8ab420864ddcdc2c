import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { decode } from "#riscv/table.ts";
import { assemble } from "#riscv/assemble.ts";
import { cases, seed } from "../../../test/kit/effort.ts";
import { RAM, TestHart } from "../../../test/kit/hart.ts";
import { Random } from "../../../test/kit/random.ts";
import { KnownValues } from "./values.ts";

const length = 60;
const HEAD = 1;

/** Few registers, so that values meet; sp points into memory. */
function instruction(random: Random): string {
  const [rd, a, b] = [0, 0, 0].map(() => random.pick(["a0", "a1", "a2", "a3", "a4", "sp"]).replace("sp", random.oneIn(2) ? "sp" : "zero"));
  const to = rd === "sp" ? "a5" : rd;
  const imm = random.pick([-2048, -4, -1, 0, 1, 4, 255, 2047]);
  const kind = random.below(9);
  if (kind === 0) return `${random.pick(["lb", "lbu", "lh", "lhu"])} ${to}, ${random.below(200)}(sp)`;
  if (kind === 1) return `${random.pick(["lui", "auipc"])} ${to}, ${random.pick([0, 1, 2, 0x7ffff, 0x80000, 0xfffff])}`;
  if (kind === 2) return `${random.pick(["slli", "srli"])} ${to}, ${a}, ${random.pick([0, 1, 2, 5, 31, 32, 33, 48, 63])}`;
  if (kind === 3) return `${random.pick(["slliw", "srliw"])} ${to}, ${a}, ${random.pick([0, 1, 2, 5, 24, 31])}`;
  if (kind < 6) return `${random.pick(["addi", "addiw", "andi", "slti", "sltiu", "xori"])} ${to}, ${a}, ${imm}`;
  return `${random.pick(["add", "add", "addw", "sub", "subw", "sh1add", "sh2add", "sh3add", "slt", "sltu", "mul"])} ${to}, ${a}, ${b}`;
}

suite(`what is known of values, seed ${seed}`, () => {
  test("holds for the values that there are", () => {
    const random = new Random(seed);
    let ranges = 0;
    for (let round = 0; round < cases(40); round++) {
      const hart = new TestHart();
      hart.state.set("x", RAM + 0x1000, 2);
      for (let i = 0; i < 4096; i++) hart.ram[4096 + i] = random.u32();
      for (let register = 10; register < 16; register++) hart.state.set("x", random.operand(), register);
      const code = assemble(Array.from({ length }, () => instruction(random)).join("\n"), { base: RAM });
      hart.load(RAM, code);
      const view = new DataView(code.buffer, code.byteOffset);
      const known = new KnownValues({ next: 0 });
      const bases = new Map<number, bigint>([[0, 0n], [HEAD, BigInt(RAM)]]);
      for (let offset = 0; offset < code.length; ) {
        const decoded = decode(view.getUint32(offset, true));
        hart.run(1);
        known.execute(decoded, offset);
        offset += decoded.length;
        for (let register = 0; register < 32; register++) {
          const { root, low, high } = known.of(register);
          const actual = hart.x(register);
          if (!bases.has(root)) bases.set(root, actual - BigInt(low));
          const distance = BigInt.asIntN(64, actual - bases.get(root)!);
          if (low < high) ranges++;
          assert.ok(low <= distance && distance <= high, `x${register} after ${decoded.instruction.name} at ${offset}: ${distance} is not from ${low} to ${high}`);
        }
      }
    }
    assert.ok(ranges > 200, `only ${ranges} ranges were seen`);
  });
});
