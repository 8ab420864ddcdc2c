import assert from "node:assert/strict";
import { test } from "node:test";
import { TestRandom, throughJson } from "../test-kit.ts";
import { VirtioBlock, type BlockBackend, type DeferredBlockBackend, type ImmediateBlockBackend } from "./block.ts";
import { MEMORY_BASE, TestDriver, type TestDriverOptions } from "./test-driver.ts";

const SECTORS = 2048;
const OK = 0;
const IO_ERROR = 1;
const UNSUPPORTED = 2;
const READ = 0;
const WRITE = 1;
const FLUSH = 4;
const GET_ID = 8;
const DISCARD = 11;
const WRITE_ZEROES = 13;

class MemoryDisk implements ImmediateBlockBackend {
  readonly kind = "immediate";
  readonly sectors = SECTORS;
  readonly readOnly: boolean;
  readonly id = "test-disk";
  readonly bytes = new Uint8Array(SECTORS * 512);
  readonly calls: string[] = [];
  broken = false;

  constructor(readOnly = false) {
    this.readOnly = readOnly;
    this.bytes.forEach((_, index) => (this.bytes[index] = (index >> 9) ^ (index * 7)));
  }

  read(sector: number, into: readonly Uint8Array[]): void {
    this.#called("read", sector);
    let at = sector * 512;
    for (const view of into) {
      view.set(this.bytes.subarray(at, at + view.length));
      at += view.length;
    }
  }

  write(sector: number, from: readonly Uint8Array[]): void {
    this.#called("write", sector);
    let at = sector * 512;
    for (const view of from) {
      this.bytes.set(view, at);
      at += view.length;
    }
  }

  flush(): void {
    this.#called("flush");
  }

  discard(sector: number, count: number): void {
    this.#called("discard", sector, count);
  }

  writeZeroes(sector: number, count: number, mayUnmap: boolean): void {
    this.#called("writeZeroes", sector, count, mayUnmap);
    this.bytes.fill(0, sector * 512, (sector + count) * 512);
  }

  #called(...call: unknown[]): void {
    if (this.broken) throw new Error("the disk is on fire");
    this.calls.push(call.join(" "));
  }
}

/** The same, finished when the test says so. */
class SlowDisk implements DeferredBlockBackend {
  readonly kind = "deferred";
  readonly disk = new MemoryDisk();
  readonly sectors = SECTORS;
  readonly readOnly = false;
  readonly id = "slow";
  readonly waiting: { finish: () => Promise<void> }[] = [];

  read(sector: number, into: readonly Uint8Array[]): Promise<void> {
    return this.#later(() => this.disk.read(sector, into));
  }

  write(sector: number, from: readonly Uint8Array[]): Promise<void> {
    return this.#later(() => this.disk.write(sector, from));
  }

  flush(): Promise<void> {
    return this.#later(() => this.disk.flush());
  }

  #later(work: () => void): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const finish = async () => {
      try {
        work();
        resolve();
      } catch (error) {
        reject(error);
      }
      for (let turn = 0; turn < 4; turn++) await Promise.resolve();
    };
    this.waiting.push({ finish });
    return promise;
  }
}

interface Piece {
  readonly address: number;
  readonly length: number;
}

