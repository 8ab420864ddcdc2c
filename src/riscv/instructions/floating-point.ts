/** F and D (unprivileged manual, chapters 21 and 22). Values of F lie NaN-boxed in the 64-bit registers. */
import { i32, i64, type Expr } from "#wasm/expression.ts";
import { instruction, type Instruction } from "../instruction.ts";
import type { FloatFormat, FloatOperation, Semantics } from "../semantics.ts";
import { low, word } from "./integer.ts";

const signBit = { s: 0x80000000, d: 0x8000000000000000n } as const;
const formatBits = { s: "00", d: "01" } as const;
const suffix = { s: "F32", d: "F64" } as const;

const both = (rows: (format: FloatFormat) => Instruction[]): Instruction[] => [...rows("s"), ...rows("d")];

/** The operands of a format, as its bits: i32 for singles, i64 for doubles. */
const first = (s: Semantics, format: FloatFormat): Expr => (format === "s" ? s.frs1Single : s.frs1);
const second = (s: Semantics, format: FloatFormat): Expr => (format === "s" ? s.frs2Single : s.frs2);

function setFloat(s: Semantics, format: FloatFormat, bits: Expr): void {
  if (format === "s") s.setFrdSingle(bits);
  else s.setFrd(bits);
}

/** A comparison's or a class's i32 as a register's value. */
const flag = (value: Expr): Expr => i64.extendI32U(value);

function arithmetic(name: FloatOperation, funct5: string, format: FloatFormat): Instruction {
  return instruction(
    `f${name}.${format}`,
    "frd, frs1, frs2",
    `${funct5} ${formatBits[format]} rs2 rs1 rm rd 1010011`,
    (s) => s.roundedOperation(name, format),
  );
}

function fused(
  name: string,
  opcode: string,
  format: FloatFormat,
  negate: { product?: boolean; addend?: boolean },
): Instruction {
  return instruction(
    `${name}.${format}`,
    "frd, frs1, frs2, frs3",
    `rs3 ${formatBits[format]} rs2 rs1 rm rd ${opcode}`,
    (s) => s.roundedOperation("fma", format, negate),
  );
}

/** fsgnj and its kin move sign bits only: nothing is canonicalized, no flag is raised. */
function signInjection(name: string, funct3: string, format: FloatFormat, sign: (a: Expr, b: Expr) => Expr): Instruction {
  const int = format === "s" ? i32 : i64;
  const mask = signBit[format];
  const rest = format === "s" ? 0x7fffffff : 0x7fffffffffffffffn;
  return instruction(
    `${name}.${format}`,
    "frd, frs1, frs2",
    `00100 ${formatBits[format]} rs2 rs1 ${funct3} rd 1010011`,
    (s) => {
      s.requireFloat();
      setFloat(
        s,
        format,
        int.or(int.and(first(s, format), rest), int.and(sign(first(s, format), second(s, format)), mask)),
      );
    },
  );
}

function minMax(name: string, funct3: string, format: FloatFormat): Instruction {
  return instruction(
    `f${name}.${format}`,
    "frd, frs1, frs2",
    `00101 ${formatBits[format]} rs2 rs1 ${funct3} rd 1010011`,
    (s) => setFloat(s, format, s.floatRoutine(`${name}${suffix[format]}`, false, first(s, format), second(s, format))),
  );
}

function comparison(name: string, funct3: string, format: FloatFormat): Instruction {
  return instruction(
    `f${name}.${format}`,
    "rd, frs1, frs2",
    `10100 ${formatBits[format]} rs2 rs1 ${funct3} rd 1010011`,
    (s) => s.setRd(flag(s.floatRoutine(`${name}${suffix[format]}`, false, first(s, format), second(s, format)))),
  );
}

const integers = [
  { suffix: "w", routine: "I32", rs2: "00000" },
  { suffix: "wu", routine: "U32", rs2: "00001" },
  { suffix: "l", routine: "I64", rs2: "00010" },
  { suffix: "lu", routine: "U64", rs2: "00011" },
] as const;

