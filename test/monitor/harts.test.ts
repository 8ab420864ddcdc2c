/** Debian in VMs on a machine of two harts, in threads as a user has them. */
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { readShared } from "#host/node/boot-files.ts";
import { Harts } from "#host/node/harts.ts";
import { defaultImage } from "../kit/hostelry.ts";
import { WatchedConsole } from "../kit/watched-console.ts";

const MIB = 1 << 20;
const found = await defaultImage();

const PATIENCE = 60_000;

suite("VMs on two harts", { skip: "skip" in found && found.skip }, () => {
  const config = { cpus: 1, memory: 128 * MIB, clock: "host", drives: [], terminal: { columns: 80, rows: 24 }, allotment: { shares: 1, cap: 1 } } as const;
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
      const { createHash } = await import("node:crypto");
      for (let i = 1; i <= 8; i++) {
        const lines = Array.from({ length: i * 20000 }, (_, n) => `${n + 1}\n`).join("");
        assert.ok(guest.text.includes(createHash("md5").update(lines).digest("hex")), `the ${i}th checksum`);
      }
      const stats = await guest.vm.stats();
      assert.ok(stats.exits["first-touch"] > 1000);
      guest.vm.stop();
      assert.deepEqual((await guest.vm.result).end, { kind: "stopped" });
      assert.equal(harts.frames.free, total);
    } finally {
      await harts.close();
    }
  });

  test("a VM that needs more than there is ends with a reason, and its neighbour doesn't notice", async () => {
    const harts = new Harts({ harts: 1, memory: 160 * MIB });
    try {
      const files = await open();
      const first = new WatchedConsole(harts.create({ ...config, name: "first" }, files));
      await first.until(/hostelry:~# /, PATIENCE);
      const second = harts.create({ ...config, name: "second" }, files);
      const { end } = await second.result.catch((error: { code: string }) => ({ end: error }));
      assert.equal("code" in end ? end.code : end.kind, "no-frames");
      first.type("echo still $((40 + 2))\n");
      await first.until(/still 42/, PATIENCE);
    } finally {
      await harts.close();
    }
  });
});
