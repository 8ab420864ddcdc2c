/** Collecting garbage at a good moment: threads that hardly allocate, or hardly ever rest, would keep what start-up left for ever. */
import { getHeapStatistics } from "node:v8";

export class GarbageCollector {
  /** Bytes in use behind the last collection. */
  #kept = 0;

  /**
   * Collects garbage if the heap has grown by so many bytes. `rest`: gives all that is free back to the system, and drops V8's baseline code, of
   * all threads. Without V8's `--expose-gc` (see bin/load.js), V8 is left alone.
   */
  collect(limit: number, when: "work" | "rest"): void {
    if (getHeapStatistics().used_heap_size < this.#kept + limit) return;
    globalThis.gc?.({ type: "major", flavor: when === "rest" ? "last-resort" : "regular" });
    this.#kept = getHeapStatistics().used_heap_size;
  }
}
