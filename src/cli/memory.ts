/** `hostelry memory` and `hostelry policy`, as clients of a server. */
import type { MachineMemory, MemoryChanges, MemorySettings, VmMemory } from "#monitor/action.ts";
import { drawFrames } from "./frame-map.ts";
import { formatBytes, formatPercent } from "./messages.ts";
import { connect, type ClientOptions } from "./client.ts";
import { printJson, printTable } from "./table.ts";

export interface PolicyOptions extends ClientOptions, MemoryChanges {}

export async function memory(options: ClientOptions & { readonly map?: boolean }): Promise<void> {
  const { map = false, json = false } = options;
  const use = await connect(options).do({ kind: "memory", map });
  if (json) return printJson(use);
  process.stdout.write(`${describe(use)}\n`);
  if (use.vms.length > 0) {
    process.stdout.write("\n");
    printTable([["NAME", "SHARES", ...amounts.map(([head]) => head)], ...use.vms.map((vm) => row(vm.name, String(vm.shares), vm)), row("all", "", total(use.vms))]);
  }
  if (use.map !== null) process.stdout.write(`\n${drawFrames(use.map, "4 KiB")}`);
}

type Amounts = Omit<VmMemory, "name" | "shares">;

const amounts: readonly (readonly [head: string, field: keyof Amounts])[] = [
  ["PROMISED", "promised"], ["GUARANTEED", "min"], ["TARGET", "target"], ["MAPPED", "mapped"], ["SHARED", "shared"], ["ZERO", "zero"], ["SAVED", "saved"],
  ["BALLOONED", "ballooned"], ["PAGED OUT", "pagedOut"], ["ACTIVE", "active"], ["TABLES", "tables"],
];

const row = (name: string, shares: string, vm: Amounts): string[] => [name, shares, ...amounts.map(([, field]) => formatBytes(vm[field]))];
const total = (vms: readonly VmMemory[]): Amounts => Object.fromEntries(amounts.map(([, field]) => [field, vms.reduce((sum, vm) => sum + vm[field], 0)])) as unknown as Amounts;

function describe({ total, free, promised, guaranteed, state, swap }: MachineMemory): string {
  const paged = swap.total === 0 ? "" : `; ${formatBytes(swap.used)} of ${formatBytes(swap.total)} of swap used`;
  return `The machine has ${formatBytes(total)}: ${formatBytes(promised)} promised, ${formatBytes(guaranteed)} guaranteed, ${formatBytes(free)} free (${formatPercent(free / total)}: ${state})${paged}`;
}

export async function policy({ socket, json = false, ...changes }: PolicyOptions): Promise<void> {
  const client = connect({ ...(socket === undefined ? {} : { socket }) });
  const isChange = Object.values(changes).some((value) => value !== undefined);
  const settings = await client.do(isChange ? { kind: "setPolicy", ...changes } : { kind: "policy" });
  if (json) return printJson(settings);
  printTable(describeSettings(settings));
}

function describeSettings({ rule, idleTax, high, soft, hard, low, samplePages, samplePeriod, scanRate }: MemorySettings): string[][] {
  return [
    ["SETTING", "IS", "WHAT IT DOES"],
    ["rule", rule, "shares out memory that is not enough for all"],
    ["idle-tax", formatPercent(idleTax), `an idle page costs ${Number((1 / (1 - idleTax)).toFixed(2))} times as much as one in use`],
    ["high", formatPercent(high), "of the machine's memory are to be free"],
    ["soft", formatPercent(soft), "free, or less: balloons are inflated"],
    ["hard", formatPercent(hard), "free, or less: VMs are paged out"],
    ["low", formatPercent(low), "free, or less: those that have too much stand still"],
    ["sample-pages", String(samplePages), "of a VM are looked at in a period, for what it uses"],
    ["sample-period", `${samplePeriod} s`, "is its length"],
    ["scan-rate", String(scanRate), "pages a second are looked at for others like them"],
  ];
}
