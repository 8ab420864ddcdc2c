/**
 * The memory that instructions are tried in, in pages of 2 MiB, and the address spaces that show it. What a program sees is at the same virtual
 * addresses in all of them and has the same content, wherever it stands: that is the relocation that a monitor must be free to choose.
 *
 *   virtual      in place    moved       guest       guest, moved
 *   code         code        code 2      code        code
 *   data         data        data 2      data        data 3, with other content
 *   landing S    the same in all, for the supervisor
 *   landing U    the same in all, for programs
 *   probe        one of two, to see whether a translation is still cached
 */
import type { MemoryMap } from "#machine/layout.ts";

const MIB = 1 << 20;
const PAGE = 2 * MIB;
const BASE = 0x80000000;

/** Physical addresses; those in place are the virtual ones too. */
export const place = Object.fromEntries(
  ["tables", "code", "data", "landingSupervisor", "landingUser", "probe", "code2", "data2", "data3", "probe2"].map((name, i) => [name, BASE + i * PAGE]),
) as Readonly<Record<"tables" | "code" | "data" | "landingSupervisor" | "landingUser" | "probe" | "code2" | "data2" | "data3" | "probe2", number>>;

export const ramSize = 10 * PAGE;
/** Distances in a page: of the instruction, and of what pointers point to. */
export const middle = PAGE / 2;

export const spaces = ["inPlace", "moved", "guest", "guestMoved"] as const;
export type Space = (typeof spaces)[number];

const mapped: Readonly<Record<Space, { readonly code: number; readonly data: number }>> = {
  inPlace: { code: place.code, data: place.data },
  moved: { code: place.code2, data: place.data2 },
  guest: { code: place.code, data: place.data },
  guestMoved: { code: place.code, data: place.data3 },
};

/** R, W, X, A, D, V. */
const RIGHTS = 0xcfn;
const USER = 0x10n;
const VALID = 1n;

export class AddressSpaces {
  readonly #view: DataView;
  readonly #map: MemoryMap;

  constructor(memory: WebAssembly.Memory, map: MemoryMap) {
    this.#view = new DataView(memory.buffer);
    this.#map = map;
    for (const space of spaces) {
      this.#setEntry(rootOf(space), BASE, 30, rootOf(space) + 4096, VALID);
      this.setProgramMode(space, space.startsWith("guest") ? "user" : "supervisor");
      this.#setLeaf(space, place.landingSupervisor, place.landingSupervisor, 0n);
      this.#setLeaf(space, place.landingUser, place.landingUser, USER);
    }
    this.setProbe(place.probe);
  }

  /** Whose pages code and data are. */
  setProgramMode(space: Space, mode: "user" | "supervisor"): void {
    const user = mode === "user" ? USER : 0n;
    this.#setLeaf(space, place.code, mapped[space].code, user);
    this.#setLeaf(space, place.data, mapped[space].data, user);
  }

  setProbe(physical: number): void {
    for (const space of spaces) this.#setLeaf(space, place.probe, physical, 0n);
  }

  /** Where code and data stand. */
  where(space: Space): { readonly code: number; readonly data: number } {
    return mapped[space];
  }

  #setLeaf(space: Space, virtual: number, physical: number, user: bigint): void {
    this.#setEntry(rootOf(space) + 4096, virtual, 21, physical, RIGHTS | user);
  }

  #setEntry(table: number, virtual: number, shift: number, physical: number, bits: bigint): void {
    const index = Math.floor(virtual / 2 ** shift) % 512;
    const at = table - this.#map.ramBase + this.#map.ram + index * 8;
    this.#view.setBigUint64(at, (BigInt(physical / 4096) << 10n) | bits, true);
  }
}

function rootOf(space: Space): number {
  return place.tables + spaces.indexOf(space) * 8192;
}

/** What satp or vsatp holds: Sv39. */
export function rootRegister(space: Space, addressSpace: number): bigint {
  return (8n << 60n) | (BigInt(addressSpace) << 44n) | BigInt(rootOf(space) / 4096);
}

