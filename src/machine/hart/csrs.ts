/**
 * Access to control and status registers (privileged manual, chapter 2; H extension). A number picks its row through a table of bytes in memory,
 * one for each privilege.
 */
import { assert } from "#base/assert.ts";
import { csrName } from "#riscv/csr-names.ts";
import { i32, i64, select, type Expr, type FunctionReference } from "#wasm/expression.ts";
import type { FunctionBuilder, Label, Local } from "#wasm/function.ts";
import { cause, privilege, rewriting, virtualBit } from "../csr-bits.ts";
import { csrModes } from "../layout.ts";
import { silentCsr, type MachineModel, type SilentCsr } from "../model.ts";
import type { Context, Csr, CsrBehaviour } from "./csr-row.ts";
import type { Deprivileged } from "./deprivileged.ts";
import { hypervisorCsrs } from "./hypervisor-csrs.ts";
import { machineCsrs } from "./machine-csrs.ts";
import { defineUpdatePmp } from "./physical-memory-protection.ts";
import { State, type Program } from "./program.ts";
import { noteSilence } from "../silences.ts";
import { defineTlbOperation, softwareTlbCsrs } from "./software-tlb.ts";
import { supervisorCsrs } from "./supervisor-csrs.ts";
import { defineTime, defineUpdateTimer } from "./timer.ts";
import type { TranslationBanks } from "./translation-banks.ts";

export interface Csrs {
  /** (state, immediate: number in bits 11:0, operation 1 write 2 set 3 clear, operand, writes i32) → the old value. Sets `fault` if illegal. */
  readonly access: FunctionReference;
  /** Bytes of the tables that give a CSR's row + 1 by its number, for each privilege; 0 if it may not access it. */
  readonly index: Uint8Array;
  /** (state): recomputes the timer lines and shortens the slice to the next deadline. */
  readonly updateTimer: FunctionReference;
  /** (state): recomputes the PMP regions from the registers. */
  readonly updatePmp: FunctionReference;
}

const numbers = 4096;
/** The highest level, bits 9:8 of a number, that a mode may access. HS-mode has that of the hypervisor, 2; VS-mode hasn't. */
const highestLevel: Readonly<Record<number, number>> = {
  [privilege.user]: 0,
  [privilege.supervisor]: 2,
  [privilege.machine]: 3,
  [privilege.virtualUser]: 0,
  [privilege.virtualSupervisor]: 1,
  [privilege.rewrittenKernel]: 1,
};

interface Rows {
  readonly rows: readonly CsrBehaviour[];
  /** See `Csrs`. */
  readonly index: Uint8Array;
}

function buildRows({ kind, tlb }: MachineModel): Rows {
  const table: readonly Csr[] = [...machineCsrs, ...supervisorCsrs, ...hypervisorCsrs, ...(tlb === "software" ? softwareTlbCsrs : [])];
  const rows: CsrBehaviour[] = [...table];
  const index = new Uint8Array(csrModes * numbers);
  const add = (row: CsrBehaviour): number => rows.push(row);
  table.forEach((csr, plain) => {
    const { guest, deprivileged } = csr;
    const inGuest = guest === "absent" ? 0 : guest ? add({ ...csr, ...guest }) : plain + 1;
    const asDeprivileged = deprivileged === "monitor" ? 0 : deprivileged ? add({ ...csr, ...deprivileged }) : plain + 1;
    for (const [mode, highest] of Object.entries(highestLevel)) {
      const row = Number(mode) === privilege.rewrittenKernel ? asDeprivileged : Number(mode) & virtualBit ? inGuest : plain + 1;
      for (const n of [csr.number].flat()) if (((n >> 8) & 3) <= highest) index[Number(mode) * numbers + n] = row;
    }
    // Of the registers that don't trap on the silent machine, and those that don't trap anyway.
    for (const n of [csr.number].flat()) {
      const isRewritten = silentCsr(n) !== undefined || ((n >> 8) & 3) === 0;
      if (isRewritten) index[rewriting.silent * numbers + n] = asDeprivileged;
    }
  });
  if (kind === "silent") {
    for (const { number, read, guest } of table) {
      const silent = typeof number === "number" ? silentCsr(number) : undefined;
      if (silent === undefined) continue;
      index[privilege.user * numbers + (number as number)] = add(silentRow(number as number, silent, read));
      const guestRead = typeof guest === "object" ? guest.read : undefined;
      index[privilege.virtualUser * numbers + (number as number)] = add(silentRow(number as number, silent, guestRead ?? read));
    }
  }
  assert(rows.length < 256, "rows are counted in bytes", { rows: rows.length });
  return { rows, index };
}

