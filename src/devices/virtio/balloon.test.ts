import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { throughJson } from "../test-kit.ts";
import { VirtioBalloon, type BalloonMemory } from "./balloon.ts";
import { MEMORY_BASE, TestDriver, type TestDriverOptions } from "./test-driver.ts";

const FIRST = MEMORY_BASE / 4096;
const BUFFER = MEMORY_BASE + 0x2_0000;
const [INFLATE, DEFLATE, STATISTICS, REPORTING] = [0, 1, 2, 4];

class TestPages implements BalloonMemory {
  readonly firstPage = FIRST;
  readonly pages = 1024;
  readonly done: string[] = [];
  inflate = (pages: readonly number[]): void => void this.done.push(`inflate ${pages.join(" ")}`);
  deflate = (pages: readonly number[]): void => void this.done.push(`deflate ${pages.join(" ")}`);
  report = (pages: readonly number[]): void => void this.done.push(`report ${pages.join(" ")}`);
  deflateAll = (): void => void this.done.push("deflate all");
}

function setUp(options: TestDriverOptions = {}) {
  const pages = new TestPages();
  const device = new VirtioBalloon(pages);
  const driver = new TestDriver(device, options).start();
  pages.done.length = 0;
  return { pages, device, driver };
}

type Scene = ReturnType<typeof setUp>;

function tell({ driver }: Scene, index: number, pages: readonly number[], length = 4 * pages.length): void {
  pages.forEach((page, i) => driver.memory.setU32(BUFFER + 4 * i, page));
  driver.queue(index).offer([{ address: BUFFER, length }]);
  driver.queue(index).notify();
}

function say({ driver }: Scene, statistics: readonly (readonly [tag: number, value: number])[]): number {
  statistics.forEach(([tag, value], i) => {
    driver.memory.setU16(BUFFER + 10 * i, tag);
    driver.memory.setU64(BUFFER + 10 * i + 2, value);
  });
  const head = driver.queue(STATISTICS).offer([{ address: BUFFER, length: 10 * statistics.length }]);
  driver.queue(STATISTICS).notify();
  return head;
}

