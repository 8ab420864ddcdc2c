/** What fences of two-stage translation reach, and what they leave: a hypervisor may not count on the latter, but its guests' speed does, and test suites look. */
import assert from "node:assert/strict";
import { beforeEach, suite, test } from "node:test";
import { RAM } from "../kit/hart.ts";
import { HypervisorBench } from "../privileged/hypervisor-bench.ts";
import { pteOf } from "./scene.ts";

const bench = new HypervisorBench();
const { hart } = bench;
const [root, middle, leaves] = [0x10000, 0x14000, 0x15000];
/** Two pages that change places. */
const [one, other] = [0x20000, 0x21000];
const whole = 0xdf; // V R W X U A D
const leafOf = (page: number): number => leaves + page / 512;

/** Sv39x4, with VMID 0; the guest has no paging of its own. */
beforeEach(() => {
  bench.reset();
  const put = (at: number, pte: bigint): void => hart.view.setBigUint64(at, pte, true);
  put(root + 2 * 8, pteOf(RAM + middle, 1));
  put(middle, pteOf(RAM + leaves, 1));
  for (let page = 0; page < hart.map.ramSize; page += 4096) put(leafOf(page), pteOf(RAM + page, whole));
  put(one, 1n);
  put(other, 2n);
  bench.set({ hgatp: (8n << 60n) | BigInt((RAM + root) / 4096) });
});

function exchange(): void {
  const [first, second] = [one, other].map((page) => hart.view.getBigUint64(leafOf(page), true));
  hart.view.setBigUint64(leafOf(one), second!, true);
  hart.view.setBigUint64(leafOf(other), first!, true);
}

const load = (): bigint => bench.attempt("hlv.d a0, (a1)", "supervisor", { a1: BigInt(RAM + one) }).a0;

suite("fences of two-stage translation", () => {
  for (const [fence, mode, reaches] of [
    ["hfence.gvma zero, zero", "supervisor", true],
    ["hfence.vvma zero, zero", "supervisor", true],
    ["hinval.vvma zero, zero", "supervisor", true],
    ["sfence.vma zero, zero", "supervisor", false],
    ["sfence.vma zero, zero", "virtualSupervisor", false],
  ] as const) {
    test(`${fence} in ${mode} mode ${reaches ? "reaches" : "leaves"} the second stage`, () => {
      assert.equal(load(), 1n);
      exchange();
      assert.equal(load(), 1n);
      assert.equal(bench.attempt(fence, mode).trap, undefined);
      assert.equal(load(), reaches ? 2n : 1n);
    });
  }

  for (const vmid of [0n, 1n, 4n, 8n]) {
    test(`a hypervisor finds its TLB again after its guest's turn, VMID ${vmid}`, () => {
      bench.set({ hgatp: bench.get("hgatp") | (vmid << 44n) });
      const touch = (): bigint => {
        bench.attempt("ld a0, (a1)", "supervisor", { a1: BigInt(RAM + one) });
        return bench.get("tlbMisses");
      };
      touch();
      assert.equal(bench.attempt("sfence.vma zero, zero", "virtualSupervisor").trap, undefined);
      const before = bench.get("tlbMisses");
      assert.equal(touch(), before);
    });
  }
});