function setUp(disk: BlockBackend = new MemoryDisk(), options: TestDriverOptions = {}) {
  const failures: unknown[] = [];
  const device = new VirtioBlock(disk, (error) => void failures.push(error));
  const driver = new TestDriver(device, options);
  if (options.memory === undefined) driver.start();
  let slot = 0;
  /** Makes a request available; `status()` reads its status byte, 0xff while there is none. */
  const request = (type: number, sector: number, pieces: readonly Piece[], options: { indirect?: boolean } = {}) => {
    const header = MEMORY_BASE + 0x8_0000 + 64 * slot;
    const table = MEMORY_BASE + 0x9_0000 + 0x2000 * slot;
    slot = (slot + 1) % 16;
    const { memory } = driver;
    memory.setU32(header, type);
    memory.setU32(header + 4, 0);
    memory.setU64(header + 8, sector);
    memory.put(header + 16, Uint8Array.of(0xff));
    const writable = type === READ || type === GET_ID;
    const chain = [
      { address: header, length: 16 },
      ...pieces.map((piece) => ({ ...piece, writable })),
      { address: header + 16, length: 1, writable: true },
    ];
    const queue = driver.queue(0);
    const head = options.indirect ? queue.offerIndirect(chain, table) : queue.offer(chain);
    queue.notify();
    return { head, status: () => memory.get(header + 16, 1)[0]! };
  };
  return {
    device, driver, failures, request,
    ranges(type: number, ranges: readonly (readonly [sector: number, count: number, flags: number])[]) {
      const at = MEMORY_BASE + 0x7_0000;
      ranges.forEach(([sector, count, flags], index) => {
        driver.memory.setU64(at + 16 * index, sector);
        driver.memory.setU32(at + 16 * index + 8, count);
        driver.memory.setU32(at + 16 * index + 12, flags);
      });
      return request(type, 0, [{ address: at, length: 16 * ranges.length }]).status();
    },
  };
}

test("the configuration tells capacity and limits", () => {
  const { driver } = setUp();
  assert.equal(driver.get(0x100), SECTORS);
  assert.equal(driver.get(0x104), 0);
  assert.equal(driver.get(0x10c), 254);
  assert.equal(driver.get(0x114), 512);
});

for (const scattered of [false, true]) {
  test(`a large read lands in its pages, and a large write comes from them (memory ${scattered ? "scattered" : "contiguous"})`, () => {
    const disk = new MemoryDisk();
    const { driver, request } = setUp(disk, { scattered });
    const pages = Array.from({ length: 32 }, (_, index) => ({ address: MEMORY_BASE + 0x2000 * (31 - index), length: 4096 }));
    const read = request(READ, 100, pages, { indirect: true });
    assert.equal(read.status(), OK);
    assert.equal(driver.acknowledge(), 1);
    assert.deepEqual(driver.queue(0).collect(), [{ head: read.head, written: 32 * 4096 + 1 }]);
    pages.forEach((page, index) => {
      const at = 100 * 512 + 4096 * index;
      assert.deepEqual(driver.memory.get(page.address, 4096), disk.bytes.slice(at, at + 4096));
    });
    const image = disk.bytes.slice(100 * 512, 100 * 512 + 32 * 4096);
    const write = request(WRITE, 1000, pages, { indirect: true });
    assert.equal(write.status(), OK);
    assert.deepEqual(driver.queue(0).collect(), [{ head: write.head, written: 1 }]);
    assert.deepEqual(disk.bytes.slice(1000 * 512, 1000 * 512 + 32 * 4096), image);
    assert.deepEqual(disk.calls, ["read 100", "write 1000"], "one call a request");
  });
}

test("a request may be cut into buffers in any way", () => {
  const disk = new MemoryDisk();
  const { driver } = setUp(disk);
  const { memory } = driver;
  memory.setU64(MEMORY_BASE, READ);
  memory.setU64(MEMORY_BASE + 0x1008, 5);
  driver.queue(0).offer([
    { address: MEMORY_BASE, length: 7 },
    { address: MEMORY_BASE + 7, length: 1 },
    { address: MEMORY_BASE + 0x1008, length: 8 },
    { address: MEMORY_BASE + 0x2000, length: 1, writable: true },
    { address: MEMORY_BASE + 0x3000, length: 512, writable: true },
  ]);
  driver.queue(0).notify();
  assert.equal(driver.queue(0).collect()[0]?.written, 513);
  assert.equal(memory.get(MEMORY_BASE + 0x2000, 1)[0], disk.bytes[5 * 512]);
  assert.deepEqual(memory.get(MEMORY_BASE + 0x3000, 511), disk.bytes.slice(5 * 512 + 1, 6 * 512));
  assert.equal(memory.get(MEMORY_BASE + 0x31ff, 1)[0], OK);
});

