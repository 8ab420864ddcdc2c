/** Against the host's own arithmetic where it can tell, by properties where it can't, and by tables of the manual's corner cases. */
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { ModuleBuilder } from "#wasm/module.ts";
import { DZ, NV, NX, OF, RDN, RMM, RNE, RTZ, RUP, UF } from "./environment.ts";
import { defineFloatingPoint, type FloatingPointName } from "./floating-point.ts";
import { probeFusedMultiplyAdd } from "./fused-multiply-add.ts";

declare const WebAssembly: {
  Memory: new (limits: { initial: number; maximum: number; shared: boolean }) => { readonly buffer: SharedArrayBuffer };
  Module: new (bytes: Uint8Array<ArrayBuffer>) => object;
  Instance: new (module: object, imports: object) => { readonly exports: Record<string, unknown> };
};

const STATE = 32;
const FFLAGS_OFFSET = 12;

type Bits = number | bigint;
/** Bits as unsigned: an i32 as a number, an i64 as a bigint. */
type Run = (name: FloatingPointName, ...operands: Bits[]) => { bits: Bits; fflags: number };

function instantiate(fusedMultiplyAdd: boolean): Run {
  const module = new ModuleBuilder();
  module.importMemory("host", "memory", { initial: 1, maximum: 1 });
  const functions = defineFloatingPoint(module, { fflagsOffset: FFLAGS_OFFSET, fusedMultiplyAdd });
  for (const [name, target] of Object.entries(functions)) module.export(name, target);
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true });
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(module.encode()), { host: { memory } });
  const fflags = new Uint32Array(memory.buffer, STATE + FFLAGS_OFFSET, 1);
  return (name, ...operands) => {
    fflags[0] = 0;
    const result = (exports[name] as (...operands: Bits[]) => Bits)(...operands);
    const bits = typeof result === "bigint" ? BigInt.asUintN(64, result) : result >>> 0;
    return { bits, fflags: fflags[0]! };
  };
}

const run = instantiate(false);

const view = new DataView(new ArrayBuffer(8));
const f64 = (value: number): bigint => (view.setFloat64(0, value), view.getBigUint64(0));
const f32 = (value: number): number => (view.setFloat32(0, value), view.getUint32(0));
const fromF64 = (bits: Bits): number => (view.setBigUint64(0, BigInt(bits)), view.getFloat64(0));

const NAN64 = 0x7ff8000000000000n;
const NAN32 = 0x7fc00000;
const SIGNALING64 = 0x7ff0000000000001n;
const SIGNALING32 = 0x7f800001;
const MAX = Number.MAX_VALUE;
const LEAST = Number.MIN_VALUE;
const LEAST_NORMAL = 2 ** -1022;

/** The same numbers each time (a linear congruential generator), many of them with short significands or close together. */
function numbers(count: number): number[] {
  let state = 12345n;
  const next = () => (state = BigInt.asUintN(64, state * 6364136223846793005n + 1442695040888963407n)) >> 32n;
  const special = [0, -0, 1, -1, Infinity, -Infinity, NaN, MAX, LEAST, LEAST_NORMAL, -LEAST_NORMAL * 1.5, 0.1];
  return Array.from({ length: count }, (_, i) => {
    if (i % 7 === 0) return special[Number(next()) % special.length]!;
    const significand = ((next() << 32n) | next()) & ((1n << 52n) - 1n);
    const cleared = i % 3 === 0 ? (significand >> 44n) << 44n : significand;
    const exponent = i % 5 === 0 ? next() % 2047n : 1023n - 30n + (next() % 60n);
    return fromF64(((next() & 1n) << 63n) | (exponent << 52n) | cleared);
  });
}

const binary: Record<"add" | "sub" | "mul" | "div", (a: number, b: number) => number> = {
  add: (a, b) => a + b,
  sub: (a, b) => a - b,
  mul: (a, b) => a * b,
  div: (a, b) => a / b,
};
const names = Object.keys(binary) as (keyof typeof binary)[];

/** A NaN result is canonical whatever the host's NaN looks like. */
const expected64 = (value: number) => (Number.isNaN(value) ? NAN64 : f64(value));
const expected32 = (value: number) => (Number.isNaN(value) ? NAN32 : f32(value));

