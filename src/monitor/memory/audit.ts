/**
 * What becomes of the machine's memory, found by walking the tables that harts walk, the pmaps and the frames' words, and not by reading counters. Both are
 * kept up with each page that changes, by code that could be wrong; this looks at all, and takes its time.
 */
import { ZERO_FRAME, type Frames } from "#machine/frames.ts";
import type { GuestMemory } from "./guest-memory.ts";
import { pte } from "./guest-walk.ts";
import type { MachineMemory } from "./machine-memory.ts";

/** Of a page that has no frame, or that no table leads to. */
export const NOWHERE = -1;

/** A VM's pages at one time. */
export interface VmPages {
  readonly owner: number;
  /** For each page twice its frame, and 1 more if the frame may be written; or NOWHERE. */
  readonly mapped: Int32Array;
  /** Pages that the G-stage tables say something else of than the pmap. */
  readonly wrong: number;
}

/** In pages. */
export interface SharingAudit {
  /** Pages that have a frame; and of these, those of zeros. */
  readonly mapped: number;
  readonly zero: number;
  /** Others than those of zeros: that have their frame with another; that nobody may write to; and fewer frames than pages. */
  readonly shared: number;
  readonly copyOnWrite: number;
  readonly reclaimed: number;
  /** Frames whose count, state or owner is not what the pages that have them say; and pages whose tables differ from the pmap. */
  readonly wrong: number;
}

/** To be called where the VM's hart stands still. */
export function auditPages(memory: GuestMemory): VmPages {
  const { pmap, machine, owner } = memory;
  const tables = readTables(machine, memory.tables.save().root, pmap.firstPage, pmap.pages);
  const mapped = Int32Array.from(tables, (_, i) => entryOf(pmap.frame(pmap.firstPage + i), !pmap.isShared(pmap.firstPage + i)));
  const wrong = tables.reduce((sum, entry, i) => sum + (entry === (pmap.isHidden(pmap.firstPage + i) ? NOWHERE : mapped[i]) ? 0 : 1), 0);
  return { owner, mapped, wrong };
}

/** What G-stage tables of Sv39x4 say of pages, as `mapped` has it. */
export function readTables(machine: MachineMemory, root: number, firstPage: number, pages: number): Int32Array {
  const word = (table: number, index: number): number => machine.words[machine.wordOf(table) + 2 * index]!;
  const frameOf = (entry: number): number => (entry >>> 10) - machine.pageNumber(0);
  return Int32Array.from({ length: pages }, (_, i) => {
    const page = firstPage + i;
    const top = word(root, page >>> 18);
    const middle = top === 0 ? 0 : word(frameOf(top), (page >>> 9) & 511);
    const leaf = middle === 0 ? 0 : word(frameOf(middle), page & 511);
    return leaf === 0 ? NOWHERE : entryOf(frameOf(leaf), (leaf & pte.write) !== 0);
  });
}

/** Of all VMs that may share pages with each other, whose pages were taken down while none of them ran. */
export function auditSharing(vms: readonly VmPages[], frames: Frames): SharingAudit {
  const users = new Map<number, number>();
  for (const entry of entries(vms)) users.set(entry >>> 1, (users.get(entry >>> 1) ?? 0) + 1);
  let [mapped, zero, shared, copyOnWrite] = [0, 0, 0, 0];
  let wrong = vms.reduce((sum, vm) => sum + vm.wrong, 0);
  for (const { owner, mapped: its } of vms) {
    for (const entry of its) {
      if (entry === NOWHERE) continue;
      const [frame, writable] = [entry >>> 1, (entry & 1) === 1];
      mapped++;
      if (frame === ZERO_FRAME) {
        zero++;
        if (writable) wrong++;
        continue;
      }
      const count = users.get(frame)!;
      if (count > 1) shared++;
      if (!writable) copyOnWrite++;
      if (!agrees(frames.info(frame), { owner, writable, count })) wrong++;
    }
  }
  users.delete(ZERO_FRAME);
  return { mapped, zero, shared, copyOnWrite, reclaimed: mapped - zero - users.size, wrong };
}

const entryOf = (frame: number, writable: boolean): number => (frame < 0 ? NOWHERE : 2 * frame + (writable ? 1 : 0));

function* entries(vms: readonly VmPages[]): Generator<number> {
  for (const { mapped } of vms) for (const entry of mapped) if (entry !== NOWHERE) yield entry;
}

interface Found {
  readonly owner: number;
  readonly writable: boolean;
  readonly count: number;
}

/** Only one's own frame may be written. */
function agrees({ owner, state, count }: ReturnType<Frames["info"]>, found: Found): boolean {
  return count === found.count && (found.writable ? state === "private" && owner === found.owner : state === "shared");
}
