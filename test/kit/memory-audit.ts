/** That VMs, frames, G-stage tables and slots agree. */
import assert from "node:assert/strict";
import { ZERO_FRAME } from "#machine/frames.ts";
import { auditPages, auditSharing, type SharingAudit } from "#monitor/memory/audit.ts";
import type { GuestMemory } from "#monitor/memory/guest-memory.ts";
import type { MachineMemory } from "#monitor/memory/machine-memory.ts";
import { BALLOONED, isPagedOut, slotOf, type PageCounts } from "#monitor/memory/pmap.ts";

/** These are all VMs of the machine; other owners' frames are not looked at. */
export function auditMemory(machine: MachineMemory, guests: readonly GuestMemory[]): SharingAudit {
  const { frames } = machine;
  for (const memory of guests) memory.settle();
  const audit = auditSharing(guests.map(auditPages), frames);
  assert.equal(audit.wrong, 0, "tables, pmaps and frames differ");
  const slots = new Set<number>();
  for (const { pmap } of guests) {
    const counts: PageCounts = { mapped: 0, shared: 0, zero: 0, ballooned: 0, pagedOut: 0 };
    for (let page = pmap.firstPage; pmap.holds(page); page++) {
      const frame = pmap.frame(page);
      if (frame >= 0) counts.mapped++;
      if (pmap.isShared(page)) counts.shared++;
      if (frame === ZERO_FRAME) counts.zero++;
      if (frame === BALLOONED) counts.ballooned++;
      if (!isPagedOut(frame)) continue;
      counts.pagedOut++;
      assert.ok(!slots.has(slotOf(frame)), `slot ${slotOf(frame)} is two pages'`);
      slots.add(slotOf(frame));
    }
    assert.deepEqual({ ...pmap.counts }, counts);
  }
  const used = new Set(guests.flatMap(({ pmap }) => Array.from(pmap.entries(), ([, frame]) => frame)));
  const owners = new Set(guests.map(({ owner }) => owner));
  for (let frame = 0; frame < frames.total; frame++) {
    const { owner, state } = frames.info(frame);
    const isPage = state === "shared" || (state === "private" && owners.has(owner));
    assert.equal(used.has(frame), isPage || (state === "zero" && used.has(frame)), `frame ${frame} is ${state}`);
  }
  for (let word = machine.wordOf(ZERO_FRAME), end = word + 1024; word < end; word++) assert.equal(machine.words[word], 0, "somebody has written to the frame of zeros");
  return audit;
}
