/** RV64I (unprivileged manual, chapters 2 and 4). */
import { i32, i64, type Expr } from "#wasm/expression.ts";
import { instruction, type Instruction } from "../instruction.ts";
import type { MemoryAccess, Semantics } from "../semantics.ts";

/** A 32-bit result, sign-extended as all results of the W instructions are. */
export const word = (value: Expr): Expr => i64.extendI32S(value);
export const low = (value: Expr): Expr => i32.wrap(value);

type Binary = (a: Expr, b: Expr) => Expr;
const address = (s: Semantics): Expr => i64.add(s.rs1, s.imm);

function register(name: string, funct7: string, funct3: string, operation: Binary): Instruction {
  return instruction(name, "rd, rs1, rs2", `${funct7} rs2 rs1 ${funct3} rd 0110011`, (s) =>
    s.setRd(operation(s.rs1, s.rs2)),
  );
}

function immediate(name: string, funct3: string, operation: Binary): Instruction {
  return instruction(name, "rd, rs1, imm", `imm[11:0] rs1 ${funct3} rd 0010011`, (s) =>
    s.setRd(operation(s.rs1, s.imm)),
  );
}

function shiftImmediate(name: string, funct6: string, funct3: string, operation: Binary): Instruction {
  return instruction(name, "rd, rs1, uimm", `${funct6} uimm[5:0] rs1 ${funct3} rd 0010011`, (s) =>
    s.setRd(operation(s.rs1, s.imm)),
  );
}

function registerWord(name: string, funct7: string, funct3: string, operation: Binary): Instruction {
  return instruction(name, "rd, rs1, rs2", `${funct7} rs2 rs1 ${funct3} rd 0111011`, (s) =>
    s.setRd(word(operation(low(s.rs1), low(s.rs2)))),
  );
}

function shiftImmediateWord(name: string, funct3: string, funct7: string, operation: Binary): Instruction {
  return instruction(name, "rd, rs1, uimm", `${funct7} uimm[4:0] rs1 ${funct3} rd 0011011`, (s) =>
    s.setRd(word(operation(low(s.rs1), low(s.imm)))),
  );
}

function load(name: string, funct3: string, access: MemoryAccess): Instruction {
  return instruction(name, "rd, imm(rs1)", `imm[11:0] rs1 ${funct3} rd 0000011`, (s) =>
    s.setRd(s.load(access, address(s))),
  );
}

function store(name: string, funct3: string, access: MemoryAccess): Instruction {
  return instruction(name, "rs2, imm(rs1)", `imm[11:5] rs2 rs1 ${funct3} imm[4:0] 0100011`, (s) =>
    s.store(access, address(s), s.rs2),
  );
}

function branch(name: string, funct3: string, condition: Binary): Instruction {
  return instruction(
    name,
    "rs1, rs2, imm",
    `imm[12|10:5] rs2 rs1 ${funct3} imm[4:1|11] 1100011`,
    (s) => s.branch(condition(s.rs1, s.rs2)),
    { flow: "branch" },
  );
}

/** A comparison as a register's value. */
const flag =
  (comparison: Binary): Binary =>
  (a, b) =>
    i64.extendI32U(comparison(a, b));

export const integerInstructions: readonly Instruction[] = [
  instruction("lui", "rd, imm", "imm[31:12] rd 0110111", (s) => s.setRd(s.imm)),
  instruction("auipc", "rd, imm", "imm[31:12] rd 0010111", (s) => s.setRd(i64.add(s.pc, s.imm))),
  instruction("jal", "rd, imm", "imm[20|10:1|11|19:12] rd 1101111", (s) => s.jump(), { flow: "jump" }),
  instruction("jalr", "rd, imm(rs1)", "imm[11:0] rs1 000 rd 1100111", (s) => s.jumpRegister(address(s)), {
    flow: "jump-register",
  }),

  branch("beq", "000", i64.eq),
  branch("bne", "001", i64.ne),
  branch("blt", "100", i64.ltS),
  branch("bge", "101", i64.geS),
  branch("bltu", "110", i64.ltU),
  branch("bgeu", "111", i64.geU),

  load("lb", "000", "i8"),
  load("lh", "001", "i16"),
  load("lw", "010", "i32"),
  load("ld", "011", "i64"),
  load("lbu", "100", "u8"),
  load("lhu", "101", "u16"),
  load("lwu", "110", "u32"),
  store("sb", "000", "i8"),
  store("sh", "001", "i16"),
  store("sw", "010", "i32"),
  store("sd", "011", "i64"),

  immediate("addi", "000", i64.add),
  immediate("slti", "010", flag(i64.ltS)),
  immediate("sltiu", "011", flag(i64.ltU)),
  immediate("xori", "100", i64.xor),
  immediate("ori", "110", i64.or),
  immediate("andi", "111", i64.and),
  shiftImmediate("slli", "000000", "001", i64.shl),
  shiftImmediate("srli", "000000", "101", i64.shrU),
  shiftImmediate("srai", "010000", "101", i64.shrS),

  register("add", "0000000", "000", i64.add),
  register("sub", "0100000", "000", i64.sub),
  register("sll", "0000000", "001", i64.shl),
  register("slt", "0000000", "010", flag(i64.ltS)),
  register("sltu", "0000000", "011", flag(i64.ltU)),
  register("xor", "0000000", "100", i64.xor),
  register("srl", "0000000", "101", i64.shrU),
  register("sra", "0100000", "101", i64.shrS),
  register("or", "0000000", "110", i64.or),
  register("and", "0000000", "111", i64.and),

  instruction("addiw", "rd, rs1, imm", "imm[11:0] rs1 000 rd 0011011", (s) =>
    s.setRd(word(i32.add(low(s.rs1), low(s.imm)))),
  ),
  shiftImmediateWord("slliw", "001", "0000000", i32.shl),
  shiftImmediateWord("srliw", "101", "0000000", i32.shrU),
  shiftImmediateWord("sraiw", "101", "0100000", i32.shrS),
  registerWord("addw", "0000000", "000", i32.add),
  registerWord("subw", "0100000", "000", i32.sub),
  registerWord("sllw", "0000000", "001", i32.shl),
  registerWord("srlw", "0000000", "101", i32.shrU),
  registerWord("sraw", "0100000", "101", i32.shrS),

  // Reserved fields of FENCE are ignored, so that `pause` and `fence.tso` are FENCEs too.
  instruction("fence", "", "-4 -4 -4 -5 000 -5 0001111", (s) => s.fence()),
  instruction("fence.i", "", "-12 -5 001 -5 0001111", (s) => s.system("fence.i"), { flow: "system" }),
];