suite("the balloon", () => {
  test("says what is wanted, and hears what there is", () => {
    const { driver, device } = setUp();
    assert.equal(driver.get(0x100), 0);
    device.target = 300;
    assert.equal(driver.acknowledge(), 2);
    assert.equal(driver.get(0x100), 300);
    device.target = 300;
    assert.equal(driver.line.level, false);
    driver.put(0x104, 256);
    assert.equal(driver.get(0x104), 256);
    driver.put(0x100, 7);
    assert.equal(device.target, 300);
  });

  test("pages go and come back; the driver hears of it", () => {
    const scene = setUp({ scattered: true });
    tell(scene, INFLATE, [FIRST + 5, FIRST + 9]);
    assert.equal(scene.driver.acknowledge(), 1);
    tell(scene, DEFLATE, [FIRST + 9]);
    assert.equal(scene.driver.acknowledge(), 1);
    assert.deepEqual(scene.pages.done, [`inflate ${FIRST + 5} ${FIRST + 9}`, `deflate ${FIRST + 9}`]);
  });

  test("pages go when the rings have been used for the last time", () => {
    const scene = setUp();
    let used = -1;
    scene.pages.inflate = () => void (used = scene.driver.queue(INFLATE).collect().length);
    tell(scene, INFLATE, [FIRST]);
    assert.equal(used, 1);
  });

  test("statistics are asked for by giving the buffer back", () => {
    const scene = setUp();
    assert.equal(scene.device.statistics, undefined);
    const head = say(scene, [[4, 5 * 2 ** 32], [6, 7], [99, 1]]);
    assert.deepEqual(scene.device.statistics, { free: 5 * 2 ** 32, available: 7 });
    assert.deepEqual(scene.driver.queue(STATISTICS).collect(), []);
    scene.device.askForStatistics();
    scene.device.askForStatistics();
    assert.deepEqual(scene.driver.queue(STATISTICS).collect(), [{ head, written: 0 }]);
    say(scene, [[4, 3]]);
    assert.deepEqual(scene.device.statistics, { free: 3 });
  });

  for (const queue of [3, REPORTING]) {
    test(`free pages are reported in queue ${queue}: whole ones, of what is memory`, () => {
      const { driver, pages } = setUp();
      driver.queue(queue).offer([
        { address: MEMORY_BASE + 4096, length: 8192, writable: true },
        { address: MEMORY_BASE + 0x8001, length: 8192, writable: true },
        { address: 0, length: 4096, writable: true },
        { address: MEMORY_BASE + 1023 * 4096, length: 2 ** 31, writable: true },
      ]);
      driver.queue(queue).notify();
      assert.deepEqual(pages.done, [`report ${[1, 2, 9, 1023].map((page) => FIRST + page).join(" ")}`]);
      assert.equal(driver.queue(queue).collect().length, 1);
    });
  }

  test("a buffer for statistics may be there before the driver is ready", () => {
    const device = new VirtioBalloon(new TestPages());
    const driver = new TestDriver(device);
    driver.negotiate();
    driver.setUpQueue(STATISTICS);
    say({ pages: new TestPages(), device, driver }, [[4, 3]]);
    assert.equal(device.statistics, undefined);
    driver.put(0x70, driver.status | 4);
    assert.deepEqual(device.statistics, { free: 3 });
  });

  test("a driver without statistics reports in queue 2, as Linux numbers them", () => {
    const { driver, pages } = setUp({ features: [5] });
    driver.queue(2).offer([{ address: MEMORY_BASE, length: 4096, writable: true }]);
    driver.queue(2).notify();
    assert.deepEqual(pages.done, [`report ${FIRST}`]);
  });

  test("what the driver did not negotiate, it does not get", () => {
    const { driver, pages } = setUp({ features: [] });
    for (const queue of [2, 3, 4]) {
      driver.queue(queue).offer([{ address: MEMORY_BASE, length: 4096, writable: true }]);
      driver.queue(queue).notify();
    }
    assert.deepEqual(pages.done, []);
  });

  test("a driver that lies is bounded", () => {
    const scene = setUp();
    tell(scene, INFLATE, [FIRST, FIRST, 0, 0xffff_ffff], 0x8_0000);
    const named = scene.pages.done[0]!.split(" ").slice(1);
    assert.equal(named.length, 1024);
    assert.deepEqual(named.slice(0, 4), [`${FIRST}`, `${FIRST}`, "0", "4294967295"]);
    for (let i = 0; i < 4; i++) scene.driver.queue(REPORTING).offer([{ address: MEMORY_BASE, length: 0xffff_f000, writable: true }]);
    scene.driver.queue(REPORTING).notify();
    assert.equal(scene.pages.done[1]!.split(" ").length - 1, 1024);
    say(scene, []);
    say(scene, [[4, 1]]);
    assert.equal(scene.driver.queue(STATISTICS).collect().length, 1);
    assert.deepEqual(scene.driver.errors, []);
  });

  test("page numbers outside memory are an error of the driver's", () => {
    const { driver, pages } = setUp();
    driver.queue(INFLATE).offer([{ address: MEMORY_BASE - 4, length: 8 }]);
    driver.queue(INFLATE).notify();
    assert.equal(driver.errors[0]?.code, "dma-out-of-range");
    assert.deepEqual(pages.done, []);
  });

  test("when the driver goes, its pages are its guest's again; what is wanted stays", () => {
    const scene = setUp();
    scene.device.target = 9;
    say(scene, [[4, 1]]);
    scene.driver.put(0x104, 5);
    scene.driver.put(0x70, 0);
    assert.deepEqual(scene.pages.done, ["deflate all"]);
    assert.equal(scene.device.statistics, undefined);
    assert.deepEqual([scene.driver.get(0x100), scene.driver.get(0x104)], [9, 0]);
  });

  test("saved and restored it goes on, and the pages stay where they are", () => {
    const before = setUp();
    before.device.target = 9;
    before.driver.put(0x104, 5);
    const head = say(before, [[5, 77]]);
    const pages = new TestPages();
    const device = new VirtioBalloon(pages);
    const driver = new TestDriver(device, { memory: before.driver.memory });
    driver.transport.restore(throughJson(before.driver.transport.save()));
    assert.deepEqual(pages.done, []);
    assert.deepEqual(device.statistics, { total: 77 });
    assert.deepEqual([device.target, driver.get(0x104)], [9, 5]);
    device.askForStatistics();
    assert.deepEqual(driver.queue(STATISTICS).collect(), [{ head, written: 0 }]);
  });
});
