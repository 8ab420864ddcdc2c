/**
 * What the translator makes of small programs, each of which shows one of its ways. `expected/` holds the whole text, for reading and for seeing what a
 * change does to it; the assertions here say what matters in it.
 *
 *   UPDATE_EXPECTED=1   writes the texts anew: look at the difference before you commit it
 */
import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { suite, test } from "node:test";
import { fileURLToPath } from "node:url";
import { regionText, type SmallProgram } from "./region-text.ts";

const folder = fileURLToPath(new URL("expected/", import.meta.url));
const update = process.env["UPDATE_EXPECTED"] === "1";

interface Expectation extends SmallProgram {
  readonly name: string;
  /** How often a pattern occurs in the text. */
  readonly counts: readonly (readonly [pattern: RegExp, times: number])[];
}

/** Every check of the TLB ends in this comparison. */
const tlbCheck = /\(i64\.const -4096\)/g;
const exitStub = /\(i32\.store \(;interpretOne;\)/g;
const guestCall = /\(call_indirect$/gm;
const tailCall = /\(return_call_indirect$/gm;

const expectations: readonly Expectation[] = [
  {
    name: "words",
    source: "addw a0, a0, a1; xor a2, a0, a0; slliw a2, a0, 3; sraiw a0, a2, 1; ret",
    // Only what is left at the end is extended.
    counts: [[/\(i64\.store \(;x\[\d+\];\)/g, 2], [/i64\.extend_i32_s \(local\.get \d+\)\)\)$/gm, 2]],
  },
  {
    name: "narrow-branch",
    source: "lw a0, 0(a2); lw a1, 4(a2); bltu a0, a1, less; li a0, 1; less: ret",
    counts: [[/i32\.lt_u/g, 1], [/i64\.lt_u/g, 0]],
  },
  {
    name: "shared-check",
    source: "ld a0, 8(sp); ld a1, 16(sp); add a0, a0, a1; sd a0, 24(sp); ret",
    counts: [[tlbCheck, 1], [/i64\.const 23/g, 1]],
  },
  {
    name: "table",
    // Both look-ups lie within a table of 1 KiB, and the pointer has moved by a known distance: three checks for five accesses.
    source: "lbu a3, 0(a0); slli a3, a3, 2; add a3, a1, a3; lw a3, 0(a3); addi a0, a0, 4; lbu a4, 0(a0); andi a5, a4, 31; sh2add a5, a5, a1; lw a5, 0(a5); sd a5, 0(a2); ret",
    counts: [[tlbCheck, 3], [/i64\.const 1023/g, 1], [/i32\.load8_u offset=4/g, 1]],
  },
  {
    name: "loop",
    source: "again: ld a3, 0(a0); ld a4, 8(a0); add a3, a3, a4; add a2, a2, a3; addi a0, a0, 16; bne a0, a1, again; ret",
    counts: [[/\(loop/g, 1], [tlbCheck, 1], [/local\.get \$budget\) \(i32\.const 6\)/g, 2]],
  },
  {
    name: "unrolled",
    // The two registers change places: two turns on, they are where they were. What is dead is stored once for all turns.
    source: "again: mv a3, a0; mv a0, a1; addi a1, a3, 1; bne a0, a2, again; ret",
    unrolls: true,
    counts: [[/\(loop/g, 1], [/i32\.sub \(local\.get \$budget\) \(i32\.const 4\)/g, 8], [/i32\.lt_s/g, 1], [/\(i64\.store \(;x\[13\];\)/g, 2]],
  },
  {
    name: "nested",
    // The head is the inner loop's header; the outer loop's way to it is no turn of the inner one, which alone is unrolled.
    source: "outer: mv a1, a2; again: addi a1, a1, -1; bnez a1, again; addi a0, a0, -1; bnez a0, outer; ret",
    head: "again",
    unrolls: true,
    counts: [[/\(loop/g, 2], [/i32\.sub \(local\.get \$budget\) \(i32\.const 2\)/g, 9], [/i32\.lt_s/g, 1]],
  },
  {
    name: "back-edge-stores",
    // a4 is written in the loop, and not read in the next turn: it is stored in the loop, and by no exit but the loop's own.
    source: "again: ld a3, 0(a0); add a4, a3, a3; sd a4, 0(a0); addi a0, a0, 8; bne a0, a1, again; ret",
    counts: [[/\(loop/g, 1], [/\(i64\.store \(;x\[14\];\)/g, 2]],
  },
  {
    name: "exit-stub",
    source: "addi a0, a0, 1; addi a1, a1, 1; sd a1, 0(a2); ret",
    // One for the head, where the budget doesn't last, and one for the store; that leaves before the third of four instructions.
    counts: [[exitStub, 2], [/\(i64\.add \(local\.get \$pc\) \(i64\.const 8\)\)/g, 1], [/\(i32\.add \(local\.get \$budget\) \(i32\.const 2\)\)/g, 1]],
  },
  {
    name: "call",
    source: "addi sp, sp, -16; call far; addi sp, sp, 16; ret; .zero 512; far: ld a0, 0(a0); ecall; ret",
    counts: [[guestCall, 1], [tailCall, 0], [/call \$jump/g, 1], [/call \$recover/g, 1]],
  },
  {
    name: "inlined-leaf",
    source: "add s0, a0, a1; call leaf; add a0, a0, s0; jr s1; leaf: slli a0, a0, 1; addi a0, a0, 5; ret",
    // The tail call is the jump at the end.
    counts: [[guestCall, 0], [tailCall, 1], [/\(i64\.shl /g, 1]],
  },
  {
    name: "switch",
    source: "from: jr a5; one: addi a0, a0, 1; j out; two: addi a0, a0, 2; j out; three: addi a0, a0, 3; out: ret",
    edges: { from: ["one", "two", "three"] },
    // Elsewhere by the jump cache.
    counts: [[/\(br_table/g, 1], [tailCall, 1]],
  },
  {
    name: "indirect-jump",
    source: "addi a0, a0, 1; jr a5",
    counts: [[tailCall, 1], [/\(br_table/g, 0]],
  },
  {
    name: "linkage",
    // rd is no register for return addresses: a jump, not a call.
    source: "auipc t3, 5; ld t3, 8(t3); jalr t1, 0(t3); nop",
    counts: [[guestCall, 0], [tailCall, 1]],
  },
  {
    name: "floating-point",
    source: "fmul.d fa0, fa0, fa1; fadd.d fa0, fa0, fa2; ret",
    counts: [[/\(f64\.mul /g, 1], [/\(f64\.add /g, 1], [/\bcall \$/g, 0], [/\(i32\.store \(;mstatus;\)/g, 1]],
  },
  {
    name: "csr",
    source: "csrrw a0, sscratch, a0; addi a1, a1, 1; csrw satp, a1; ret",
    // sscratch in line; satp is the interpreter's.
    counts: [[/call \$csr/g, 1], [exitStub, 3]],
  },
  {
    name: "atomics",
    source: "amoadd.w a0, a1, (a2); retry: lr.d a3, (a4); addi a3, a3, 1; sc.d a5, a3, (a4); bnez a5, retry; ret",
    counts: [[tlbCheck, 3], [/\bcall/g, 0], [/\(;reservation;\)/g, 3]],
  },
];

const lines = (source: string): string => source.replaceAll(/; */g, "\n").replaceAll(/^(\w+:)\s*/gm, "$1\n");

suite("emitted WebAssembly", () => {
  for (const { name, source, head, edges, unrolls, counts } of expectations) {
    test(name, () => {
      const program = lines(source);
      const text = regionText({ source: program, ...(head !== undefined && { head }), ...(edges && { edges }), ...(unrolls && { unrolls }) });
      for (const [pattern, times] of counts) assert.equal([...text.matchAll(pattern)].length, times, `${pattern} in\n${text}`);
      const commented = program.split("\n").map((line) => `;; ${line.endsWith(":") ? "" : "    "}${line}`).join("\n");
      const whole = `${commented}\n\n${text}\n`;
      const path = `${folder}${name}.wat`;
      if (update) writeFileSync(path, whole);
      const expected = existsSync(path) ? readFileSync(path, "utf8") : "";
      assert.equal(whole, expected, `not what ${path} has: UPDATE_EXPECTED=1 writes it anew`);
    });
  }

  test("every text belongs to a program", () =>
    assert.deepEqual(readdirSync(folder).sort(), expectations.map(({ name }) => `${name}.wat`).sort()));
});