suite("round to nearest, ties to even, as the host does", () => {
  const values = numbers(20_000);
  for (const name of names) {
    test(name, () => {
      for (let i = 1; i < values.length; i++) {
        const [a, b] = [values[i]!, values[i - 1]!];
        assert.equal(run(`${name}F64`, STATE, RNE, f64(a), f64(b)).bits, expected64(binary[name](a, b)), `${a} ${b}`);
        const [x, y] = [Math.fround(a), Math.fround(b)];
        const rounded = expected32(Math.fround(binary[name](x, y)));
        assert.equal(run(`${name}F32`, STATE, RNE, f32(x), f32(y)).bits, rounded, `${x} ${y}`);
      }
    });
  }

  test("sqrt and conversions", () => {
    for (const a of values) {
      assert.equal(run("sqrtF64", STATE, RNE, f64(a)).bits, expected64(Math.sqrt(a)), `${a}`);
      const x = Math.fround(a);
      assert.equal(run("sqrtF32", STATE, RNE, f32(x)).bits, expected32(Math.fround(Math.sqrt(x))), `${x}`);
      assert.equal(run("f64ToF32", STATE, RNE, f64(a)).bits, expected32(x));
      assert.equal(run("f32ToF64", STATE, f32(x)).bits, expected64(x));
    }
  });
});

suite("in the other modes", () => {
  const values = numbers(6_000).filter(Number.isFinite);
  for (const name of [...names, "sqrt", "fma"] as const) {
    test(`${name}: down, nearest and up are in order, equal if and only if exact, and neighbours otherwise`, () => {
      for (let i = 2; i < values.length; i++) {
        const arity = name === "sqrt" ? 1 : name === "fma" ? 3 : 2;
        const operands = values.slice(i - arity + 1, i + 1).map(f64);
        const inMode = (rm: number) => run(`${name}F64`, STATE, rm, ...operands);
        const [down, up, nearest, zero, away] = [RDN, RUP, RNE, RTZ, RMM].map(inMode) as ReturnType<typeof inMode>[];
        if (down!.fflags & (NV | DZ)) continue;
        const [low, high] = [fromF64(down!.bits), fromF64(up!.bits)];
        const context = `${operands.map(fromF64).join(" ")}: ${low} to ${high}`;
        assert.equal(fromF64(zero!.bits), low > 0 || (low === 0 && high > 0) ? low : high, context);
        for (const { bits } of [nearest!, away!]) assert.ok(fromF64(bits) === low || fromF64(bits) === high, context);
        const isInexact = (down!.fflags & NX) !== 0;
        assert.equal(low < high, isInexact, context);
        if (isInexact) assert.equal(order(up!.bits) - order(down!.bits), 1n, context);
        assert.equal(nearest!.fflags & NX, down!.fflags & NX, context);
      }
    });
  }
});

/** Numbers their bits in the order of their values; −0 and +0 share a number. */
function order(bits: Bits): bigint {
  const magnitude = BigInt(bits) & 0x7fffffffffffffffn;
  return magnitude === BigInt(bits) ? magnitude : -magnitude;
}

