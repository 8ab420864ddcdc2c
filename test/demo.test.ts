/** What a teacher shows first: `hostelry demo`. */
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { cpuTechniques } from "#monitor/cpu/technique.ts";
import { defaultImage, hostelry } from "./kit/hostelry.ts";

interface Step {
  readonly actor: string;
  readonly index: number;
  readonly pc: string;
  readonly instruction: string;
  readonly privilege: { readonly real: string; readonly virtual: string };
  readonly event: string;
  readonly changes: readonly { readonly register: string; readonly from: string; readonly to: string }[];
}

const changed = ({ changes }: Step): readonly string[] => changes.filter(({ register }) => register !== "hart's satp").map(({ register }) => register);

async function followed(flow: "syscall" | "tlb", ...options: readonly string[]): Promise<{ vm: Step[]; bare: Step[] }> {
  const { status, stdout, stderr } = await hostelry(["demo", flow, "--json", ...options]);
  assert.equal(status, 0, stderr);
  return JSON.parse(stdout) as { vm: Step[]; bare: Step[] };
}

suite("demo syscall", () => {
  const follow = (...options: readonly string[]) => followed("syscall", ...options);

  test("by trap-and-emulate: ecall, the OS's handler in U-mode, its privileged instructions and sret trap, and back", async () => {
    const { vm, bare } = await follow();
    assert.deepEqual([vm[0]!.actor, vm[0]!.instruction, vm[0]!.event, vm[1]!.actor, vm[1]!.event], ["process", "ecall", "trap", "VMM", "guest-trap"]);
    assert.deepEqual(changed(vm[1]!), changed(bare[0]!), "the monitor leaves what the machine leaves");
    for (const { actor, privilege } of vm) assert.deepEqual(privilege, { real: "U", virtual: actor === "process" || privilege.virtual === "U" ? "U" : "S" });
    const privileged = vm.filter(({ actor, event }) => actor === "OS" && event === "trap").map(({ instruction }) => instruction.split(" ")[0]);
    assert.deepEqual(privileged, ["csrrw", "csrrs", "csrrs", "csrrw", "csrrw", "sret"]);
    const last = vm.at(-1)!;
    assert.deepEqual([last.actor, last.changes], ["process", [{ register: "s0", from: "0x0", to: "0x2a" }]]);
    // Beside the bare machine: the same instructions, and in the end the same of each.
    for (const step of bare) {
      const [first, ...rest] = vm.filter(({ index }) => index === step.index);
      assert.deepEqual([first!.pc, first!.instruction], [step.pc, step.instruction]);
      assert.deepEqual(changed(rest.at(-1) ?? first!), changed(step), step.instruction);
    }
  });

  test("by hardware the VMM hears nothing; rewritten, it hears of the ecall", async () => {
    const exits = async (cpu: string): Promise<string[]> =>
      (await follow("--cpu", cpu)).vm.filter(({ actor }) => actor === "VMM").map(({ event }) => event);
    assert.deepEqual([await exits("hardware"), await exits("binary")], [[], ["guest-trap"]]);
  });

  test("on a pipe it waits for nobody, and what can't be is one line", async () => {
    const { status, stdout } = await hostelry(["demo", "syscall"]);
    assert.equal(status, 0);
    assert.match(stdout, /PROCESS +OPERATING SYSTEM +VMM +ON THE BARE MACHINE\n/);
    assert.match(stdout, /12 instructions\. In the VM, 7 times in the VMM/);
    for (const line of Buffer.from(stdout, "latin1").toString().split("\n")) assert.ok(line.length <= 120, line);
    const wrong = await hostelry(["demo", "syscall", "--cpu", "none"]);
    assert.equal(wrong.status, 2);
    assert.match(wrong.stderr, new RegExp(`^hostelry: .*${cpuTechniques.join(", ")}.*\n$`));
  });
});

