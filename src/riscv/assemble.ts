/**
 * A small assembler over the instruction table, for tests and for firmware stubs: labels, data, the usual pseudo-instructions. One statement
 * a line; `#` begins a comment.
 *
 *   loop:  addi  a0, a0, -1
 *          bnez  a0, loop
 *          li    t0, 0x123456789abcdef0
 *          la    t1, table
 *          ret
 *   table: .dword loop, 7
 *
 * A number where a branch wants its target is a distance; a label, or an expression with one, is an address. Directives: `.byte`, `.half`,
 * `.word`, `.dword`, `.zero n`, `.align n` (to 2^n bytes).
 */
import { HostelryError } from "#base/errors.ts";
import { csrNumbers, customCsrNumbers } from "./csr-names.ts";
import { isTarget } from "./disassemble.ts";
import { immediateOf, immediateParts, registerOf, type Encoding, type RegisterOperand } from "./encoding.ts";
import { fenceSet, forms, orderSuffixes, roundingModeNames, writesUpper, type Form } from "./form.ts";
import { floatRegisterNumbers, integerRegisterNumbers } from "./registers.ts";

export interface AssembleOptions {
  /** Address of the first byte; 0 if absent. */
  readonly base?: bigint | number;
  /** Names that are known beforehand. */
  readonly symbols?: Readonly<Record<string, bigint | number>>;
}

export interface Assembled {
  readonly bytes: Uint8Array;
  /** Labels, and the symbols given. */
  readonly symbols: ReadonlyMap<string, bigint>;
}

/** Throws HostelryError("assembly") with the line that is wrong. */
export function assemble(source: string, options: AssembleOptions = {}): Uint8Array {
  return assembleWithSymbols(source, options).bytes;
}

