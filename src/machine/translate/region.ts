/**
 * Forms regions: from a head, follows branches and jumps as far as they stay in one function, and takes small leaf callees in.
 * Knows code by offset from the head, since the same code may lie at several virtual addresses.
 */
import { decode, type Decoded } from "#riscv/table.ts";
import type { Instruction } from "#riscv/instruction.ts";
import { handler } from "../hart/decode.ts";
import { frame, predecoded, request, type MemoryMap } from "../layout.ts";
import { codeHash } from "./code-hash.ts";

/** Pages before and behind the head's that a region may reach. */
const pageReach = request.reach;

/** Where a region's code stands. */
export interface Place {
  /** Host address of the head. */
  readonly head: number;
  /** Host addresses of the frames that the pages around the head's are mapped to: index `pageReach` is the head's own; 0 if not executable. */
  readonly frames: readonly number[];
}

/** Host address at this distance from the head, or 0 if the page isn't there. */
export function hostAt({ head, frames }: Place, offset: number): number {
  const at = (head & 4095) + offset;
  const frame = frames[(at >> 12) + pageReach];
  return frame ? frame + (at & 4095) : 0;
}

export interface RegionRequest extends Place {
  readonly privilege: number;
  /** Offsets of the accesses that begin groups which are not to share a TLB check, since they straddle pages: see access-groups.ts. */
  readonly separateChecks?: readonly number[];
  /** Offsets of loops that much time is spent in: see unroll.ts. */
  readonly hotLoops?: readonly number[] | "all";
}

/** Code that lies within a page: its distance from the head, and its length in bytes. */
export interface Span {
  readonly offset: number;
  readonly length: number;
}

export type BlockEnd =
  /** The last instruction branches: taken and not taken; a target of -1 lies outside. */
  | { readonly kind: "branch"; readonly taken: number; readonly notTaken: number }
  | { readonly kind: "jump"; readonly target: number }
  /** A call to another region; comes back at the block `next`, or -1 if that lies outside. `target` is an offset, or undefined for an indirect call. */
  | { readonly kind: "call"; readonly target: number | undefined; readonly next: number }
  /** Leaves for an offset outside. */
  | { readonly kind: "leave"; readonly target: number }
  /** Leaves by a register: a return, or an indirect jump. */
  | { readonly kind: "return" }
  | { readonly kind: "indirect" }
  /** An indirect jump that was seen to go to these blocks, at these offsets; it may go elsewhere. */
  | { readonly kind: "switch"; readonly targets: readonly number[]; readonly offsets: readonly number[] }
  /** The interpreter must execute the instruction that would follow. */
  | { readonly kind: "interpret" };

export interface Block {
  readonly offset: number;
  readonly instructions: readonly Decoded[];
  /** Offset of each instruction, and of what follows the last. */
  readonly offsets: readonly number[];
  readonly end: BlockEnd;
}

export interface Region {
  readonly request: RegionRequest;
  readonly blocks: readonly Block[];
  readonly instructionCount: number;
  /** Pages that hold its code, relative to the head's page. */
  readonly pages: readonly number[];
}

/** Bounds on a region, in instructions. Bigger ones defeat the host's register allocator. */
const regionLimit = 1500;
const inlineLimit = 32;

interface Site {
  readonly decoded: Decoded;
  readonly context: number;
  readonly offset: number;
  /** The callee's body that a call is replaced by. */
  inlined?: number;
}

/** An inlined callee: where it was called from. */
interface InlineContext {
  readonly parent: number;
  readonly continuation: number;
}

const contextShift = 2 ** 24;
const key = (context: number, offset: number): number => context * contextShift + offset + contextShift / 2;

/** Copies of pages of code: the hart goes on meanwhile and may write to it, and what was translated must be what is compared later. */
export class CodePages {
  readonly #memory: Uint8Array;
  readonly #copies = new Map<number, DataView>();
  /** Used again and again: so much garbage would leave holes in the host's memory. */
  readonly #buffers: Uint8Array<ArrayBuffer>[] = [];

  constructor(memory: ArrayBufferLike) {
    this.#memory = new Uint8Array(memory);
  }