suite("demo tlb", () => {
  test("a miss: to the monitor, to the OS's handler, its write of the TLB and its sret trap, and the load again", async () => {
    const { vm, bare } = await followed("tlb");
    const steps = vm.map(({ actor, instruction, event }) => `${actor}: ${instruction.split(" ")[0]}, ${event}`);
    const emulated = (name: string): string[] => [`OS: ${name}, trap`, `VMM: ${name}, privileged-instruction`];
    assert.deepEqual(steps, [
      "process: ld, trap", "VMM: ld, true-fault",
      ...emulated("csrrw"), ...emulated("csrrs"), "OS: ld, done", ...emulated("csrrw"), ...emulated("csrrwi"), ...emulated("csrrs"), ...emulated("sret"),
      "process: ld, done", "process: addi, done",
    ]);
    assert.deepEqual(changed(vm[1]!), changed(bare[0]!), "the monitor leaves what a miss leaves");
    const write = vm.find(({ actor, instruction }) => actor === "VMM" && instruction.includes("stlbop"))!;
    const [hart, guest] = ["hart's TLB", "TLB"].map((name) => write.changes.find(({ register }) => new RegExp(`^${name} \\d+$`).test(register))!.to);
    const bareWrite = bare.find(({ instruction }) => instruction.includes("stlbop"))!;
    assert.equal(guest, bareWrite.changes[0]!.to, "the guest's entry is the bare machine's");
    assert.equal(BigInt(hart!) >> 44n, BigInt(guest!) >> 44n, "the same virtual page");
    assert.notEqual(hart, guest, "and another frame");
    assert.deepEqual(bare.map(({ instruction }) => instruction), vm.filter(({ index, actor }, i) => actor !== "VMM" && vm[i - 1]?.index !== index).map(({ instruction }) => instruction));
  });

  test("as text it is no wider than a terminal; in VS-mode there is no such TLB", async () => {
    const { status, stdout } = await hostelry(["demo", "tlb"]);
    assert.equal(status, 0);
    assert.match(stdout, /10 instructions\. In the VM, 7 times in the VMM/);
    for (const line of Buffer.from(stdout, "latin1").toString().split("\n")) assert.ok(line.length <= 120, line);
    const wrong = await hostelry(["demo", "tlb", "--cpu", "hardware"]);
    assert.deepEqual([wrong.status, wrong.stderr.trim().split("\n").length], [2, 1]);
  });
});

const image = await defaultImage();
/** Each boots some Debians. */
const TIMEOUT = 300_000;

suite("Debian, shown", { skip: "skip" in image && image.skip }, () => {
  test("demo silent: fails by traps, and the monitor names the instruction; boots by both kinds of binary translation", async () => {
    const { status, stdout, stderr } = await hostelry(["demo", "silent", "--json"], { timeoutMs: TIMEOUT });
    assert.equal(status, 0, stderr);
    const { attempts } = JSON.parse(stdout) as { attempts: readonly Attempt[] };
    assert.deepEqual(attempts.map(({ technique: { cpu, rewrite }, outcome }) => [cpu, rewrite, outcome]), [
      ["trap-and-emulate", "all", "fails"],
      ["binary-translation", "all", "boots"],
      ["binary-translation", "silent", "boots"],
    ]);
    const [trapping, ...translated] = attempts;
    // How it goes astray depends on what its hart happens to remember.
    assert.match(trapping!.lastWords ?? trapping!.end, /panic|Unable to handle|BUG|WARNING|hangs/);
    // Linux turns its interrupts off first.
    assert.equal(trapping!.silenced[0]!.first!.instruction, "csrrw zero, sie, zero");
    assert.ok(trapping!.silenced.some(({ what, times }) => what === "sstatus" && times > 100));
    for (const { silenced } of translated) assert.deepEqual(silenced, []);
  });

  test("demo techniques: a row for the bare machine and one for each technique, with exits by operation", async () => {
    const { status, stdout, stderr } = await hostelry(["demo", "techniques", "--cpu", "trap", "--json"], { timeoutMs: TIMEOUT });
    assert.equal(status, 0, stderr);
    const { results } = JSON.parse(stdout) as { results: readonly Row[] };
    assert.deepEqual(results.map(({ technique, failure }) => [technique?.cpu, technique?.mmu, failure]), [
      [undefined, undefined, null],
      ["trap-and-emulate", "shadow", null],
    ]);
    const [bare, trapping] = results;
    assert.deepEqual([bare!.boot.exits, bare!.fork.exits, bare!.call.exits], [null, null, null]);
    const { boot, fork, call } = trapping!;
    for (const kind of ["hidden-fault", "true-fault", "table-write", "hypercall"]) assert.ok(boot.exits![kind]! > 0, kind);
    assert.ok(fork.exits!["table-write"]! > 10, "a fork copies page tables");
    // Its ecall, and what the kernel does to come in and out.
    assert.ok(call.exits!["guest-trap"]! > 0.9 && call.exits!["guest-trap"]! < 1.2 && call.exits!["privileged-instruction"]! > 5, JSON.stringify(call.exits));
    for (const { cpuSeconds, seconds } of [boot, fork, call]) assert.ok(cpuSeconds > 0 && seconds > 0);
  });
});

