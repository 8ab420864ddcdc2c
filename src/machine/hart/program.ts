/** What the parts of the hart's WebAssembly program share: the module being built, the memory map and the imports. */
import { conditional, i32, i64, type Expr, type FunctionReference, type Operand } from "#wasm/expression.ts";
import type { FunctionBuilder, Local } from "#wasm/function.ts";
import type { ModuleBuilder } from "#wasm/module.ts";
import { count, frame, get, set, type FieldName, type MemoryMap } from "../layout.ts";
import type { MachineModel } from "../model.ts";

/** Functions of the host that the program calls: each call is a crossing. None takes or gives an i64. */
export interface HostFunctions {
  /** Reads a device register into `mmioValue`; (hart's base, physical address, size) → 0, or 1 if nothing answers there. */
  readonly mmioRead: FunctionReference;
  /** Writes `mmioValue`. */
  readonly mmioWrite: FunctionReference;
  /** Ticks of the time base, as f64. */
  readonly time: FunctionReference;
  /** Translated code at this host address (…, and so many bytes from it) was written to. */
  readonly codeWritten: FunctionReference;
}

export interface Program {
  readonly module: ModuleBuilder;
  readonly map: MemoryMap;
  readonly host: HostFunctions;
  readonly model: MachineModel;
}

/** A view of the hart's state inside one function. */
export class State {
  readonly f: FunctionBuilder;
  readonly base: Local;

  constructor(f: FunctionBuilder, base: Local = f.parameter(0)) {
    this.f = f;
    this.base = base;
  }

  get(name: FieldName, index = 0): Expr {
    return get(this.base, name, index);
  }

  /** The low half of an i64 field, or an i32 field. */
  low(name: FieldName): Expr {
    const value = get(this.base, name);
    return i32.load(this.base, Number(value.immediate));
  }

  set(name: FieldName, value: Operand, index = 0): void {
    set(this.f, this.base, name, value, index);
  }

  count(name: FieldName, amount: Operand = 1): void {
    count(this.f, this.base, name, amount);
  }

  /** Records that the instruction must trap. */
  fault(cause: Operand, value: Operand): void {
    this.set("fault", 1);
    this.set("faultCause", cause);
    this.set("faultValue", value);
  }
}

/** A field of a CSR: `width` bits at `position`, as i32. */
export function bits(value: Expr, position: number, width: number): Expr {
  return i32.and(i32.wrap(i64.shrU(value, position)), 2 ** width - 1);
}

/** Whether a physical address lies in memory (i32). */
export function inRam(map: MemoryMap, physical: Expr): Expr {
  return i64.ltU(i64.sub(physical, map.ramBase), map.ramSize);
}

/** The host address of a physical address in memory. */
export function hostAddress(map: MemoryMap, physical: Expr): Expr {
  return i32.sub(i32.wrap(physical), (map.ramBase - map.ram) | 0);
}

/** The instruction at a host address. Behind a compressed one, there may be no memory. */
export function instructionAt(host: Expr): Expr {
  const half = i32.load16U(host);
  return conditional(i32.eq(i32.and(half, 3), 3), i32.load(host), half);
}

/** The host address of the frame table's entry, for a host address in memory. */
export function frameEntry(map: MemoryMap, host: Expr): Expr {
  return i32.add(i32.mul(i32.shrU(i32.sub(host, map.ram), 12), frame.size), map.frames);
}
