/** The H extension against QEMU's: random registers and instructions in all five modes; the registers of all levels after they came back to machine mode. */
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { suite, test } from "node:test";
import { cases, seed } from "../kit/effort.ts";
import { RAM, TestHart } from "../kit/hart.ts";
import { Random } from "../kit/random.ts";
import { runTool, skipWithout, temporaryFolder } from "../kit/tools.ts";
import { Generator, type Scenario } from "./generate.ts";
import { buildImage, memorySize, resultOf, type Result } from "./image.ts";
import { countAt, operands, outputs, testDevice, type Output } from "./runtime.ts";

const bit = (position: number): bigint => 1n << BigInt(position);
const mxr = bit(19);
/** htinst's pseudoinstructions. */
const [implicitRead, implicitWrite] = [0x3000n, 0x3020n];

function runQemu(image: Uint8Array, path: string): Uint8Array {
  const memory = new Uint8Array(memorySize);
  memory.set(image);
  writeFileSync(path, memory);
  runTool("system", [
    "-M", "virt,memory-backend=ram", "-cpu", "rv64,h=true,zba=true,zbb=true,zbs=true,svinval=true,svnapot=true,svpbmt=true",
    "-m", `${memorySize >> 20}M`, "-object", `memory-backend-file,id=ram,size=${memorySize},mem-path=${path},share=on`,
    "-bios", "none", "-display", "none", "-serial", "none", "-monitor", "none", "-net", "none",
  ]);
  return readFileSync(path).subarray(0, image.length);
}

function runOurs(image: Uint8Array, scenarios: readonly Scenario[]): Uint8Array {
  let done = false;
  const hart: TestHart = new TestHart({
    ramSize: memorySize,
    host: {
      mmioWrite: (_state, address) => {
        if (address !== testDevice) return 1;
        done = true;
        return 0;
      },
    },
  });
  hart.load(RAM, image);
  for (let i = 0; i < 1000 && !done; i++) hart.run(10_000);
  if (!done) {
    const left = hart.view.getUint32(countAt - RAM, true);
    assert.fail(`stuck at pc 0x${hart.get("pc").toString(16)}, privilege ${hart.get("privilege")}, in ${describe(scenarios.at(-left)!)} mcause ${hart.get("mcause")} mepc ${hart.get("mepc").toString(16)} mtval ${hart.get("mtval").toString(16)} mscratch ${hart.get("mscratch").toString(16)} t6 ${hart.x(31).toString(16)} fault ${hart.get("mstatus").toString(16)}`);
  }
  return hart.ram.slice(0, image.length);
}

/** What is not compared: bits that exist on one side alone, and what QEMU 7.2 gets wrong. */
const ignored: Partial<Record<Output, bigint>> = {
  // QEMU's machine timer is pending from the start. Counter overflow (13) is not ours.
  mip: bit(7) | bit(13), mideleg: bit(13), mie: bit(13), sie: bit(13), sip: bit(13),
  // Svadu is newer.
  henvcfg: 7n << 61n,
  // GVA is set whenever tval is, and never cleared.
  mstatus: bit(38),
  // Only VSSIP shows.
  vsip: ~2n,
  // VSXL can't be written with us, and reads as written there; SD is missing there.
  hstatus: 3n << 32n,
  vsstatus: bit(63),
};

/** Where the manual allows both, or QEMU 7.2 is known to be wrong. */
function mayDiffer(name: Output, theirs: bigint, { inputs }: Scenario, { outputs: ours }: Result): boolean {
  const wasHypervisors = ours.scause !== inputs.scause;
  switch (name) {
    // It can't be written there, so that it holds what an earlier trap left. No transformed instruction is given for all.
    case "htinst":
    case "mtinst":
      return (name === "htinst" && !wasHypervisors) || (theirs === 0n && ours[name] % 4n !== 0n);
    // Traps to VS-mode write it too, and GVA; breakpoints have no address.
    case "htval":
      return !wasHypervisors && theirs === 0n;
    case "hstatus":
      return (!wasHypervisors || ours.scause === 3n) && (theirs ^ (ours.hstatus & ~(ignored.hstatus ?? 0n))) === bit(6);
    // VS-mode's exceptions come one lower, as if they were interrupts, where these have the same number.
    case "vscause":
      return [2n, 6n].includes(ours.vscause) && theirs === ours.vscause - 1n;
    // The tval of a hypervisor's instructions is an older one's, or 0; that of a breakpoint 0.
    case "mtval":
    case "stval":
    case "vstval": {
      const cause = ours[name === "mtval" ? "mcause" : name === "stval" ? "scause" : "vscause"];
      return cause === 22n || cause === 2n || cause === 3n;
    }
    default:
      return false;
  }
}

