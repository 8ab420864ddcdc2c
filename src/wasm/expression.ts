/**
 * Expressions: trees of WebAssembly instructions that yield one value. Building a tree costs a few small objects; nothing is
 * emitted until a statement of a FunctionBuilder takes it. A tree used twice is computed twice: keep shared values in a local.
 */
import { assert } from "#base/assert.ts";
import type { ByteWriter } from "./writer.ts";

export type ValueType = "i32" | "i64" | "f32" | "f64" | "v128";

export const valueTypeCode: Record<ValueType, number> = { i32: 0x7f, i64: 0x7e, f32: 0x7d, f64: 0x7c, v128: 0x7b };

/** A function that can be called: its index in the module's index space and its signature. */
export interface FunctionReference {
  readonly index: number;
  readonly parameters: readonly ValueType[];
  readonly results: readonly ValueType[];
}

export class Expr {
  readonly kind: number;
  readonly type: ValueType;
  readonly opcode: number;
  readonly operands: readonly Expr[];
  /** Constant, local index, memory offset or function index, by kind. */
  readonly immediate: number | bigint;

  constructor(kind: number, type: ValueType, opcode: number, operands: readonly Expr[], immediate: number | bigint) {
    this.kind = kind;
    this.type = type;
    this.opcode = opcode;
    this.operands = operands;
    this.immediate = immediate;
  }

  emit(out: ByteWriter): void {
    switch (this.kind) {
      case CONSTANT:
        out.byte(this.opcode);
        if (this.type === "i32") out.s32(this.immediate as number);
        else if (this.type === "i64") out.s64(this.immediate);
        else out.f64(this.immediate as number);
        return;
      case INDEXED: // local.get, global.get, local.tee, call
        for (const operand of this.operands) operand.emit(out);
        out.byte(this.opcode);
        out.u32(this.immediate as number);
        return;
      case NUMERIC:
        for (const operand of this.operands) operand.emit(out);
        opcode(out, this.opcode);
        return;
      case MEMORY:
        for (const operand of this.operands) operand.emit(out);
        opcode(out, this.opcode);
        out.u32(naturalAlignment(this.opcode));
        out.u32(this.immediate as number);
        return;
      case CONDITIONAL: {
        const [condition, yes, no] = this.operands;
        condition!.emit(out);
        out.byte(0x04);
        out.byte(valueTypeCode[this.type]);
        yes!.emit(out);
        out.byte(0x05);
        no!.emit(out);
        out.byte(0x0b);
        return;
      }
      case LANE: // extract_lane
        this.operands[0]!.emit(out);
        opcode(out, this.opcode);
        out.byte(this.immediate as number);
        return;
    }
  }

  get isConstant(): boolean {
    return this.kind === CONSTANT;
  }
}

const CONSTANT = 0;
const INDEXED = 1;
const NUMERIC = 2;
const MEMORY = 3;
const CONDITIONAL = 4;
const LANE = 5;

/** Opcodes above one byte are written as prefix·2^16 + number: 0xfc0006 is `i64.trunc_sat_f64_s`. */
export function opcode(out: ByteWriter, code: number): void {
  if (code < 0x100) return out.byte(code);
  out.byte(code >>> 16);
  out.u32(code & 0xffff);
}

/** log2 of the access size. Atomic instructions must state it exactly; for plain ones it is a hint, so that we promise nothing. */
function naturalAlignment(code: number): number {
  if (code < 0x100) return 0;
  const number = code & 0xffff;
  if (number === 0x01) return 2; // memory.atomic.wait32 and notify
  return atomicAlignment[(number - 0x10) % 7]!;
}

/** In each group of seven: i32, i64, i32.8, i32.16, i64.8, i64.16, i64.32. */
const atomicAlignment = [2, 3, 0, 1, 0, 1, 2];

/** Where an expression is wanted a number will do: it becomes a constant of the wanted type. */
export type Operand = Expr | number | bigint;

export function toExpr(type: ValueType, operand: Operand): Expr {
  if (operand instanceof Expr) {
    assert(operand.type === type, "operand has the wrong type", { wanted: type, given: operand.type });
    return operand;
  }
  switch (type) {
    case "i32":
      return new Expr(CONSTANT, "i32", 0x41, none, Number(operand));
    case "i64":
      return new Expr(CONSTANT, "i64", 0x42, none, operand);
    default:
      assert(type === "f64", "no constants of this type", { type });
      return new Expr(CONSTANT, "f64", 0x44, none, Number(operand));
  }
}