export function assembleWithSymbols(source: string, options: AssembleOptions = {}): Assembled {
  const base = BigInt(options.base ?? 0);
  const symbols = new Map(Object.entries(options.symbols ?? {}).map(([name, value]) => [name, BigInt(value)]));
  const statements: Statement[] = [];
  let size = 0;
  for (const [index, line] of source.split("\n").entries()) {
    inLine(index + 1, line, () => {
      let text = line.replace(/#.*/, "").trim();
      for (let label; (label = /^([\w.$]+):\s*/.exec(text)); text = text.slice(label[0].length)) {
        if (symbols.has(label[1]!)) fail(`${label[1]} is defined twice`);
        symbols.set(label[1]!, base + BigInt(size));
      }
      if (text === "") return;
      for (const statement of expand(text, size)) {
        statements.push({ ...statement, at: size, line, number: index + 1 });
        size += statement.size;
      }
    });
  }
  const bytes = new Uint8Array(size);
  for (const { at, line, number, write } of statements) {
    inLine(number, line, () => bytes.set(write(new Scope(symbols, base + BigInt(at))), at));
  }
  return { bytes, symbols };
}

interface Piece {
  readonly size: number;
  readonly write: (scope: Scope) => Uint8Array;
}

interface Statement extends Piece {
  readonly at: number;
  readonly line: string;
  readonly number: number;
}

class LineError extends RangeError {}

function fail(message: string): never {
  throw new LineError(message);
}

function inLine(number: number, line: string, body: () => void): void {
  try {
    body();
  } catch (error) {
    if (!(error instanceof LineError)) throw error;
    throw new HostelryError("assembly", `line ${number}: ${error.message}: ${line.trim()}`);
  }
}

/** What a statement's expressions can name. */
class Scope {
  readonly pc: bigint;
  readonly #symbols: ReadonlyMap<string, bigint>;

  constructor(symbols: ReadonlyMap<string, bigint>, pc: bigint) {
    this.#symbols = symbols;
    this.pc = pc;
  }

  /** A sum of numbers, symbols, and `.` for the statement's own address. */
  evaluate(text: string): { readonly value: bigint; readonly isAddress: boolean } {
    const terms = text.replace(/\s+/g, "").match(/[+-]?[^+-]+/g);
    if (terms === null || terms.join("") !== text.replace(/\s+/g, "")) fail(`"${text}" is no expression`);
    let value = 0n;
    let isAddress = false;
    for (const term of terms) {
      const name = term.replace(/^[+-]/, "");
      const symbol = name === "." ? this.pc : this.#symbols.get(name);
      const number = symbol ?? parseNumber(name);
      if (number === undefined) fail(`${name} is not defined`);
      value += term.startsWith("-") ? -number : number;
      isAddress ||= symbol !== undefined;
    }
    return { value, isAddress };
  }

  value(text: string): bigint {
    return this.evaluate(text).value;
  }
}

function parseNumber(text: string): bigint | undefined {
  return /^(0x[0-9a-f]+|0b[01]+|[0-9]+)$/i.test(text) ? BigInt(text) : undefined;
}

const formsByName = new Map(forms.map((form) => [form.name, form]));

function expand(text: string, at: number): Piece[] {
  const [, name, rest] = /^(\S+)\s*(.*)$/.exec(text)!;
  const operands = rest === "" ? [] : rest!.split(",").map((operand) => operand.trim());
  if (name!.startsWith(".")) return [directive(name!, operands, at)];
  const macro = macros[`${name}/${operands.length}`];
  if (macro !== undefined) {
    return macro.flatMap((line) => expand(line.replace(/\$([1-9])/g, (_, i: string) => operands[Number(i) - 1]!), at));
  }
  if (name === "li") return loadImmediate(operands);
  const far = farSequences[name!];
  if (far !== undefined && operands.length > 0) return far(operands);
  return [instruction(name!, operands)];
}

const dataSizes: Record<string, number> = { ".byte": 1, ".half": 2, ".word": 4, ".dword": 8 };

function directive(name: string, operands: string[], at: number): Piece {
  const size = dataSizes[name];
  if (size !== undefined) {
    return {
      size: size * operands.length,
      write: (scope) => {
        const view = new DataView(new ArrayBuffer(8 * operands.length));
        operands.forEach((operand, i) => view.setBigUint64(i * size, BigInt.asUintN(64, scope.value(operand)), true));
        return new Uint8Array(view.buffer, 0, size * operands.length);
      },
    };
  }
  const amount = Number(parseNumber(operands[0] ?? "") ?? fail(`${name} needs a number`));
  if (name === ".zero") return { size: amount, write: () => new Uint8Array(amount) };
  if (name !== ".align") fail(`unknown directive ${name}`);
  const gap = -at & (2 ** amount - 1);
  return { size: gap, write: () => new Uint8Array(gap) };
}

/** By name and count of operands: the instructions that stand for it. */
const macros: Readonly<Record<string, readonly string[]>> = {
  "nop/0": ["addi zero, zero, 0"],
  "unimp/0": [".word 0xc0001073"],
  "mv/2": ["addi $1, $2, 0"],
  "not/2": ["xori $1, $2, -1"],
  "neg/2": ["sub $1, zero, $2"],
  "negw/2": ["subw $1, zero, $2"],
  "sext.w/2": ["addiw $1, $2, 0"],
  "zext.b/2": ["andi $1, $2, 255"],
  "zext.w/2": ["add.uw $1, $2, zero"],
  "seqz/2": ["sltiu $1, $2, 1"],
  "snez/2": ["sltu $1, zero, $2"],
  "sltz/2": ["slt $1, $2, zero"],
  "sgtz/2": ["slt $1, zero, $2"],
  "beqz/2": ["beq $1, zero, $2"],
  "bnez/2": ["bne $1, zero, $2"],
  "blez/2": ["bge zero, $1, $2"],
  "bgez/2": ["bge $1, zero, $2"],
  "bltz/2": ["blt $1, zero, $2"],
  "bgtz/2": ["blt zero, $1, $2"],
  "bgt/3": ["blt $2, $1, $3"],
  "ble/3": ["bge $2, $1, $3"],
  "bgtu/3": ["bltu $2, $1, $3"],
  "bleu/3": ["bgeu $2, $1, $3"],
  "j/1": ["jal zero, $1"],
  "jal/1": ["jal ra, $1"],
  "jr/1": ["jalr zero, 0($1)"],
  "jalr/1": ["jalr ra, 0($1)"],
  "ret/0": ["jalr zero, 0(ra)"],
  "csrr/2": ["csrrs $1, $2, zero"],
  "csrw/2": ["csrrw zero, $1, $2"],
  "csrs/2": ["csrrs zero, $1, $2"],
  "csrc/2": ["csrrc zero, $1, $2"],
  "csrwi/2": ["csrrwi zero, $1, $2"],
  "csrsi/2": ["csrrsi zero, $1, $2"],
  "csrci/2": ["csrrci zero, $1, $2"],
  "rdcycle/1": ["csrrs $1, cycle, zero"],
  "rdtime/1": ["csrrs $1, time, zero"],
  "rdinstret/1": ["csrrs $1, instret, zero"],
  "sfence.vma/0": ["sfence.vma zero, zero"],
  "sfence.vma/1": ["sfence.vma $1, zero"],
  "fmv.s/2": ["fsgnj.s $1, $2, $2"],
  "fmv.d/2": ["fsgnj.d $1, $2, $2"],
  "fneg.s/2": ["fsgnjn.s $1, $2, $2"],
  "fneg.d/2": ["fsgnjn.d $1, $2, $2"],
  "fabs.s/2": ["fsgnjx.s $1, $2, $2"],
  "fabs.d/2": ["fsgnjx.d $1, $2, $2"],
};

const signExtend12 = (value: bigint): bigint => BigInt.asIntN(12, value);

/** The shortest of the usual ways: ADDI; LUI and ADDIW; or the upper part, shifted, plus 12 bits at a time. */
function loadImmediate([rd, text]: string[]): Piece[] {
  const sign = text?.startsWith("-") ? -1n : 1n;
  const number = parseNumber((text ?? "").replace(/^-/, "")) ?? fail("li needs a register and a number");
  return constantSteps(BigInt.asIntN(64, sign * number)).map((step) => {
    const [name, ...operands] = step.replaceAll("$", rd!).split(/,? /);
    return instruction(name!, operands);
  });
}

function constantSteps(value: bigint): string[] {
  const low = signExtend12(value);
  if (value === low) return [`addi $, zero, ${low}`];
  if (value === BigInt.asIntN(32, value)) {
    const lui = `lui $, ${((value - low) >> 12n) & 0xfffffn}`;
    return low === 0n ? [lui] : [lui, `addiw $, $, ${low}`];
  }
  let upper = BigInt.asIntN(64, value - low) >> 12n;
  let shift = 12;
  while ((upper & 1n) === 0n) {
    upper >>= 1n;
    shift++;
  }
  const steps = [...constantSteps(upper), `slli $, $, ${shift}`];
  return low === 0n ? steps : [...steps, `addi $, $, ${low}`];
}

/** Two instructions that reach any address within 2 GiB: AUIPC and one that adds the rest. */
function far(first: string, second: string, label: string): Piece[] {
  const part = (scope: Scope, back: bigint): { upper: bigint; rest: bigint } => {
    const distance = BigInt.asIntN(64, scope.value(label) - (scope.pc - back));
    const rest = signExtend12(distance);
    if (distance !== BigInt.asIntN(32, distance)) fail(`${label} is too far away`);
    return { upper: ((distance - rest) >> 12n) & 0xfffffn, rest };
  };
  const piece = (text: string, back: bigint): Piece => ({
    size: 4,
    write: (scope) => {
      const { upper, rest } = part(scope, back);
      const [name, ...operands] = text.replace("%hi", `${upper}`).replace("%lo", `${rest}`).split(/,? /);
      return instruction(name!, operands).write(scope);
    },
  });
  return [piece(first, 0n), piece(second, 4n)];
}

const farSequences: Readonly<Record<string, (operands: string[]) => Piece[]>> = {
  la: ([rd, label]) => far(`auipc ${rd}, %hi`, `addi ${rd}, ${rd}, %lo`, label!),
  call: ([label]) => far("auipc ra, %hi", "jalr ra, %lo(ra)", label!),
  tail: ([label]) => far("auipc t1, %hi", "jalr zero, %lo(t1)", label!),
};

function instruction(written: string, operands: string[]): Piece {
  let form = formsByName.get(written);
  let order = 0;
  if (form === undefined) {
    const suffix = /\.(aq|rl|aqrl)$/.exec(written)?.[0] ?? fail(`unknown instruction ${written}`);
    form = formsByName.get(written.slice(0, -suffix.length));
    if (!form?.orders) fail(`unknown instruction ${written}`);
    order = orderSuffixes.indexOf(suffix as (typeof orderSuffixes)[number]);
  }
  const { encoding } = form;
  return {
    size: encoding.length,
    write: (scope) => {
      const word = (encodeForm(form, operands, scope) | (order << 25)) >>> 0;
      const bytes = new Uint8Array(encoding.length);
      for (let i = 0; i < bytes.length; i++) bytes[i] = word >>> (8 * i);
      return bytes;
    },
  };
}

function encodeForm(form: Form, operands: string[], scope: Scope): number {
  const values: OperandValues = {};
  const extra = operands.slice(form.operands.length);
  if (operands.length < form.operands.length) fail(`${form.name} takes ${form.operands.join(", ")}`);
  form.operands.forEach((pattern, i) => readOperand(form, pattern, operands[i]!, scope, values));
  let word = 0;
  if (form.name === "fence") {
    const [before = fenceSet, after = fenceSet] = extra.splice(0);
    word |= (fenceBits(before) << 24) | (fenceBits(after) << 20);
  }
  if (form.rounds) {
    const mode = roundingModeNames.indexOf(extra.shift() ?? "dyn");
    if (mode < 0) fail("unknown rounding mode");
    values.imm = mode;
  }
  if (extra.length > 0) fail(`${form.name} takes ${form.operands.join(", ") || "no operands"}`);
  return (word | encode(form.encoding, values)) >>> 0;
}

function fenceBits(text: string): number {
  if (!/^(i?o?r?w?|0)$/.test(text)) fail(`"${text}" is no set of accesses`);
  return [...fenceSet].reduce((bits, letter, i) => bits | (text.includes(letter) ? 8 >> i : 0), 0);
}

export type OperandValues = Partial<Record<RegisterOperand | "imm", number>>;

/** An instruction word from its operands: the inverse of decoding. Where two operands share a field, one will do. RangeError if one doesn't fit. */
export function encode(encoding: Encoding, values: OperandValues): number {
  let word = encoding.match;
  for (const field of encoding.registers) {
    const shared = encoding.registers.find(({ operand, low }) => low === field.low && values[operand] !== undefined);
    const register = values[field.operand] ?? (shared && values[shared.operand]) ?? 0;
    word |= (field.compressed ? register - 8 : register) << field.low;
    if (registerOf(field, word) !== register) fail(`x${register} can't be the ${field.operand} of this instruction`);
  }
  const imm = values.imm ?? 0;
  for (const { low, width, shift } of encoding.immediate) word |= ((imm >>> shift) & (2 ** width - 1)) << low;
  if (immediateOf(encoding, word) !== imm) fail(`${imm} doesn't fit into the immediate`);
  return word >>> 0;
}

function readOperand(form: Form, pattern: string, text: string, scope: Scope, values: OperandValues): void {
  const memory = /^(imm)?\((.+)\)$/.exec(pattern);
  if (memory) {
    const parts = /^(.*)\((.+)\)$/.exec(text) ?? fail(`"${text}" should look like ${pattern}`);
    if (memory[1]) values.imm = Number(scope.value(parts[1]!.trim() || "0"));
    else if (parts[1]!.trim() !== "" && scope.value(parts[1]!) !== 0n) fail("there is no room for an offset");
    readOperand(form, memory[2]!, parts[2]!.trim(), scope, values);
    return;
  }
  if (pattern === "csr") {
    values.imm = (values.imm ?? 0) | (csrNumbers.get(text) ?? customCsrNumbers.get(text) ?? Number(scope.value(text)));
  } else if (pattern === "zimm") {
    values.imm = (values.imm ?? 0) | (Number(scope.value(text)) << immediateParts.zimm.shift);
  } else if (pattern.endsWith("imm")) {
    values.imm = immediate(form, text, scope);
  } else {
    const isFloat = pattern.startsWith("f");
    const number = (isFloat ? floatRegisterNumbers : integerRegisterNumbers).get(text);
    if (number === undefined) fail(`${text} is no ${isFloat ? "floating-point " : ""}register`);
    if (pattern === "sp") {
      if (number !== integerRegisterNumbers.get("sp")) fail("this must be sp");
      return;
    }
    const operand = pattern.slice(isFloat ? 1 : 0) as RegisterOperand;
    values[operand] = number;
  }
}

function immediate(form: Form, text: string, scope: Scope): number {
  const { value, isAddress } = scope.evaluate(text);
  if (isTarget(form) && isAddress) return Number(BigInt.asIntN(64, value - scope.pc));
  if (writesUpper(form.name)) {
    if (value < -0x80000n || value > 0xfffffn) fail(`${text} doesn't fit into 20 bits`);
    return Number(value << 12n) | 0;
  }
  return Number(value);
}
