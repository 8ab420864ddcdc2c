/** Operands that find faults: corner cases in all combinations, and random ones shaped to meet near the edges. */
import type { Random } from "../kit/random.ts";
import { CASE_BYTES, type Operation, type OperandKind } from "./operations.ts";

interface Shape {
  readonly width: number;
  readonly fractionBits: number;
  readonly bias: number;
}

const shapes = {
  F32: { width: 32, fractionBits: 23, bias: 127 },
  F64: { width: 64, fractionBits: 52, bias: 1023 },
};

/** Positive corner cases of a format, as bits. */
function corners({ width, fractionBits, bias }: Shape): bigint[] {
  const one = 1n << BigInt(fractionBits);
  const number = (exponent: number, fraction = 0n) => (BigInt(exponent + bias) << BigInt(fractionBits)) + fraction;
  const infinity = ((1n << BigInt(width - 1)) - 1n) ^ (one - 1n);
  return [
    0n, // zero
    1n, // least subnormal
    2n,
    one / 2n, // a subnormal power of two
    one - 1n, // greatest subnormal
    one, // least normal
    one + 1n,
    2n * one - 1n, // greatest of exponent field 1
    2n * one,
    infinity - 1n, // greatest finite
    infinity - 2n,
    infinity - one, // greatest power of two
    infinity,
    infinity + 1n, // signaling NaN
    infinity + one / 2n - 1n, // signaling NaN
    infinity + one / 2n, // canonical NaN
    infinity + one - 1n, // quiet NaN
    number(0), // 1 and its neighbours
    number(0, 1n),
    number(-1, one - 1n),
    number(-1), // halves and their neighbours
    number(-1, 1n),
    number(-2, one - 1n),
    number(0, one / 2n),
    number(1, one / 4n), // 2.5
    number(fractionBits), // where spacing is 1, and 1/2
    number(fractionBits, 1n),
    number(fractionBits - 1, 1n),
    number(fractionBits + 1),
    number(-fractionBits - 1), // half an ulp of 1
    number(-fractionBits - 1, 1n),
    number(-fractionBits - 2, one - 1n),
    number(-(bias >> 1)), // products of these meet the edges of the range
    number(-(bias >> 1) - 1, one - 1n),
    number(bias >> 1, one - 1n),
    number((bias >> 1) + 1),
    number(31), // ends of the integer types
    number(31, -1n),
    number(32),
    number(32, -1n),
    number(30, one - one / 1024n),
    number(63),
    number(63, -1n),
    number(64),
    number(64, -1n),
  ];
}

const integerCorners: bigint[] = [0n, 1n, 2n, 3n, 5n]
  .concat([23n, 24n, 25n, 31n, 32n, 52n, 53n, 54n, 62n, 63n].flatMap((n) => [-2n, -1n, 0n, 1n, 2n].map((d) => (1n << n) + d)))
  .concat([(1n << 63n) - 512n, (1n << 63n) - 513n, (1n << 64n) - 1024n, (1n << 64n) - 1025n, (3n << 24n) + 1n, (3n << 53n) + 3n]);

const withSigns = (bits: readonly bigint[], width: number) => bits.concat(bits.map((x) => x | (1n << BigInt(width - 1))));

export const cornerCases: Readonly<Record<OperandKind, readonly bigint[]>> = {
  F32: withSigns(corners(shapes.F32), 32),
  F64: withSigns(corners(shapes.F64), 64),
  integer: integerCorners.concat(integerCorners.map((x) => BigInt.asUintN(64, -x))),
};

/** Three operands in all combinations are many: these have to do. */
function fewCorners(kind: OperandKind): readonly bigint[] {
  return cornerCases[kind].filter((_, i) => i % 3 === 0 || i === 12 || i === 15);
}

/** Cases of one operation, in the layout of operations.ts. */
export class CaseWriter {
  readonly bytes: Uint8Array;
  readonly #view: DataView;
  #count = 0;

  constructor(capacity: number) {
    this.bytes = new Uint8Array(capacity * CASE_BYTES);
    this.#view = new DataView(this.bytes.buffer);
  }

