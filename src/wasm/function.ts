/** Writes one function's body: statements append instructions at once, expressions are trees (see expression.ts). */
import { assert } from "#base/assert.ts";
import {
  callArguments,
  Expr,
  localTee,
  opcode,
  toExpr,
  valueTypeCode,
  type FunctionReference,
  type Operand,
  type ValueType,
} from "./expression.ts";
import { ByteWriter } from "./writer.ts";

/** A place that a branch can go to: behind a block, or to the start of a loop. */
export interface Label {
  readonly depth: number;
}

export class Local extends Expr {
  readonly index: number;

  constructor(type: ValueType, index: number) {
    super(1, type, 0x20, [], index);
    this.index = index;
  }
}

const storeOpcodes = {
  i32: 0x36,
  i64: 0x37,
  f32: 0x38,
  f64: 0x39,
  i32_8: 0x3a,
  i32_16: 0x3b,
  i64_8: 0x3c,
  i64_16: 0x3d,
  i64_32: 0x3e,
} as const;

export type StoreKind = keyof typeof storeOpcodes;

export class FunctionBuilder implements FunctionReference {
  readonly index: number;
  readonly name: string;
  readonly parameters: readonly ValueType[];
  readonly results: readonly ValueType[];
  readonly code = new ByteWriter(1024);
  readonly #locals: ValueType[] = [];
  /** Temporaries that are free to be handed out again, by type. */
  readonly #free: Record<ValueType, Local[]> = { i32: [], i64: [], f32: [], f64: [], v128: [] };
  #scope: Local[] | undefined;
  #depth = 0;
  readonly #outlined: (() => void)[] = [];

  constructor(index: number, name: string, parameters: readonly ValueType[], results: readonly ValueType[]) {
    this.index = index;
    this.name = name;
    this.parameters = parameters;
    this.results = results;
  }

  parameter(i: number): Local {
    return new Local(this.parameters[i]!, i);
  }

