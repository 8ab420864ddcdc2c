/** From an instruction word to assembly language, by the table's syntax. */
import { csrName } from "./csr-names.ts";
import { immediateOf, registerOf, type RegisterOperand } from "./encoding.ts";
import { fenceSet, forms, orderSuffixes, roundingModeNames, writesUpper, type Form } from "./form.ts";
import { floatRegisterNames, integerRegisterNames } from "./registers.ts";
import { decoderGroup, decoderGroups } from "./table.ts";

const formsByEncoding = new Map(forms.map((form) => [form.encoding, form]));

export interface DisassembleOptions {
  /** Address of the instruction: then branches show where they go, else by how much. */
  readonly pc?: bigint;
}

/**
 * The text of a 32-bit word, or of a 16-bit one (then the upper half is ignored): `addi a0, a1, -4`. Compressed instructions are written as
 * such. What is no instruction gives `.word 0x…` or `.half 0x…`.
 */
export function disassemble(word: number, options: DisassembleOptions = {}): string {
  const row = decoderGroups[decoderGroup(word)]!.find(({ encoding }) => (word & encoding.mask) >>> 0 === encoding.match);
  const form = row && formsByEncoding.get(row.encoding);
  if (form === undefined) {
    return (word & 3) === 3 ? `.word 0x${hex(word >>> 0, 8)}` : `.half 0x${hex(word & 0xffff, 4)}`;
  }
  const operands = form.operands.map((operand) => writeOperand(form, operand, word, options));
  if (form.name === "fence") operands.push(setOf(word >>> 24), setOf(word >>> 20));
  if (form.rounds) operands.push(roundingModeNames[(word >>> 12) & 7] ?? "reserved");
  const name = form.orders ? form.name + orderSuffixes[(word >>> 25) & 3]! : form.name;
  return operands.length === 0 ? name : `${name} ${operands.join(", ")}`;
}

const hex = (value: number, digits: number): string => value.toString(16).padStart(digits, "0");

function setOf(bits: number): string {
  return [...fenceSet].filter((_, i) => (bits >> (3 - i)) & 1).join("") || "0";
}

function writeOperand(form: Form, operand: string, word: number, options: DisassembleOptions): string {
  const imm = immediateOf(form.encoding, word);
  return operand.replace(/zimm|imm|uimm|csr|f?r(?:d|s[123])/, (part) => {
    if (part === "csr") return csrName(imm & 0xfff);
    if (part === "zimm") return `${imm >>> 12}`;
    if (part === "imm" && writesUpper(form.name)) return `0x${((imm >>> 12) & 0xfffff).toString(16)}`;
    if (part === "imm" && isTarget(form)) return target(imm, options);
    if (part.endsWith("imm")) return `${imm}`;
    return registerName(form, part, word);
  }).replace(/\(r(?:d|s[123])\)/, (part) => `(${registerName(form, part.slice(1, -1), word)})`);
}

/** Whether the immediate is relative to the pc. */
export function isTarget({ name, operands }: Form): boolean {
  return operands.at(-1) === "imm" && /^(c\.)?(jal|j|b(eq|ne|lt|ge|ltu|geu|eqz|nez))$/.test(name);
}

function target(imm: number, { pc }: DisassembleOptions): string {
  if (pc === undefined) return imm < 0 ? `. - ${-imm}` : `. + ${imm}`;
  return `0x${BigInt.asUintN(64, pc + BigInt(imm)).toString(16)}`;
}

function registerName({ encoding }: Form, written: string, word: number): string {
  const isFloat = written.startsWith("f");
  const operand = (isFloat ? written.slice(1) : written) as RegisterOperand;
  const field = encoding.registers.find((register) => register.operand === operand)!;
  return (isFloat ? floatRegisterNames : integerRegisterNames)[registerOf(field, word)]!;
}