suite("exceptions", () => {
  const cases: [what: string, FloatingPointName, operands: Bits[], bits: Bits, fflags: number][] = [
    ["∞ − ∞", "addF64", [RNE, f64(Infinity), f64(-Infinity)], NAN64, NV],
    ["0 · ∞", "mulF64", [RNE, f64(0), f64(Infinity)], NAN64, NV],
    ["0 / 0", "divF64", [RNE, f64(0), f64(0)], NAN64, NV],
    ["∞ / ∞", "divF64", [RNE, f64(Infinity), f64(-Infinity)], NAN64, NV],
    ["1 / −0", "divF64", [RNE, f64(1), f64(-0)], f64(-Infinity), DZ],
    ["∞ / 0 is exact", "divF64", [RNE, f64(Infinity), f64(0)], f64(Infinity), 0],
    ["√−1", "sqrtF64", [RNE, f64(-1)], NAN64, NV],
    ["√−0", "sqrtF64", [RNE, f64(-0)], f64(-0), 0],
    ["a quiet NaN passes", "addF64", [RNE, 0xfff8000000000123n, f64(1)], NAN64, 0],
    ["a signaling NaN", "addF64", [RNE, f64(1), SIGNALING64], NAN64, NV],
    ["a signaling NaN", "f64ToF32", [RNE, SIGNALING64], NAN32, NV],
    ["a signaling NaN", "f32ToF64", [SIGNALING32], NAN64, NV],
    ["∞ · 0 + NaN is invalid", "fmaF64", [RNE, f64(Infinity), f64(0), NAN64], NAN64, NV],
    ["∞ · 0 + NaN is invalid", "fmaF32", [RNE, f32(Infinity), f32(0), NAN32], NAN32, NV],
    ["1 − 1 is +0", "subF64", [RNE, f64(1), f64(1)], f64(0), 0],
    ["1 − 1 is −0 when rounding down", "subF64", [RDN, f64(1), f64(1)], f64(-0), 0],
    ["1 · 1 − 1 is −0 when rounding down", "fmaF32", [RDN, f32(1), f32(1), f32(-1)], f32(-0), 0],
    ["overflow to nearest", "addF64", [RNE, f64(MAX), f64(MAX)], f64(Infinity), OF | NX],
    ["overflow towards zero", "addF64", [RTZ, f64(MAX), f64(MAX)], f64(MAX), OF | NX],
    ["negative overflow upwards", "mulF64", [RUP, f64(-MAX), f64(2)], f64(-MAX), OF | NX],
    ["negative overflow downwards", "mulF64", [RDN, f64(-MAX), f64(2)], f64(-Infinity), OF | NX],
    ["underflow", "mulF64", [RNE, f64(LEAST), f64(0.5)], f64(0), UF | NX],
    ["underflow upwards", "mulF64", [RUP, f64(LEAST), f64(0.5)], f64(LEAST), UF | NX],
    ["an exact subnormal", "mulF64", [RNE, f64(LEAST_NORMAL), f64(0.5)], f64(LEAST_NORMAL / 2), 0],
    // (1 − 2^-52)·(1 + 2^-52) = 1 − 2^-104: rounded up with p bits, whatever the exponent, it is 1, and down 1 − 2^-53.
    ["tiny before rounding only", "mulF64", [RUP, f64(LEAST_NORMAL * (1 - 2 ** -52)), f64(1 + 2 ** -52)], f64(LEAST_NORMAL), NX],
    ["tiny after rounding", "mulF64", [RDN, f64(LEAST_NORMAL * (1 - 2 ** -52)), f64(1 + 2 ** -52)], f64(LEAST_NORMAL * (1 - 2 ** -52)), UF | NX],
    ["tiny after rounding", "f64ToF32", [RNE, f64(2 ** -126 * (1 - 2 ** -25 - 2 ** -30))], f32(2 ** -126), UF | NX],
    ["tiny before rounding only", "f64ToF32", [RNE, f64(2 ** -126 * (1 - 2 ** -26))], f32(2 ** -126), NX],
    ["a tie to even", "f64ToF32", [RNE, f64(1 + 2 ** -24)], f32(1), NX],
    ["a tie away", "f64ToF32", [RMM, f64(1 + 2 ** -24)], f32(1 + 2 ** -23), NX],
    // (1 + 2^-12)² is halfway between two numbers; what is added, too little to show in binary64, decides.
    ["no double rounding", "fmaF32", [RNE, f32(1 + 2 ** -12), f32(1 + 2 ** -12), f32(2 ** -60)], f32(1 + 2 ** -11 + 2 ** -23), NX],
    ["feq is quiet", "eqF64", [NAN64, f64(1)], 0, 0],
    ["feq, signaling NaN", "eqF64", [f64(1), SIGNALING64], 0, NV],
    ["flt is not quiet", "ltF32", [NAN32, f32(1)], 0, NV],
    ["−0 = +0", "eqF32", [f32(-0), f32(0)], 1, 0],
    ["fmin: −0 < +0", "minF64", [f64(0), f64(-0)], f64(-0), 0],
    ["fmax: −0 < +0", "maxF32", [f32(-0), f32(0)], f32(0), 0],
    ["fmin: a number before a NaN", "minF64", [NAN64, f64(3)], f64(3), 0],
    ["fmin: a number before a signaling NaN", "minF64", [SIGNALING64, f64(3)], f64(3), NV],
    ["fmax of NaNs", "maxF32", [0xffffffff, 0x7fffffff], NAN32, 0],
  ];
  for (const [what, name, operands, bits, fflags] of cases) {
    test(`${name}: ${what}`, () => assert.deepEqual(run(name, STATE, ...operands), { bits, fflags }));
  }

  test("accrue", () => {
    const module = new ModuleBuilder();
    module.importMemory("host", "memory", { initial: 1, maximum: 1 });
    module.export("div", defineFloatingPoint(module, { fflagsOffset: 0 }).divF32);
    const memory = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true });
    const { exports } = new WebAssembly.Instance(new WebAssembly.Module(module.encode()), { host: { memory } });
    const div = exports["div"] as (...operands: number[]) => number;
    div(0, RNE, f32(1), f32(3));
    div(0, RNE, f32(1), f32(0));
    div(0, RNE, f32(1), f32(1));
    assert.equal(new Uint32Array(memory.buffer)[0], NX | DZ);
  });
});