test("a flush reaches the disk; without the feature every write is made safe", () => {
  const disk = new MemoryDisk();
  const page = [{ address: MEMORY_BASE, length: 512 }];
  assert.equal(setUp(disk).request(FLUSH, 0, []).status(), OK);
  assert.deepEqual(disk.calls, ["flush"]);
  setUp(disk, { features: [] }).request(WRITE, 3, page);
  assert.deepEqual(disk.calls, ["flush", "write 3", "flush"]);
});

test("the serial number is padded with NUL", () => {
  const { driver, request } = setUp();
  assert.equal(request(GET_ID, 0, [{ address: MEMORY_BASE, length: 20 }]).status(), OK);
  assert.deepEqual(Buffer.from(driver.memory.get(MEMORY_BASE, 20)).toString("latin1"), "test-disk".padEnd(20, "\0"));
});

test("what does not fit the disk is an I/O error, and harms nothing", () => {
  const disk = new MemoryDisk();
  const before = disk.bytes.slice();
  const { driver, request } = setUp(disk);
  const page = { address: MEMORY_BASE, length: 1024 };
  for (const type of [READ, WRITE]) {
    assert.equal(request(type, SECTORS - 1, [page]).status(), IO_ERROR);
    assert.equal(request(type, 2 ** 64 - 2048, [page]).status(), IO_ERROR);
    assert.equal(request(type, 0, [{ ...page, length: 513 }]).status(), IO_ERROR);
  }
  assert.ok(driver.queue(0).collect().every(({ written }) => written <= 1));
  assert.deepEqual(disk.calls, []);
  assert.deepEqual(disk.bytes, before);
});

test("an unknown request is unsupported", () => {
  assert.equal(setUp().request(77, 0, []).status(), UNSUPPORTED);
});

test("a read-only disk says so and takes no writes", () => {
  const disk = new MemoryDisk(true);
  const { device, request, ranges } = setUp(disk);
  assert.ok(device.features.includes(5));
  assert.ok(!device.features.includes(13));
  assert.equal(request(WRITE, 0, [{ address: MEMORY_BASE, length: 512 }]).status(), IO_ERROR);
  assert.equal(ranges(DISCARD, [[0, 1, 0]]), UNSUPPORTED);
  assert.deepEqual(disk.calls, []);
});

test("ranges are discarded and zeroed; a bad one touches none", () => {
  const disk = new MemoryDisk();
  const { ranges } = setUp(disk);
  assert.equal(ranges(DISCARD, [[1, 2, 0], [10, 20, 0]]), OK);
  assert.equal(ranges(WRITE_ZEROES, [[4, 2, 1]]), OK);
  assert.deepEqual(disk.calls, ["discard 1 2", "discard 10 20", "writeZeroes 4 2 true"]);
  assert.deepEqual(disk.bytes.subarray(4 * 512, 6 * 512), new Uint8Array(1024));
  assert.equal(ranges(DISCARD, [[1, 1, 1]]), UNSUPPORTED, "discard knows no unmap flag");
  assert.equal(ranges(WRITE_ZEROES, [[1, 1, 2]]), UNSUPPORTED);
  assert.equal(ranges(WRITE_ZEROES, [[0, 1, 0], [SECTORS, 1, 0]]), IO_ERROR);
  assert.equal(ranges(WRITE_ZEROES, [[2 ** 64 - 4096, 1, 0]]), IO_ERROR);
  assert.equal(ranges(DISCARD, []), IO_ERROR);
  assert.equal(disk.calls.length, 3);
});

test("a failing disk is an I/O error to the guest and told to the host", () => {
  const disk = new MemoryDisk();
  const { request, failures, driver } = setUp(disk);
  disk.broken = true;
  assert.equal(request(READ, 0, [{ address: MEMORY_BASE, length: 512 }]).status(), IO_ERROR);
  assert.match(String(failures[0]), /on fire/);
  disk.broken = false;
  assert.equal(request(READ, 0, [{ address: MEMORY_BASE, length: 512 }]).status(), OK);
  assert.deepEqual(driver.errors, []);
});

