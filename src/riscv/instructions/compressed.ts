/** C, for RV64GC: Zca and Zcd (unprivileged manual, chapter 26). Each stands for a 32-bit instruction. */
import { compressed, type CompressedInstruction } from "../instruction.ts";

const ra = 1;
const sp = 2;
const x0 = 0;

export const compressedInstructions: readonly CompressedInstruction[] = [
  // Quadrant 0
  compressed("c.addi4spn", "000 uimm[5:4|9:6|2|3] rd' 00", "addi", { rs1: sp }),
  compressed("c.fld", "001 uimm[5:3] rs1' uimm[7:6] rd' 00", "fld"),
  compressed("c.lw", "010 uimm[5:3] rs1' uimm[2|6] rd' 00", "lw"),
  compressed("c.ld", "011 uimm[5:3] rs1' uimm[7:6] rd' 00", "ld"),
  compressed("c.fsd", "101 uimm[5:3] rs1' uimm[7:6] rs2' 00", "fsd"),
  compressed("c.sw", "110 uimm[5:3] rs1' uimm[2|6] rs2' 00", "sw"),
  compressed("c.sd", "111 uimm[5:3] rs1' uimm[7:6] rs2' 00", "sd"),
  // Quadrant 1
  compressed("c.addi", "000 imm[5] rd/rs1 imm[4:0] 01", "addi"),
  compressed("c.addiw", "001 imm[5] rd/rs1 imm[4:0] 01", "addiw"),
  compressed("c.li", "010 imm[5] rd imm[4:0] 01", "addi", { rs1: x0 }),
  compressed("c.addi16sp", "011 imm[9] 00010 imm[4|6|8:7|5] 01", "addi", { rd: sp, rs1: sp }),
  compressed("c.lui", "011 imm[17] rd imm[16:12] 01", "lui"),
  compressed("c.srli", "100 uimm[5] 00 rd/rs1' uimm[4:0] 01", "srli"),
  compressed("c.srai", "100 uimm[5] 01 rd/rs1' uimm[4:0] 01", "srai"),
  compressed("c.andi", "100 imm[5] 10 rd/rs1' imm[4:0] 01", "andi"),
  compressed("c.sub", "100 0 11 rd/rs1' 00 rs2' 01", "sub"),
  compressed("c.xor", "100 0 11 rd/rs1' 01 rs2' 01", "xor"),
  compressed("c.or", "100 0 11 rd/rs1' 10 rs2' 01", "or"),
  compressed("c.and", "100 0 11 rd/rs1' 11 rs2' 01", "and"),
  compressed("c.subw", "100 1 11 rd/rs1' 00 rs2' 01", "subw"),
  compressed("c.addw", "100 1 11 rd/rs1' 01 rs2' 01", "addw"),
  compressed("c.j", "101 imm[11|4|9:8|10|6|7|3:1|5] 01", "jal", { rd: x0 }),
  compressed("c.beqz", "110 imm[8|4:3] rs1' imm[7:6|2:1|5] 01", "beq", { rs2: x0 }),
  compressed("c.bnez", "111 imm[8|4:3] rs1' imm[7:6|2:1|5] 01", "bne", { rs2: x0 }),
  // Quadrant 2
  compressed("c.slli", "000 uimm[5] rd/rs1 uimm[4:0] 10", "slli"),
  compressed("c.fldsp", "001 uimm[5] rd uimm[4:3|8:6] 10", "fld", { rs1: sp }),
  compressed("c.lwsp", "010 uimm[5] rd uimm[4:2|7:6] 10", "lw", { rs1: sp }),
  compressed("c.ldsp", "011 uimm[5] rd uimm[4:3|8:6] 10", "ld", { rs1: sp }),
  compressed("c.jr", "100 0 rs1 00000 10", "jalr", { rd: x0, imm: 0 }),
  compressed("c.mv", "100 0 rd rs2 10", "add", { rs1: x0 }),
  compressed("c.ebreak", "100 1 00000 00000 10", "ebreak"),
  compressed("c.jalr", "100 1 rs1 00000 10", "jalr", { rd: ra, imm: 0 }),
  compressed("c.add", "100 1 rd/rs1 rs2 10", "add"),
  compressed("c.fsdsp", "101 uimm[5:3|8:6] rs2 10", "fsd", { rs1: sp }),
  compressed("c.swsp", "110 uimm[5:2|7:6] rs2 10", "sw", { rs1: sp }),
  compressed("c.sdsp", "111 uimm[5:3|8:6] rs2 10", "sd", { rs1: sp }),
  // Reserved encodings inside those of others. HINTs need no rows: they execute as what they look like, with no effect.
  compressed("reserved", "000 00000000 rd' 00", undefined),
  compressed("reserved", "001 imm[5] 00000 imm[4:0] 01", undefined),
  compressed("reserved", "011 0 rd 00000 01", undefined),
  compressed("reserved", "010 uimm[5] 00000 uimm[4:2|7:6] 10", undefined),
  compressed("reserved", "011 uimm[5] 00000 uimm[4:3|8:6] 10", undefined),
  compressed("reserved", "100 0 00000 00000 10", undefined),
];