/** What user mode finds on the silent machine, in the place of a row that it may not have. */
function silentRow(number: number, { write }: SilentCsr, readOwn: Csr["read"]): CsrBehaviour {
  const read: Csr["read"] = (c) => {
    noteSilence(c.state, csrName(number));
    return readOwn(c);
  };
  if (write === "ignored") return { read };
  const inGuest = ({ state }: Context): Expr => i32.geU(state.get("privilege"), virtualBit);
  return {
    read,
    illegal: (c) => i32.and(c.writes, i32.eqz(inGuest(c))),
    virtual: (c) => i32.and(c.writes, inGuest(c)),
  };
}

export function defineCsrs(program: Program, banks: TranslationBanks, { selectView }: Deprivileged): Csrs {
  const { module, map, model } = program;
  const { rows, index } = buildRows(model);
  const tlbOperation = model.tlb === "software" ? defineTlbOperation(program, banks) : undefined;
  const time = defineTime(program);
  const updateTimer = defineUpdateTimer(program, time);
  const updatePmp = defineUpdatePmp(program, banks);

  const access = module.function("csr", ["i32", "i32", "i32", "i64", "i32"], ["i64"], (f) => {
    const state = new State(f);
    const [number, operation, operand, writes] = [1, 2, 3, 4].map((i) => f.parameter(i)) as [
      Local,
      Local,
      Local,
      Local,
    ];
    const context: Context = {
      f,
      state,
      number,
      writes,
      model,
      tlbOperation,
      time,
      updateTimer,
      updatePmp,
      selectBank: banks.selectBank,
      flushAll: banks.flushAll,
      selectView,
      updated: (old) =>
        select(
          i32.eq(operation, 1),
          operand,
          select(i32.eq(operation, 2), i64.or(old, operand), i64.and(old, i64.xor(operand, -1))),
        ),
    };
    const old = f.local("i64");
    const value = f.local("i64");
    f.block((illegal) => {
      f.block((virtual) => {
        f.set(number, i32.and(number, 0xfff));
        f.branchIf(illegal, i32.and(writes, i32.eq(i32.shrU(number, 10), 3)));
        const mode = f.let(state.get("privilege"));
        f.if(i32.eq(mode, privilege.rewrittenKernel), () => f.set(mode, state.get("rewrites")));
        const row = f.let(i32.load8U(i32.add(number, i32.shl(mode, Math.log2(numbers))), map.csrIndex));
        f.if(i32.eqz(row), () => {
          // What HS-mode may do is for the hypervisor to know of.
          f.branchIf(illegal, i32.eqz(i32.and(mode, virtualBit)));
          f.branchIf(illegal, i32.eqz(i32.load8U(number, map.csrIndex + privilege.supervisor * numbers)));
          for (const csr of [...supervisorCsrs, ...hypervisorCsrs].filter((one) => one.illegal)) {
            f.branchIf(illegal, i32.and(i32.eq(number, csr.number as number), csr.illegal!(context)));
          }
          f.branch(virtual);
        });
        switchOn(f, row, rows.length + 1, illegal, (i) => {
          const csr = rows[i - 1]!;
          if (csr.illegal) f.branchIf(illegal, csr.illegal(context));
          if (csr.virtual) f.branchIf(virtual, csr.virtual(context));
          f.set(old, csr.read(context));
        });
        f.if(writes, () => {
          f.set(value, context.updated(old));
          switchOn(f, row, rows.length + 1, illegal, (i) => rows[i - 1]!.write?.(context, value));
        });
        f.return(old);
      });
      state.fault(cause.virtualInstruction, 0);
      f.return(0);
    });
    state.fault(cause.illegalInstruction, 0);
    f.push(i64.const(0));
  });

  return { access, index, updateTimer, updatePmp };
}

/** A switch over 1 … count - 1; 0 goes to `otherwise`. */
function switchOn(f: FunctionBuilder, value: Expr, count: number, otherwise: Label, body: (i: number) => void): void {
  f.block((done) => {
    const labels: Label[] = [];
    for (let i = count - 1; i >= 1; i--) labels[i] = f.openBlock();
    labels[0] = otherwise;
    f.branchTable(value, labels, otherwise);
    for (let i = 1; i < count; i++) {
      f.close();
      f.scope(() => body(i));
      f.branch(done);
    }
  });
}
