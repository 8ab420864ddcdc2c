/** Debian in VMs that were promised more than there is, each with the memory manager's balloon. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { readShared } from "#host/node/boot-files.ts";
import { Harts } from "#host/node/harts.ts";
import { defaultImage } from "../kit/hostelry.ts";
import { WatchedConsole } from "../kit/watched-console.ts";

const MIB = 1 << 20;
const PATIENCE = 60_000;
const found = await defaultImage();

const config = { cpus: 1, memory: 128 * MIB, shareGroup: null, clock: "host", terminal: { columns: 80, rows: 24 }, allotment: { shares: 1, cap: 1 } } as const;

/** Reads its disk, and keeps what it has read as long as it can: slowly, since a balloon takes its time. */
const READ = "exec 9</dev/vda; i=0; while [ $i -lt 60 ]; do dd if=/dev/vda of=/dev/null bs=1M count=1 skip=$i 2>/dev/null; i=$((i + 1)); sleep 0.05; done; echo 'has' read\n";

test("memory goes from whoever hoards it to whoever needs it, and back", { skip: "skip" in found && found.skip }, async () => {
  const { image } = found as Exclude<typeof found, { skip: string }>;
  const folder = mkdtempSync(join(tmpdir(), "hostelry-test-"));
  const harts = new Harts({ harts: 2, memory: 240 * MIB });
  try {
    const disk = join(folder, "disk");
    writeFileSync(disk, "");
    truncateSync(disk, 64 * MIB);
    const files = await readShared({ kernel: image.kernelPath, initrd: image.initrdPath, append: image.manifest.append });
    const start = async (name: string) => {
      const drives = [{ path: disk, readOnly: true }];
      const guest = new WatchedConsole(harts.create({ ...config, name, drives, entitlement: { min: 0, shares: 1280 } }, files));
      await guest.until(/hostelry:~# /, PATIENCE);
      return guest;
    };
    const [first, second] = [await start("first"), await start("second")];
    first.type(READ);
    await first.until(/has read/, PATIENCE);
    const { memory: before } = await first.vm.stats();
    let most = 0;
    second.type(READ);
    const watching = setInterval(() => void first.vm.stats().then(({ memory }) => (most = Math.max(most, memory.ballooned))), 50);
    await second.until(/has read/, PATIENCE);
    clearInterval(watching);
    const { memory: after } = await first.vm.stats();
    assert.ok(most > 0 && after.mapped < before.mapped, `${most} ${before.mapped} ${after.mapped}`);
    second.vm.stop();
    await second.vm.result;
    for (let waited = 0; (await first.vm.stats()).memory.ballooned > 0; waited += 100) {
      assert.ok(waited < PATIENCE, "the balloon stays");
      await sleep(100);
    }
    first.type("echo still $((40 + 2))\n");
    await first.until(/still 42/, PATIENCE);
  } finally {
    await harts.close();
    rmSync(folder, { recursive: true });
  }
});
