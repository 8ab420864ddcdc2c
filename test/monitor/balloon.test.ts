/** A guest's balloon: frames that really come back, under every technique; and Debian's own driver. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { suite, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { readShared } from "#host/node/boot-files.ts";
import { Harts } from "#host/node/harts.ts";
import type { VmStats } from "#monitor/action.ts";
import { Balloon } from "#monitor/memory/balloon.ts";
import { address } from "#platform/memory-map.ts";
import { defaultImage } from "../kit/hostelry.ts";
import { EXIT, TestMonitor, type TestVm } from "../kit/monitor.ts";
import { allTechniques, titleOf } from "../kit/techniques.ts";
import { WatchedConsole } from "../kit/watched-console.ts";

const MIB = 1 << 20;
const FIRST = address.memory / 4096;
/** Pages of the guest's: what it reads and writes, what it executes, and a word that it waits for. */
const [DATA, CODE, WORD] = [FIRST + 64, FIRST + 65, FIRST + 66];
const RETURN = Uint8Array.of(0x67, 0x80, 0, 0);

/** Calls code in a page and writes to another, again and again, so that all tables and caches know them; then waits; then does it once more. */
const GUEST = `
  li   s0, ${DATA * 4096}
  li   s1, ${CODE * 4096}
  li   s2, ${WORD * 4096}
  li   s3, 3000
  la   t0, handler
  csrw stvec, t0
  warm:
  jalr s1
  ld   t1, 0(s0)
  addi t1, t1, 1
  sd   t1, 0(s0)
  addi s3, s3, -1
  bnez s3, warm
  sd   t1, 8(s2)
  wait:
  ld   t1, 0(s2)
  beqz t1, wait
  ld   s4, 0(s0)
  li   t1, 99
  sd   t1, 0(s0)
  ld   s5, 0(s0)
  jalr s1
  li   a0, 1
  ${EXIT}
  .align 2
  handler:
  csrr s6, scause
  csrr s7, sepc
  li   a0, 2
  ${EXIT.replaceAll("stay", "stay2")}`;

const put = ({ vm }: TestVm, page: number, bytes: Uint8Array): void => vm.memory.writable(page * 4096, bytes.length).set(bytes);

/** All free frames are another's, and full of what nobody is to see. */
function fillFree({ frames, memory }: TestMonitor): void {
  while (frames.available > 64) memory.writable(memory.take(99, "private")).fill(0x67);
}

for (const technique of allTechniques) suite(`what a guest on ${titleOf(technique)} gives back`, () => {
  const scene = (): { monitor: TestMonitor; guest: TestVm; balloon: Balloon } => {
    const monitor = new TestMonitor({ translate: true });
    const guest = monitor.create(GUEST, { technique });
    put(guest, CODE, RETURN);
    monitor.start(guest);
    monitor.run(() => guest.vm.memory.readable(WORD * 4096 + 8, 8)[0] === (3000 & 0xff));
    return { monitor, guest, balloon: new Balloon(guest.vm.memory) };
  };

  const goOn = (monitor: TestMonitor, guest: TestVm): void => {
    put(guest, WORD, Uint8Array.of(1));
    monitor.run(() => guest.end() !== undefined);
  };

  test("is another's at once, and comes again as zeros", () => {
    const { monitor, guest, balloon } = scene();
    const { pmap } = guest.vm.memory;
    const [before, mapped] = [monitor.frames.available, pmap.counts.mapped];
    balloon.inflate([DATA, CODE, DATA]);
    assert.deepEqual([pmap.counts.ballooned, pmap.counts.mapped, monitor.frames.available >= before + 2], [2, mapped - 2, true]);
    fillFree(monitor);
    goOn(monitor, guest);
    // The guest used pages of its balloon: it has them back, empty. Its code is gone, and zeros are no instruction.
    assert.deepEqual(guest.end(), { kind: "fail", code: 2 });
    assert.deepEqual([guest.x(20), guest.x(21), guest.x(22), guest.x(23)], [0n, 99n, 2n, BigInt(CODE * 4096)]);
    assert.equal(pmap.counts.ballooned, 0);
  });

  test("is nobody's affair but the guest's, however it lies", () => {
    const { monitor, guest, balloon } = scene();
    const { pmap } = guest.vm.memory;
    const [before, mapped] = [monitor.frames.available, pmap.counts.mapped];
    balloon.inflate([0, 0xffff_ffff, FIRST - 1, FIRST + pmap.pages]);
    balloon.deflate([DATA, 0, FIRST + pmap.pages]);
    balloon.report([0, FIRST + pmap.pages, FIRST + pmap.pages - 1]);
    assert.deepEqual([pmap.counts.ballooned, pmap.counts.mapped, monitor.frames.available], [0, mapped, before]);
    balloon.inflate([FIRST + pmap.pages - 1, FIRST + pmap.pages - 1]);
    balloon.report([FIRST + pmap.pages - 1]);
    assert.equal(pmap.counts.ballooned, 1);
    balloon.deflateAll();
    assert.deepEqual([pmap.counts.ballooned, pmap.counts.mapped], [0, mapped]);
    // Its own code, while it executes it.
    balloon.report(Array.from({ length: pmap.pages }, (_, index) => FIRST + index));
    assert.equal(pmap.counts.mapped, 0);
    fillFree(monitor);
    monitor.run(() => guest.end() !== undefined, 50);
    guest.vm.release();
    for (let frame = 0; frame < monitor.frames.total; frame++) assert.ok([0, 99].includes(monitor.frames.info(frame).owner));
  });
});

