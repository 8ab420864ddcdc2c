/** Random virtual machines: two second stages over one memory, in which the guests' page tables of scene.ts stand at the same guest physical addresses. */
import type { Random } from "../kit/random.ts";
import type { GuestRegisters, Registers } from "./model.ts";
import {
  Builder, device, fill, frames, hotPlaces, pmpEntries, pteOf, ramBase, ramSize, randomAddress, randomLeaf, randomRegisters, type Scene,
} from "./scene.ts";

/** A second stage. */
export interface VirtualMachine {
  readonly hgatp: bigint;
  readonly vmid: number;
  /** Physical address of the leaf entries for memory's frames, one behind the other; undefined if the stage is off. */
  readonly leaves: number | undefined;
  /** The leaf entries of larger pages, in each of which all of memory lies. */
  readonly larges: readonly { readonly entry: number; readonly page: bigint; readonly size: bigint; readonly frame: bigint }[];
  /** What to add to memory's addresses for guest physical ones that lead there by larger pages. */
  readonly aliases: readonly bigint[];
}

export interface GuestScene extends Scene {
  readonly machines: readonly VirtualMachine[];
}

/** First frames of each second stage's tables: the root's four, and those of the levels below. */
const stageFrames = [84, 92] as const;
const guestTableLimit = 84;

const whole = 0xdfn; // V R W X U A D
const flawed = [0xdbn, 0x9fn, 0x5fn, 0x1fn, 0xcfn, 0n, 0xd9n, 0xd3n, 0xd7n];

export function buildGuestScene(random: Random): GuestScene {
  const ram = new Uint8Array(ramSize);
  fill(ram);
  const { hotFrames, hotOffsets } = hotPlaces(random);
  const builder = new Builder(ram, hotFrames, random, guestTableLimit);
  const asids = random.pick([[1, 9], [0, 1], [0xffff, 0x7fff]] as const);
  const modes = [0, 8, 8, 8, 9, 9, 10] as const;
  const first = builder.space(random.pick(modes), asids[0]);
  const second = random.oneIn(2) ? builder.space(random.pick(modes), asids[1]) : builder.sibling(first, asids[1]);
  const vmids = random.pick([[1, 2], [0, 1], [8, 16], [0x3fff, 0x1fff]] as const);
  const view = new DataView(ram.buffer);
  const machines = stageFrames.map((frame, i) => secondStage(view, frame, vmids[i]!, hotFrames, random));
  const scene = { ram, spaces: [first, second], pmp: pmpEntries(hotFrames, hotOffsets, random), hotFrames, hotOffsets, machines };
  // Some of the guests' leaves lead to memory by the larger pages of the second stage.
  for (const { mappings } of scene.spaces) {
    for (const { entry } of mappings) view.setBigUint64(entry - ramBase, viaAlias(view.getBigUint64(entry - ramBase, true), scene, random), true);
  }
  return scene;
}

function secondStage(view: DataView, frame: number, vmid: number, hotFrames: readonly number[], random: Random): VirtualMachine {
  const mode = random.pick([0, 8, 8, 8, 9, 10]);
  if (mode === 0) return { hgatp: BigInt(vmid) << 44n, vmid, leaves: undefined, larges: [], aliases: [0n] };
  const levels = mode - 5;
  const root = ramBase + frame * 4096;
  for (let at = 0; at < 8 * 4096; at += 8) view.setBigUint64(frame * 4096 + at, 0n, true);
  const put = (table: number, index: bigint, pte: bigint): void => view.setBigUint64(table - ramBase + Number(index) * 8, pte, true);
  const index = (address: bigint, level: number): bigint => (address >> BigInt(12 + 9 * level)) & (level === levels - 1 ? 2047n : 511n);
  const base = BigInt(ramBase);
  let table = root;
  for (let level = levels - 1; level > 0; level--) {
    const next = ramBase + (frame + 3 + levels - level) * 4096;
    put(table, index(base, level), pteOf(next, 1));
    table = next;
  }
  for (let i = 0; i < frames; i++) put(table, BigInt(i), randomGuestLeaf(i, hotFrames, random));
  // Larger pages beside: of 2 MiB behind memory, and as large as they come at a random index of the root, beyond the mode's usual ones.
  const slot = (at: number, number: bigint): number => at + Number(number) * 8;
  const large = base + 0x200000n;
  const top = BigInt(mode === 10 ? 1 + random.below(255) : 512 + random.below(1536));
  const size = 1n << BigInt(12 + 9 * (levels - 1));
  const memoryPage = (base / size) * size;
  const larges = [
    { entry: slot(tableAt(view, root, levels, large, 1), index(large, 1)), page: large, size: 0x200000n, frame: base },
    { entry: slot(root, top), page: top * size, size, frame: memoryPage },
  ];
  for (const { entry, frame: at } of larges) view.setBigUint64(entry - ramBase, largeLeaf(at, random), true);
  return {
    hgatp: (BigInt(mode) << 60n) | (BigInt(vmid) << 44n) | BigInt(root / 4096),
    vmid,
    leaves: table,
    larges,
    aliases: [0n, 0n, 0n, 0x200000n, top * size - memoryPage],
  };
}

