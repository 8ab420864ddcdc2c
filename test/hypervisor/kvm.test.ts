/**
 * The hypervisor extension by a client that isn't ours: on the bare machine, Debian's kernel loads its own `kvm`, and Debian's own QEMU runs a
 * second Debian with it.
 */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { copyFileSync, statSync, truncateSync } from "node:fs";
import { join } from "node:path";
import { suite, test } from "node:test";
import { defaultImage, hostelry, testImage } from "../kit/hostelry.ts";
import { temporaryFolder } from "../kit/tools.ts";

const inner = await defaultImage();
const outer = "skip" in inner ? inner : await testImage({ name: "kvm", packages: ["qemu-system-riscv"], modules: ["kvm"] });
const skip = "skip" in outer ? outer.skip : false;

/** For the outer machine's shell. The inner one says by the byte ENQ that it is ready for a pipe. */
const script = (append: string): string => `
modprobe kvm && dmesg | grep -o 'kvm .*'
mkfifo keys
set -o pipefail
qemu-system-riscv64 -machine virt -accel kvm -cpu host -m 128M -nographic \\
  -kernel /dev/vda -initrd /dev/vdb -append '${append} quiet hostelry.pipe=1' <keys | {
  exec 3>keys
  IFS= read -r -d "$(printf '\\005')" boot
  printf '%s\\n' "$boot"
  cat >&3 <<'END'
uname -sm
tr '\\0' '\\n' </sys/firmware/devicetree/base/model
dmesg | grep -o 'SBI implementation.*'
grep -o -m 1 'sv..$' /proc/cpuinfo
dd if=/dev/zero bs=1M count=16 2>/dev/null | sha256sum
i=0; while [ $i -lt 50 ]; do /bin/busybox true || exit 1; i=$((i + 1)); done; echo $i processes
sleep 1
exit 3
END
  cat
}
`;

suite("Debian in a VM of KVM's, on the bare machine", { skip }, () => {
  const folder = temporaryFolder();

  test("boots, works, and ends with a status that comes out of both machines", async () => {
    assert.ok("image" in inner && "environment" in outer);
    const drives = [inner.image.kernelPath, inner.image.initrdPath].flatMap((path, i) => ["--drive", `${asDisk(path, join(folder, `${i}`))},ro`]);
    const { environment } = outer;
    const command = ["run", "kvm", "--bare", "--append", "quiet", ...drives, "--stats", "--json"];
    const input = script(inner.image.manifest.append);
    const { status, stdout, stderr } = await hostelry(command, { input, environment, timeoutMs: 300_000 });
    assert.equal(status, 3, stdout.slice(-2000));
    assert.match(stdout, /\nkvm \[\d+\]: hypervisor extension available\n/);
    assert.equal(stdout.match(/Linux version/g)?.length, 2);
    const zeros = createHash("sha256").update(new Uint8Array(16 << 20)).digest("hex");
    const expected = ["Linux riscv64", "riscv-virtio,qemu", "SBI implementation ID=0x3 Version=.*", "sv57", `${zeros}  -`, "50 processes"];
    assert.match(stdout, new RegExp(`\n${expected.join("\n")}\n$`));
    // All of that was in VS-mode and VU-mode, and not in QEMU's own translator.
    const { traps, interrupts } = JSON.parse(stderr.trim().split("\n").at(-1)!) as Record<"traps" | "interrupts", Record<string, number>>;
    const guestTraps = ["ecall from VS-mode", "instruction guest-page fault", "load guest-page fault", "store guest-page fault"];
    for (const cause of guestTraps) assert.ok(traps[cause]! > 0, cause);
    for (const cause of ["virtual supervisor timer", "virtual supervisor external"]) assert.ok(interrupts[cause]! > 0, cause);
  });

  test("in a VM there is no hypervisor extension, and KVM says so", async () => {
    assert.ok("environment" in outer);
    const input = "modprobe kvm 2>/dev/null || dmesg | grep -o 'kvm .*'; [ -e /dev/kvm ] || exit 4\n";
    const { status, stdout } = await hostelry(["run", "kvm", "--append", "quiet"], { input, environment: outer.environment });
    assert.equal(status, 4, stdout.slice(-2000));
    assert.match(stdout, /\nkvm \[\d+\]: hypervisor extension not available\n$/);
  });
});

/** Disks have whole sectors. */
function asDisk(from: string, to: string): string {
  copyFileSync(from, to);
  truncateSync(to, Math.ceil(statSync(to).size / 512) * 512);
  return to;
}
