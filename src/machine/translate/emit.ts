/**
 * Emits a region as one WebAssembly function: (state, pc of the head, budget, nesting) → (pc to go on at, budget). Guest registers are locals;
 * what is rare leaves for the interpreter by code behind the function's end.
 *
 * The budget goes down by a block's length at the start of the block, and is checked at the head, at loop headers and behind calls against the longest
 * way to the next check: so a region never retires more than it was given.
 */
import { assert } from "#base/assert.ts";
import {
  call,
  f32,
  f64,
  i32,
  i64,
  select,
  toExpr,
  type Expr,
  type FunctionReference,
  type Operand,
  type ValueType,
} from "#wasm/expression.ts";
import type { FunctionBuilder, Label, Local, Signature } from "#wasm/function.ts";
import * as quick from "#riscv/floating-point/quick.ts";
import type { Decoded } from "#riscv/table.ts";
import type {
  CsrOperation,
  FloatFormat,
  FloatOperation,
  MemoryAccess,
  Semantics,
  SystemOperation,
} from "#riscv/semantics.ts";
import { bank, get, layout, set } from "../layout.ts";
import { jumpEntry, tlbIndex, tlbMiss } from "../hart/translation-banks.ts";
import { asWord, narrowCondition } from "./narrow.ts";
import { accessGroups, type Access, type AccessGroup } from "./access-groups.ts";
import { analyze, written, type BlockFlow, type RegisterSet } from "./dataflow.ts";
import { successorsOf } from "./edges.ts";
import { nested } from "./nest.ts";
import type { Block, Region } from "./region.ts";
import { ARM, structure, type Structure } from "./structure.ts";
import { unroll, unrollable } from "./unroll.ts";

/** What translated code calls, imported from the hart's program. */
export interface RegionImports {
  readonly signature: Signature;
  /** With a region's signature: goes on at pc, where the jump cache knows no region. */
  readonly jump: FunctionReference;
  /** (state, pc, budget, nesting, stop) → (pc, budget): where a callee returned to another pc than `stop`. */
  readonly recover: FunctionReference;
  readonly csr: FunctionReference;
  readonly routines: Readonly<Record<string, FunctionReference>>;
  /** Whether the host's relaxed multiply-add rounds once. */
  readonly fusedMultiplyAdd: boolean;
}

/** `number` is what the registry knows the region by. */
export function emitRegion(f: FunctionBuilder, region: Region, number: Expr, imports: RegionImports): void {
  new RegionEmitter(f, region, number, imports).emit();
}

/** The longest way, in instructions, from the start of each block to the next check of the budget. */
function longestPaths(blocks: readonly Block[], successors: readonly number[][], order: readonly number[], checked: ReadonlySet<number>): number[] {
  const position = new Int32Array(blocks.length).fill(-1);
  order.forEach((b, i) => (position[b] = i));
  const longest = new Array<number>(blocks.length).fill(0);
  for (let i = order.length - 1; i >= 0; i--) {
    const b = order[i]!;
    let rest = 0;
    if (blocks[b]!.end.kind !== "call") {
      for (const s of successors[b]!) {
        if (!checked.has(s)) {
          assert(position[s]! > i, "an edge goes back to a block that checks no budget", { from: b, to: s });
          rest = Math.max(rest, longest[s]!);
        }
      }
    }
    longest[b] = blocks[b]!.instructions.length + rest;
  }
  return longest;
}

/** Of a block that only one other leads to, without a call between, that one; else -1. */
function onlyPredecessors(blocks: readonly Block[], successors: readonly number[][], order: readonly number[]): number[] {
  const parents = new Array<number>(blocks.length).fill(-1);
  const seen = new Uint8Array(blocks.length);
  seen[order[0]!] = 1;
  for (const b of order) {
    for (const s of successors[b]!) {
      parents[s] = seen[s] || blocks[b]!.end.kind === "call" ? -1 : b;
      seen[s] = 1;
    }
  }
  return parents;
}

/** Where a group has been checked: the host address of its first byte, and how far host addresses are from virtual ones. */
interface Checked {
  readonly first: Local;
  readonly addend: Local;
}

type Hosts = Map<AccessGroup, Checked>;

