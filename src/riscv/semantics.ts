/**
 * What an instruction does, said once: a function that emits WebAssembly through this interface. The interpreter implements
 * it with operands that are read when the instruction runs; the region translator with operands that are known when it emits.
 */
import type { Expr, Operand } from "#wasm/expression.ts";
import type { FunctionBuilder } from "#wasm/function.ts";

/** Size in bytes, and how the value is widened to 64 bits. */
export type MemoryAccess = "i8" | "u8" | "i16" | "u16" | "i32" | "u32" | "i64";

export type FloatFormat = "s" | "d";

/** Operations that round, and the flags of which depend on the operands. */
export type FloatOperation = "add" | "sub" | "mul" | "div" | "sqrt" | "fma";

/** Functions of the machine, by name: long multiplication, software floating point, and so on. */
export type RoutineName = string;

/** Loads and stores of a hypervisor, as its guest would make them. */
export type VirtualMachineAccess =
  | "hlv.b" | "hlv.bu" | "hlv.h" | "hlv.hu" | "hlv.w" | "hlv.wu" | "hlv.d"
  | "hlvx.hu" | "hlvx.wu"
  | "hsv.b" | "hsv.h" | "hsv.w" | "hsv.d";

/** Instructions that reach into the machine's privileged state, and always leave translated code. */
export type SystemOperation =
  | "ecall"
  | "ebreak"
  | "sret"
  | "mret"
  | "wfi"
  | "sfence.vma"
  | "sfence.inval"
  | "hfence.vvma"
  | "hfence.gvma"
  | VirtualMachineAccess
  | "cbo.zero"
  | "cbo.clean"
  | "cbo.inval"
  | "fence.i"
  | "illegal";

export type CsrOperation = "write" | "set" | "clear";

export interface Semantics {
  /** The function being written, for temporaries and conditions. */
  readonly f: FunctionBuilder;
  /** Integer operands, i64. Reading one again costs little, and always gives the value before the instruction. */
  readonly rs1: Expr;
  readonly rs2: Expr;
  /** The immediate, i64. */
  readonly imm: Expr;
  /** Address of this instruction and of the one behind it, i64. */
  readonly pc: Expr;
  readonly next: Expr;
  setRd(value: Operand): void;

  /** Reads memory; the result is in a temporary, i64. Faults leave the instruction before anything is written. */
  load(access: MemoryAccess, address: Expr): Expr;
  store(access: MemoryAccess, address: Expr, value: Expr): void;
  /** Reads, and writes back what `update` makes of the value, as one atomic access. Yields the old value, i64. */
  readModifyWrite(access: "i32" | "i64", address: Expr, update: (old: Expr) => Expr): Expr;
  loadReserved(access: "i32" | "i64", address: Expr): Expr;
  /** Yields 0 if it stored, 1 if not. */
  storeConditional(access: "i32" | "i64", address: Expr, value: Expr): Expr;
  fence(): void;

  /** Goes to pc + imm if the condition (i32) holds. */
  branch(condition: Expr): void;
  /** Goes to pc + imm; rd gets the address of the next instruction. */
  jump(): void;
  /** Goes to the address, its lowest bit cleared; rd gets the address of the next instruction. */
  jumpRegister(address: Expr): void;

  /** Floating-point registers: raw i64 bits; f64; i32 bits of a single, unboxed (a value that isn't NaN-boxed reads as the canonical NaN). */
  readonly frs1: Expr;
  readonly frs2: Expr;
  readonly frs3: Expr;
  readonly frs1Single: Expr;
  readonly frs2Single: Expr;
  readonly frs3Single: Expr;
  setFrd(bits: Expr): void;
  /** Boxes the single. */
  setFrdSingle(bits: Expr): void;
  /** A rounding operation on the named operands, `imm` holding the rounding mode; `negate` flips the product's or the addend's sign. */
  roundedOperation(operation: FloatOperation, format: FloatFormat, negate?: { product?: boolean; addend?: boolean }): void;
  /** A routine that takes the hart's state, and the rounding mode of the instruction if `rounded`, before the operands. */
  floatRoutine(name: RoutineName, rounded: boolean, ...operands: Expr[]): Expr;
  /** For an instruction that touches the floating-point unit otherwise: traps if it is off. */
  requireFloat(): void;

  /** A pure routine. */
  routine(name: RoutineName, ...operands: Expr[]): Expr;
  csr(operation: CsrOperation, operand: Expr, writes: "always" | "unless-x0"): void;
  system(operation: SystemOperation): void;
}
