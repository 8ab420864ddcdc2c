/** How much memory page sharing finds: section 4.3 of the paper. */
import { setTimeout as sleep } from "node:timers/promises";
import type { SharingAudit } from "#monitor/memory/audit.ts";
import { onMachine, type DebianMachine } from "./debian.ts";
import { judge, percent, type Experiment, type Found } from "./experiment.ts";

/** What the scanner finds in the end is wanted here, and not how long it takes. */
const QUICKLY = { scanRate: 20_000 };
const SAME_WORK = "find /usr /bin /etc -xdev -type f | sort | xargs sha256sum >/tmp/sums && tar c /usr /etc 2>/dev/null | gzip -1 >/tmp/all.gz && awk '{ n[substr($1, 1, 2)]++ } END { for (k in n) print k, n[k] }' /tmp/sums | sort >/tmp/counts";
const VMS = 10;

interface Parts {
  readonly shared: number;
  readonly reclaimed: number;
}

/** Of the pages that guests have touched, those of zeros not counted. */
const parts = ({ mapped, zero, shared, reclaimed }: SharingAudit): Parts => ({ shared: shared / (mapped - zero), reclaimed: reclaimed / (mapped - zero) });
const inMiB = (pages: number): string => `${Math.round(pages / 256)} MiB`;
const describe = (audit: SharingAudit): string =>
  `of ${inMiB(audit.mapped - audit.zero)} touched, ${inMiB(audit.shared)} shared and ${inMiB(audit.reclaimed)} reclaimed; ${inMiB(audit.zero)} of zeros apart; tables and counters agree`;

/** Figure 4: one more VM at a time, all doing the same. */
export const identical: Experiment = async ({ shell, progress }): Promise<Found> =>
  onMachine({ vms: VMS, policy: QUICKLY }, async (machine) => {
    const audits: SharingAudit[] = [];
    for (let i = 0; i < VMS; i++) {
      const vm = await machine.create(shell);
      await vm.prompt();
      await vm.run(SAME_WORK);
      await machine.settle();
      audits.push(await machine.audit());
      progress(`  ${i + 1} VMs: ${describe(audits[i]!)}`);
    }
    const last = audits.at(-1)!;
    const points = (of: (audit: SharingAudit) => number) => audits.map((audit, i) => [i + 1, of(audit)] as const);
    const level = (name: string, at: number) => ({ name, reference: true, points: [[1, at], [VMS, at]] as const });
    return {
      results: [
        judge("10 identical VMs: shared", 100 * parts(last).shared, "% of touched pages", ["≥", 67], "67", describe(last)),
        judge("10 identical VMs: reclaimed", 100 * parts(last).reclaimed, "% of touched pages", ["≥", 60], "60", describe(last)),
      ],
      figures: {
        "sharing-by-vms": {
          title: "Sharing against the number of identical VMs", x: { label: "VMs", min: 1, max: VMS }, y: { label: "% of touched pages that are not zero", max: 100 },
          series: [
            { name: "shared", points: points((audit) => 100 * parts(audit).shared) }, { name: "reclaimed", points: points((audit) => 100 * parts(audit).reclaimed) },
            level("shared, ESX at 10", 67), level("reclaimed, ESX at 10", 60),
          ],
        },
        "sharing-amounts": {
          title: "The same in MiB", x: { label: "VMs", min: 1, max: VMS }, y: { label: "MiB", max: Math.ceil((last.mapped - last.zero) / 256 / 100) * 100 },
          series: [
            { name: "touched", points: points((audit) => (audit.mapped - audit.zero) / 256) }, { name: "shared", points: points((audit) => audit.shared / 256) },
            { name: "reclaimed", points: points((audit) => audit.reclaimed / 256) },
          ],
        },
      },
    };
  });

/** Each goes on as long as anybody looks. Some make what nobody else has: random bytes, keys, what is compressed. */
const WORKS: Readonly<Record<string, string>> = {
  python: "while :; do python3 /bench/objects.py 4; python3 /bench/text.py 4; done",
  numbers: "while :; do python3 /bench/numbers.py 4; done",
  openssl: "while :; do openssl genrsa -out /tmp/key.pem 2048; openssl speed -seconds 1 aes-256-cbc sha256; done",
  "7z": "while :; do 7z a -mx=1 /tmp/usr.7z /usr/lib; rm /tmp/usr.7z; done",
  archive: "while :; do tar c /usr /etc | gzip -1 >/tmp/usr.tar.gz; tar xzf /tmp/usr.tar.gz -C /tmp; done",
  search: "while :; do find / -xdev -type f | xargs grep -l -i license; find / -xdev -type f | xargs md5sum | sort -u; done",
  httpd: "busybox httpd -p 8080 -h /usr; ip link set lo up; while :; do for f in /usr/bin/*; do wget -q -O - http://127.0.0.1:8080/bin/${f##*/} | md5sum; done; done",
  sort: "while :; do seq 1 400000 | awk '{ print ($1 * 7919) % 1000003, $1 }' | sort -n >/tmp/sorted; awk '{ s += $1 } END { print s }' /tmp/sorted; done",
  secrets: "while :; do dd if=/dev/urandom of=/tmp/random bs=1M count=16; sha256sum /tmp/random; gzip -c /tmp/random >/tmp/random.gz; done",
};
/** Seconds. */
const WORK_TIME = 40;

/** Figure 5 is a table of three real sites: 33, 19 and 7 %. */
export const different: Experiment = async ({ programs, progress }): Promise<Found> =>
  onMachine({ vms: Object.keys(WORKS).length, each: 256, policy: QUICKLY }, async (machine) => {
    await bootTogether(Object.values(WORKS).length, () => machine.create(programs, { memory: 256 }));
    Object.values(WORKS).forEach((work, i) => machine.vms[i]!.start(`((${work}) >/tmp/log 2>&1 &)`));
    const samples: { readonly seconds: number; readonly audit: SharingAudit }[] = [];
    for (const from = performance.now(); performance.now() - from < 1000 * WORK_TIME; ) {
      await sleep(5000);
      const audit = await machine.audit();
      samples.push({ seconds: (performance.now() - from) / 1000, audit });
      progress(`  ${samples.at(-1)!.seconds.toFixed(0)} s: ${describe(audit)}`);
    }
    const { audit } = samples.at(-1)!;
    return { results: [judge("9 VMs, different work: reclaimed", 100 * parts(audit).reclaimed, "% of touched pages", ["≥", 30], "7.2 to 32.9", `${percent(parts(audit).shared)} shared; ${describe(audit)}, while they work (${Object.keys(WORKS).join(", ")})`)] };
  });

/** As many at a time as there are harts. */
export async function bootTogether(count: number, create: () => ReturnType<DebianMachine["create"]>, atOnce = 2): Promise<void> {
  for (let made = 0; made < count; made += atOnce) {
    const some = await Promise.all(Array.from({ length: Math.min(atOnce, count - made) }, create));
    await Promise.all(some.map((vm) => vm.prompt()));
  }
}