test("a request without header or status, or with buffers outside memory, makes the device need a reset", () => {
  const cases: [code: string, chain: { address: number; length: number; writable?: boolean }[]][] = [
    ["virtio-bad-request", [{ address: MEMORY_BASE, length: 15 }, { address: MEMORY_BASE, length: 1, writable: true }]],
    ["virtio-bad-request", [{ address: MEMORY_BASE, length: 16 }]],
    ["dma-out-of-range", [{ address: 16, length: 16 }, { address: MEMORY_BASE, length: 1, writable: true }]],
    ["dma-out-of-range", [{ address: MEMORY_BASE, length: 16 }, { address: 2 ** 50, length: 513, writable: true }]],
  ];
  for (const [code, chain] of cases) {
    const { driver } = setUp();
    driver.queue(0).offer(chain);
    driver.queue(0).notify();
    assert.equal(driver.errors[0]?.code, code);
    assert.equal(driver.status & 0x40, 0x40);
  }
});

test("a deferred disk completes requests when they are done, in any order", async () => {
  const disk = new SlowDisk();
  const { driver, device, request } = setUp(disk, { scattered: true });
  const first = request(READ, 1, [{ address: MEMORY_BASE + 0xf00, length: 512 }]);
  const second = request(READ, 2, [{ address: MEMORY_BASE + 0x2000, length: 512 }]);
  assert.deepEqual([first.status(), second.status()], [0xff, 0xff]);
  assert.equal(device.idle, false);
  assert.equal(driver.line.level, false);
  await disk.waiting[1]!.finish();
  assert.equal(driver.acknowledge(), 1);
  assert.deepEqual(driver.queue(0).collect(), [{ head: second.head, written: 513 }]);
  await disk.waiting[0]!.finish();
  assert.deepEqual(driver.queue(0).collect(), [{ head: first.head, written: 513 }]);
  assert.equal(first.status(), OK);
  assert.deepEqual(driver.memory.get(MEMORY_BASE + 0xf00, 512), disk.disk.bytes.slice(512, 1024));
  assert.equal(device.idle, true);
});

test("a deferred failure is an I/O error, and nothing is delivered", async () => {
  const disk = new SlowDisk();
  const { driver, failures, request } = setUp(disk);
  const read = request(READ, 1, [{ address: MEMORY_BASE, length: 512 }]);
  disk.disk.broken = true;
  await disk.waiting[0]!.finish();
  assert.equal(read.status(), IO_ERROR);
  assert.equal(failures.length, 1);
  assert.deepEqual(driver.memory.get(MEMORY_BASE, 512), new Uint8Array(512));
});

test("what was in flight at a reset does not touch memory after it", async () => {
  const disk = new SlowDisk();
  const { driver, request } = setUp(disk);
  const read = request(READ, 1, [{ address: MEMORY_BASE, length: 512 }]);
  driver.start();
  await disk.waiting[0]!.finish();
  assert.equal(read.status(), 0xff);
  assert.deepEqual(driver.memory.get(MEMORY_BASE, 512), new Uint8Array(512));
  assert.deepEqual(driver.queue(0).collect(), []);
});

test("with much in flight the rest waits in the ring, and comes when there is room", async () => {
  const disk = new SlowDisk();
  const { request } = setUp(disk, { queueSize: 256 });
  // The same megabyte 60 times: the whole disk is one, so each is a whole read of it.
  const requests = Array.from({ length: 80 }, () => request(WRITE, 0, [{ address: MEMORY_BASE, length: 0x10_0000 }]));
  assert.equal(disk.waiting.length, 64);
  await disk.waiting[0]!.finish();
  assert.equal(disk.waiting.length, 65);
  assert.equal(requests[0]!.status(), OK);
});

