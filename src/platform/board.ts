/** The board: the devices of QEMU's `virt` around a computer, wired up, and started as its firmware would. */
import { HostelryError } from "#base/errors.ts";
import { StateReader, type Saveable, type SavedState } from "#base/saved-state.ts";
import { Aclint } from "#devices/aclint.ts";
import { gather, readableViews, writableViews } from "#devices/dma.ts";
import { Htif } from "#devices/htif.ts";
import { GoldfishRtc } from "#devices/goldfish-rtc.ts";
import { Plic } from "#devices/plic.ts";
import { Syscon, type PowerRequest } from "#devices/syscon.ts";
import { Uart16550 } from "#devices/uart16550.ts";
import { VirtioBalloon, type BalloonMemory } from "#devices/virtio/balloon.ts";
import { VirtioBlock, type BlockBackend } from "#devices/virtio/block.ts";
import { VirtioConsole } from "#devices/virtio/console.ts";
import type { VirtioDevice } from "#devices/virtio/device.ts";
import { VirtioEntropy } from "#devices/virtio/entropy.ts";
import { VirtioMmio } from "#devices/virtio/mmio-transport.ts";
import { encodeDeviceTree } from "#images/device-tree.ts";
import { dynamicFirmwareInfo } from "#images/firmware.ts";
import type { Kernel } from "#images/kernel.ts";
import { layOut, type BootLayout } from "#images/layout.ts";
import type { DevicePlace, MmioDevice } from "#machine/bus.ts";
import { envcfg, interrupt } from "#machine/csr-bits.ts";
import type { Arrival, Way } from "#machine/inputs.ts";
import { USUAL_SLICE, type Computer, type MachineEnd, type Surroundings } from "#machine/computer.ts";
import { AgentPort, type AgentBackend } from "./agent-port.ts";
import { BootRom } from "./boot-rom.ts";
import { Console } from "./console.ts";
import { describeBoard, hartPhandle, phandle, type Described } from "./device-tree.ts";
import { Firmware } from "./firmware.ts";
import { put, putSparsely } from "./load.ts";
import { address, balloonSlot, source, virtioSlots, virtioSlotSize } from "./memory-map.ts";

export interface BoardOptions {
  readonly computer: Computer;
  /** At most 6. The first is in the first slot, and so /dev/vda. */
  readonly drives: readonly BlockBackend[];
  /** The guest's console output; the bytes are the callee's. It may block. */
  readonly output: (bytes: Uint8Array) => void;
  readonly terminal: { readonly columns: number; readonly rows: number };
  /** Who talks to the agent in the guest: without it, the guest has no port for one. */
  readonly agent?: AgentBackend;
  /** Who takes memory from its balloon: without it, the guest has none. */
  readonly balloon?: BalloonMemory;
  /** What the guest, or a device's back end, did wrong, as one line for the user. */
  readonly warn: (message: string) => void;
}

/** What to start. */
export interface BootFiles {
  /** Entered in M-mode; without it, the built-in firmware enters the kernel in S-mode. */
  readonly firmware?: Kernel;
  readonly kernel?: Kernel;
  readonly initrd?: Uint8Array;
  /** The kernel's command line. */
  readonly append: string;
}

const SEED_SIZE = 64;
/**
 * Who begins in M-mode finds accessed and dirty bits kept by hardware, as after QEMU's reset: xv6 relies on it. Spike's reset leaves
 * them to software until menvcfg says otherwise, and the architecture tests rely on that.
 */
const SVADU = 1n << BigInt(envcfg.adue);
/** For a program that speaks through HTIF, a character at a time: it waits for each to be taken. */
const TALKING_SLICE = 5_000;
/** Beside the console and the entropy device. */
export const maxDrives = virtioSlots - 2;

export class Board implements Surroundings, Saveable {
  readonly #computer: Computer;
  readonly #console: Console;
  readonly #firmware: Firmware;
  /** The way into the console of a monitor that shares a ring with its guest. `receive` says how many bytes of input it takes. */
  readonly ringConsole = {
    output: (bytes: Uint8Array): void => this.#console.output("ring", bytes),
    ready: (): void => this.#console.deliver(),
    receive: (_bytes: Uint8Array): number => 0,
  };
  readonly #rom = new BootRom();
  /** If it has one. */
  readonly balloon: VirtioBalloon | undefined;
  readonly #warn: (message: string) => void;
  readonly #test: Syscon;
  readonly #virtioConsole: VirtioConsole;
  readonly #agent: AgentPort | undefined;
  readonly #devices: readonly Described[];
  /** Of the program that was booted: what it names `tohost` and so on. */
  #symbols: ReadonlyMap<string, number> = new Map();
  #htif: Htif | undefined;
  #booted = false;

