/** What is tested: each operation in several variants, each run over an array of cases by a loop in WebAssembly. */
import { call, i32, i64, type Expr, type FunctionReference } from "#wasm/expression.ts";
import { ModuleBuilder } from "#wasm/module.ts";
import { isInexactAccrued, RNE, type Context } from "#riscv/floating-point/environment.ts";
import { defineFloatingPoint, type FloatingPointName } from "#riscv/floating-point/floating-point.ts";
import { F32, F64 } from "#riscv/floating-point/format.ts";
import * as quick from "#riscv/floating-point/quick.ts";
import { defineSoftOperations, defineUnpackedArithmetic } from "#riscv/floating-point/soft.ts";
import { CASE_BYTES, operations, RESULT_BYTES, type Operation } from "./operations.ts";

declare const WebAssembly: {
  Memory: new (limits: { initial: number; maximum: number; shared: boolean }) => { readonly buffer: SharedArrayBuffer };
  Module: new (bytes: Uint8Array<ArrayBuffer>) => object;
  Instance: new (module: object, imports: object) => { readonly exports: Record<string, unknown> };
};

/**
 * - functions: what `defineFloatingPoint` offers
 * - fused: the same with the host's fused multiply-add
 * - software: the software path alone
 * - inlined: the quick paths of quick.ts as a translator would inline them, in front of the functions
 */
export type Variant = "functions" | "fused" | "software" | "inlined";

/** The state lies at an odd place, so that a forgotten base or offset shows. */
const STATE = 64;
const FFLAGS_OFFSET = 20;
const CASES = 4096;
const CHUNK = 8192;
const RESULTS = CASES + CHUNK * CASE_BYTES;
const PAGES = Math.ceil((RESULTS + CHUNK * RESULT_BYTES) / 65536);

/** Takes cases and the flags that are set beforehand, returns the results. */
export type Run = (cases: Uint8Array, fflags: number) => Uint8Array;

/** By name, the operations that the variant has. */
export function buildSubject(variant: Variant): Map<string, Run> {
  const module = new ModuleBuilder();
  module.importMemory("host", "memory", { initial: PAGES, maximum: PAGES });
  const targets = defineVariant(module, variant);
  const present = operations.filter(({ name }) => name in targets);
  for (const operation of present) module.export(operation.name, defineLoop(module, operation, targets[operation.name]!));

  const memory = new WebAssembly.Memory({ initial: PAGES, maximum: PAGES, shared: true });
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(module.encode()), { host: { memory } });
  const bytes = new Uint8Array(memory.buffer);
  return new Map(present.map(({ name }) => [name, inChunks(bytes, exports[name] as Loop)]));
}

type Loop = (count: number, fflags: number) => void;

function inChunks(memory: Uint8Array, loop: Loop): Run {
  return (cases, fflags) => {
    const count = cases.length / CASE_BYTES;
    const results = new Uint8Array(count * RESULT_BYTES);
    for (let i = 0; i < count; i += CHUNK) {
      const length = Math.min(CHUNK, count - i);
      memory.set(cases.subarray(i * CASE_BYTES, (i + length) * CASE_BYTES), CASES);
      loop(length, fflags);
      results.set(memory.subarray(RESULTS, RESULTS + length * RESULT_BYTES), i * RESULT_BYTES);
    }
    return results;
  };
}

function defineVariant(module: ModuleBuilder, variant: Variant): Record<string, FunctionReference> {
  const context: Context = { module, fflagsOffset: FFLAGS_OFFSET };
  if (variant === "software") {
    const exact = defineUnpackedArithmetic(context);
    return Object.fromEntries(
      [F32, F64].flatMap((format) => {
        const soft = defineSoftOperations(context, format, exact);
        return (["add", "mul", "div", "sqrt", "fma"] as const).map((name) => [name + format.name, soft[name]]);
      }),
    );
  }
  const isFused = variant !== "functions";
  const functions = defineFloatingPoint(module, { fflagsOffset: FFLAGS_OFFSET, fusedMultiplyAdd: isFused });
  return variant === "inlined" ? defineInlined(context, functions) : functions;
}

type QuickPath = (...arguments_: [...Parameters<typeof quick.quickAddF64>, ...Expr[]]) => Expr;

function defineInlined(context: Context, functions: Record<FloatingPointName, FunctionReference>) {
  const inlined: Record<string, FunctionReference> = {};
  for (const format of [F32, F64]) {
    for (const name of ["Add", "Sub", "Mul", "Div", "Sqrt", "Fma"] as const) {
      const quickPath = quick[`quick${name}${format.name}`] as QuickPath;
      const target = functions[`${name.toLowerCase() as Lowercase<typeof name>}${format.name}`];
      inlined[`${name.toLowerCase()}${format.name}`] = context.module.function(
        `inlined${name}`,
        target.parameters,
        target.results,
        (f) => {
          const parameters = target.parameters.map((_, i) => f.parameter(i));
          const [state, rm, ...bits] = parameters;
          const result = f.local(format.floatType);
          const isRight = quickPath(f, result, ...(bits.map((x) => format.toFloat(x)) as [Expr, Expr]));
          f.if(i32.and(i32.and(i32.eq(rm!, RNE), isInexactAccrued(context, state!)), isRight), () =>
            f.return(format.toBits(result)),
          );
          f.push(call(target, ...parameters));
        },
      );
    }
  }
  return inlined;
}

/** (count, fflags): runs the cases in memory. */
function defineLoop(module: ModuleBuilder, operation: Operation, target: FunctionReference): FunctionReference {
  return module.function(`loop_${operation.name}`, ["i32", "i32"], [], (f) => {
    const [count, fflags] = [f.parameter(0), f.parameter(1)];
    const at = f.local("i32");
    const result = f.local("i32");
    f.set(at, CASES);
    f.set(result, RESULTS);
    f.loop((next) => {
      f.store("i32", STATE, fflags, FFLAGS_OFFSET);
      const operands: Expr[] = [];
      // The leading parameters by their number: (state, rm, …), (state, …) or (…).
      const leading = target.parameters.length - operation.arity;
      if (leading > 0) operands.push(i32.const(STATE));
      if (leading > 1) operands.push(i32.load8U(at, 1));
      target.parameters.slice(leading).forEach((type, i) => {
        operands.push(type === "i64" ? i64.load(at, 8 + 8 * i) : i32.load(at, 8 + 8 * i));
      });
      const bits = call(target, ...operands);
      f.store("i64", result, bits.type === "i64" ? bits : i64.extendI32U(bits));
      f.store("i32", result, i32.load(STATE, FFLAGS_OFFSET), 8);
      f.store("i32", result, 0, 12);
      f.set(at, i32.add(at, CASE_BYTES));
      f.set(result, i32.add(result, RESULT_BYTES));
      f.branchIf(next, f.tee(count, i32.sub(count, 1)));
    });
  });
}