const none: readonly Expr[] = [];

export function localGet(type: ValueType, index: number): Expr {
  return new Expr(INDEXED, type, 0x20, none, index);
}

export function localTee(type: ValueType, index: number, value: Operand): Expr {
  return new Expr(INDEXED, type, 0x22, [toExpr(type, value)], index);
}

export function globalGet(type: ValueType, index: number): Expr {
  return new Expr(INDEXED, type, 0x23, none, index);
}

export function call(target: FunctionReference, ...operands: Operand[]): Expr {
  assert(target.results.length === 1, "a call used as a value returns one result", { results: target.results.length });
  return new Expr(INDEXED, target.results[0]!, 0x10, callArguments(target, operands), target.index);
}

export function callArguments(target: FunctionReference, operands: readonly Operand[]): Expr[] {
  assert(operands.length === target.parameters.length, "wrong number of arguments", {
    given: operands.length,
    wanted: target.parameters.length,
  });
  return operands.map((operand, i) => toExpr(target.parameters[i]!, operand));
}

/** Evaluates both sides. */
export function select(condition: Operand, yes: Expr, no: Operand): Expr {
  return new Expr(NUMERIC, yes.type, 0x1b, [yes, toExpr(yes.type, no), toExpr("i32", condition)], 0);
}

/** Evaluates one side only. */
export function conditional(condition: Operand, yes: Expr, no: Operand): Expr {
  return new Expr(CONDITIONAL, yes.type, 0, [toExpr("i32", condition), yes, toExpr(yes.type, no)], 0);
}

function unary(type: ValueType, from: ValueType, code: number): (a: Operand) => Expr {
  return (a) => new Expr(NUMERIC, type, code, [toExpr(from, a)], 0);
}

function binary(type: ValueType, from: ValueType, code: number): (a: Operand, b: Operand) => Expr {
  return (a, b) => new Expr(NUMERIC, type, code, [toExpr(from, a), toExpr(from, b)], 0);
}

function load(type: ValueType, code: number): (address: Operand, offset?: number) => Expr {
  return (address, offset = 0) => new Expr(MEMORY, type, code, [toExpr("i32", address)], offset);
}

function atomicBinary(type: ValueType, code: number): (address: Operand, value: Operand, offset?: number) => Expr {
  return (address, value, offset = 0) =>
    new Expr(MEMORY, type, code, [toExpr("i32", address), toExpr(type, value)], offset);
}

function atomicCompare(type: ValueType, code: number): (address: Operand, expected: Operand, value: Operand) => Expr {
  return (address, expected, value) =>
    new Expr(MEMORY, type, code, [toExpr("i32", address), toExpr(type, expected), toExpr(type, value)], 0);
}

/** The instructions of one integer type that i32 and i64 have alike, from the first opcodes of their ranges. */
function integer(type: "i32" | "i64", comparisons: number, arithmetic: number, atomics: number) {
  const compare = (i: number) => binary("i32", type, comparisons + i);
  const operate = (i: number) => binary(type, type, arithmetic + i);
  return {
    const: (value: number | bigint) => toExpr(type, value),
    eqz: unary("i32", type, comparisons),
    eq: compare(1),
    ne: compare(2),
    ltS: compare(3),
    ltU: compare(4),
    gtS: compare(5),
    gtU: compare(6),
    leS: compare(7),
    leU: compare(8),
    geS: compare(9),
    geU: compare(10),
    clz: unary(type, type, arithmetic),
    ctz: unary(type, type, arithmetic + 1),
    popcnt: unary(type, type, arithmetic + 2),
    add: operate(3),
    sub: operate(4),
    mul: operate(5),
    divS: operate(6),
    divU: operate(7),
    remS: operate(8),
    remU: operate(9),
    and: operate(10),
    or: operate(11),
    xor: operate(12),
    shl: operate(13),
    shrS: operate(14),
    shrU: operate(15),
    rotl: operate(16),
    rotr: operate(17),
    atomicLoad: load(type, atomics),
    atomicAdd: atomicBinary(type, atomics + 14),
    atomicAnd: atomicBinary(type, atomics + 28),
    atomicOr: atomicBinary(type, atomics + 35),
    atomicXor: atomicBinary(type, atomics + 42),
    atomicExchange: atomicBinary(type, atomics + 49),
    atomicCompareExchange: atomicCompare(type, atomics + 56),
  };
}