  /** A new local for as long as the function, zero at entry. */
  local(type: ValueType): Local {
    this.#locals.push(type);
    return new Local(type, this.parameters.length + this.#locals.length - 1);
  }

  /** A local that returns to the pool when the enclosing `scope` ends. Not zero at first. */
  temporary(type: ValueType): Local {
    const local = this.#free[type].pop() ?? this.local(type);
    this.#scope?.push(local);
    return local;
  }

  scope(body: () => void): void {
    const outer = this.#scope;
    this.#scope = [];
    body();
    for (const local of this.#scope) this.#free[local.type].push(local);
    this.#scope = outer;
  }

  /** A temporary that holds the value from here on. */
  let(value: Expr): Local {
    const local = this.temporary(value.type);
    this.set(local, value);
    return local;
  }

  set(local: Local, value: Operand): void {
    toExpr(local.type, value).emit(this.code);
    this.code.byte(0x21);
    this.code.u32(local.index);
  }

  tee(local: Local, value: Operand): Expr {
    return localTee(local.type, local.index, value);
  }

  drop(value: Expr): void {
    value.emit(this.code);
    this.code.byte(0x1a);
  }

  /** Leaves the value on the operand stack: for the end of a function with results. */
  push(...values: Expr[]): void {
    for (const value of values) value.emit(this.code);
  }

  store(kind: StoreKind, address: Operand, value: Operand, offset = 0): void {
    toExpr("i32", address).emit(this.code);
    const type = kind.startsWith("i64") ? "i64" : kind.startsWith("i32") ? "i32" : (kind as ValueType);
    toExpr(type, value).emit(this.code);
    this.code.byte(storeOpcodes[kind]);
    this.code.u32(0);
    this.code.u32(offset);
  }

  /** Atomic stores of 32 or 64 bits; the address must be naturally aligned. */
  atomicStore(type: "i32" | "i64", address: Operand, value: Operand, offset = 0): void {
    toExpr("i32", address).emit(this.code);
    toExpr(type, value).emit(this.code);
    opcode(this.code, type === "i32" ? 0xfe0017 : 0xfe0018);
    this.code.u32(type === "i32" ? 2 : 3);
    this.code.u32(offset);
  }

  fence(): void {
    opcode(this.code, 0xfe0003);
    this.code.byte(0);
  }

  memoryFill(address: Operand, value: Operand, length: Operand): void {
    for (const operand of [address, value, length]) toExpr("i32", operand).emit(this.code);
    opcode(this.code, 0xfc000b);
    this.code.byte(0);
  }

  if(condition: Operand, yes: () => void, no?: () => void): void {
    toExpr("i32", condition).emit(this.code);
    this.code.byte(0x04);
    this.code.byte(0x40);
    this.#depth++;
    yes();
    if (no !== undefined) {
      this.code.byte(0x05);
      no();
    }
    this.#depth--;
    this.code.byte(0x0b);
  }

  block(body: (end: Label) => void): void {
    this.openBlock();
    body({ depth: this.#depth });
    this.close();
  }

  loop(body: (start: Label) => void): void {
    this.openLoop();
    body({ depth: this.#depth });
    this.close();
  }

  /**
   * Code behind the end of the function, for what seldom happens: a branch to the label runs `body`, which must return. The function's own
   * code must not run off its end. The hot path stays free of it, since every compiler lays code out as it stands.
   */
  outlined(body: () => void): Label {
    this.#outlined.push(body);
    // The n-th stands behind the n-th block around the whole function, counted from the innermost: below depth 0.
    return { depth: 1 - this.#outlined.length };
  }

  /** For shapes that don't nest as functions do: each open needs its `close`. */
  openIf(condition: Operand): void {
    toExpr("i32", condition).emit(this.code);
    this.code.byte(0x04);
    this.code.byte(0x40);
    this.#depth++;
  }

  openBlock(): Label {
    this.code.byte(0x02);
    this.code.byte(0x40);
    return { depth: ++this.#depth };
  }

  openLoop(): Label {
    this.code.byte(0x03);
    this.code.byte(0x40);
    return { depth: ++this.#depth };
  }

  close(): void {
    assert(this.#depth > 0, "close without open");
    this.#depth--;
    this.code.byte(0x0b);
  }

  branch(label: Label): void {
    this.code.byte(0x0c);
    this.code.u32(this.#distance(label));
  }

  branchIf(label: Label, condition: Operand): void {
    toExpr("i32", condition).emit(this.code);
    this.code.byte(0x0d);
    this.code.u32(this.#distance(label));
  }

  branchTable(index: Operand, targets: readonly Label[], otherwise: Label): void {
    toExpr("i32", index).emit(this.code);
    this.code.byte(0x0e);
    this.code.u32(targets.length);
    for (const target of targets) this.code.u32(this.#distance(target));
    this.code.u32(this.#distance(otherwise));
  }

  return(...values: Operand[]): void {
    assert(values.length === this.results.length, "wrong number of results", { given: values.length });
    values.forEach((value, i) => toExpr(this.results[i]!, value).emit(this.code));
    this.code.byte(0x0f);
  }

  /** Calls for effect, into as many locals as there are results. */
  call(target: FunctionReference, operands: readonly Operand[], into: readonly Local[] = []): void {
    for (const operand of callArguments(target, operands)) operand.emit(this.code);
    this.code.byte(0x10);
    this.code.u32(target.index);
    this.#take(target.results, into);
  }

  callIndirect(signature: Signature, slot: Operand, operands: readonly Operand[], into: readonly Local[] = []): void {
    operands.forEach((operand, i) => toExpr(signature.parameters[i]!, operand).emit(this.code));
    toExpr("i32", slot).emit(this.code);
    this.code.byte(0x11);
    this.code.u32(signature.typeIndex);
    this.code.u32(0);
    this.#take(signature.results, into);
  }

  returnCall(target: FunctionReference, operands: readonly Operand[]): void {
    operands.forEach((operand, i) => toExpr(target.parameters[i]!, operand).emit(this.code));
    this.code.byte(0x12);
    this.code.u32(target.index);
  }

  returnCallIndirect(signature: Signature, slot: Operand, operands: readonly Operand[]): void {
    operands.forEach((operand, i) => toExpr(signature.parameters[i]!, operand).emit(this.code));
    toExpr("i32", slot).emit(this.code);
    this.code.byte(0x13);
    this.code.u32(signature.typeIndex);
    this.code.u32(0);
  }

  unreachable(): void {
    this.code.byte(0x00);
  }

  /** The body as the code section wants it: size, locals, instructions. */
  encode(out: ByteWriter): void {
    assert(this.#depth === 0, "a block was left open", { function: this.name });
    for (const body of this.#outlined) {
      this.code.byte(0x0b);
      body();
    }
    const locals = new ByteWriter(64);
    const groups: [count: number, type: ValueType][] = [];
    for (const type of this.#locals) {
      const last = groups.at(-1);
      if (last?.[1] === type) last[0]++;
      else groups.push([1, type]);
    }
    locals.u32(groups.length);
    for (const [count, type] of groups) {
      locals.u32(count);
      locals.byte(valueTypeCode[type]);
    }
    if (this.#outlined.length > 0) this.unreachable();
    const blocks = this.#outlined.length * 2;
    out.u32(locals.length + blocks + this.code.length + 1);
    out.append(locals.view());
    for (let i = 0; i < this.#outlined.length; i++) {
      out.byte(0x02);
      out.byte(0x40);
    }
    out.append(this.code.view());
    out.byte(0x0b);
  }

  #distance(label: Label): number {
    const distance = this.#depth - label.depth;
    assert(distance >= 0, "branch to a label that is closed", { function: this.name });
    return distance;
  }

  #take(results: readonly ValueType[], into: readonly Local[]): void {
    assert(into.length === results.length || into.length === 0, "wrong number of results taken");
    for (let i = results.length - 1; i >= 0; i--) {
      if (into.length === 0) this.code.byte(0x1a);
      else {
        this.code.byte(0x21);
        this.code.u32(into[i]!.index);
      }
    }
  }
}

/** A function type of a module. */
export interface Signature {
  readonly typeIndex: number;
  readonly parameters: readonly ValueType[];
  readonly results: readonly ValueType[];
}