suite("to integers (the manual's table of invalid inputs)", () => {
  const u64 = (value: bigint) => BigInt.asUintN(64, value);
  const ends = {
    I32: [-(2n ** 31n), 2n ** 31n - 1n],
    U32: [0n, -1n],
    I64: [-(2n ** 63n), 2n ** 63n - 1n],
    U64: [0n, -1n],
  } as const;
  for (const name of ["I32", "U32", "I64", "U64"] as const) {
    test(`f64To${name}`, () => {
      const [least, greatest] = ends[name];
      const convert = (bits: bigint, rm = RNE) => run(`f64To${name}`, STATE, rm, bits);
      const above = name === "I32" ? 2 ** 31 : name === "U32" ? 2 ** 32 : name === "I64" ? 2 ** 63 : 2 ** 64;
      const below = name === "I32" ? -(2 ** 31) - 1 : name === "I64" ? -(2 ** 63) * (1 + 2 ** -52) : -1;
      for (const bits of [f64(Infinity), f64(MAX), f64(above), NAN64, 0xfff8000000000000n, SIGNALING64])
        assert.deepEqual(convert(bits), { bits: u64(greatest), fflags: NV }, `${fromF64(bits)}`);
      for (const bits of [f64(-Infinity), f64(-MAX), f64(below)])
        assert.deepEqual(convert(bits), { bits: u64(least), fflags: NV }, `${fromF64(bits)}`);
    });
  }

  const rounded: [value: number, rne: number, rtz: number, rdn: number, rup: number, rmm: number][] = [
    [2.5, 2, 2, 2, 3, 3],
    [-2.5, -2, -2, -3, -2, -3],
    [0.49999999999999994, 0, 0, 0, 1, 0],
    [-0.5, 0, 0, -1, 0, -1],
    [4503599627370495.5, 4503599627370496, 4503599627370495, 4503599627370495, 4503599627370496, 4503599627370496],
  ];
  for (const [value, ...results] of rounded) {
    test(`${value} in every mode`, () => {
      results.forEach((result, rm) => {
        assert.deepEqual(run("f64ToI64", STATE, rm, f64(value)), { bits: u64(BigInt(result)), fflags: NX });
      });
    });
  }

  test("a value that rounds to zero is in range of an unsigned type, one that rounds to −1 is not", () => {
    assert.deepEqual(run("f32ToU32", STATE, RTZ, f32(-0.9)), { bits: 0n, fflags: NX });
    assert.deepEqual(run("f32ToU32", STATE, RDN, f32(-0.1)), { bits: 0n, fflags: NV });
  });

  test("an unsigned word is sign-extended", () => {
    assert.deepEqual(run("f32ToU32", STATE, RNE, f32(2 ** 31)), { bits: 0xffffffff80000000n, fflags: 0 });
  });
});

test("from integers", () => {
  assert.equal(run("i32ToF64", 0xdeadbeefffffffffn).bits, f64(-1));
  assert.equal(run("u32ToF64", 0xdeadbeefffffffffn).bits, f64(2 ** 32 - 1));
  assert.deepEqual(run("i64ToF64", STATE, RNE, 2n ** 63n), { bits: f64(-(2 ** 63)), fflags: 0 });
  assert.deepEqual(run("u64ToF32", STATE, RUP, 2n ** 64n - 1n), { bits: f32(2 ** 64), fflags: NX });
  assert.deepEqual(run("u32ToF32", STATE, RTZ, 0xffffffffn), { bits: f32(2 ** 32 - 2 ** 8), fflags: NX });
  assert.deepEqual(run("i64ToF64", STATE, RDN, 0n), { bits: f64(0), fflags: 0 });
});

test("classes", () => {
  const values = [-Infinity, -1, -LEAST, -0, 0, LEAST, 1, Infinity];
  values.forEach((value, i) => assert.equal(run("classF64", f64(value)).bits, 1 << i, `${value}`));
  assert.equal(run("classF64", SIGNALING64).bits, 1 << 8);
  assert.equal(run("classF64", 0xffffffffffffffffn).bits, 1 << 9);
  assert.equal(run("classF32", 0x80000001).bits, 1 << 2);
  assert.equal(run("classF32", 0xff800001).bits, 1 << 8);
});

test("a fused multiply-add is the same with and without the host's", { skip: !probeFusedMultiplyAdd() }, () => {
  const fused = instantiate(true);
  const values = numbers(3_000);
  for (let i = 2; i < values.length; i++) {
    const operands = values.slice(i - 2, i + 1).map(f64);
    for (const rm of [RNE, RUP]) {
      assert.deepEqual(fused("fmaF64", STATE, rm, ...operands), run("fmaF64", STATE, rm, ...operands), operands.join(" "));
    }
  }
});