function float(type: "f32" | "f64", comparisons: number, arithmetic: number) {
  const compare = (i: number) => binary("i32", type, comparisons + i);
  const operate = (i: number) => binary(type, type, arithmetic + i);
  return {
    eq: compare(0),
    ne: compare(1),
    lt: compare(2),
    gt: compare(3),
    le: compare(4),
    ge: compare(5),
    abs: unary(type, type, arithmetic),
    neg: unary(type, type, arithmetic + 1),
    ceil: unary(type, type, arithmetic + 2),
    floor: unary(type, type, arithmetic + 3),
    trunc: unary(type, type, arithmetic + 4),
    nearest: unary(type, type, arithmetic + 5),
    sqrt: unary(type, type, arithmetic + 6),
    add: operate(7),
    sub: operate(8),
    mul: operate(9),
    div: operate(10),
    min: operate(11),
    max: operate(12),
    copysign: operate(13),
  };
}

export const i32 = {
  ...integer("i32", 0x45, 0x67, 0xfe0010),
  load: load("i32", 0x28),
  load8S: load("i32", 0x2c),
  load8U: load("i32", 0x2d),
  load16S: load("i32", 0x2e),
  load16U: load("i32", 0x2f),
  wrap: unary("i32", "i64", 0xa7),
  extend8S: unary("i32", "i32", 0xc0),
  extend16S: unary("i32", "i32", 0xc1),
  reinterpretF32: unary("i32", "f32", 0xbc),
  truncSatF32S: unary("i32", "f32", 0xfc0000),
  truncSatF32U: unary("i32", "f32", 0xfc0001),
  truncSatF64S: unary("i32", "f64", 0xfc0002),
  truncSatF64U: unary("i32", "f64", 0xfc0003),
};

export const i64 = {
  ...integer("i64", 0x50, 0x79, 0xfe0011),
  load: load("i64", 0x29),
  load8S: load("i64", 0x30),
  load8U: load("i64", 0x31),
  load16S: load("i64", 0x32),
  load16U: load("i64", 0x33),
  load32S: load("i64", 0x34),
  load32U: load("i64", 0x35),
  extend8S: unary("i64", "i64", 0xc2),
  extend16S: unary("i64", "i64", 0xc3),
  extend32S: unary("i64", "i64", 0xc4),
  extendI32S: unary("i64", "i32", 0xac),
  extendI32U: unary("i64", "i32", 0xad),
  reinterpretF64: unary("i64", "f64", 0xbd),
  truncSatF32S: unary("i64", "f32", 0xfc0004),
  truncSatF32U: unary("i64", "f32", 0xfc0005),
  truncSatF64S: unary("i64", "f64", 0xfc0006),
  truncSatF64U: unary("i64", "f64", 0xfc0007),
};

export const f32 = {
  ...float("f32", 0x5b, 0x8b),
  load: load("f32", 0x2a),
  reinterpretI32: unary("f32", "i32", 0xbe),
  demoteF64: unary("f32", "f64", 0xb6),
  convertI32S: unary("f32", "i32", 0xb2),
  convertI32U: unary("f32", "i32", 0xb3),
  convertI64S: unary("f32", "i64", 0xb4),
  convertI64U: unary("f32", "i64", 0xb5),
};

export const f64 = {
  ...float("f64", 0x61, 0x99),
  const: (value: number) => toExpr("f64", value),
  load: load("f64", 0x2b),
  reinterpretI64: unary("f64", "i64", 0xbf),
  promoteF32: unary("f64", "f32", 0xbb),
  convertI32S: unary("f64", "i32", 0xb7),
  convertI32U: unary("f64", "i32", 0xb8),
  convertI64S: unary("f64", "i64", 0xb9),
  convertI64U: unary("f64", "i64", 0xba),
};

/** a·b + c in one rounding where the host fuses relaxed SIMD's `madd`: probe before use. */
export function fusedMultiplyAdd(type: "f32" | "f64", a: Operand, b: Operand, c: Operand): Expr {
  const splat = type === "f64" ? 0xfd0014 : 0xfd0013;
  const lanes = [a, b, c].map((x) => new Expr(NUMERIC, "v128", splat, [toExpr(type, x)], 0));
  const sum = new Expr(NUMERIC, "v128", type === "f64" ? 0xfd0107 : 0xfd0105, lanes, 0);
  return new Expr(LANE, type, type === "f64" ? 0xfd0021 : 0xfd001f, [sum], 0);
}
