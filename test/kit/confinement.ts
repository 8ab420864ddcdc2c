/** What keeps a guest in its VM, looked at wherever it comes out; and a virtual hart's state set by name, whatever the technique. */
import assert from "node:assert/strict";
import { privilege } from "#machine/csr-bits.ts";
import type { FieldName } from "#machine/layout.ts";
import type { MachineMemory } from "#monitor/memory/machine-memory.ts";
import type { VirtualCore } from "#monitor/virtual-core.ts";
import type { VirtualMachine } from "#monitor/vm.ts";

const SV39 = 8n;

/** V = 1 over the VM's own second stage; or satp names a table of the monitor's, made for this VM, and the hart is in U-mode, if it isn't hardware that helps. */
export function assertConfined(memory: MachineMemory, { core, id, memory: own, technique }: VirtualMachine): void {
  const { state } = core;
  assert.equal(state.number("monitored"), 1);
  const mode = state.number("privilege");
  const isVirtual = mode === privilege.virtualUser || mode === privilege.virtualSupervisor;
  if (isVirtual && technique.mmu === "nested") {
    assert.equal(state.get("hgatp"), own.tables.hgatp(id));
    return;
  }
  assert.equal(isVirtual, technique.cpu === "hardware");
  assert.ok(isVirtual || mode === privilege.user || mode === privilege.rewrittenKernel, `mode ${mode}`);
  assert.equal(state.get("hgatp") >> 60n, isVirtual ? 0n : own.tables.hgatp(id) >> 60n);
  for (const satp of [state.get("satp"), ...[0, 1, 2].map((view) => state.get("views", view))]) {
    assert.ok(satp >> 60n >= SV39, `satp ${satp.toString(16)} translates`);
    const { owner, state: use } = memory.frames.info(Number(satp & ((1n << 44n) - 1n)) - memory.pageNumber(0));
    assert.deepEqual({ owner, use }, { owner: id, use: "page-table" }, `the frame that satp ${satp.toString(16)} names`);
  }
}

/** Looks at each exit, when the guest comes out and when it is to go on. If so many in a row take nothing of its slice, it would come out for ever. */
export function watchExits(memory: MachineMemory, vm: VirtualMachine, seen: () => void = () => {}): void {
  const exit = vm.exit.bind(vm);
  let [place, idle] = ["", 0];
  vm.exit = () => {
    assertConfined(memory, vm);
    const { state } = vm.core;
    const now = `${state.get("pc").toString(16)} ${state.number("budget") + state.number("reserve")}`;
    idle = now === place ? idle + 1 : 0;
    place = now;
    if (idle > 100) assert.fail(`at ${now} the guest comes out for ever: ${JSON.stringify(vm.exits.counts())}`);
    const reason = exit();
    assertConfined(memory, vm);
    seen();
    return reason;
  };
}

export type Registers = Partial<Record<FieldName, bigint | number | readonly bigint[]>>;

/** In the form that belongs to no technique: V = 1. */
export function setRegisters(core: VirtualCore, registers: Registers): void {
  const saved = core.save();
  const fields = Object.entries(registers).map(([name, value]) => [name, (Array.isArray(value) ? value : [value]).map((one) => `${BigInt.asUintN(64, BigInt(one))}`)]);
  core.restore({ ...saved, fields: { ...(saved["fields"] as object), ...Object.fromEntries(fields) } });
}
