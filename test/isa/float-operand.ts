/** Operands for floating-point registers: corner cases and random ones, singles mostly boxed. */
import { cornerCases } from "../floating-point/cases.ts";
import type { Random } from "../kit/random.ts";

const boxed = 0xffffffff00000000n;

export function floatOperand(isSingle: boolean, random: Random): bigint {
  if (!isSingle) return random.oneIn(2) ? random.pick(cornerCases.F64) : around1(52n, 1023n, random);
  const bits = random.oneIn(2) ? random.pick(cornerCases.F32) : around1(23n, 127n, random);
  // A register that holds no boxed single reads as NaN.
  return random.oneIn(12) ? (random.u64() & boxed) | bits : boxed | bits;
}

function around1(fractionBits: bigint, bias: bigint, random: Random): bigint {
  const exponent = bias + BigInt(random.below(80) - 40);
  const sign = random.oneIn(2) ? (2n * bias + 2n) << fractionBits : 0n;
  return sign | (exponent << fractionBits) | BigInt.asUintN(Number(fractionBits), random.u64());
}
