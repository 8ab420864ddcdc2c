/**
 * Paravirtual: the guest knows (docs/hypercalls.md). Its kernel and its programs are in U-mode; it has its privileged state in a page that it shares
 * with the monitor, asks for the rest, and its own page tables are what the hart walks. Every trap comes here: a call of the kernel's is done, all
 * else is an upcall.
 */
import { HostelryError } from "#base/errors.ts";
import { Extension, SbiError } from "#devices/sbi.ts";
import { cause, interrupt, status, virtualInterrupts } from "#machine/csr-bits.ts";
import { FRAME_SIZE } from "#machine/frames.ts";
import { ExitReason } from "#machine/hart/exit-reason.ts";
import type { HartState } from "#machine/hart.ts";
import { UserModeConfinement, type Confinement } from "../confinement.ts";
import { faultKind, type ExitKind } from "../exits.ts";
import { ENTROPY, SplitEntropy, type SavedSplit } from "../io/split.ts";
import { CONSOLE, SplitConsole, type SavedSplitConsole } from "../io/split-console.ts";
import { DirectTables, type SavedDirect } from "../memory/direct.ts";
import { Grants, type SavedGrants } from "../memory/grants.ts";
import type { VirtualMachine } from "../vm.ts";
import { AWAY, hypercalls, INTERFACE, VERSION, WAITS, type Arguments } from "./hypercalls.ts";
import { SharedPage, word } from "./shared-page.ts";
import type { CpuTechnique } from "./technique.ts";

const GO_ON = 0;
const INTERRUPT = 2 ** 31;
const ECALL_LENGTH = 4;
const SBI_PROBE = 3;
const [SP, A0, A6, A7] = [2, 10, 16, 17];
/** pc and x1 to x31, in the guest's memory. */
const REGISTERS = 256;
const SV39 = 8;
const OWN_STATUS = (1 << status.sie) | (1 << status.spie) | (1 << status.spp);
/** The hart keeps translations of a kernel's view with SUM apart for each address space; without, it takes them for global. */
const SUM = 1 << status.sum;
const LAST_ASID = 0xffff;
const SOFTWARE = 1 << interrupt.virtualSupervisorSoftware;
/** Of events: firmware was asked to interrupt this hart. Others are a device's, by its number. */
const INTERPROCESSOR = 1;

/** Frames of the roots that are in use: the kernel's and the programs', 0 for none. */
type Base = readonly [kernel: number, programs: number];

export interface SavedParavirtual {
  readonly direct: SavedDirect;
  readonly base: Base | undefined;
  /** The shared page, if one is attached. */
  readonly page: number | undefined;
  readonly grants: SavedGrants;
  readonly entropy: SavedSplit;
  readonly console: SavedSplitConsole;
}

export class Paravirtual implements CpuTechnique {
  readonly confinement: Confinement;
  readonly vm: VirtualMachine;
  readonly direct: DirectTables;
  readonly grants: Grants;
  readonly entropy: SplitEntropy;
  readonly console: SplitConsole;
  readonly #firstView: bigint;
  #shared: SharedPage | undefined;
  #base: Base | undefined;
  /** Of each root of a kernel's that has one. */
  readonly #asids = new Map<number, number>();
  #nextAsid = 1;
  /** What a call gives beside its success. */
  value = 0;

