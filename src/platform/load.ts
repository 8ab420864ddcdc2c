/** Putting files into a computer's memory. */
import { scatter, writableViews } from "#devices/dma.ts";
import type { DmaMemory } from "#machine/bus.ts";

const PAGE = 4096;

export function put(memory: DmaMemory, address: number, bytes: Uint8Array): void {
  scatter(bytes, writableViews(memory, [{ address, length: bytes.length }]));
}

/** The same where memory is zero. Pages of zeros are left out: a host finds memory for a page when it is first written to. */
export function putSparsely(memory: DmaMemory, address: number, bytes: Uint8Array): void {
  let rest = 0;
  for (let start = 0, end; start < bytes.length; start = end) {
    end = Math.min(start + PAGE - ((address + start) % PAGE), bytes.length);
    if (!isZero(bytes, start, end)) continue;
    put(memory, address + rest, bytes.subarray(rest, start));
    rest = end;
  }
  put(memory, address + rest, bytes.subarray(rest));
}

function isZero(bytes: Uint8Array, start: number, end: number): boolean {
  for (let at = start; at < end; at++) if (bytes[at] !== 0) return false;
  return true;
}
