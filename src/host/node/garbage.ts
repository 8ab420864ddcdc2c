/** Collecting garbage at a good moment: threads that hardly allocate, or hardly ever rest, would keep what start-up left for ever. */
import { getHeapStatistics } from "node:v8";

export class GarbageCollector {
  /** Bytes in use behind the last collection, and what V8 held behind the last one at rest. */
  #used = 0;
  #held = 0;

  /**
   * Collects garbage if so many bytes have come into use since. `rest`: if V8 holds so many more, gives back to the system what is free; this also drops
   * V8's baseline code, of all threads. Without V8's `--expose-gc` (see bin/load.js), V8 is left alone.
   */
  collect(limit: number, when: "work" | "rest"): void {
    const before = getHeapStatistics();
    const grown = when === "rest" ? before.total_physical_size - this.#held : before.used_heap_size - this.#used;
    if (grown < limit) return;
    globalThis.gc?.({ type: "major", flavor: when === "rest" ? "last-resort" : "regular" });
    const after = getHeapStatistics();
    this.#used = after.used_heap_size;
    if (when === "rest") this.#held = after.total_physical_size;
  }
}