/** QEMU 7.2 has another cause, and so perhaps another level. */
function isMisnamed({ mode, code, inputs }: Scenario, { outputs: ours }: Result): boolean {
  // Faults at entries of the guest's tables are loads' there, whatever was wanted; MXR makes them readable; and A and D are set without leave.
  for (const [instruction, cause] of [[ours.mtinst, ours.mcause], [ours.htinst, ours.scause]]) {
    if (instruction === implicitWrite) return true;
    if (instruction === implicitRead && (cause !== 21n || ((inputs.mstatus | inputs.vsstatus) & mxr) !== 0n)) return true;
  }
  // The guest's MXR counts for the second stage.
  if ((ours.mcause === 21n || ours.scause === 21n) && (inputs.vsstatus & mxr) !== 0n) return true;
  // Page faults of those who act for guests are access faults where HS-mode's satp is off.
  const isPageFault = [ours.mcause, ours.scause].some((cause) => cause === 13n || cause === 15n);
  if ((mode === "machine" || code.some((text) => /^h[ls]v/.test(text))) && inputs.satp >> 60n === 0n && isPageFault) return true;
  // Guest-page faults of machine mode's accesses by MPRV are page faults.
  if (mode === "machine" && (ours.mcause === 21n || ours.mcause === 23n)) return true;
  // Where an atomic may neither read nor write, it is a load that faults.
  return code.some((text) => text.startsWith("amo")) && [ours.mcause, ours.scause, ours.vscause].some((cause) => [7n, 15n, 23n].includes(cause));
}

function difference(scenario: Scenario, ours: Result, theirs: Result): string | undefined {
  const lines: string[] = [];
  for (const name of outputs) {
    const [a, b] = [ours, theirs].map((side) => side.outputs[name] & ~(ignored[name] ?? 0n)) as [bigint, bigint];
    if (a !== b && !mayDiffer(name, b, scenario, ours)) lines.push(`${name}: ${a.toString(16)}, QEMU ${b.toString(16)}`);
  }
  operands.forEach((register, i) => {
    if (ours.results[i] !== theirs.results[i]) lines.push(`x${register}: ${ours.results[i]!.toString(16)}, QEMU ${theirs.results[i]!.toString(16)}`);
  });
  return lines.length === 0 ? undefined : lines.join("\n");
}

function describe({ mode, code, inputs, operands: values, patches }: Scenario): string {
  const hex = (value: bigint): string => BigInt.asUintN(64, value).toString(16);
  return [
    `${mode}: ${code.join("; ")}`,
    Object.entries(inputs).map(([name, value]) => `${name}=${hex(value)}`).join(" "),
    `a0…: ${values.map(hex).join(" ")}`,
    `patches: ${patches.map(({ address, value }) => `${address.toString(16)}=${hex(value)}`).join(" ")}`,
  ].join("\n");
}

suite(`the H extension against QEMU, seed ${seed}`, { skip: skipWithout("system") }, () => {
  const path = join(temporaryFolder(), "memory");
  const count = 2000;
  const rounds = cases(2);
  for (let round = 0; round < rounds; round++) {
    test(`round ${round + 1} of ${rounds}: ${count} scenarios`, () => {
      const generator = new Generator(new Random(seed * 1000 + round));
      const scenarios = Array.from({ length: count }, () => generator.scenario());
      const image = buildImage(scenarios);
      const [ours, theirs] = [runOurs(image, scenarios), runQemu(image, path)];
      let compared = 0;
      const found = scenarios.flatMap((scenario, i) => {
        const given = resultOf(ours, i);
        if (isMisnamed(scenario, given)) return [];
        compared++;
        const message = difference(scenario, given, resultOf(theirs, i));
        return message === undefined ? [] : [`scenario ${i}, ${describe(scenario)}\n${message}`];
      });
      assert.ok(compared > 0.8 * count, `${compared} are compared`);
      assert.equal(found.length, 0, `${found.length} of ${count} scenarios differ; the first:\n${found[0] ?? ""}`);
    });
  }
});
