/**
 * A guest that would know whether it is in a virtual machine. It tries whatever a kernel can: each answer must be that of the bare machine, to the
 * last bit, and be it the time by the instruction clock. Not asked is what the platform declares: of the bare machine's device tree, that its harts
 * have the hypervisor extension; a guest hasn't, and must find nothing of it. Nor what a translation is that was changed and not fenced: the manual
 * leaves that open, and it depends on what a TLB has kept (emulation has none).
 */
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { rewriting } from "#machine/csr-bits.ts";
import { techniqueOf, type Technique } from "#monitor/cpu/technique.ts";
import { address } from "#platform/memory-map.ts";
import { csrNumbers } from "#riscv/csr-names.ts";
import { runBare } from "../kit/bare-machine.ts";
import { watchExits } from "../kit/confinement.ts";
import { TestMonitor } from "../kit/monitor.ts";
import { allTechniques, titleOf } from "../kit/techniques.ts";
import { Detector, MEMORY } from "./detector-guest.ts";
import { hypervisorProbes, probes } from "./detector-probes.ts";

const PAGE = 4096;
/** Instructions by one technique before the next has its turn. */
const SHIFT = 4999;

const monitorFor = (translate = false): TestMonitor => new TestMonitor({ memory: MEMORY + (8 << 20), translate });

/** What it writes down in a VM, that is run by these techniques in turn. */
function inVm(detector: Detector, techniques: readonly [Technique, ...Technique[]], monitor = monitorFor()) {
  const guest = monitor.create(detector.source, { technique: techniques[0], memory: MEMORY });
  watchExits(monitor.memory, guest.vm);
  monitor.start(guest);
  if (techniques.length > 1) guest.vm.computer.longestSlice = SHIFT;
  let shifts = 0;
  monitor.run(() => {
    if (techniques.length > 1) guest.vm.setTechnique(techniques[shifts++ % techniques.length]!);
    return guest.end() !== undefined;
  }, 60_000);
  const memory = new Uint8Array(MEMORY);
  for (const [page, frame] of guest.vm.memory.pmap.entries()) memory.set(monitor.memory.readable(frame), page * PAGE - address.memory);
  return { records: detector.records(memory), end: guest.end(), output: guest.output(), shifts };
}

suite("a guest that would know whether it is in a virtual machine", () => {
  const detector = new Detector(probes);
  const { machine, output } = runBare(detector.source, MEMORY);
  const expected = detector.records(machine.processor.dma.readable(address.memory, MEMORY));

  test("asks much", () => {
    assert.deepEqual(machine.computer.ended, { kind: "fail", code: 3 });
    assert.ok(detector.count(expected) > 20_000, `${detector.count(expected)} records`);
  });

  for (const technique of allTechniques) {
    const isTranslated = technique.shadow === "cached";
    test(`finds out nothing: ${titleOf(technique)}${isTranslated ? ", translated" : ""}`, () => {
      const found = inVm(detector, [technique], monitorFor(isTranslated));
      assert.deepEqual(detector.differences(found.records, expected), []);
      assert.deepEqual(found.end, { kind: "fail", code: 3 });
      assert.equal(found.output, output);
    });
  }

  test("finds out nothing, though it goes from one technique to the next all the time", () => {
    const { records, shifts } = inVm(detector, allTechniques as [Technique, ...Technique[]]);
    assert.ok(shifts > 400, `${shifts} shifts`);
    assert.deepEqual(detector.differences(records, expected), []);
  });

  test("finds nothing of a hypervisor's", () => {
    const other = new Detector(hypervisorProbes);
    for (const technique of allTechniques) {
      const traps = other.traps(inVm(other, [technique]).records).filter(({ cause }) => cause !== 3n);
      assert.ok(traps.length > 600, `${traps.length}`);
      for (const { cause, value, instruction, at } of traps) assert.deepEqual([cause, value], [2n, BigInt(instruction)], `${titleOf(technique)}: ${at}`);
    }
  });

  test("finds out a monitor that lies about one register, and names what gave it away", () => {
    const monitor = monitorFor();
    const { map, memory } = monitor.processor;
    const rows = new Uint8Array(memory.buffer, map.csrIndex + rewriting.all * PAGE, PAGE);
    const [scounteren, senvcfg] = [csrNumbers.get("scounteren")!, csrNumbers.get("senvcfg")!];
    rows[scounteren] = rows[senvcfg]!;
    const found = detector.differences(inVm(detector, [techniqueOf({ cpu: "binary-translation" })], monitor).records, expected);
    assert.ok(found.some((line) => line.startsWith("what scounteren holds of what is written to it, as a kernel")), found[0]);
  });

  test("finds out one bit, wherever it is", () => {
    const other = expected.slice();
    for (const place of [0, 3, Math.floor(other.length / 2), other.length - 1]) {
      other[place]! ^= 1n;
      assert.equal(detector.differences(other, expected).length, 1);
      other[place]! ^= 1n;
    }
    assert.ok(detector.differences(expected.subarray(0, -100), expected).length > 0);
  });
});
