/**
 * The operations under test, numbered in the order that reference.c shares, and the records that both sides read and write.
 *
 *   case, 32 bytes    0 operation u8   1 rm u8   8 a u64   16 b u64   24 c u64
 *   result, 16 bytes  0 bits u64       8 fflags u32
 *
 * A binary32 operand or result has zeros above it. Operands that an operation doesn't have are ignored.
 */
export const CASE_BYTES = 32;
export const RESULT_BYTES = 16;

export type OperandKind = "F32" | "F64" | "integer";

export interface Operation {
  readonly number: number;
  readonly name: string;
  readonly arity: 1 | 2 | 3;
  readonly operand: OperandKind;
  readonly result: OperandKind;
  /** Whether the result depends on rm: where not, cases have rm 0. */
  readonly rounds: boolean;
}

function list(): Operation[] {
  const operations: Omit<Operation, "number">[] = [];
  const add = (name: string, arity: 1 | 2 | 3, operand: OperandKind, result: OperandKind, rounds: boolean) =>
    operations.push({ name, arity, operand, result, rounds });
  for (const format of ["F32", "F64"] as const) {
    for (const name of ["add", "sub", "mul", "div"]) add(name + format, 2, format, format, true);
    add(`sqrt${format}`, 1, format, format, true);
    add(`fma${format}`, 3, format, format, true);
    for (const name of ["min", "max"]) add(name + format, 2, format, format, false);
    for (const name of ["eq", "lt", "le"]) add(name + format, 2, format, "integer", false);
    add(`class${format}`, 1, format, "integer", false);
    for (const integer of ["I32", "U32", "I64", "U64"]) {
      add(`${format.toLowerCase()}To${integer}`, 1, format, "integer", true);
      add(`${integer.toLowerCase()}To${format}`, 1, "integer", format, true);
    }
  }
  add("f32ToF64", 1, "F32", "F64", false);
  add("f64ToF32", 1, "F64", "F32", true);
  return operations.map((operation, number) => ({ number, ...operation }));
}

export const operations: readonly Operation[] = list();