function conversions(format: FloatFormat): Instruction[] {
  return integers.flatMap((integer) => [
    instruction(
      `fcvt.${integer.suffix}.${format}`,
      "rd, frs1",
      `11000 ${formatBits[format]} ${integer.rs2} rs1 rm rd 1010011`,
      (s) =>
        s.setRd(s.floatRoutine(`${suffix[format].toLowerCase()}To${integer.routine}`, true, first(s, format))),
    ),
    instruction(
      `fcvt.${format}.${integer.suffix}`,
      "frd, rs1",
      `11010 ${formatBits[format]} ${integer.rs2} rs1 rm rd 1010011`,
      (s) =>
        setFloat(s, format, s.floatRoutine(`${integer.routine.toLowerCase()}To${suffix[format]}`, true, s.rs1)),
    ),
  ]);
}

export const floatingPointInstructions: readonly Instruction[] = [
  instruction("flw", "frd, imm(rs1)", "imm[11:0] rs1 010 rd 0000111", (s) => {
    s.requireFloat();
    s.setFrdSingle(low(s.load("u32", i64.add(s.rs1, s.imm))));
  }),
  instruction("fld", "frd, imm(rs1)", "imm[11:0] rs1 011 rd 0000111", (s) => {
    s.requireFloat();
    s.setFrd(s.load("i64", i64.add(s.rs1, s.imm)));
  }),
  instruction("fsw", "frs2, imm(rs1)", "imm[11:5] rs2 rs1 010 imm[4:0] 0100111", (s) => {
    s.requireFloat();
    s.store("i32", i64.add(s.rs1, s.imm), s.frs2);
  }),
  instruction("fsd", "frs2, imm(rs1)", "imm[11:5] rs2 rs1 011 imm[4:0] 0100111", (s) => {
    s.requireFloat();
    s.store("i64", i64.add(s.rs1, s.imm), s.frs2);
  }),
  ...both((format) => [
    fused("fmadd", "1000011", format, {}),
    fused("fmsub", "1000111", format, { addend: true }),
    fused("fnmsub", "1001011", format, { product: true }),
    fused("fnmadd", "1001111", format, { product: true, addend: true }),
    arithmetic("add", "00000", format),
    arithmetic("sub", "00001", format),
    arithmetic("mul", "00010", format),
    arithmetic("div", "00011", format),
    instruction(`fsqrt.${format}`, "frd, frs1", `01011 ${formatBits[format]} 00000 rs1 rm rd 1010011`, (s) =>
      s.roundedOperation("sqrt", format),
    ),
    signInjection("fsgnj", "000", format, (_a, b) => b),
    signInjection("fsgnjn", "001", format, (_a, b) => (format === "s" ? i32.xor(b, -1) : i64.xor(b, -1))),
    signInjection("fsgnjx", "010", format, (a, b) => (format === "s" ? i32.xor(a, b) : i64.xor(a, b))),
    minMax("min", "000", format),
    minMax("max", "001", format),
    comparison("eq", "010", format),
    comparison("lt", "001", format),
    comparison("le", "000", format),
    instruction(`fclass.${format}`, "rd, frs1", `11100 ${formatBits[format]} 00000 rs1 001 rd 1010011`, (s) =>
      s.setRd(flag(s.floatRoutine(`class${suffix[format]}`, false, first(s, format)))),
    ),
    ...conversions(format),
  ]),
  instruction("fcvt.s.d", "frd, frs1", "01000 00 00001 rs1 rm rd 1010011", (s) =>
    s.setFrdSingle(s.floatRoutine("f64ToF32", true, s.frs1)),
  ),
  // Never rounds, but a reserved rounding mode is still illegal.
  instruction("fcvt.d.s", "frd, frs1", "01000 01 00000 rs1 rm rd 1010011", (s) =>
    s.setFrd(s.floatRoutine("f32ToF64", true, s.frs1Single)),
  ),
  // Moves copy bits, boxed or not.
  instruction("fmv.x.w", "rd, frs1", "11100 00 00000 rs1 000 rd 1010011", (s) => {
    s.requireFloat();
    s.setRd(word(low(s.frs1)));
  }),
  instruction("fmv.w.x", "frd, rs1", "11110 00 00000 rs1 000 rd 1010011", (s) => {
    s.requireFloat();
    s.setFrdSingle(low(s.rs1));
  }),
  instruction("fmv.x.d", "rd, frs1", "11100 01 00000 rs1 000 rd 1010011", (s) => {
    s.requireFloat();
    s.setRd(s.frs1);
  }),
  instruction("fmv.d.x", "frd, rs1", "11110 01 00000 rs1 000 rd 1010011", (s) => {
    s.requireFloat();
    s.setFrd(s.rs1);
  }),
];