class RegionEmitter {
  readonly f: FunctionBuilder;
  readonly region: Region;
  readonly number: Expr;
  readonly imports: RegionImports;
  readonly state: Local;
  readonly pc: Local;
  readonly budget: Local;
  readonly nesting: Local;
  readonly bank: Local;
  readonly #x: (Local | undefined)[] = [];
  readonly #f: (Local | undefined)[] = [];
  readonly #words: (Local | undefined)[] = [];
  #flows: readonly BlockFlow[] = [];
  #longest: readonly number[] = [];
  #accesses: readonly (readonly (Access | undefined)[])[] = [];
  readonly #position: number[] = [];
  #checked = new Set<number>();
  /** Headers of loops that are made better once they prove to be hot. */
  readonly #improvable = new Set<number>();

  constructor(f: FunctionBuilder, region: Region, number: Expr, imports: RegionImports) {
    this.f = f;
    this.region = region;
    this.number = number;
    this.imports = imports;
    [this.state, this.pc, this.budget, this.nesting] = [0, 1, 2, 3].map((i) => f.parameter(i)) as [Local, Local, Local, Local];
    this.bank = f.local("i32");
  }

  x(register: number): Local {
    return (this.#x[register] ??= this.f.local("i64"));
  }

  /** Holds a register's value while it is the sign extension of 32 bits that hasn't been made yet. */
  word(register: number): Local {
    return (this.#words[register] ??= this.f.local("i32"));
  }

  float(register: number): Local {
    return (this.#f[register] ??= this.f.local("f64"));
  }

  address(offset: number): Expr {
    return offset === 0 ? this.pc : i64.add(this.pc, offset);
  }

  emit(): void {
    const { f } = this;
    const { blocks, successors, shape } = this.#prepare();
    shape.order.forEach((b, i) => (this.#position[b] = i));
    this.#flows = analyze(blocks, successors, shape.order, (from, to) => this.goesBack(from, to));
    // Where the budget is checked: the entry, loop headers, and every block that an edge goes back to.
    this.#checked.add(0);
    for (const b of shape.order) for (const s of successors[b]!) if (this.goesBack(b, s)) this.#checked.add(s);
    this.#longest = longestPaths(blocks, successors, shape.order, this.#checked);
    const parents = onlyPredecessors(blocks, successors, shape.order);
    this.#accesses = accessGroups(blocks, parents, shape.order, this.region.request.separateChecks ?? []);
    const hosts: Hosts[] = [];

    f.set(this.bank, get(this.state, "bank"));
    this.load(this.#flows[0]!.liveIn);
    const labels = new Map<number, Label>();
    const selector = shape.rerouted > 0 ? f.local("i32") : undefined;
    for (const step of shape.steps) {
      switch (step.kind) {
        case "block":
          labels.set(step.label, f.openBlock());
          break;
        case "loop":
          labels.set(step.label, f.openLoop());
          break;
        case "end":
          f.close();
          break;
        case "select":
          f.set(selector!, step.value);
          if (step.edges[0]! >= 0) f.branch(labels.get(step.edges[0]!)!);
          break;
        case "dispatch": {
          const targets = step.edges.map((edge) => labels.get(edge)!);
          f.branchTable(selector!, targets, targets.at(-1)!);
          break;
        }
        case "code":
          f.scope(() => {
            const known: Hosts = new Map(hosts[parents[step.block]!]);
            new BlockEmitter(this, blocks[step.block]!, step.block, known).emit(step.edges, labels);
            hosts[step.block] = known;
          });
          break;
      }
    }
    f.unreachable();
  }

  /** The region's blocks, with its hot loops unrolled; and nested as they are in the program, if the one that it begins with is hot. */
  #prepare(): { blocks: readonly Block[]; successors: readonly number[][]; shape: Structure } {
    const { hotLoops = [] } = this.region.request;
    const isHot = ({ offset }: Block): boolean => hotLoops === "all" || hotLoops.includes(offset);
    const apart = nested(this.region.blocks);
    const blocks = isHot(apart[0]!) ? apart : this.region.blocks;
    if (blocks !== apart) this.#improvable.add(0);
    const successors = blocks.map(successorsOf);
    const shape = structure({ successors, entries: [0] });
    const loops = unrollable(blocks, shape);
    for (const { header } of loops) if (!isHot(blocks[header]!)) this.#improvable.add(header);
    const hot = loops.filter(({ header }) => isHot(blocks[header]!));
    if (hot.length === 0) return { blocks, successors, shape };
    const unrolled = unroll(blocks, hot);
    const edges = unrolled.map(successorsOf);
    return { blocks: unrolled, successors: edges, shape: structure({ successors: edges, entries: [0] }) };
  }

  accesses(block: number): readonly (Access | undefined)[] {
    return this.#accesses[block]!;
  }

  goesBack(from: number, to: number): boolean {
    return this.#position[to]! <= this.#position[from]!;
  }

  flow(block: number): BlockFlow {
    return this.#flows[block]!;
  }

  /** Instructions that a block and what follows it may retire before the next check. */
  longest(block: number): number {
    return this.#longest[block]!;
  }

  /** Out of line: leaves at the start of a block since the budget may not last. Where a slice ends is where time is spent. */
  exhausted(block: number, offset: number, dirty: RegisterSet, words: number): Label {
    return this.exit(offset, dirty, words, 0, () => {
      if (!this.#improvable.has(block)) return;
      set(this.f, this.state, "hotRegion", this.number);
      set(this.f, this.state, "hotLoop", offset);
    });
  }

  checks(block: number): boolean {
    return this.#checked.has(block);
  }

  load({ x, f }: RegisterSet): void {
    for (let i = 1; i < 32; i++) if (x & (1 << i)) this.f.set(this.x(i), get(this.state, "x", i));
    for (let i = 0; i < 32; i++) if (f & (1 << i)) this.f.set(this.float(i), f64.load(this.state, layout.f.offset + 8 * i));
  }

  store({ x, f }: RegisterSet, words = 0): void {
    for (let i = 1; i < 32; i++) {
      const bit = 1 << i;
      if (x & bit) set(this.f, this.state, "x", words & bit ? i64.extendI32S(this.word(i)) : this.x(i), i);
    }
    for (let i = 0; i < 32; i++) if (f & (1 << i)) this.f.store("f64", this.state, this.float(i), layout.f.offset + 8 * i);
  }

  /** Out of line: leaves for the interpreter at `offset`, which is to execute one instruction at least, with `unused` of the budget given back. */
  exit(offset: number, dirty: RegisterSet, words: number, unused: number, before?: () => void): Label {
    const registers = { ...dirty };
    return this.f.outlined(() => {
      before?.();
      this.store(registers, words);
      set(this.f, this.state, "interpretOne", 1);
      this.f.return(this.address(offset), unused === 0 ? this.budget : i32.add(this.budget, unused));
    });
  }
}

const sizeOf: Record<MemoryAccess, number> = { i8: 1, u8: 1, i16: 2, u16: 2, i32: 4, u32: 4, i64: 8 };

class BlockEmitter implements Semantics {
  readonly f: FunctionBuilder;
  readonly #region: RegionEmitter;
  readonly #block: Block;
  readonly #number: number;
  readonly #accesses: readonly (Access | undefined)[];
  readonly #hosts: Hosts;
  readonly #dirty: RegisterSet;
  /** Registers that are in their 32-bit locals: extending is put off until the end of the block, and is never done for what dies before. */
  #words = 0;
  #index = 0;
  #exit: Label | undefined;
  #condition: Local | undefined;
  #jumpTarget: Local | undefined;
  #floatChecked = false;
  #floatDirty = false;

  constructor(region: RegionEmitter, block: Block, number: number, hosts: Hosts) {
    this.f = region.f;
    this.#region = region;
    this.#block = block;
    this.#number = number;
    this.#accesses = region.accesses(number);
    this.#hosts = hosts;
    this.#dirty = { ...region.flow(number).dirtyIn };
    this.#words = region.flow(number).wordsIn;
  }

  emit(edges: readonly number[], labels: ReadonlyMap<number, Label>): void {
    const block = this.#block;
    if (block.instructions.length > 0) this.#spend();
    for (this.#index = 0; this.#index < block.instructions.length; this.#index++) {
      this.#exit = undefined;
      const decoded = this.#decoded;
      decoded.instruction.semantics(this);
      const { x, f: floats } = written(decoded);
      this.#dirty.x |= x;
      this.#dirty.f |= floats;
    }
    this.#handOver();
    this.#end(edges, labels);
  }

  /** Takes the block from the budget, which is checked first if it is here. An empty one leaves that to what it leads to. */
  #spend(): void {
    const { f } = this;
    const region = this.#region;
    const { budget } = region;
    const { offset, instructions } = this.#block;
    if (region.checks(this.#number)) {
      f.branchIf(region.exhausted(this.#number, offset, this.#dirty, this.#words), i32.ltS(budget, region.longest(this.#number)));
    }
    f.set(budget, i32.sub(budget, instructions.length));
  }

  /** Registers go to the locals, of 64 bits or of 32, in which the blocks that follow expect them. */
  #handOver(): void {
    if (this.#block.end.kind === "call") return;
    const region = this.#region;
    let wide = 0;
    let words = 0;
    for (const b of this.#successors) {
      const { liveIn, wordsIn } = region.flow(b);
      wide |= liveIn.x & ~wordsIn;
      words |= liveIn.x & wordsIn;
    }
    for (let i = 1; i < 32; i++) {
      const bit = 1 << i;
      if (this.#words & wide & bit) this.f.set(region.x(i), i64.extendI32S(region.word(i)));
      if (~this.#words & words & bit) this.f.set(region.word(i), i32.wrap(region.x(i)));
    }
  }

  /** What a loop doesn't read again is stored where it goes back. */
  #leftBehind(successor: number): RegisterSet {
    const region = this.#region;
    if (!region.goesBack(this.#number, successor)) return { x: 0, f: 0 };
    const { readIn } = region.flow(successor);
    return { x: this.#dirty.x & ~readIn.x, f: this.#dirty.f & ~readIn.f };
  }

  get #successors(): readonly number[] {
    return successorsOf(this.#block);
  }

  get #decoded(): Decoded {
    return this.#block.instructions[this.#index]!;
  }
  get #offset(): number {
    return this.#block.offsets[this.#index]!;
  }

  /** Leaves before the present instruction. */
  #leave(): Label {
    return (this.#exit ??= this.#region.exit(
      this.#offset,
      this.#dirty,
      this.#words,
      this.#block.instructions.length - this.#index,
    ));
  }

  /** As `#leave`; counts if the span straddles two pages, so that no look-up will ever hit. */
  #leaveForSpan(first: Local, span: number): Label {
    const { f } = this;
    const { state, number } = this.#region;
    const unused = this.#block.instructions.length - this.#index;
    const offset = this.#offset;
    return this.#region.exit(offset, this.#dirty, this.#words, unused, () =>
      f.if(i32.gtU(i32.add(i32.and(i32.wrap(first), 4095), span), 4096), () => {
        set(f, state, "straddles", i32.add(get(state, "straddles"), 1));
        set(f, state, "straddlingRegion", number);
        set(f, state, "straddlingOffset", offset);
      }),
    );
  }

  #end(edges: readonly number[], labels: ReadonlyMap<number, Label>): void {
    const { f } = this;
    const region = this.#region;
    const { end, offsets } = this.#block;
    const go = (edge: number, to: number): void => {
      region.store(this.#leftBehind(to), this.#words);
      if (edge >= 0) f.branch(labels.get(edge)!);
    };
    const goIf = (edge: number, to: number, condition: Expr): void => {
      const { x, f: floats } = this.#leftBehind(to);
      if ((x | floats) === 0) return f.branchIf(labels.get(edge)!, condition);
      f.if(condition, () => go(edge, to));
    };
    switch (end.kind) {
      case "jump":
        return go(edges[0]!, end.target);
      case "branch": {
        const taken = this.#condition!;
        if (end.taken >= 0 && end.notTaken >= 0) {
          const [yes, no] = edges as [number, number];
          // Where no code of ours can stand on an edge, what it leaves behind is stored before: no harm on the other.
          if (yes === ARM || no === ARM) {
            for (const to of [end.taken, end.notTaken]) region.store(this.#leftBehind(to), this.#words);
            f.openIf(yes === ARM ? taken : i32.eqz(taken));
          } else if (yes >= 0) {
            goIf(yes, end.taken, taken);
            go(no, end.notTaken);
          } else if (no >= 0) {
            goIf(no, end.notTaken, i32.eqz(taken));
            go(yes, end.taken);
          } else go(yes, end.taken);
          return;
        }
        const decoded = this.#block.instructions.at(-1)!;
        const takenOffset = offsets.at(-2)! + decoded.imm;
        const away = (offset: number): Label => this.#outlinedTail(region.address(offset));
        if (end.taken < 0) f.branchIf(away(takenOffset), taken);
        else f.branchIf(away(offsets.at(-1)!), i32.eqz(taken));
        if (end.taken < 0 && end.notTaken < 0) return this.#tail(region.address(offsets.at(-1)!));
        return go(edges[0]!, end.taken < 0 ? end.notTaken : end.taken);
      }
      case "leave":
        return this.#tail(region.address(end.target));
      case "interpret": {
        region.store(this.#dirty, this.#words);
        set(f, region.state, "interpretOne", 1);
        return f.return(region.address(offsets.at(-1)!), region.budget);
      }
      case "return":
        region.store(this.#dirty, this.#words);
        return f.return(this.#jumpTarget!, region.budget);
      case "indirect":
        return this.#tail(this.#jumpTarget!);
      case "switch":
        return this.#switch(end.targets, end.offsets, edges, labels);
      case "call":
        return this.#call(end.target === undefined ? this.#jumpTarget! : region.address(end.target), end.next, edges, labels);
    }
  }

  /** Where the jump cache has the slot of a region at a pc, and whether it doesn't have it. */
  #lookUp(target: Local): { slot: Expr; missed: Expr } {
    const entry = this.f.let(jumpEntry(this.#region.bank, target));
    return { slot: i32.load(entry, 8), missed: i64.ne(i64.load(entry), target) };
  }

  /** Goes on in another region, in place of this one. On a miss too it calls nothing, so that nothing must be kept over a call. */
  #tail(to: Expr, dirty: RegisterSet = this.#dirty, words = this.#words): void {
    const { f } = this;
    const { state, budget, nesting, imports } = this.#region;
    this.#region.store(dirty, words);
    const target = f.let(to);
    const { slot, missed } = this.#lookUp(target);
    f.if(missed, () => f.returnCall(imports.jump, [state, target, budget, nesting]));
    f.returnCallIndirect(imports.signature, slot, [state, target, budget, nesting]);
  }

  /** To an indirect jump's known targets; elsewhere by way of the jump cache. */
  #switch(targets: readonly number[], offsets: readonly number[], edges: readonly number[], labels: ReadonlyMap<number, Label>): void {
    const { f } = this;
    const region = this.#region;
    const target = this.#jumpTarget!;
    const elsewhere = this.#outlinedTail(target);
    for (const to of targets) region.store(this.#leftBehind(to), this.#words);
    const isAt = (i: number): Expr => i64.eq(target, region.address(offsets[i]!));
    if (targets.length === 1) {
      f.branchIf(elsewhere, i32.eqz(isAt(0)));
      if (edges[0]! >= 0) f.branch(labels.get(edges[0]!)!);
      return;
    }
    if (targets.length === 2) {
      f.branchIf(elsewhere, i32.eqz(i32.or(isAt(0), isAt(1))));
      const [first, second] = edges as [number, number];
      if (first === ARM || second === ARM) f.openIf(isAt(first === ARM ? 0 : 1));
      else {
        if (first >= 0) f.branchIf(labels.get(first)!, isAt(0));
        if (second >= 0) f.branchIf(labels.get(second)!, isAt(1));
      }
      return;
    }
    const halfwords = (offsets.at(-1)! - offsets[0]!) / 2 + 1;
    const table: Label[] = new Array(halfwords).fill(elsewhere);
    offsets.forEach((offset, i) => (table[(offset - offsets[0]!) / 2] = labels.get(edges[i]!)!));
    const distance = f.let(i64.sub(target, region.address(offsets[0]!)));
    f.branchIf(elsewhere, i64.geU(distance, halfwords * 2));
    f.branchTable(i32.wrap(i64.shrU(distance, 1)), table, elsewhere);
  }

  #outlinedTail(to: Expr): Label {
    const dirty = { ...this.#dirty };
    const words = this.#words;
    return this.f.outlined(() => this.#tail(to, dirty, words));
  }

  #call(to: Expr, next: number, edges: readonly number[], labels: ReadonlyMap<number, Label>): void {
    const { f } = this;
    const region = this.#region;
    const { state, budget, nesting, imports } = region;
    const nextOffset = this.#block.offsets.at(-1)!;
    region.store(this.#dirty, this.#words);
    const target = f.let(to);
    f.branchIf(
      f.outlined(() => f.return(target, budget)),
      i32.eqz(nesting),
    );
    const result = f.temporary("i64");
    const deeper = f.let(i32.sub(nesting, 1));
    const { slot, missed } = this.#lookUp(target);
    const operands = [state, target, budget, deeper];
    f.if(
      missed,
      () => f.call(imports.jump, operands, [result, budget]),
      () => f.callIndirect(imports.signature, slot, operands, [result, budget]),
    );
    // Anything but a return to here unwinds: an interrupt, a longjmp, another thread; unless the callee only left for the interpreter.
    const expected = region.address(nextOffset);
    f.if(i64.ne(result, expected), () => {
      f.call(imports.recover, [state, result, budget, deeper, expected], [result, budget]);
      f.if(i64.ne(result, expected), () => f.return(result, budget));
    });
    if (next < 0) return f.return(result, budget);
    f.set(region.bank, get(state, "bank"));
    if (!region.checks(next)) {
      f.branchIf(region.exit(nextOffset, { x: 0, f: 0 }, 0, 0), i32.ltS(budget, region.longest(next)));
    }
    region.load(region.flow(next).liveIn);
    if (edges[0]! >= 0) f.branch(labels.get(edges[0]!)!);
  }

  #read(register: number): Expr {
    if (register === 0) return i64.const(0);
    return this.#words & (1 << register) ? i64.extendI32S(this.#region.word(register)) : this.#region.x(register);
  }
  get rs1(): Expr {
    return this.#read(this.#decoded.rs1);
  }
  get rs2(): Expr {
    return this.#read(this.#decoded.rs2);
  }
  get imm(): Expr {
    return i64.const(this.#decoded.imm);
  }
  get pc(): Expr {
    return this.#region.address(this.#offset);
  }
  get next(): Expr {
    return this.#region.address(this.#offset + this.#decoded.length);
  }
  setRd(value: Operand): void {
    const { rd } = this.#decoded;
    // Expressions have no effects, so that one for x0 need not be emitted.
    if (rd === 0) return;
    const word = asWord(toExpr("i64", value));
    if (word !== undefined) {
      this.f.set(this.#region.word(rd), word);
      this.#words |= 1 << rd;
    } else {
      this.f.set(this.#region.x(rd), value);
      this.#words &= ~(1 << rd);
    }
  }

  /** The host address of an access, as base and constant offset; leaves if the TLB doesn't have it. */
  #translated(address: Expr, size: number, writes: boolean): [host: Expr, offset: number] {
    const { f } = this;
    const access = this.#accesses[this.#index];
    if (access === undefined) {
      const first = f.let(address);
      const addend = this.#check(first, size, writes, this.#leave());
      return [f.let(i32.add(i32.wrap(first), addend)), 0];
    }
    const { group, distance } = access;
    let checked = this.#hosts.get(group);
    if (checked === undefined) {
      const start = group.first - group.distance;
      const base = this.#read(group.register);
      const first = f.let(start === 0 ? base : i64.add(base, start));
      const span = group.last - group.first + 1;
      const leave = span > 8 ? this.#leaveForSpan(first, span) : this.#leave();
      // Blocks that follow may use them too.
      checked = { first: f.local("i32"), addend: f.local("i32") };
      f.set(checked.addend, this.#check(first, span, group.writes, leave));
      f.set(checked.first, i32.add(i32.wrap(first), checked.addend));
      this.#hosts.set(group, checked);
    }
    if (distance !== undefined) return [checked.first, distance - group.first];
    return [f.let(i32.add(i32.wrap(address), checked.addend)), 0];
  }

  /** Leaves unless the TLB has all bytes of a span; otherwise, how far their host addresses are from their virtual ones. */
  #check(first: Local, span: number, writes: boolean, leave: Label): Expr {
    const { f } = this;
    const table = writes ? bank.write : bank.read;
    const entry = f.let(tlbIndex(this.#region.bank, first, writes ? bank.writeEntries : bank.readEntries));
    f.branchIf(leave, tlbMiss(entry, table, first, span));
    return i32.load(entry, table + 8);
  }

  load(access: MemoryAccess, address: Expr): Expr {
    const [host, offset] = this.#translated(address, sizeOf[access], false);
    if (access === "i64") return this.f.let(i64.load(host, offset));
    if (access === "u32") return this.f.let(i64.load32U(host, offset));
    const loads = { i8: i32.load8S, u8: i32.load8U, i16: i32.load16S, u16: i32.load16U, i32: i32.load };
    return i64.extendI32S(this.f.let(loads[access](host, offset)));
  }

  store(access: MemoryAccess, address: Expr, value: Expr): void {
    const [host, offset] = this.#translated(address, sizeOf[access], true);
    const kind = { 1: "i64_8", 2: "i64_16", 4: "i64_32", 8: "i64" } as const;
    this.f.store(kind[sizeOf[access] as 1 | 2 | 4 | 8], host, value, offset);
  }

  #aligned(address: Expr, size: number, writes: boolean): Expr {
    this.f.branchIf(this.#leave(), i32.and(i32.wrap(address), size - 1));
    return this.#translated(address, size, writes)[0];
  }

  readModifyWrite(access: "i32" | "i64", address: Expr, update: (old: Expr) => Expr): Expr {
    const { f } = this;
    const host = this.#aligned(address, sizeOf[access], true);
    const old = access === "i32" ? i64.extendI32S(f.let(i32.load(host))) : f.let(i64.load(host));
    f.store(access === "i32" ? "i64_32" : "i64", host, update(old));
    return old;
  }

  loadReserved(access: "i32" | "i64", address: Expr): Expr {
    const { f } = this;
    const { state } = this.#region;
    const host = this.#aligned(address, sizeOf[access], false);
    const value = f.let(access === "i32" ? i64.load32S(host) : i64.load(host));
    set(f, state, "reservation", host);
    set(f, state, "reservationValue", value);
    return value;
  }

  storeConditional(access: "i32" | "i64", address: Expr, value: Expr): Expr {
    const { f } = this;
    const { state } = this.#region;
    const host = this.#aligned(address, sizeOf[access], true);
    const failed = f.let(i64.const(1));
    const current = access === "i32" ? i64.load32S(host) : i64.load(host);
    f.if(i32.and(i32.eq(get(state, "reservation"), host), i64.eq(current, get(state, "reservationValue"))), () => {
      f.store(access === "i32" ? "i64_32" : "i64", host, value);
      f.set(failed, 0);
    });
    set(f, state, "reservation", 0);
    return failed;
  }

  fence(): void {}

  branch(condition: Expr): void {
    this.#condition = this.f.let(narrowCondition(condition));
  }

  jump(): void {
    this.setRd(this.next);
  }

  jumpRegister(address: Expr): void {
    this.#jumpTarget = this.f.let(i64.and(address, -2));
    this.setRd(this.next);
  }

  // Floating point

  #bits(register: number): Expr {
    return i64.reinterpretF64(this.#region.float(register));
  }
  get frs1(): Expr {
    return this.#bits(this.#decoded.rs1);
  }
  get frs2(): Expr {
    return this.#bits(this.#decoded.rs2);
  }
  get frs3(): Expr {
    return this.#bits(this.#decoded.rs3);
  }
  #single(register: number): Expr {
    const value = this.f.let(this.#bits(register));
    return select(i64.eq(i64.shrU(value, 32), 0xffffffff), i32.wrap(value), 0x7fc00000);
  }
  get frs1Single(): Expr {
    return this.#single(this.#decoded.rs1);
  }
  get frs2Single(): Expr {
    return this.#single(this.#decoded.rs2);
  }
  get frs3Single(): Expr {
    return this.#single(this.#decoded.rs3);
  }
  setFrd(bits: Expr): void {
    this.#setFloat(f64.reinterpretI64(bits));
  }
  setFrdSingle(bits: Expr): void {
    this.setFrd(i64.or(i64.extendI32U(bits), 0xffffffff00000000n));
  }
  #setFloat(value: Expr): void {
    this.f.set(this.#region.float(this.#decoded.rd), value);
    this.#makeDirty();
  }

  /** FS becomes dirty, once a block. */
  #makeDirty(): void {
    if (this.#floatDirty) return;
    this.#floatDirty = true;
    const { state } = this.#region;
    this.f.store("i32", state, i32.or(i32.load(state, layout.mstatus.offset), 0x6000), layout.mstatus.offset);
  }

  requireFloat(): void {
    if (this.#floatChecked) return;
    this.#floatChecked = true;
    const status = i32.load(this.#region.state, layout.mstatus.offset);
    this.f.branchIf(this.#leave(), i32.eqz(i32.and(status, 0x6000)));
  }

  /** Whether NX is accrued and the rounding mode is RNE, as quick paths want; undefined if the mode is another for sure. */
  #quickCondition(): Expr | undefined {
    const mode = this.#decoded.imm & 7;
    const { state } = this.#region;
    if (mode === 0) return i32.and(i32.load(state, layout.fflags.offset), 1);
    if (mode !== 7) return undefined;
    assert(layout.frm.offset === layout.fflags.offset + 4, "frm stands behind fflags");
    return i64.eq(i64.and(i64.load(state, layout.fflags.offset), 0xffffffff00000001n), 1);
  }

  roundedOperation(operation: FloatOperation, format: FloatFormat, negate: { product?: boolean; addend?: boolean } = {}): void {
    const { f } = this;
    this.requireFloat();
    const condition = this.#quickCondition();
    const single = format === "s";
    if (condition === undefined || (operation === "fma" && !single && !this.#region.imports.fusedMultiplyAdd)) {
      // Anything but round to nearest even is rare; the interpreter knows it all.
      this.f.branch(this.#leave());
      return;
    }
    f.branchIf(this.#leave(), i32.eqz(condition));
    const float = single ? f32 : f64;
    const type: ValueType = single ? "f32" : "f64";
    const value = (register: number, flip: boolean | undefined): Local => {
      const operand = single ? f32.reinterpretI32(this.#single(register)) : this.#region.float(register);
      return f.let(flip ? float.neg(operand) : operand);
    };
    const { rs1, rs2, rs3 } = this.#decoded;
    const result = f.temporary(type);
    const suffix = single ? "F32" : "F64";
    const a = value(rs1, negate.product);
    let inRange: Expr;
    if (operation === "sqrt") inRange = quick[`quickSqrt${suffix}`](f, result, a);
    else {
      const b = value(rs2, false);
      if (operation === "fma") inRange = quick[`quickFma${suffix}`](f, result, a, b, value(rs3, negate.addend));
      else {
        const name = { add: "Add", sub: "Sub", mul: "Mul", div: "Div" } as const;
        inRange = quick[`quick${name[operation]}${suffix}`](f, result, a, b);
        if (operation === "mul") {
          // A product with a zero is an exact zero if the other factor is finite.
          f.if(i32.eqz(inRange), () => {
            const zero = i32.or(float.eq(a, f.let(zeroOf(type))), float.eq(b, f.let(zeroOf(type))));
            f.branchIf(this.#leave(), i32.eqz(i32.and(zero, float.eq(result, f.let(zeroOf(type))))));
          });
          inRange = i32.const(1);
        }
      }
    }
    if (!inRange.isConstant) f.branchIf(this.#leave(), i32.eqz(inRange));
    if (single) this.setFrdSingle(i32.reinterpretF32(result));
    else this.#setFloat(result);
  }

  floatRoutine(name: string, rounded: boolean, ...operands: Expr[]): Expr {
    const { f } = this;
    this.requireFloat();
    this.#makeDirty();
    const { state, imports } = this.#region;
    const target = imports.routines[name]!;
    const leading: Operand[] = [state];
    if (rounded) {
      const mode = f.let(i32.const(this.#decoded.imm & 7));
      if ((this.#decoded.imm & 7) === 7) f.set(mode, get(state, "frm"));
      f.branchIf(this.#leave(), i32.gtU(mode, 4));
      leading.push(mode);
    }
    const takes = target.parameters.length - operands.length;
    return f.let(call(target, ...leading.slice(0, takes), ...operands));
  }

  routine(name: string, ...operands: Expr[]): Expr {
    return call(this.#region.imports.routines[name]!, ...operands);
  }

  /** Only those CSRs come here that `staysInRegion` names. */
  csr(operation: CsrOperation, operand: Expr, writes: "always" | "unless-x0"): void {
    const { f } = this;
    const region = this.#region;
    const { state, budget } = region;
    const { imm, rs1 } = this.#decoded;
    const number = imm & 0xfff;
    const writing = writes === "always" || rs1 !== 0 || imm >>> 12 !== 0;
    const behind = this.#block.instructions.length - this.#index - 1;
    set(f, state, "budget", behind === 0 ? budget : i32.add(budget, behind));
    const code = { write: 1, set: 2, clear: 3 }[operation];
    const old = f.let(call(region.imports.csr, state, number, code, operand, writing ? 1 : 0));
    const dirty = { ...this.#dirty };
    const words = this.#words;
    const offset = this.#offset;
    f.branchIf(
      f.outlined(() => {
        // Nothing has happened: the interpreter meets the fault again.
        set(f, state, "fault", 0);
        region.store(dirty, words);
        set(f, state, "interpretOne", 1);
        f.return(region.address(offset), i32.add(budget, behind + 1));
      }),
      get(state, "fault"),
    );
    this.setRd(old);
    if (!writing) return;
    if (number <= 3) return;
    this.#hosts.clear();
    if (number === 0x100) {
      f.set(region.bank, get(state, "bank"));
      const { x, f: floats } = written(this.#decoded);
      const after = { x: dirty.x | x, f: dirty.f | floats };
      f.branchIf(
        region.exit(this.#block.offsets[this.#index + 1]!, after, this.#words, behind),
        get(state, "attention"),
      );
      this.#floatChecked = false;
      this.#floatDirty = false;
    }
  }

  system(operation: SystemOperation): void {
    assert(false, "instructions that leave are no part of a block", { operation });
  }
}

function zeroOf(type: ValueType): Expr {
  return type === "f64" ? f64.const(0) : f32.reinterpretI32(0);
}
