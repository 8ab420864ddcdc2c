/** Zicsr (unprivileged manual, chapter 6), the privileged instructions (privileged manual) and the cache-block operations (Zicbom, Zicboz, Zicbop). */
import { i64, type Expr } from "#wasm/expression.ts";
import { accessesCsr, type Declaration } from "../declaration.ts";
import { instruction, type Instruction } from "../instruction.ts";
import type { CsrOperation, Semantics, SystemOperation, VirtualMachineAccess } from "../semantics.ts";

const csr = (name: string, funct3: string, operation: CsrOperation): Instruction =>
  instruction(
    name,
    "rd, csr, rs1",
    `csr rs1 ${funct3} rd 1110011`,
    (s) => s.csr(operation, s.rs1, operation === "write" ? "always" : "unless-x0"),
    { flow: "system", declared: accessesCsr },
  );

/** The immediate holds the CSR's number below bit 12, and the operand above it. */
const zimm = (s: Semantics): Expr => i64.shrU(s.imm, 12);

const csrImmediate = (name: string, funct3: string, operation: CsrOperation): Instruction =>
  instruction(
    name,
    "rd, csr, zimm",
    `csr zimm ${funct3} rd 1110011`,
    (s) => s.csr(operation, zimm(s), operation === "write" ? "always" : "unless-x0"),
    { flow: "system", declared: accessesCsr },
  );

const system = (
  name: string,
  encoding: string,
  operation: SystemOperation,
  declared: Declaration,
  syntax = "",
): Instruction => instruction(name, syntax, encoding, (s) => s.system(operation), { flow: "system", declared });

/** By design, in any mode: no state but what every trap changes. */
const call: Declaration = { traps: "everywhere", sensitive: [] };
/** Where it leads is in the status and in xepc. */
const trapReturn: Declaration = { traps: "user", sensitive: ["control", "behaviour"] };
/** It takes effect on the translations that the hart has. */
const fence: Declaration = { traps: "user", sensitive: ["control"] };
/** Only orders what the SINVALs between do. */
const order: Declaration = { traps: "user", sensitive: [] };
/** A guest's memory is where the guest's tables say. */
const guestAccess: Declaration = { traps: "hstatus.HU", sensitive: ["behaviour"] };
const cacheBlock: Declaration = { traps: "senvcfg", sensitive: [] };

const virtualMachineLoad = (name: VirtualMachineAccess, code: string): Instruction =>
  system(name, `${code} rs1 100 rd 1110011`, name, guestAccess, "rd, (rs1)");

const virtualMachineStore = (name: VirtualMachineAccess, code: string): Instruction =>
  system(name, `${code} rs2 rs1 100 00000 1110011`, name, guestAccess, "rs2, (rs1)");

export const systemInstructions: readonly Instruction[] = [
  csr("csrrw", "001", "write"),
  csr("csrrs", "010", "set"),
  csr("csrrc", "011", "clear"),
  csrImmediate("csrrwi", "101", "write"),
  csrImmediate("csrrsi", "110", "set"),
  csrImmediate("csrrci", "111", "clear"),

  system("ecall", "000000000000 00000 000 00000 1110011", "ecall", call),
  system("ebreak", "000000000001 00000 000 00000 1110011", "ebreak", call),
  system("sret", "000100000010 00000 000 00000 1110011", "sret", trapReturn),
  system("mret", "001100000010 00000 000 00000 1110011", "mret", trapReturn),
  system("wfi", "000100000101 00000 000 00000 1110011", "wfi", { traps: "user", sensitive: ["control"] }),
  system("sfence.vma", "0001001 rs2 rs1 000 00000 1110011", "sfence.vma", fence, "rs1, rs2"),
  // Svinval: the invalidation takes effect at once, which the two fences allow.
  system("sinval.vma", "0001011 rs2 rs1 000 00000 1110011", "sfence.vma", fence, "rs1, rs2"),
  system("sfence.w.inval", "000110000000 00000 000 00000 1110011", "sfence.inval", order),
  system("sfence.inval.ir", "000110000001 00000 000 00000 1110011", "sfence.inval", order),

  // The H extension. HINVAL takes effect at once too.
  system("hfence.vvma", "0010001 rs2 rs1 000 00000 1110011", "hfence.vvma", fence, "rs1, rs2"),
  system("hfence.gvma", "0110001 rs2 rs1 000 00000 1110011", "hfence.gvma", fence, "rs1, rs2"),
  system("hinval.vvma", "0010011 rs2 rs1 000 00000 1110011", "hfence.vvma", fence, "rs1, rs2"),
  system("hinval.gvma", "0110011 rs2 rs1 000 00000 1110011", "hfence.gvma", fence, "rs1, rs2"),
  virtualMachineLoad("hlv.b", "0110000 00000"),
  virtualMachineLoad("hlv.bu", "0110000 00001"),
  virtualMachineLoad("hlv.h", "0110010 00000"),
  virtualMachineLoad("hlv.hu", "0110010 00001"),
  virtualMachineLoad("hlvx.hu", "0110010 00011"),
  virtualMachineLoad("hlv.w", "0110100 00000"),
  virtualMachineLoad("hlv.wu", "0110100 00001"),
  virtualMachineLoad("hlvx.wu", "0110100 00011"),
  virtualMachineLoad("hlv.d", "0110110 00000"),
  virtualMachineStore("hsv.b", "0110001"),
  virtualMachineStore("hsv.h", "0110011"),
  virtualMachineStore("hsv.w", "0110101"),
  virtualMachineStore("hsv.d", "0110111"),

  system("cbo.inval", "000000000000 rs1 010 00000 0001111", "cbo.inval", cacheBlock, "(rs1)"),
  system("cbo.clean", "000000000001 rs1 010 00000 0001111", "cbo.clean", cacheBlock, "(rs1)"),
  system("cbo.flush", "000000000010 rs1 010 00000 0001111", "cbo.clean", cacheBlock, "(rs1)"),
  system("cbo.zero", "000000000100 rs1 010 00000 0001111", "cbo.zero", cacheBlock, "(rs1)"),
];
