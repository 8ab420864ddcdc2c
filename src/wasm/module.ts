/** Assembles a WebAssembly module from its parts: types, imports, functions, exports (core specification, section 5.5). */
import { assert } from "#base/assert.ts";
import { globalGet, valueTypeCode, type Expr, type FunctionReference, type ValueType } from "./expression.ts";
import { FunctionBuilder, type Signature } from "./function.ts";
import { ByteWriter } from "./writer.ts";

export interface MemoryImport {
  /** In pages of 64 KiB. */
  readonly initial: number;
  readonly maximum: number;
}

export class ModuleBuilder {
  readonly #types: Signature[] = [];
  readonly #typeIndices = new Map<string, number>();
  readonly #imports: { module: string; name: string; signature: Signature }[] = [];
  readonly #functions: { builder: FunctionBuilder; signature: Signature }[] = [];
  readonly #exports: { name: string; index: number }[] = [];
  #memory: (MemoryImport & { module: string; name: string }) | undefined;
  #table: { module: string; name: string; minimum: number } | undefined;
  readonly #globals: { module: string; name: string; type: ValueType }[] = [];
  #elements: { offset: number; functions: readonly FunctionReference[] } | undefined;

  signature(parameters: readonly ValueType[], results: readonly ValueType[]): Signature {
    const key = `${parameters.join()}>${results.join()}`;
    let typeIndex = this.#typeIndices.get(key);
    if (typeIndex === undefined) {
      typeIndex = this.#types.length;
      this.#types.push({ typeIndex, parameters, results });
      this.#typeIndices.set(key, typeIndex);
    }
    return this.#types[typeIndex]!;
  }

  importMemory(module: string, name: string, limits: MemoryImport): void {
    this.#memory = { module, name, ...limits };
  }

  importTable(module: string, name: string, minimum: number): void {
    this.#table = { module, name, minimum };
  }

  /** A constant that is known when the module is instantiated; returns its value. */
  importGlobal(module: string, name: string, type: ValueType): Expr {
    this.#globals.push({ module, name, type });
    return globalGet(type, this.#globals.length - 1);
  }

  importFunction(
    module: string,
    name: string,
    parameters: readonly ValueType[],
    results: readonly ValueType[],
  ): FunctionReference {
    assert(this.#functions.length === 0, "imports come before functions");
    const signature = this.signature(parameters, results);
    this.#imports.push({ module, name, signature });
    return { index: this.#imports.length - 1, parameters, results };
  }

  /** Declares a function; write its body at any time before `encode`. */
  function(
    name: string,
    parameters: readonly ValueType[],
    results: readonly ValueType[],
    body?: (f: FunctionBuilder) => void,
  ): FunctionBuilder {
    const index = this.#imports.length + this.#functions.length;
    const builder = new FunctionBuilder(index, name, parameters, results);
    this.#functions.push({ builder, signature: this.signature(parameters, results) });
    body?.(builder);
    return builder;
  }

  export(name: string, target: FunctionReference): void {
    this.#exports.push({ name, index: target.index });
  }

  /** Puts functions into the imported table, from `offset` on, when the module is instantiated. */
  elements(offset: number, functions: readonly FunctionReference[]): void {
    this.#elements = { offset, functions };
  }

  encode(options: { names?: boolean } = {}): Uint8Array<ArrayBuffer> {
    const out = new ByteWriter(4096);
    out.append(header);
    section(out, 1, this.#types.length, (body) => {
      for (const type of this.#types) {
        body.byte(0x60);
        types(body, type.parameters);
        types(body, type.results);
      }
    });
    const importCount = this.#imports.length + this.#globals.length + (this.#memory ? 1 : 0) + (this.#table ? 1 : 0);
    section(out, 2, importCount, (body) => {
      for (const { module, name, signature } of this.#imports) {
        body.name(module);
        body.name(name);
        body.byte(0x00);
        body.u32(signature.typeIndex);
      }
      if (this.#memory) {
        body.name(this.#memory.module);
        body.name(this.#memory.name);
        body.append(memoryType);
        body.u32(this.#memory.initial);
        body.u32(this.#memory.maximum);
      }
      if (this.#table) {
        body.name(this.#table.module);
        body.name(this.#table.name);
        body.append(tableType);
        body.u32(this.#table.minimum);
      }
      for (const { module, name, type } of this.#globals) {
        body.name(module);
        body.name(name);
        body.byte(0x03);
        body.byte(valueTypeCode[type]);
        body.byte(0x00);
      }
    });
    section(out, 3, this.#functions.length, (body) => {
      for (const { signature } of this.#functions) body.u32(signature.typeIndex);
    });
    section(out, 7, this.#exports.length, (body) => {
      for (const { name, index } of this.#exports) {
        body.name(name);
        body.byte(0x00);
        body.u32(index);
      }
    });
    const elements = this.#elements;
    section(out, 9, elements ? 1 : 0, (body) => {
      body.byte(0x00);
      body.byte(0x41);
      body.s32(elements!.offset);
      body.byte(0x0b);
      body.u32(elements!.functions.length);
      for (const { index } of elements!.functions) body.u32(index);
    });
    section(out, 10, this.#functions.length, (body) => {
      for (const { builder } of this.#functions) builder.encode(body);
    });
    if (options.names) this.#nameSection(out);
    return out.finish();
  }

  /** Function names, for profilers and disassemblers. */
  #nameSection(out: ByteWriter): void {
    const names = new ByteWriter();
    names.u32(this.#functions.length);
    for (const { builder } of this.#functions) {
      names.u32(builder.index);
      names.name(builder.name);
    }
    const body = new ByteWriter();
    body.name("name");
    body.byte(1);
    body.u32(names.length);
    body.append(names.view());
    out.byte(0);
    out.u32(body.length);
    out.append(body.view());
  }
}

const header = new Uint8Array([0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00]);
/** A memory, shared, with a maximum. */
const memoryType = new Uint8Array([0x02, 0x03]);
/** A table of funcref without a maximum. */
const tableType = new Uint8Array([0x01, 0x70, 0x00]);

function section(out: ByteWriter, id: number, count: number, write: (body: ByteWriter) => void): void {
  if (count === 0) return;
  const body = new ByteWriter(4096);
  body.u32(count);
  write(body);
  out.byte(id);
  out.u32(body.length);
  out.append(body.view());
}

function types(out: ByteWriter, list: readonly ValueType[]): void {
  out.u32(list.length);
  for (const type of list) out.byte(valueTypeCode[type]);
}