/** The table of a level on the way to an address. */
function tableAt(view: DataView, root: number, levels: number, address: bigint, level: number): number {
  let table = root;
  for (let at = levels - 1; at > level; at--) {
    const entry = table - ramBase + Number((address >> BigInt(12 + 9 * at)) & 511n) * 8;
    table = Number(view.getBigUint64(entry, true) >> 10n) * 4096;
  }
  return table;
}

export const largeLeaf = (frame: bigint, random: Random): bigint =>
  ((frame / 4096n) << 10n) | (random.oneIn(3) ? random.pick(flawed) : whole);

/** The guests' tables and the code are at their own addresses, mostly; what is behind them, anywhere. */
export function randomGuestLeaf(frame: number, hotFrames: readonly number[], random: Random): bigint {
  const own = pteOf(ramBase + frame * 4096, 0);
  if (frame < guestTableLimit) return own | (random.oneIn(25) ? random.pick(flawed) : whole);
  if (random.oneIn(3)) return own | whole;
  if (random.oneIn(10)) return pteOf(device.base, 0) | whole;
  const leaf = randomLeaf(0, hotFrames, random);
  // Accesses are a user's.
  return random.oneIn(10) ? leaf : leaf | 0x10n;
}

/** A guest's leaf, or the same by an alias. */
export function viaAlias(pte: bigint, { machines }: Pick<GuestScene, "machines">, random: Random): bigint {
  const alias = random.pick(random.pick(machines).aliases);
  const page = ((pte >> 10n) & 0xfffffffffffn) + alias / 4096n;
  const isMemory = ((pte >> 10n) & 0xfffffffffffn) >> 8n === BigInt(ramBase / 4096) >> 8n;
  return isMemory ? (pte & ~(0xfffffffffffn << 10n)) | ((page & 0xfffffffffffn) << 10n) : pte;
}

export function randomGuestRegisters(scene: GuestScene, space: number, host: number, machine: number, random: Random): Registers {
  const registers = randomRegisters(scene.spaces[host]!, scene.pmp, random);
  const { mode, asid, root } = scene.spaces[space]!;
  const guest: GuestRegisters = {
    v: registers.privilege !== 3 && !random.oneIn(3),
    mpv: !random.oneIn(3),
    spvp: random.pick([0, 1] as const),
    vsatp: (BigInt(mode) << 60n) | (BigInt(asid) << 44n) | BigInt(root / 4096),
    hgatp: scene.machines[machine]!.hgatp,
    sum: random.oneIn(2),
    mxr: random.oneIn(3),
    adue: random.oneIn(2),
    pbmte: random.oneIn(2),
  };
  return { ...registers, guest };
}

/** As `randomAddress`; where the guest has no paging, by an alias too. */
export function randomGuestAddress(scene: GuestScene, space: number, machine: number, random: Random): bigint {
  const address = randomAddress(scene, space, random);
  if (scene.spaces[space]!.mode !== 0) return address;
  return BigInt.asUintN(64, address + random.pick(scene.machines[machine]!.aliases));
}
