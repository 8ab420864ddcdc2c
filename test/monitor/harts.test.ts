/** Debian in VMs on a machine of two harts, in threads as a user has them. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { suite, test } from "node:test";
import { readShared } from "#host/node/boot-files.ts";
import { Harts } from "#host/node/harts.ts";
import { techniqueOf } from "#monitor/cpu/technique.ts";
import { address } from "#platform/memory-map.ts";
import { assemble } from "#riscv/assemble.ts";
import { defaultImage } from "../kit/hostelry.ts";
import { allTechniques } from "../kit/techniques.ts";
import { WatchedConsole } from "../kit/watched-console.ts";

const MIB = 1 << 20;
const found = await defaultImage();

const PATIENCE = 60_000;

const config = { cpus: 1, memory: 128 * MIB, clock: "host", drives: [], terminal: { columns: 80, rows: 24 }, allotment: { shares: 1, cap: 1 } } as const;

/** Of `seq count`. */
const checksum = (count: number): string => createHash("md5").update(Array.from({ length: count }, (_, n) => `${n + 1}\n`).join("")).digest("hex");

suite("VMs on two harts", { skip: "skip" in found && found.skip }, () => {
  const open = async () => {
    const { image } = found as Exclude<typeof found, { skip: string }>;
    return readShared({ kernel: image.kernelPath, initrd: image.initrdPath, append: image.manifest.append });
  };

  test("one that moves goes on where it was, and gives back every frame", async () => {
    const harts = new Harts({ harts: 2, memory: 160 * MIB });
    const { total } = harts.frames;
    try {
      const guest = new WatchedConsole(harts.create({ ...config, name: "mover" }, await open()));
      await guest.until(/hostelry:~# /, PATIENCE);
      guest.type("for i in 1 2 3 4 5 6 7 8; do seq $((i * 20000)) | md5sum; sleep 0.1; done; cat /proc/uptime; echo 'all' done\n");
      for (let i = 0; i < 6; i++) {
        await new Promise((resolve) => setTimeout(resolve, 150));
        harts.move(guest.vm, i % 2 === 0 ? 1 : 0);
      }
      await guest.until(/all done/, PATIENCE);
      // seq 20000 | md5sum, and so on, as any Unix has them.
      for (let i = 1; i <= 8; i++) assert.ok(guest.text.includes(checksum(i * 20000)), `the ${i}th checksum`);
      const stats = await guest.vm.stats();
      assert.ok(stats.exits["first-touch"] > 1000);
      guest.vm.stop();
      assert.deepEqual((await guest.vm.result).end, { kind: "stopped" });
      assert.equal(harts.frames.free, total);
    } finally {
      await harts.close();
    }
  });

  test("one goes from technique to technique while it works, and takes its own along to another hart", async () => {
    const harts = new Harts({ harts: 2, memory: 160 * MIB });
    try {
      const guest = new WatchedConsole(harts.create({ ...config, technique: techniqueOf({ cpu: "trap-and-emulate" }), name: "changer" }, await open()));
      await guest.until(/hostelry:~# /, PATIENCE);
      guest.type("for i in 1 2 3 4 5 6; do seq $((i * 20000)) | md5sum; (cat /proc/uptime) > /dev/null; done; echo 'all' done\n");
      for (let turn = 0; turn < 2; turn++) {
        for (const technique of allTechniques) {
          await guest.vm.set({ shares: 2, cap: 1 }, technique);
          harts.move(guest.vm, turn);
          const stats = await guest.vm.stats();
          assert.deepEqual(stats.technique, technique);
          assert.equal(stats.shadow === null, technique.mmu !== "shadow");
        }
      }
      await guest.until(/all done/, PATIENCE);
      for (let i = 1; i <= 6; i++) assert.ok(guest.text.includes(checksum(i * 20000)), `the ${i}th checksum`);
      guest.vm.stop();
      await guest.vm.result;
      assert.equal(harts.frames.free, harts.frames.total);
    } finally {
      await harts.close();
    }
  });

  test("what one hart compiled, the other has too", async () => {
    const harts = new Harts({ harts: 2, memory: 320 * MIB });
    try {
      const files = await open();
      // Each has a hart of its own.
      const shares: number[] = [];
      for (const name of ["first", "second"]) {
        const vm = harts.create({ ...config, name }, files);
        await new WatchedConsole(vm).until(/hostelry:~# /, PATIENCE);
        const { places, shared } = (await vm.stats()).translations;
        assert.ok(places > 100);
        shares.push(shared / places);
      }
      assert.ok(shares[0]! < 0.2 && shares[1]! > 0.5, `${shares}`);
    } finally {
      await harts.close();
    }
  });

  test("a VM that needs more than there is ends with a reason, and its neighbour doesn't notice", async () => {
    const harts = new Harts({ harts: 1, memory: 160 * MIB });
    try {
      const files = await open();
      const alone = { ...config, shareGroup: null };
      const first = new WatchedConsole(harts.create({ ...alone, name: "first" }, files));
      await first.until(/hostelry:~# /, PATIENCE);
      const second = harts.create({ ...alone, name: "second" }, files);
      const { end } = await second.result.catch((error: { code: string }) => ({ end: error }));
      assert.equal("code" in end ? end.code : end.kind, "no-frames");
      first.type("echo still $((40 + 2))\n");
      await first.until(/still 42/, PATIENCE);
    } finally {
      await harts.close();
    }
  });
});

suite("a VM that reboots", () => {
  /** Says "hi", and reboots at a key. */
  const rebooter = assemble(`
    li   s0, ${address.uart}
    li   t1, 0x68
    sb   t1, 0(s0)
    li   t1, 0x69
    sb   t1, 0(s0)
    next: lbu t1, 5(s0)
    andi t1, t1, 1
    beqz t1, next
    li   t0, ${address.test}
    li   t1, 0x7777
    sw   t1, 0(t0)
    stay: j stay`, { base: address.memory });

  test("and can't boot any more ends with a reason, and its hart goes on", async () => {
    const harts = new Harts({ harts: 1, memory: 16 * MIB });
    const kernel = { format: "raw" as const, bytes: rebooter };
    const small = { ...config, memory: 6 * MIB };
    try {
      const files = { kernel, append: "" };
      const guest = new WatchedConsole(harts.create({ ...small, name: "rebooter" }, files));
      await guest.until(/hi/, PATIENCE);
      guest.type("x");
      await guest.until(/hihi/, PATIENCE);
      files.kernel = { format: "raw", bytes: new Uint8Array(8 * MIB) };
      guest.type("x");
      const { end } = await guest.vm.result;
      assert.deepEqual([end.kind, "code" in end && end.code], ["failed", "does-not-fit"]);
      assert.equal(harts.frames.free, harts.frames.total);
      const next = new WatchedConsole(harts.create({ ...small, name: "next" }, { kernel, append: "" }));
      await next.until(/hi/, PATIENCE);
    } finally {
      await harts.close();
    }
  });
});