  constructor(options: BoardOptions) {
    if (options.drives.length > maxDrives) {
      throw new HostelryError("too-many-drives", `${options.drives.length} drives are more than the board has slots for: give at most ${maxDrives}`);
    }
    this.#warn = options.warn;
    const { computer } = options;
    const console = new Console(options.output);
    this.#computer = computer;
    this.#console = console;
    this.#firmware = new Firmware(computer, console, (end) => this.#end(end));
    this.#test = new Syscon((request) => this.#power(request));
    const { clock } = computer;

    const harts = computer.harts.map((_, hart) => hart);
    const plic = new Plic(harts.map((hart) => (
      { machine: computer.line(hart, interrupt.machineExternal), supervisor: computer.line(hart, interrupt.supervisorExternal) })));
    const softwareInterrupts = harts.map((hart) => computer.line(hart, interrupt.machineSoftware));
    const aclint = new Aclint(harts.length, clock, {
      setSoftwareInterrupt: (hart, level) => softwareInterrupts[hart]!.set(level),
      timecmpChanged: (hart, ticks) => computer.setTimecmp(hart, ticks),
      timeOffsetChanged: (offset) => computer.setMtimeOffset(offset),
    });
    const rtcTimer = computer.createTimer(() => rtc.expire());
    const rtc = new GoldfishRtc(plic.line(source.rtc), clock, rtcTimer);
    const uart = new Uart16550(plic.line(source.uart), {
      write: (bytes) => console.output("uart", bytes),
      ready: () => console.deliver(),
    });
    const agent = options.agent === undefined ? undefined : new AgentPort(options.agent);
    const virtioConsole = new VirtioConsole({
      write: (bytes) => {
        console.output("virtio", bytes);
        return true;
      },
      ready: () => console.deliver(),
    }, { ...options.terminal, ...(agent === undefined ? {} : { port: agent }) });
    this.#virtioConsole = virtioConsole;
    agent?.connect((bytes) => virtioConsole.receiveNamed(bytes));
    this.#agent = agent;
    console.connect("uart", (bytes) => uart.receive(bytes));
    console.connect("virtio", (bytes) => virtioConsole.receive(bytes));
    console.connect("ring", (bytes) => this.ringConsole.receive(bytes));

    const disks = options.drives.map((drive) => new VirtioBlock(drive, (error) => options.warn(`disk ${drive.id}: ${messageOf(error)}`)));
    const virtio: (VirtioDevice | undefined)[] = [...disks, virtioConsole, new VirtioEntropy(computer.inputs)];
    this.balloon = options.balloon === undefined ? undefined : new VirtioBalloon(options.balloon);
    if (this.balloon !== undefined) virtio[balloonSlot] = this.balloon;
    const slots = Array.from({ length: Math.max(virtioSlots, virtio.length) }, (_, slot) =>
      new VirtioMmio(computer.dma, plic.line(source.virtio + slot), virtio[slot], (error) => options.warn(error.message)));

    const at = (device: MmioDevice & Saveable, place: DevicePlace): Described => ({ device, place });
    const behindPlic = { interruptParent: phandle.plic };
    const hartControllers = harts.map(hartPhandle);
    this.#devices = [
      at(this.#test, { address: address.test, phandle: phandle.test }),
      at(rtc, { address: address.rtc, interrupt: source.rtc, ...behindPlic }),
      at(aclint, { address: address.clint, hartControllers }),
      at(plic, { address: address.plic, phandle: phandle.plic, hartControllers }),
      at(uart, { address: address.uart, interrupt: source.uart, ...behindPlic }),
      ...slots.map((slot, index) =>
        at(slot, { address: address.virtio + index * virtioSlotSize, interrupt: source.virtio + index, ...behindPlic })),
    ];
    computer.bus.map(address.bootRom, this.#rom);
    for (const { device, place } of this.#devices) computer.bus.map(place.address, device);
    computer.attach(this);
  }

  /** Puts everything in its place, as after power-on or a reset. Throws HostelryError `does-not-fit`. */
  boot(files: BootFiles): void {
    if (this.#booted) this.#reset();
    const { inputs, memory, harts, hypervisor, tlb } = this.#computer;
    const seed = new Uint8Array(SEED_SIZE);
    inputs.fill(seed);
    const describe = (initrd: BootLayout["initrd"]): Uint8Array =>
      encodeDeviceTree(describeBoard(this.#devices, this.#test.powerNodes(phandle.test), { count: harts.length, hypervisor, tlb }, memory, { append: files.append, initrd, seed }, `/soc/serial@${address.uart.toString(16)}`));
    const placeholder = files.initrd === undefined ? null : { start: 0, end: 0 };
    const layout = layOut({ ...files, deviceTreeSize: describe(placeholder).length }, memory);
    this.#load(layout, describe(layout.initrd));
    this.#symbols = symbolsOf(files.firmware ?? files.kernel);
    this.#htif = this.#createHtif();
    if (files.firmware === undefined) this.#firmware.enter(layout.entry, layout.deviceTree);
    else this.#enterFirmware(layout);
    this.#computer.longestSlice = USUAL_SLICE;
    this.#booted = true;
  }

  /** What the program left between `begin_signature` and `end_signature`: how the architecture tests hand over their results. */
  get signature(): Uint8Array | undefined {
    const [begin, end] = [this.#symbols.get("begin_signature"), this.#symbols.get("end_signature")];
    if (begin === undefined || end === undefined || end < begin || !this.#inMemory(begin, end - begin)) return undefined;
    return gather(readableViews(this.#computer.dma, [{ address: begin, length: end - begin }]));
  }

  firmwareCall(): void {
    this.#firmware.call();
  }

  arrived(input: Arrival): void {
    if (input.kind === "console") this.#console.input(input.bytes);
    else if (input.kind === "agent") this.#agent?.input(input.bytes);
    else if (input.kind === "resize") this.#virtioConsole.resize(input.columns, input.rows);
    else this.#lookAtBalloon(input.target);
  }

  ready(way: Way): boolean {
    return way === "console" ? this.#console.ready : this.#agent?.taken ?? false;
  }

  sliceEnded(): void {
    if (this.#htif?.poll() === true) this.#computer.longestSlice = TALKING_SLICE;
    this.#console.flush();
  }

  /** The devices and the console; not the computer's own. To be taken between slices. */
  save(): SavedState {
    return { kind: "board", version: 1, devices: this.#devices.map(({ device }) => device.save()), console: this.#console.save(), agent: this.#agent?.save() ?? null };
  }

  /** Of a board with the same devices. */
  restore(state: unknown): void {
    const from = StateReader.open(state, "board", 1);
    const devices = from.list("devices", this.#devices.length);
    this.#devices.forEach(({ device }, index) => device.restore(devices[index]));
    this.#console.restore(from.raw("console"));
    this.#agent?.restore(from.raw("agent"));
    this.#booted = true;
  }

  #lookAtBalloon(target: number): void {
    if (this.balloon === undefined) return;
    this.balloon.target = target;
    this.balloon.askForStatistics();
  }

  #reset(): void {
    for (const { device } of this.#devices) device.reset();
    this.#console.reset();
    this.#computer.reset();
  }

  #load(layout: BootLayout, deviceTree: Uint8Array): void {
    const { dma } = this.#computer;
    for (const { address: start, bytes, memorySize } of layout.segments) {
      if (!this.#booted) {
        putSparsely(dma, start, bytes);
        continue;
      }
      put(dma, start, bytes);
      for (const view of writableViews(dma, [{ address: start + bytes.length, length: memorySize - bytes.length }])) view.fill(0);
    }
    put(dma, layout.deviceTree, deviceTree);
  }

  /** As the code in the board's ROM leaves it: a0 = hart, a1 = device tree, a2 = what a dynamic firmware is to start. */
  #enterFirmware(layout: BootLayout): void {
    const { state } = this.#computer.core;
    this.#rom.put(dynamicFirmwareInfo(layout.kernelEntry ?? 0, "supervisor"));
    state.set("pc", layout.entry);
    state.set("x", 0, 10);
    state.set("x", layout.deviceTree, 11);
    state.set("x", address.bootRom, 12);
    state.set("menvcfg", this.#htif === undefined ? SVADU : 0n);
  }

  /** Nothing for programs that don't know HTIF. */
  #createHtif(): Htif | undefined {
    const [tohost, fromhost] = [this.#symbols.get("tohost"), this.#symbols.get("fromhost")];
    if (tohost === undefined || ![tohost, fromhost ?? tohost].every((word) => this.#inMemory(word, 8))) return undefined;
    return new Htif(this.#computer.dma, { tohost, fromhost }, {
      exit: (status) => this.#exit(status),
      write: (bytes) => this.#console.output("uart", bytes),
    });
  }

  #inMemory(start: number, length: number): boolean {
    const { base, size } = this.#computer.memory;
    return start >= base && start + length <= base + size;
  }

  #exit(status: number): void {
    if (status === 0) return this.#end({ kind: "poweroff" });
    this.#warn(`the guest ended itself with ${status} through tohost: for riscv-tests, test ${status} failed`);
    this.#end({ kind: "fail", code: status });
  }

  #power({ kind, code }: PowerRequest): void {
    this.#end(kind === "fail" ? { kind, code } : { kind });
  }

  /** A kernel that panics and is told not to hang on (panic=) asks for a reset, and would do so for ever. */
  #end(end: MachineEnd): void {
    this.#computer.end(end.kind === "reboot" && this.#console.panicked ? { kind: "crash" } : end);
  }
}

function symbolsOf(program: Kernel | undefined): ReadonlyMap<string, number> {
  return program?.format === "elf" ? program.symbols : new Map();
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