  /** Throws HostelryError `no-frames`. */
  constructor(vm: VirtualMachine, saved?: SavedParavirtual) {
    this.vm = vm;
    // As a table of Sv39, the root of the G-stage maps each address to itself, for U-mode.
    this.#firstView = vm.memory.tables.hgatp(vm.id);
    this.direct = new DirectTables({
      memory: vm.memory,
      flush: () => vm.core.flushGuest({}),
      tableEnded: (number) => void this.#asids.delete(number),
    }, saved?.direct);
    const { memory } = vm;
    this.grants = new Grants({ memory, direct: this.direct, isReserved: (page) => page === this.#shared?.page }, saved?.grants);
    const source = { fill: (bytes: Uint8Array): void => vm.computer.inputs.fill(bytes) };
    this.entropy = new SplitEntropy({ memory, grants: this.grants, source, event: () => this.#event(1 << ENTROPY) }, saved?.entropy);
    const door = { output: (bytes: Uint8Array): void => vm.board.ringConsole.output(bytes), ready: (): void => vm.board.ringConsole.ready() };
    this.console = new SplitConsole({ memory, grants: this.grants, door, event: () => this.#event(1 << CONSOLE) }, saved?.console);
    this.#base = saved?.base;
    this.#shared = saved?.page === undefined ? undefined : new SharedPage(vm.memory, saved.page);
    const inner = new UserModeConfinement(this.#firstView, "none", () => this.#firstView);
    this.confinement = {
      raise: inner.raise,
      reflect: inner.reflect,
      enter: (state) => {
        inner.enter(state);
        this.#showViews(state);
      },
      leave: (state) => inner.leave(state),
      reset: () => this.#reset(),
    };
  }

  get state(): HartState {
    return this.vm.core.state;
  }

  wired(): void {
    this.vm.board.ringConsole.receive = (bytes) => this.console.receive(bytes);
  }

  forget(): void {}

  moved(page: number): void {
    this.direct.moved(page);
  }

  statistics(): null {
    return null;
  }

  save(): SavedParavirtual {
    const [direct, grants, entropy, console] = [this.direct.save(), this.grants.save(), this.entropy.save(), this.console.save()];
    return { direct, base: this.#base, page: this.#shared?.page, grants, entropy, console };
  }

  release(): void {
    this.direct.release();
  }

  exit(): number {
    this.direct.begin();
    this.#readShared();
    this.console.kick();
    const next = this.#handle(this.state.number("exitCause"));
    this.#writePending();
    return next;
  }

  attach(page: number): number {
    if (this.#shared !== undefined) return SbiError.alreadyAvailable;
    const refusal = this.direct.claim(page);
    if (refusal !== SbiError.success) return refusal;
    this.#shared = new SharedPage(this.vm.memory, page);
    this.#readShared();
    this.vm.core.selectView();
    this.value = this.vm.memory.machine.pageNumber(0);
    return SbiError.success;
  }

  setBase(kernel: number, programs: number): number {
    const before = this.#base;
    const refusal = this.direct.holdRoot(kernel);
    if (refusal !== SbiError.success) return refusal;
    if (programs !== 0) {
      const other = this.direct.holdRoot(programs);
      if (other !== SbiError.success) {
        this.direct.letGoRoot(kernel);
        return other;
      }
    }
    this.#base = [kernel, programs];
    this.direct.leaveFirstView();
    for (const root of before ?? []) if (root !== 0) this.direct.letGoRoot(root);
    this.#showViews(this.state);
    this.vm.core.selectView();
    return SbiError.success;
  }

  /** Its own translations; what else is stale, is safe. */
  flush(virtual: bigint | undefined): void {
    if (virtual !== undefined) this.vm.core.flushGuest({ virtual });
    else if (this.#base !== undefined) this.vm.core.flushGuest({ asid: this.#asidOf(this.#base[0]) });
  }

  returnFromTrap(address: number): number {
    const { state } = this;
    const registers = this.vm.memory.readable(address, REGISTERS);
    const view = new DataView(registers.buffer, registers.byteOffset, REGISTERS);
    state.setBytes("x", 8, registers.subarray(8));
    state.setHalves("parkedSepc", 0, view.getUint32(0, true) & ~1, view.getUint32(4, true));
    this.vm.core.returnFromTrap();
    this.#writeStatus();
    return AWAY;
  }

  interruptPending(): boolean {
    return (this.#pending() & this.state.number("mie")) !== 0;
  }

  #handle(why: number): number {
    if (why >= INTERRUPT) {
      const number = why - INTERRUPT - (interrupt.virtualSupervisorSoftware - interrupt.supervisorSoftware);
      return this.#upcall("interrupt", number, () => this.vm.core.interrupt(number));
    }
    if (why === cause.ecallFromUser && this.state.number("virtualPrivilege") === 1) return this.#hypercall();
    const isFault = why === cause.instructionPage || why === cause.loadPage || why === cause.storePage;
    if (isFault && this.#base === undefined && this.#touch(why === cause.storePage)) return GO_ON;
    let goesOn = true;
    const next = this.#upcall(isFault ? "true-fault" : "guest-trap", why, () => {
      goesOn = this.vm.core.reflect(why);
    });
    return goesOn ? next : ExitReason.exit;
  }

  /** In the first view, pages have no frame before they are used, or one that is not to be written to. */
  #touch(isWrite: boolean): boolean {
    const { memory } = this.vm;
    const page = Math.floor(this.state.counter("exitTval") / FRAME_SIZE);
    if (!memory.pmap.holds(page) || this.direct.isTable(page)) return false;
    this.vm.record(faultKind(memory.pmap.frame(page)), page * FRAME_SIZE);
    if (isWrite) memory.own(page);
    else memory.touch(page);
    return true;
  }

  #hypercall(): number {
    const { state } = this;
    const [extension, number] = [state.low("x", A7), state.low("x", A6)];
    this.vm.record("hypercall", extension === INTERFACE ? number : extension);
    if (extension === INTERFACE) return this.#own(number);
    if (extension === Extension.base && number === SBI_PROBE && state.low("x", A0) === INTERFACE) {
      this.#finish(SbiError.success, VERSION);
    } else {
      this.vm.computer.firmwareCall();
    }
    return GO_ON;
  }

  #own(number: number): number {
    const { state } = this;
    const [a, b, c] = [A0, A0 + 1, A0 + 2];
    const args = [state.low("x", a), state.high("x", a), state.low("x", b), state.high("x", b), state.low("x", c), state.high("x", c)] as const;
    this.value = 0;
    const outcome = this.call(number, args);
    // A guest that returns to where it called from must come to the slice's end all the same.
    if (outcome === AWAY) return this.vm.core.spend() ? GO_ON : ExitReason.exit;
    // It is made again when there may be something.
    if (outcome === WAITS) return ExitReason.wait;
    this.#finish(outcome, this.value);
    return GO_ON;
  }

  /** One call, by its number. */
  call(number: number, args: Arguments): number {
    return hypercalls[number]?.run(this, args) ?? SbiError.notSupported;
  }

  #finish(error: number, value: number): void {
    this.state.setHalves("x", A0, error, error >> 31);
    this.state.setHalves("x", A0 + 1, value, 0);
    this.state.addNumber("pc", ECALL_LENGTH);
  }

  /** Whoever was executing stands in the guest's memory, and its kernel begins at its vector. */
  #upcall(kind: ExitKind, detail: number, enter: () => void): number {
    const { state } = this;
    const shared = this.#shared;
    if (shared === undefined) {
      const what = `the guest's kernel was to be told of a trap (cause ${detail}), but has attached no page`;
      throw new HostelryError("bad-upcall", `${what}: if it is not paravirtual, choose another --cpu`);
    }
    this.vm.record(kind, detail);
    const isProgram = state.number("virtualPrivilege") === 0;
    this.#store(shared, isProgram ? word.registers : word.kernelRegisters);
    if (isProgram) state.setHalves("x", SP, shared.low(word.stack), shared.high(word.stack));
    state.setHalves("parkedStvec", 0, shared.low(word.vector) & ~3, shared.high(word.vector));
    enter();
    shared.set(word.cause, state.low("parkedScause", 0), state.high("parkedScause"));
    shared.set(word.value, state.low("parkedStval", 0), state.high("parkedStval"));
    this.#writeStatus();
    return GO_ON;
  }

  #store(shared: SharedPage, where: 8 | 9): void {
    const { memory } = this.vm;
    const [low, high] = [shared.low(where), shared.high(where)];
    const page = Math.floor(low / FRAME_SIZE);
    if (high !== 0 || low % REGISTERS !== 0 || !memory.pmap.holds(page) || this.direct.isTable(page)) {
      const at = (BigInt(high) << 32n) | BigInt(low);
      throw new HostelryError("bad-upcall", `the guest's kernel wants registers stored at 0x${at.toString(16)}, which is no memory for that`);
    }
    const registers = memory.writable(low, REGISTERS);
    const view = new DataView(registers.buffer, registers.byteOffset, REGISTERS);
    this.state.copyBytes("x", 8, registers.subarray(8));
    view.setUint32(0, this.state.number("pc"), true);
    view.setUint32(4, this.state.high("pc"), true);
  }

  /** What the kernel may have written. */
  #readShared(): void {
    const { state } = this;
    const shared = this.#shared;
    if (shared === undefined) return;
    state.setHalves("parkedStatus", 0, (shared.low(word.status) & OWN_STATUS) | SUM, 0);
    state.setNumber("mie", (shared.low(word.enabled) << 1) & virtualInterrupts);
    const isNew = shared.low(word.timer) !== state.number("vstimecmp") || shared.high(word.timer) !== state.high("vstimecmp");
    if (isNew) this.vm.core.setSupervisorTimer(shared.get(word.timer));
    const others = state.number("mip") & ~SOFTWARE;
    state.setNumber("mip", shared.low(word.events) === 0 ? others : others | SOFTWARE);
  }

  #writeStatus(): void {
    this.#shared?.set(word.status, this.state.number("parkedStatus") & OWN_STATUS);
  }

  #writePending(): void {
    const shared = this.#shared;
    if (shared === undefined) return;
    if (this.state.number("mip") & SOFTWARE && shared.low(word.events) === 0) this.#event(INTERPROCESSOR);
    shared.set(word.pending, this.#pending() >>> 1);
  }

  /** The software interrupt is pending from now on, until the kernel has taken all events. */
  #event(bit: number): void {
    this.#shared?.set(word.events, this.#shared.low(word.events) | bit);
    this.vm.core.raiseSupervisorSoftware();
  }

  #pending(): number {
    return (this.state.number("mip") | this.state.number("lines")) & virtualInterrupts;
  }

  #showViews(state: HartState): void {
    if (this.#base === undefined) return;
    const [kernel, programs] = this.#base;
    const asid = this.#asidOf(kernel);
    const high = ((SV39 << 28) | (asid << 12)) >>> 0;
    for (const view of [0, 1, 2]) state.setHalves("views", view, view === 0 && programs !== 0 ? programs : kernel, high);
  }

  #asidOf(root: number): number {
    const present = this.#asids.get(root);
    if (present !== undefined) return present;
    if (this.#nextAsid > LAST_ASID) {
      this.#asids.clear();
      this.#nextAsid = 1;
      this.direct.flushed();
    }
    this.#asids.set(root, this.#nextAsid);
    return this.#nextAsid++;
  }

  #reset(): void {
    this.#shared = undefined;
    this.#base = undefined;
    this.entropy.reset();
    this.console.reset();
    this.grants.reset();
    this.direct.reset();
  }
}