suite("demo memory", { skip: "skip" in image && image.skip }, () => {
  test("theft: half of a VM's frames go to the swap file while it works; without one it ends, and says why", async () => {
    const { status, stdout, stderr } = await hostelry(["demo", "memory", "--scene", "theft", "--json"], { timeoutMs: TIMEOUT });
    assert.equal(status, 0, stderr);
    const { machine, scenes: [theft, ...others] } = JSON.parse(stdout) as { machine: { memory: number }; scenes: readonly MemoryScene[] };
    assert.deepEqual([theft!.scene, others], ["theft", []]);
    const [alone, stolen, without] = theft!.summary;
    assert.deepEqual(theft!.summary.map(({ phase }) => phase), ["alone", "stolen", "no swap file"]);
    assert.ok(theft!.samples.every(({ total, free, vms }) => total <= machine.memory && free <= total && vms.length === 1));
    const [before, after] = [alone!.vms[0]!, stolen!.vms[0]!];
    assert.ok(before.achieved! > 0 && before.pagedOut === 0 && before.end === null, JSON.stringify(before));
    assert.ok(after.pagedOut > 0 && after.mapped < before.mapped && after.ballooned === 0 && after.end === null, JSON.stringify(after));
    assert.match(without!.vms[0]!.end!, /no free frame/);
  });

  test("a scene that there is not is one line", async () => {
    const { status, stderr } = await hostelry(["demo", "memory", "--scene", "none"]);
    assert.equal(status, 2);
    assert.match(stderr, /^hostelry: .*theft, balloon, sharing, tax.*\n$/);
  });
});

interface MemoryScene {
  readonly scene: string;
  readonly summary: readonly { readonly phase: string; readonly vms: readonly MemoryRow[] }[];
  readonly samples: readonly { readonly phase: string; readonly total: number; readonly free: number; readonly vms: readonly MemoryRow[] }[];
}

interface MemoryRow {
  readonly mapped: number;
  readonly ballooned: number;
  readonly pagedOut: number;
  readonly achieved: number | null;
  readonly end: string | null;
}

interface Attempt {
  readonly technique: { readonly cpu: string; readonly rewrite: string };
  readonly outcome: string;
  readonly lastWords: string | null;
  readonly end: string;
  readonly silenced: readonly { readonly what: string; readonly times: number; readonly first: { readonly instruction: string } | null }[];
}

interface Measured {
  readonly cpuSeconds: number;
  readonly seconds: number;
  readonly exits: Readonly<Record<string, number>> | null;
}

interface Row {
  readonly technique: { readonly cpu: string; readonly mmu: string } | null;
  readonly failure: string | null;
  readonly boot: Measured;
  readonly fork: Measured;
  readonly call: Measured;
}