const found = await defaultImage();
const PATIENCE = 60_000;
const NUMBERS = 500_000;
/** Of `seq NUMBERS`. */
const checksum = createHash("md5").update(Array.from({ length: NUMBERS }, (_, n) => `${n + 1}\n`).join("")).digest("hex");

suite("Debian's balloon driver", { skip: "skip" in found && found.skip }, () => {
  const config = { cpus: 1, memory: 256 * MIB, clock: "host", drives: [], terminal: { columns: 80, rows: 24 }, allotment: { shares: 1, cap: 1 } } as const;
  const machine = 240 * MIB;

  /** A guest that has a file with known contents. */
  const boot = async (harts: Harts, name: string): Promise<WatchedConsole> => {
    const { image } = found as Exclude<typeof found, { skip: string }>;
    const files = await readShared({ kernel: image.kernelPath, initrd: image.initrdPath, append: image.manifest.append });
    const guest = new WatchedConsole(harts.create({ ...config, name }, files));
    await guest.until(/hostelry:~# /, PATIENCE);
    await type(guest, `seq ${NUMBERS} > numbers`);
    return guest;
  };

  /** What a command says. */
  const type = async (guest: WatchedConsole, command: string): Promise<string> => {
    guest.text = "";
    guest.type(`${command}; echo 'do'ne\n`);
    await guest.until(/done/, PATIENCE);
    return guest.text;
  };

  const until = async ({ vm }: WatchedConsole, isSo: (stats: VmStats) => boolean): Promise<VmStats> => {
    for (const deadline = performance.now() + PATIENCE; ; await sleep(50)) {
      const stats = await vm.stats();
      if (isSo(stats)) return stats;
      assert.ok(performance.now() < deadline, JSON.stringify(stats));
    }
  };

  test("gives half of its memory to another VM, takes it back, and loses nothing", async () => {
    const harts = new Harts({ harts: 2, memory: machine });
    const half = config.memory / 2;
    try {
      const first = await boot(harts, "first");
      await type(first, "dd if=/dev/zero of=zeros bs=1M count=70");
      const { mapped } = (await first.vm.stats()).memory;
      await type(first, "rm zeros");

      first.vm.inflate(half / 4096);
      const { memory } = await until(first, (stats) => stats.memory.ballooned === half && (stats.guest?.available ?? half) < half / 2);
      assert.equal(memory.target, half);
      assert.ok(memory.mapped <= half);
      const [, total, free] = /Mem: +(\d+) +\d+ +(\d+)/.exec(await type(first, "free"))!.map(Number);
      assert.ok(free! * 1024 < total! * 1024 - half);

      // A machine without balloons could not hold both.
      const second = await boot(harts, "second");
      await type(second, "dd if=/dev/zero of=zeros bs=1M count=40");
      assert.ok(mapped + (await second.vm.stats()).memory.mapped > machine);
      // The frames have come to others; the balloon goes along to another hart.
      harts.move(first.vm, 1);
      assert.match(await type(first, "md5sum numbers"), new RegExp(checksum));
      assert.equal((await first.vm.stats()).memory.ballooned, half);
      second.vm.stop();
      await second.vm.result;

      first.vm.inflate(0);
      await until(first, (stats) => stats.memory.ballooned === 0 && (stats.guest?.available ?? 0) > half);
      assert.match(await type(first, "md5sum numbers; dd if=/dev/zero of=zeros bs=1M count=70; cmp zeros /dev/zero"), new RegExp(`${checksum}[^]*EOF on zeros`));
      first.vm.stop();
      await first.vm.result;
      assert.equal(harts.frames.free, harts.frames.total);
    } finally {
      await harts.close();
    }
  });
});
