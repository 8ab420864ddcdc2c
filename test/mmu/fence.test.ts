/** SFENCE.VMA by an address reaches all of the page that the address lies in, whatever its size. */
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { cause } from "#machine/csr-bits.ts";
import { RAM, TestHart } from "../kit/hart.ts";

const root = RAM + 0x10000;
const leaf = 0xcfn;
const pointer = 0x01n;

const entry = (physical: number, flags: bigint): bigint => (BigInt(physical / 4096) << 10n) | flags;

/** Maps a page that contains RAM at a virtual address with the same low bits, `level` levels above 4 KiB, in Sv57. */
function map(hart: TestHart, virtual: bigint, level: number): number {
  let table = root;
  for (let at = 4; at > level; at--) {
    const next = table + 4096;
    hart.view.setBigUint64(indexed(table, virtual, at), entry(next, pointer), true);
    table = next;
  }
  const size = 2 ** (12 + 9 * level);
  const slot = indexed(table, virtual, level);
  hart.view.setBigUint64(slot, entry(RAM - (RAM % size), leaf), true);
  return slot;
}

const indexed = (table: number, virtual: bigint, level: number): number =>
  table - RAM + Number((virtual >> BigInt(12 + 9 * level)) & 511n) * 8;

suite("SFENCE.VMA by address", () => {
  for (let level = 0; level < 5; level++) {
    test(`a page of 2^${12 + 9 * level} bytes`, () => {
      const size = 1n << BigInt(12 + 9 * level);
      const page = BigInt(RAM) - (BigInt(RAM) % size) + (size < 1n << 40n ? 1n << 40n : 0n);
      const address = page + (BigInt(RAM) % size);
      const hart = new TestHart();
      hart.openMemory();
      const slot = map(hart, address, level);
      hart.program(`
          lw    a0, 0(a1)
          lw    a0, 8(a1)
          sfence.vma a2, zero
          lw    a0, 0(a1)
          j     .
          .align 6
      handler:
          j     .
      `);
      hart.state.set("mtvec", BigInt(RAM + 64));
      hart.state.set("satp", (10n << 60n) | BigInt(root / 4096));
      // Loads as supervisor.
      hart.state.set("mstatus", (1n << 17n) | (1n << 11n));
      hart.settle();
      hart.state.set("x", address, 11);
      // The far end of the page.
      hart.state.set("x", page + size - 4096n, 12);
      hart.run(1);
      const walks = hart.get("walks");
      hart.run(1);
      assert.equal(hart.get("walks"), walks, "the translation is cached");
      hart.view.setBigUint64(slot, 0n, true);
      hart.run(3);
      assert.equal(hart.get("mcause"), BigInt(cause.loadPage));
      assert.equal(hart.get("mtval"), address);
    });
  }
});
