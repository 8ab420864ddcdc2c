/** What the machine's tables say of its frames, against what is counted: walked, and believed in nothing. */
import assert from "node:assert/strict";
import { NOBODY, ZERO_FRAME } from "#machine/frames.ts";
import type { GuestMemory } from "#monitor/memory/guest-memory.ts";
import type { MachineMemory } from "#monitor/memory/machine-memory.ts";
import { isPagedOut, slotOf, type PageCounts } from "#monitor/memory/pmap.ts";

const PPN_SHIFT = 10n;
const FLAGS = { valid: 1n, write: 4n };
const MODE_OF_ROOT = (1n << 44n) - 1n;

export interface Leaf {
  readonly frame: number;
  readonly isWritable: boolean;
}

/** Each page that the G-stage tables lead to: three levels of Sv39x4, read from the frames themselves. */
export function walkGStage(memory: GuestMemory): Map<number, Leaf> {
  const { machine } = memory;
  const leaves = new Map<number, Leaf>();
  const walk = (frame: number, entries: number, level: number, vpn: number): void => {
    const bytes = machine.readable(frame, entries / 512);
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    for (let index = 0; index < entries; index++) {
      const entry = view.getBigUint64(index * 8, true);
      if (!(entry & FLAGS.valid)) continue;
      const next = Number((entry >> PPN_SHIFT) & MODE_OF_ROOT) - machine.pageNumber(0);
      const page = vpn * 512 + index;
      // What is not under the guest's memory is the machine-to-physical table of a paravirtual guest.
      if (level > 0) walk(next, 512, level - 1, page);
      else if (memory.pmap.holds(page)) leaves.set(page, { frame: next, isWritable: (entry & FLAGS.write) !== 0n });
    }
  };
  walk(Number(memory.tables.hgatp(1) & MODE_OF_ROOT) - machine.pageNumber(0), 2048, 2, 0);
  return leaves;
}

export interface Audit {
  /** Of all VMs: pages behind which a frame is, those among them that share one with another page, and pages of zeros. */
  readonly touched: number;
  readonly sharing: number;
  readonly zero: number;
  /** Frames that the pages which share would take more if they did not. */
  readonly reclaimed: number;
}

/** Asserts that VMs, frames, G-stage tables and slots agree: these are all VMs of the machine. Other owners' frames are not looked at. */
export function auditMemory(machine: MachineMemory, guests: readonly GuestMemory[]): Audit {
  const { frames } = machine;
  const users = new Map<number, number>();
  const slots = new Set<number>();
  let [touched, zero] = [0, 0];
  for (const memory of guests) {
    const { pmap } = memory;
    const leaves = walkGStage(memory);
    const counts: PageCounts = { mapped: 0, shared: 0, zero: 0, ballooned: 0, pagedOut: 0 };
    for (let page = pmap.firstPage; pmap.holds(page); page++) {
      const frame = pmap.frame(page);
      const leaf = leaves.get(page);
      if (frame < 0) {
        assert.equal(leaf, undefined, `page ${page} has no frame, and is mapped`);
        if (!isPagedOut(frame)) {
          if (frame === -2) counts.ballooned++;
          continue;
        }
        counts.pagedOut++;
        assert.ok(!slots.has(slotOf(frame)), `slot ${slotOf(frame)} is two pages'`);
        slots.add(slotOf(frame));
        continue;
      }
      counts.mapped++;
      users.set(frame, (users.get(frame) ?? 0) + 1);
      const isShared = pmap.isShared(page);
      if (isShared) counts.shared++;
      if (frame === ZERO_FRAME) {
        counts.zero++;
        assert.ok(isShared, "nobody owns the frame of zeros");
      } else if (!isShared) {
        assert.deepEqual(frames.info(frame), { owner: memory.owner, state: "private", count: 1 }, `page ${page}`);
      }
      if (pmap.isHidden(page)) assert.equal(leaf, undefined, `page ${page} is hidden, and mapped`);
      else {
        assert.equal(leaf?.frame, frame, `page ${page}`);
        if (isShared) assert.ok(!leaf!.isWritable, `page ${page} is shared, and writable`);
      }
    }
    assert.deepEqual({ ...pmap.counts }, counts);
    touched += counts.mapped;
    zero += counts.zero;
  }
  let [sharing, reclaimed] = [0, 0];
  const owners = new Set(guests.map(({ owner }) => owner));
  for (let frame = 0; frame < frames.total; frame++) {
    const { owner, state, count } = frames.info(frame);
    const found = users.get(frame) ?? 0;
    if (state === "shared") {
      assert.deepEqual([owner, count], [NOBODY, found], `frame ${frame} is shared by others than it says`);
      if (found > 1) [sharing, reclaimed] = [sharing + found, reclaimed + found - 1];
    } else if (state === "private" && owners.has(owner)) assert.equal(found, 1, `frame ${frame} is ${owner}'s, and no page's`);
    else if (state === "free") assert.equal(found, 0, `frame ${frame} is free, and somebody's`);
  }
  if (users.has(ZERO_FRAME)) assert.equal(frames.info(ZERO_FRAME).state, "zero");
  for (let word = machine.wordOf(ZERO_FRAME), end = word + 1024; word < end; word++) assert.equal(machine.words[word], 0, "somebody has written to the frame of zeros");
  return { touched, sharing, zero, reclaimed };
}