  of(frame: number): DataView {
    let copy = this.#copies.get(frame);
    if (copy !== undefined) return copy;
    const buffer = (this.#buffers[this.#copies.size] ??= new Uint8Array(4096));
    buffer.set(this.#memory.subarray(frame, frame + 4096));
    copy = new DataView(buffer.buffer);
    this.#copies.set(frame, copy);
    return copy;
  }

  /** What was copied is nobody's any more. */
  forget(): void {
    this.#copies.clear();
  }
}

/** Reads a region's code. */
export class CodeReader {
  readonly #view: DataView;
  readonly #request: RegionRequest;
  readonly #inPage: number;
  readonly #map: MemoryMap;
  readonly #pages: CodePages;

  constructor(memory: ArrayBufferLike, map: MemoryMap, wanted: RegionRequest, pages: CodePages) {
    this.#map = map;
    this.#pages = pages;
    this.#view = new DataView(memory as ArrayBuffer);
    this.#request = wanted;
    this.#inPage = wanted.head & 4095;
  }

  page(offset: number): number {
    return (this.#inPage + offset) >> 12;
  }

  /** Host address, or 0 if the page isn't there. */
  host(offset: number): number {
    return hostAt(this.#request, offset);
  }

  /** Whether the interpreter has met the instruction: what it hasn't is cold, and not worth translating. What is the monitor's can't be. */
  wasExecuted(offset: number): boolean {
    const host = this.host(offset);
    if (host === 0) return false;
    const { frames, ram } = this.#map;
    const page = this.#view.getUint32(frames + ((host - ram) >>> 12) * frame.size + frame.predecoded, true);
    // Instructions that lie across two pages have no entry.
    if (page === 0 || (host & 4095) === 4094) return true;
    const handled = this.#view.getUint16(page + predecoded.header + ((host & 4095) >>> 1) * 8, true);
    return handled !== handler.undecoded && handled !== handler.callOut;
  }

  decode(offset: number): Decoded | undefined {
    const half = this.#half(offset);
    if (half === undefined || (half & 3) !== 3) return half === undefined ? undefined : decode(half);
    const high = this.#half(offset + 2);
    return high === undefined ? undefined : decode((half | (high << 16)) >>> 0);
  }

  /** The bytes of a span. */
  read({ offset, length }: Span): Uint8Array {
    const at = (this.#inPage + offset) & 4095;
    const { buffer } = this.#copy(offset)!;
    return new Uint8Array(buffer, at, length);
  }

  /** Of the code at the head. */
  get hash(): number {
    return codeHash(this.#copy(0)!, this.#inPage);
  }

  #half(offset: number): number | undefined {
    return this.#copy(offset)?.getUint16((this.#inPage + offset) & 4095, true);
  }

  #copy(offset: number): DataView | undefined {
    const frame = this.#request.frames[this.page(offset) + pageReach];
    return frame ? this.#pages.of(frame) : undefined;
  }
}

/** CSRs that translated code accesses by a call, without leaving: none of them changes the translation of code or the slice. */
const inlineCsrs = new Set([0x001, 0x002, 0x003, 0x100, 0x140, 0x141, 0x142, 0x143, 0xc00, 0xc01, 0xc02]);

export function staysInRegion(instruction: Instruction, imm: number): boolean {
  return instruction.flow === "system" && instruction.name.startsWith("csr") && inlineCsrs.has(imm & 0xfff);
}

export function isReturn({ instruction, rd, rs1 }: Decoded): boolean {
  return instruction.flow === "jump-register" && rd === 0 && rs1 === 1;
}

/** Registers for return addresses (unprivileged manual, 2.5.1). With another rd, as linkage tables have it, jalr is a jump. */
const isLink = (register: number): boolean => register === 1 || register === 5;

/** auipc + jalr with the same register: the target is known. */
function farTarget(previous: Site | undefined, site: Site): number | undefined {
  if (previous === undefined || previous.decoded.instruction.name !== "auipc") return undefined;
  if (previous.decoded.rd !== site.decoded.rs1 || previous.offset + 4 !== site.offset) return undefined;
  return (previous.offset + previous.decoded.imm + site.decoded.imm) & ~1;
}

/** Distances to the targets of an indirect jump, by the jump's host address. */
export type Edges = ReadonlyMap<number, readonly number[]>;

/** A jump to more places than this, or over a wider range of bytes, stays indirect. */
const switchLimit = { targets: 256, range: 4096 };

export function formRegion(reader: CodeReader, wanted: RegionRequest, edges: Edges): Region {
  const sites = new Map<number, Site>();
  const leaders = new Set<number>();
  const contexts: InlineContext[] = [{ parent: -1, continuation: 0 }];
  const work: [context: number, offset: number][] = [];
  const leader = (context: number, offset: number): void => {
    const id = key(context, offset);
    // The head was asked for; its entry may have been forgotten since.
    if (leaders.has(id) || (offset !== 0 && !reader.wasExecuted(offset))) return;
    leaders.add(id);
    work.push([context, offset]);
  };
  leader(0, 0);
  while (work.length > 0) {
    let [context, offset] = work.shift()!;
    let previous: Site | undefined;
    while (!sites.has(key(context, offset)) && sites.size < regionLimit) {
      const decoded = reader.decode(offset);
      if (decoded === undefined) break;
      const site: Site = { decoded, context, offset };
      const { flow } = decoded.instruction;
      if (flow === "system" && !staysInRegion(decoded.instruction, decoded.imm)) break;
      sites.set(key(context, offset), site);
      const next = offset + decoded.length;
      if (flow === "branch") {
        leader(context, offset + decoded.imm);
        leader(context, next);
        break;
      }
      if (flow === "jump" || (flow === "jump-register" && farTarget(previous, site) !== undefined)) {
        const target = flow === "jump" ? offset + decoded.imm : farTarget(previous, site)!;
        if (!isLink(decoded.rd)) leader(context, target);
        else if (decoded.rd === 1 && context === 0 && isSmallLeaf(reader, target)) {
          site.inlined = contexts.push({ parent: context, continuation: next }) - 1;
          leader(site.inlined, target);
        } else leader(context, next);
        break;
      }
      if (flow === "jump-register") {
        if (context !== 0 && isReturn(decoded)) leader(contexts[context]!.parent, contexts[context]!.continuation);
        else if (isLink(decoded.rd)) leader(context, next);
        else if (!isReturn(decoded)) for (const distance of edges.get(reader.host(offset)) ?? []) leader(context, offset + distance);
        break;
      }
      previous = site;
      offset = next;
      if (leaders.has(key(context, offset))) break;
    }
  }
  return cut(wanted, reader, sites, leaders, contexts, edges);
}

/** A callee that calls nothing, leaves ra alone and returns by it. */
function isSmallLeaf(reader: CodeReader, target: number): boolean {
  const seen = new Set<number>();
  const work = [target];
  let returns = false;
  while (work.length > 0) {
    let offset = work.pop()!;
    for (;;) {
      if (seen.has(offset)) break;
      seen.add(offset);
      if (seen.size > inlineLimit) return false;
      const decoded = reader.decode(offset);
      if (decoded === undefined) return false;
      const { flow } = decoded.instruction;
      if (isReturn(decoded) && decoded.imm === 0) {
        returns = true;
        break;
      }
      if (flow === "system" || flow === "jump-register") return false;
      if (decoded.rd === 1 && decoded.instruction.syntax.startsWith("rd")) return false;
      if (flow === "branch" || flow === "jump") {
        work.push(offset + decoded.imm);
        if (flow === "jump") break;
      }
      offset += decoded.length;
    }
  }
  return returns;
}

/** Cuts the instructions found into blocks at the leaders. */
function cut(
  wanted: RegionRequest,
  reader: CodeReader,
  sites: ReadonlyMap<number, Site>,
  leaders: ReadonlySet<number>,
  contexts: readonly InlineContext[],
  edges: Edges,
): Region {
  const starts = [...leaders].filter((id) => sites.has(id));
  const index = new Map(starts.map((id, i) => [id, i]));
  const find = (context: number, offset: number): number => index.get(key(context, offset)) ?? -1;
  const pages = new Set<number>();
  const blocks = starts.map((id): Block => {
    const first = sites.get(id)!;
    const { context } = first;
    const instructions: Decoded[] = [];
    const offsets: number[] = [];
    let site = first;
    let previous: Site | undefined;
    for (;;) {
      instructions.push(site.decoded);
      offsets.push(site.offset);
      pages.add(reader.page(site.offset));
      pages.add(reader.page(site.offset + site.decoded.length - 1));
      const next = site.offset + site.decoded.length;
      const done = (end: BlockEnd): Block => ({ offset: first.offset, instructions, offsets: [...offsets, next], end });
      const { flow } = site.decoded.instruction;
      const target = flow === "jump" ? site.offset + site.decoded.imm : flow === "jump-register" ? farTarget(previous, site) : undefined;
      const follow = (to: number, at: number): Block =>
        done(find(to, at) < 0 ? { kind: "leave", target: at } : { kind: "jump", target: find(to, at) });
      if (flow === "branch") {
        return done({ kind: "branch", taken: find(context, site.offset + site.decoded.imm), notTaken: find(context, next) });
      }
      if (target !== undefined) {
        if (!isLink(site.decoded.rd)) return follow(context, target);
        if (site.inlined !== undefined) return follow(site.inlined, target);
        return done({ kind: "call", target, next: find(context, next) });
      }
      if (flow === "jump-register") {
        if (isReturn(site.decoded)) {
          if (context === 0) return done({ kind: "return" });
          const { parent, continuation } = contexts[context]!;
          return follow(parent, continuation);
        }
        if (isLink(site.decoded.rd)) return done({ kind: "call", target: undefined, next: find(context, next) });
        const targets = (edges.get(reader.host(site.offset)) ?? [])
          .map((distance) => site.offset + distance)
          .filter((to) => find(context, to) >= 0)
          .sort((a, b) => a - b);
        const range = targets.length === 0 ? 0 : targets.at(-1)! - targets[0]!;
        if (targets.length === 0 || targets.length > switchLimit.targets || range > switchLimit.range) {
          return done({ kind: "indirect" });
        }
        return done({ kind: "switch", targets: targets.map((to) => find(context, to)), offsets: targets });
      }
      const following = sites.get(key(context, next));
      if (following === undefined) return done({ kind: "interpret" });
      if (index.has(key(context, next))) return follow(context, next);
      previous = site;
      site = following;
    }
  });
  return {
    request: wanted,
    blocks,
    instructionCount: blocks.reduce((sum, block) => sum + block.instructions.length, 0),
    pages: [...pages].sort((a, b) => a - b),
  };
}
