/** A hart with the WebAssembly program that runs it: what executes, for whoever decides what. */
import { HostelryError } from "#base/errors.ts";
import { probeFusedMultiplyAdd } from "#riscv/floating-point/fused-multiply-add.ts";
import { Cooling } from "./cooling.ts";
import { instantiateHart, HartState, type HartInstance } from "./hart.ts";
import { handler } from "./hart/decode.ts";
import { ExitReason } from "./hart/exit-reason.ts";
import type { HartProgramOptions } from "./hart/hart-program.ts";
import { counterCount, frame, layout, memoryMap, predecoded, type MapOptions, type MemoryMap } from "./layout.ts";
import { standardModel, type MachineModel } from "./model.ts";
import { PhysicalMemory } from "./physical-memory.ts";
import { machineStats, TierTimes, type MachineStats } from "./stats.ts";
import type { Translator } from "./translator.ts";

/** Whose code the hart executes: it answers what the hart asks while it runs. */
export interface Guest {
  /** A register of a device, as two u32, low first; undefined if nothing answers. */
  mmioRead(address: number, size: number): readonly [number, number] | undefined;
  mmioWrite(address: number, size: number, low: number, high: number): boolean;
  /** Ticks of its clock. */
  ticks(): number;
  /** What a monitor is there for has happened: see `monitored` in the hart's state. Returns 0 if the guest is to go on at once, else why not: an ExitReason. */
  exit?(): number;
}

/**
 * Slices are run piece by piece. While translations are made pieces are short, so that they are soon in their places: code that waits for its own is
 * interpreted. Else they are as long as a guest's slice that is alone on its hart, since it is at their ends that the translator sees where time is spent.
 */
const piece = { hurried: 100_000, usual: 1_000_000 };

export class Processor {
  readonly map: MemoryMap;
  readonly memory: WebAssembly.Memory;
  readonly state: HartState;
  readonly hart: HartInstance;
  readonly model: MachineModel;
  readonly programOptions: HartProgramOptions;
  /** The machine's memory, as devices see it that don't know of virtual machines. */
  readonly dma: PhysicalMemory;
  translator: Translator | undefined;
  readonly #view: DataView;
  #guest: Guest | undefined;
  #executingSeconds = 0;
  /** Instructions, of all guests. */
  #executed = 0;
  readonly #tiers = new TierTimes();
  readonly #cooling: Cooling;

  constructor(memory: WebAssembly.Memory, map: MemoryMap, model: MachineModel = standardModel) {
    this.map = map;
    this.model = model;
    this.programOptions = { fusedMultiplyAdd: probeFusedMultiplyAdd(), model };
    this.memory = memory;
    this.state = new HartState(memory, map.hart);
    this.#view = new DataView(memory.buffer);
    this.hart = instantiateHart(memory, map, {
      mmioRead: (_, address, size) => this.#mmioRead(address >>> 0, size),
      mmioWrite: (_, address, size) => this.#mmioWrite(address >>> 0, size),
      time: () => this.#guest!.ticks(),
      codeWritten: (_, host, bytes) => this.translator?.codeWritten?.(host >>> 0, bytes),
    }, this.programOptions);
    this.dma = new PhysicalMemory(memory, map, (host, bytes) => this.hart.exports.codeStore(map.hart, host, bytes));
    const counters = new Uint32Array(memory.buffer, map.counters, counterCount);
    this.#cooling = new Cooling(() => counters.fill(0));
    this.state.set("predecodeNext", map.predecode);
  }

  /** Instructions that the hart has retired for its guest. */
  get instret(): number {
    return this.state.counter("instretTarget") - this.state.number("budget");
  }

