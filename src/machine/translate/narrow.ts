/**
 * Most values of a program are 32 bits wide, sign-extended. Kept as i32, they need no extension before they are stored or die, bit operations and
 * comparisons of two of them are done in 32 bits, and the host's compiler recognizes idioms (rotations) that it can't see through extensions.
 */
import { Expr, i32 } from "#wasm/expression.ts";

const opcode = { extendS: 0xac, extendU: 0xad, add: 0x7c } as const;

/** i64 opcodes of comparisons (eqz to ge_u) and bit operations (and, or, xor); the i32 ones are a fixed distance below. */
const comparisons = { first: 0x50, last: 0x5a, distance: 0x0b };
const bitOperations = { first: 0x83, last: 0x85, distance: 0x12 };
/** i32 comparisons give 0 or 1. */
const wordComparisons = { first: 0x45, last: 0x4f };

/** The i32 of which an i64 expression is the sign extension, if it is one. */
export function asWord(expr: Expr): Expr | undefined {
  const { opcode: code, operands } = expr;
  if (expr.isConstant) {
    const value = Number(expr.immediate);
    return value === (value | 0) ? i32.const(value) : undefined;
  }
  if (code === opcode.extendS) return operands[0];
  if (code === opcode.extendU) {
    const inner = operands[0]!.opcode;
    const isFlag =
      (inner >= wordComparisons.first && inner <= wordComparisons.last) || (inner >= comparisons.first && inner <= 0x66);
    return isFlag ? narrowCondition(operands[0]!) : undefined;
  }
  if (code >= bitOperations.first && code <= bitOperations.last) {
    const [a, b] = [asWord(operands[0]!), asWord(operands[1]!)];
    if (a !== undefined && b !== undefined) return new Expr(expr.kind, "i32", code - bitOperations.distance, [a, b], 0);
  }
  // A move is an addition of zero.
  if (code === opcode.add) {
    if (isZero(operands[1]!)) return asWord(operands[0]!);
    if (isZero(operands[0]!)) return asWord(operands[1]!);
  }
  return undefined;
}

function isZero(expr: Expr): boolean {
  return expr.isConstant && Number(expr.immediate) === 0;
}

/** A condition on two sign-extended words as one on the words: extension keeps signed and unsigned order. */
export function narrowCondition(condition: Expr): Expr {
  const { opcode: code, operands } = condition;
  if (code < comparisons.first || code > comparisons.last) return condition;
  const words = operands.map(asWord);
  if (words.some((word) => word === undefined)) return condition;
  return new Expr(condition.kind, "i32", code - comparisons.distance, words as Expr[], 0);
}

