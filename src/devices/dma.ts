import type { DmaMemory } from "#machine/bus.ts";

/** A range of guest-physical memory. */
export interface Segment {
  readonly address: number;
  readonly length: number;
}

/** The windows into memory that make up `segments`, in order. */
export function readableViews(memory: DmaMemory, segments: readonly Segment[]): Uint8Array[] {
  const views: Uint8Array[] = [];
  for (const { address, length } of segments) {
    for (let done = 0; done < length; ) {
      const view = memory.readable(address + done, length - done);
      views.push(view);
      done += view.length;
    }
  }
  return views;
}

/** The same, to be written. */
export function writableViews(memory: DmaMemory, segments: readonly Segment[]): Uint8Array[] {
  const views: Uint8Array[] = [];
  for (const { address, length } of segments) {
    for (let done = 0; done < length; ) {
      const view = memory.writable(address + done, length - done);
      views.push(view);
      done += view.length;
    }
  }
  return views;
}

/** `views` joined into bytes of our own, not on shared memory. */
export function gather(views: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(totalLength(views));
  let at = 0;
  for (const view of views) {
    bytes.set(view, at);
    at += view.length;
  }
  return bytes;
}

/** Spreads `bytes` over `views`, from the front; both must be equally long. */
export function scatter(bytes: Uint8Array, views: readonly Uint8Array[]): void {
  let at = 0;
  for (const view of views) {
    view.set(bytes.subarray(at, at + view.length));
    at += view.length;
  }
}

/** `length` bytes of `segments` from `start` on. Fewer if there are fewer. */
export function slice(segments: readonly Segment[], start: number, length: number): Segment[] {
  const part: Segment[] = [];
  let skip = start;
  let left = length;
  for (const segment of segments) {
    if (left === 0) break;
    if (skip >= segment.length) {
      skip -= segment.length;
      continue;
    }
    const take = Math.min(segment.length - skip, left);
    part.push({ address: segment.address + skip, length: take });
    skip = 0;
    left -= take;
  }
  return part;
}

export function totalLength(items: readonly { readonly length: number }[]): number {
  return items.reduce((sum, item) => sum + item.length, 0);
}