  /** Writes a case for each rounding mode that makes a difference. */
  write({ number, rounds }: Operation, bits: readonly bigint[], modes: readonly number[] = [0, 1, 2, 3, 4]): void {
    for (const rm of rounds ? modes : [0]) {
      const at = this.#count++ * CASE_BYTES;
      this.bytes[at] = number;
      this.bytes[at + 1] = rm;
      bits.forEach((x, i) => this.#view.setBigUint64(at + 8 + 8 * i, x, true));
    }
  }

  finish(): Uint8Array {
    return this.bytes.subarray(0, this.#count * CASE_BYTES);
  }
}

export function cornerCasesOf(operation: Operation): Uint8Array {
  const { arity, operand } = operation;
  const list = arity === 3 ? fewCorners(operand) : cornerCases[operand];
  const writer = new CaseWriter(list.length ** arity * 5);
  for (const a of list) {
    if (arity === 1) writer.write(operation, [a]);
    else
      for (const b of list) {
        if (arity === 2) writer.write(operation, [a, b]);
        else for (const c of list) writer.write(operation, [a, b, c]);
      }
  }
  return writer.finish();
}

export function randomCasesOf(operation: Operation, count: number, random: Random): Uint8Array {
  const writer = new CaseWriter(count);
  for (let i = 0; i < count; i++) {
    const bits: bigint[] = [];
    for (let j = 0; j < operation.arity; j++) bits.push(randomOperand(operation.operand, random, bits.at(-1)));
    relate(operation, bits, random);
    writer.write(operation, bits, [random.below(3) === 0 ? 0 : random.below(5)]);
  }
  return writer.finish();
}

function randomOperand(kind: OperandKind, random: Random, previous: bigint | undefined): bigint {
  if (random.below(12) === 0) return random.pick(cornerCases[kind]);
  if (kind === "integer") return BigInt.asUintN(64, BigInt.asIntN(64, runs(random)) >> BigInt(random.below(64)));
  const { width, fractionBits, bias } = shapes[kind];
  const bits = random.below(2) === 0 ? uniform(random) : runs(random);
  const fraction = BigInt.asUintN(fractionBits, bits >> BigInt(random.below(8)));
  const fields = 2 * bias + 2;
  let field: number;
  switch (random.below(5)) {
    case 0: // anywhere
      field = random.below(fields);
      break;
    case 1: // at an end of the range, or where a product of two gets there
      field = random.pick([0, 0, 1, 2, fields - 2, fields - 3, bias >> 1, (bias >> 1) + 1, bias + (bias >> 1)]);
      break;
    case 2: // close to the operand before, so that sums cancel and shift by a few bits
      field = previous === undefined ? bias : Number((previous >> BigInt(fractionBits)) & BigInt(fields - 1));
      field += random.below(2) === 0 ? random.below(5) - 2 : random.below(2 * fractionBits + 8) - fractionBits - 4;
      break;
    default: // around 1
      field = bias + random.below(2 * fractionBits) - fractionBits;
  }
  field = Math.min(Math.max(field, 0), fields - 1);
  return (BigInt(random.below(2)) << BigInt(width - 1)) | (BigInt(field) << BigInt(fractionBits)) | fraction;
}

function uniform(random: Random): bigint {
  return (BigInt(random.u32()) << 32n) | BigInt(random.u32());
}

/** Bits in a few runs of ones and zeros: short significands, long carries, halfway cases. */
function runs(random: Random): bigint {
  let bits = 0n;
  for (let i = random.below(4); i >= 0; i--) {
    const length = BigInt(1 + random.below(random.below(2) === 0 ? 3 : 63));
    bits ^= ((1n << length) - 1n) << BigInt(random.below(64));
  }
  return BigInt.asUintN(64, bits);
}

/**
 * Now and then makes one operand almost the one that would make the result exact: a dividend that is a product, a radicand that
 * is a square, an addend that cancels the product.
 */
function relate({ name, operand }: Operation, bits: bigint[], random: Random): void {
  if (operand === "integer" || random.below(4) !== 0) return;
  const { toNumber, toBits } = operand === "F32" ? single : double;
  const [a, b] = [toNumber(bits[0]!), toNumber(bits[1] ?? 0n)];
  const nudge = BigInt(random.below(3) === 0 ? random.below(5) - 2 : 0);
  const nudged = (value: number) => BigInt.asUintN(operand === "F32" ? 32 : 64, toBits(value) + nudge);
  if (name.startsWith("div")) bits[0] = nudged(a * b);
  else if (name.startsWith("sqrt")) bits[0] = nudged(a * a);
  else if (name.startsWith("fma")) bits[2] = nudged(-(a * b));
  else if (name.startsWith("add")) bits[1] = nudged(-a);
  else if (bits.length === 2) bits[1] = nudged(a);
}

const scratch = new DataView(new ArrayBuffer(8));

export const single = {
  toNumber: (bits: bigint) => (scratch.setUint32(0, Number(bits)), scratch.getFloat32(0)),
  toBits: (value: number) => (scratch.setFloat32(0, value), BigInt(scratch.getUint32(0))),
};

export const double = {
  toNumber: (bits: bigint) => (scratch.setBigUint64(0, bits), scratch.getFloat64(0)),
  toBits: (value: number) => (scratch.setFloat64(0, value), scratch.getBigUint64(0)),
};

