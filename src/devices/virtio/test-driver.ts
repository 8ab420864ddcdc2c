/** A driver for tests: what Linux's virtio-mmio and virtio-ring do, against a device in memory. */
import assert from "node:assert/strict";
import type { HostelryError } from "#base/errors.ts";
import { TestLine, TestMemory } from "../test-kit.ts";
import { TransportFeature, type VirtioDevice } from "./device.ts";
import { VirtioMmio } from "./mmio-transport.ts";

export const MEMORY_BASE = 0x8000_0000;
const RINGS = MEMORY_BASE + 0x10_0000;
const QUEUE_SPACE = 0x1_0000;

export interface TestBuffer {
  readonly address: number;
  readonly length: number;
  readonly writable?: boolean;
}

export interface TestDriverOptions {
  readonly features?: readonly number[];
  readonly queueSize?: number;
  readonly scattered?: boolean;
  readonly memory?: TestMemory;
}

export class TestDriver {
  readonly memory: TestMemory;
  readonly line = new TestLine();
  readonly errors: HostelryError[] = [];
  readonly transport: VirtioMmio;
  readonly queueSize: number;
  readonly features: readonly number[];
  readonly #queues: TestQueue[] = [];
  readonly #queueCount: number;

  constructor(device: VirtioDevice | undefined, options: TestDriverOptions = {}) {
    this.memory = options.memory ?? new TestMemory(MEMORY_BASE, 4 << 20, options.scattered);
    this.transport = new VirtioMmio(this.memory, this.line, device, (error) => void this.errors.push(error));
    this.queueSize = options.queueSize ?? 16;
    this.features = options.features ?? [...(device?.features ?? []), TransportFeature.indirectDescriptors, TransportFeature.eventIndex];
    this.#queueCount = device?.queueSizes.length ?? 0;
    this.adopt();
  }

  get(offset: number): number {
    return this.transport.read(offset, 4);
  }

  put(offset: number, value: number): void {
    this.transport.write(offset, 4, value);
  }

  get status(): number {
    return this.get(0x70);
  }

  queue(index: number): TestQueue {
    return this.#queues[index]!;
  }

  /** Section 3.1.1: the whole initialization. */
  start(): this {
    this.negotiate();
    for (let index = 0; index < this.#queueCount; index++) this.setUpQueue(index);
    this.put(0x70, this.status | 4);
    return this;
  }

  negotiate(): void {
    this.put(0x70, 0);
    this.put(0x70, 1);
    this.put(0x70, 3);
    const words = [0, 0];
    for (const bit of [...this.features, TransportFeature.version1]) words[bit >> 5]! |= 1 << (bit & 31);
    words.forEach((word, select) => {
      this.put(0x24, select);
      this.put(0x20, word >>> 0);
    });
    this.put(0x70, 11);
    assert.equal(this.status, 11, "the device took the features");
  }

  setUpQueue(index: number): void {
    const queue = new TestQueue(this, index);
    this.memory.put(queue.descriptors, new Uint8Array(QUEUE_SPACE));
    this.#queues[index] = queue;
    this.put(0x30, index);
    assert.equal(this.get(0x44), 0);
    assert.ok(this.get(0x34) >= this.queueSize);
    this.put(0x38, this.queueSize);
    for (const [offset, address] of [[0x80, queue.descriptors], [0x90, queue.available], [0xa0, queue.used]] as const) {
      this.put(offset, address);
      this.put(offset + 4, 0);
    }
    this.put(0x44, 1);
    assert.equal(this.get(0x44), 1);
  }

  /** Queues as they are in memory already: for a device that was restored. */
  adopt(): void {
    for (let index = 0; index < this.#queueCount; index++) this.#queues[index] = new TestQueue(this, index);
  }

  /** What the interrupt handler does: reads and acknowledges. */
  acknowledge(): number {
    const status = this.get(0x60);
    this.put(0x64, status);
    assert.equal(this.line.level, false);
    return status;
  }
}

export class TestQueue {
  readonly descriptors: number;
  readonly available: number;
  readonly used: number;
  readonly #driver: TestDriver;
  readonly #index: number;
  #nextDescriptor = 0;
  #seenUsed = 0;

  constructor(driver: TestDriver, index: number) {
    this.#driver = driver;
    this.#index = index;
    this.descriptors = RINGS + QUEUE_SPACE * index;
    this.available = this.descriptors + 0x4000;
    this.used = this.descriptors + 0x8000;
  }

  get size(): number {
    return this.#driver.queueSize;
  }

  writeDescriptor(table: number, index: number, buffer: TestBuffer, flags: number, next: number): void {
    const { memory } = this.#driver;
    const at = table + 16 * index;
    memory.setU64(at, buffer.address);
    memory.setU32(at + 8, buffer.length);
    memory.setU16(at + 12, flags | (buffer.writable ? 2 : 0));
    memory.setU16(at + 14, next);
  }

  /** Makes a chain available; returns its head. Descriptors are taken round and round. */
  offer(buffers: readonly TestBuffer[]): number {
    const head = this.#nextDescriptor % this.size;
    buffers.forEach((buffer, index) => {
      const last = index === buffers.length - 1;
      const at = (head + index) % this.size;
      this.writeDescriptor(this.descriptors, at, buffer, last ? 0 : 1, (at + 1) % this.size);
    });
    this.#nextDescriptor += buffers.length;
    this.makeAvailable(head);
    return head;
  }

  /** The same through an indirect table at `table`. */
  offerIndirect(buffers: readonly TestBuffer[], table: number): number {
    const head = this.#nextDescriptor++ % this.size;
    buffers.forEach((buffer, index) => this.writeDescriptor(table, index, buffer, index === buffers.length - 1 ? 0 : 1, index + 1));
    this.writeDescriptor(this.descriptors, head, { address: table, length: 16 * buffers.length }, 4, 0);
    this.makeAvailable(head);
    return head;
  }

  makeAvailable(head: number): void {
    const { memory } = this.#driver;
    const index = memory.u16(this.available + 2);
    memory.setU16(this.available + 4 + 2 * (index % this.size), head);
    memory.setU16(this.available + 2, (index + 1) & 0xffff);
  }

  notify(): void {
    this.#driver.put(0x50, this.#index);
  }

  /** Chains that came back since the last call. With EVENT_IDX, asks to be interrupted for the next. */
  collect(): { head: number; written: number }[] {
    const { memory } = this.#driver;
    const completed = [];
    while (memory.u16(this.used + 2) !== this.#seenUsed) {
      const entry = this.used + 4 + 8 * (this.#seenUsed % this.size);
      completed.push({ head: memory.u32(entry), written: memory.u32(entry + 4) });
      this.#seenUsed = (this.#seenUsed + 1) & 0xffff;
    }
    this.setUsedEvent(this.#seenUsed);
    return completed;
  }

  setUsedEvent(index: number): void {
    this.#driver.memory.setU16(this.available + 4 + 2 * this.size, index & 0xffff);
  }

  availableEvent(): number {
    return this.#driver.memory.u16(this.used + 4 + 8 * this.size);
  }
}