  /** Runs `guest` for so many instructions, or until something else ends it: see ExitReason. */
  run(guest: Guest, budget: number): number {
    const { state, hart, map } = this;
    this.#guest = guest;
    state.setNumber("reserve", budget);
    hart.exports.updateTimer(map.hart);
    const before = performance.now();
    this.#cooling.look(before, 1000 * this.#executingSeconds);
    const counted = this.#tiers.begin(state, this.instret);
    let reason: number;
    do {
      this.translator?.poll(this.#executed);
      this.#draw();
      const drawnAt = this.instret;
      reason = hart.exports.run(map.hart);
      while (reason === ExitReason.exit && (reason = guest.exit!()) === 0) reason = hart.exports.run(map.hart);
      this.#executed += this.instret - drawnAt;
    } while (reason === ExitReason.slice && state.number("budget") + state.number("reserve") > 0);
    const seconds = (performance.now() - before) / 1000;
    state.addNumber("instretTarget", -state.number("budget"));
    state.setNumber("budget", 0);
    state.setNumber("reserve", 0);
    this.#executingSeconds += seconds;
    this.#tiers.end(counted, state, this.instret, seconds);
    return reason;
  }

  /** Of the slice, what the hart may run until it stands still again. */
  #draw(): void {
    const { state } = this;
    const reserve = state.number("reserve");
    const longest = this.translator?.idle === false ? piece.hurried : piece.usual;
    const drawn = Math.min(reserve, Math.max(longest - state.number("budget"), 0));
    state.addNumber("instretTarget", drawn);
    state.setNumber("budget", state.number("budget") + drawn);
    state.setNumber("reserve", state.number("reserve") - drawn);
  }

  /** To be called when privilege, satp, mstatus or the PMP's registers were set from here. */
  contextChanged(): void {
    this.hart.exports.updatePmp(this.map.hart);
    this.hart.exports.selectBank(this.map.hart);
  }

  /**
   * The instruction that the hart has decoded at a host address is the monitor's from now on: it comes out with `cause.callOut`. With `on` false, it
   * is executed as it is again. Nothing happens if it is not decoded, or lies across two pages.
   */
  callOutAt(host: number, on: boolean): void {
    const inPage = host % 4096;
    const page = this.#view.getUint32(this.map.frames + Math.floor((host - this.map.ram) / 4096) * frame.size + frame.predecoded, true);
    if (page === 0 || inPage === 4094) return;
    const entry = page + predecoded.header + (inPage >>> 1) * 8;
    const now = this.#view.getUint16(entry, true);
    if (on ? now === handler.undecoded || now === handler.head : now !== handler.callOut) return;
    this.#view.setBigUint64(entry, BigInt(on ? handler.callOut : handler.undecoded), true);
    // Regions with the instruction are made anew without it.
    if (on) this.translator?.codeWritten?.(host, 2);
  }

  stats(idleSeconds: number): MachineStats {
    return machineStats({
      state: this.state,
      map: this.map,
      instructions: this.instret,
      executingSeconds: this.#executingSeconds,
      idleSeconds,
      tiers: this.#tiers,
      translator: this.translator?.stats?.(),
    });
  }

  #mmioRead(address: number, size: number): number {
    const value = this.#guest!.mmioRead(address, size);
    if (value === undefined) return 1;
    const at = this.map.hart + layout.mmioValue.offset;
    this.#view.setUint32(at, value[0], true);
    this.#view.setUint32(at + 4, value[1], true);
    return 0;
  }

  #mmioWrite(address: number, size: number): number {
    const at = this.map.hart + layout.mmioValue.offset;
    const [low, high] = [this.#view.getUint32(at, true), this.#view.getUint32(at + 4, true)];
    return this.#guest!.mmioWrite(address, size, low, high) ? 0 : 1;
  }
}

/** wasm's own limit. */
const MAX_PAGES = 65536;

/** Throws HostelryError `memory-size` if the host can't give so much. `options` are those that the map was made with. */
export function allocate(map: MemoryMap, options: MapOptions = {}): WebAssembly.Memory {
  const mib = map.ramSize / 2 ** 20;
  if (map.pages > MAX_PAGES) {
    const { harts = 1 } = options;
    // Each frame takes an entry of each hart's table of frames beside itself.
    const share = 4096 / (4096 + harts * frame.size);
    const most = Math.floor(((MAX_PAGES - memoryMap(0, options).pages) * 65536 * share) / 2 ** 20);
    if (most <= 0) throw new HostelryError("memory-size", `${harts} harts leave no room for memory: give fewer`);
    const withHarts = harts === 1 ? "" : ` with ${harts} harts`;
    throw new HostelryError("memory-size", `a memory of ${mib}M is more than this machine can have${withHarts}: give at most ${most}M`);
  }
  try {
    return new WebAssembly.Memory({ initial: map.pages, maximum: map.pages, shared: true });
  } catch {
    throw new HostelryError("memory-size", `the host refuses a memory of ${mib}M: give less, or raise its limit on address space (ulimit -v)`);
  }
}