test("saved with requests in flight, they are begun anew where they are restored", async () => {
  const before = setUp(new SlowDisk());
  const done = before.request(READ, 7, [{ address: MEMORY_BASE, length: 512 }]);
  const disk = new SlowDisk();
  const after = setUp(disk, { memory: before.driver.memory });
  after.driver.transport.restore(throughJson(before.driver.transport.save()));
  assert.equal(disk.waiting.length, 1);
  await disk.waiting[0]!.finish();
  assert.equal(done.status(), OK);
  assert.deepEqual(after.driver.memory.get(MEMORY_BASE, 512), disk.disk.bytes.slice(7 * 512, 8 * 512));
  assert.equal(after.driver.line.level, true);
});

test("a snapshot with another disk is refused", () => {
  const { driver, device } = setUp();
  const state = device.save();
  assert.throws(() => device.restore({ ...state, sectors: 7 }), { code: "bad-snapshot", message: /7 sectors/ });
  assert.throws(() => driver.transport.restore({ ...driver.transport.save(), device: null }), { code: "bad-snapshot" });
});

test("random requests against a model of the disk", () => {
  const random = new TestRandom(2024);
  const disk = new MemoryDisk();
  const model = disk.bytes.slice();
  const { driver, request } = setUp(disk, { scattered: true });
  for (let round = 0; round < 400; round++) {
    const count = 1 + random.below(6);
    let left = 512 * (1 + random.below(16));
    const sector = random.below(SECTORS - left / 512);
    const total = left;
    const pieces: Piece[] = [];
    for (let index = 0; index < count && left > 0; index++) {
      const length = index === count - 1 ? left : 1 + random.below(left);
      pieces.push({ address: MEMORY_BASE + 0x1_0000 * index + random.below(0x8000), length });
      left -= length;
    }
    const type = random.pick([READ, WRITE]);
    if (type === WRITE) {
      for (const piece of pieces) driver.memory.put(piece.address, Uint8Array.from({ length: piece.length }, () => random.below(256)));
    }
    assert.equal(request(type, sector, pieces, { indirect: random.below(2) === 0 }).status(), OK);
    const data = Buffer.concat(pieces.map((piece) => driver.memory.get(piece.address, piece.length)));
    if (type === WRITE) model.set(data, sector * 512);
    else assert.ok(data.equals(model.subarray(sector * 512, sector * 512 + total)), `round ${round}`);
    driver.queue(0).collect();
  }
  assert.ok(Buffer.from(model).equals(disk.bytes));
});

test("random rings neither throw nor go on for ever, nor write where they may not", () => {
  for (let seed = 1; seed <= 60; seed++) {
    const random = new TestRandom(seed);
    const disk = new MemoryDisk(true);
    const { driver } = setUp(disk, { scattered: random.below(2) === 0 });
    const queue = driver.queue(0);
    const tables = [queue.descriptors, MEMORY_BASE + 0x6000];
    for (let round = 0; round < 30; round++) {
      driver.memory.setU64(MEMORY_BASE, random.pick([READ, WRITE, FLUSH, GET_ID, DISCARD, WRITE_ZEROES, 99]));
      driver.memory.setU64(MEMORY_BASE + 8, random.pick([0, 5, SECTORS, random.u32()]));
      for (let count = 0; count < 6; count++) {
        const buffer = {
          address: random.pick([MEMORY_BASE, MEMORY_BASE + random.below(1 << 20), tables[1]!, random.u32(), 2 ** 40]),
          length: random.pick([0, 1, 16, 48, 512, 4096, random.u32()]),
        };
        queue.writeDescriptor(random.pick(tables), random.below(16), buffer, random.below(8), random.below(18));
      }
      queue.makeAvailable(random.below(17));
      queue.notify();
      if (driver.status & 0x40) driver.start();
    }
    assert.ok(disk.calls.every((call) => /^(read|flush)/.test(call)));
  }
});
